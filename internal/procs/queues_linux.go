package procs

import (
	"bytes"
	"os"
	"strconv"
	"time"
)

// queues reads how long the threads of this process stood in a run queue: the
// second number of /proc/self/task/*/schedstat
// (Documentation/scheduler/sched-stats.rst).
type queues struct {
	last, seen map[string]time.Duration
}

func newQueues() *queues {
	q := &queues{last: map[string]time.Duration{}, seen: map[string]time.Duration{}}
	q.waited()
	return q
}

// waited adds up the time since the last call. A thread that has ended in
// between is missing from it: Go ends almost none.
func (q *queues) waited() (sum time.Duration) {
	dir, err := os.Open("/proc/self/task")
	if err != nil {
		return 0
	}
	defer dir.Close()
	tasks, err := dir.Readdirnames(-1)
	if err != nil {
		return 0
	}
	clear(q.seen)
	for _, tid := range tasks {
		b, err := os.ReadFile("/proc/self/task/" + tid + "/schedstat")
		if err != nil {
			continue // it has ended
		}
		if w, ok := parse(b); ok {
			sum += w - q.last[tid]
			q.seen[tid] = w
		}
	}
	q.last, q.seen = q.seen, q.last
	return sum
}

func parse(b []byte) (time.Duration, bool) {
	f := bytes.Fields(b)
	if len(f) < 2 {
		return 0, false
	}
	n, err := strconv.ParseInt(string(f[1]), 10, 64)
	return time.Duration(n), err == nil
}
