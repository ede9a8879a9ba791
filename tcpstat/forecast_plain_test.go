//go:build !race

package tcpstat

const simRuns = 1000
