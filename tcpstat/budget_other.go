//go:build !linux

package tcpstat

import "time"

// CPUTime runs f and returns the time that it took.
func CPUTime(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}
