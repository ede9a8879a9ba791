package tcpstat

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// CPUTime runs f and returns the processor time that it took on its thread.
// What waits for a processor on a busy machine is not in it.
func CPUTime(f func()) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began := threadTime()
	f()
	return threadTime() - began
}

func threadTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}
