//go:build race

package tcpstat

// Simulations run in one goroutine: under the race detector they only take longer.
const simRuns = 100
