package testnet

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// OneCPU keeps all threads of the test's process on one processor until the
// test ends. On one processor the kernel handles the segments of a loopback
// connection one after the other, in the order they were sent; on several it
// may look a socket up for one segment while it replaces that socket for
// another. No two tests that use it may run in parallel.
func OneCPU(t testing.TB) {
	t.Helper()
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatalf("testnet: sched_getaffinity: %v", err)
	}
	var cpus []int
	for cpu := range len(all) * 64 {
		if all.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	one.Set(cpus[rand.IntN(len(cpus))])
	setThreads(t, &one)
	t.Cleanup(func() { setThreads(t, &all) })
}

// setThreads goes through the threads until there is none that it has not seen:
// a new one has the processors of the thread that made it.
func setThreads(t testing.TB, set *unix.CPUSet) {
	t.Helper()
	seen := map[int]bool{}
	for more := true; more; {
		more = false
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range tasks {
			tid, err := strconv.Atoi(task.Name())
			if err != nil || seen[tid] {
				continue
			}
			seen[tid], more = true, true
			if err := unix.SchedSetaffinity(tid, set); err != nil && err != unix.ESRCH {
				t.Fatalf("testnet: sched_setaffinity of thread %d: %v", tid, err)
			}
		}
	}
}
