//go:build bench

package bench

import (
	"fmt"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// Who runs where while some clients are noisy. weir has a processor of its own,
// and all others share a second one. There the honest clients and the backend are
// scheduled by SCHED_RR, and so run at once whenever they have something to do,
// before the flood, which is an ordinary process (sched(7)). So what the honest
// ones lose they have lost at weir, and not to the program that makes the noise.
// It takes CAP_SYS_NICE, and a machine that does nothing else.

// class is how a processor is shared.
type class struct {
	policy, priority uint32
}

var (
	ordinary = class{}
	atOnce   = class{policy: 2, priority: 1} // SCHED_RR
)

// take gives the calling thread a class, which what it starts has too.
func (c class) take() error {
	if err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: c.policy, Priority: c.priority}, 0); err != nil {
		return fmt.Errorf("sched_setattr: %w (run the test as root, with CAP_SYS_NICE)", err)
	}
	return nil
}

// twoCPUs are the first two processors that there are: weir's, and the others'.
func twoCPUs(t *testing.T) (weir, others int) {
	t.Helper()
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
	var cpus []int
	for cpu := range len(set) * 64 {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	if len(cpus) < 2 {
		t.Fatalf("%d processor: weir and its clients need one each, or the clients are what is measured", len(cpus))
	}
	return cpus[0], cpus[1]
}

// on runs f on a processor, in a class, and what it starts stays so. f's thread
// is its own for as long.
func on(t *testing.T, cpu int, c class, f func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var was, one unix.CPUSet
	one.Set(cpu)
	if err := unix.SchedGetaffinity(0, &was); err != nil {
		t.Fatal(err)
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
	defer unix.SchedSetaffinity(0, &was)
	if err := c.take(); err != nil {
		t.Fatal(err)
	}
	defer ordinary.take()
	f()
}
