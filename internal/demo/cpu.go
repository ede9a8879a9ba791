package demo

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// processorTime is what the threads of a process have used, to the nanosecond;
// 0 where the system does not say. Threads that have ended are not in it.
func processorTime(pid int) (sum time.Duration) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return 0
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended since
		}
		var running int64
		if _, err := fmt.Sscan(string(text), &running); err == nil {
			sum += time.Duration(running)
		}
	}
	return sum
}
