package testnet

import (
	"testing"
	"time"
)

// pollEvery is how often WaitFor asks. A condition here costs microseconds.
const pollEvery = 2 * time.Millisecond

// WaitFor asks cond until it is true, and fails the test after timeout. cond runs
// on the calling goroutine. It is for what the kernel or another process does in
// its own time; what happens inside this process has channels to wait on.
func WaitFor(t testing.TB, timeout time.Duration, what string, cond func() bool) {
	t.Helper()
	if !Poll(timeout, cond) {
		t.Fatalf("waited %s in vain: %s", timeout, what)
	}
}

// Pace lets d pass where that is the load: a client's time to think, a backend
// that takes 20 ms, a sender that is slow. It returns false, and at once, when
// stop is closed; a nil stop never is. It is no way to wait until something has
// happened, nor to see that nothing does: WaitFor and Poll are.
func Pace(stop <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-stop:
		return false
	}
}

// Poll is WaitFor without a test: it says whether cond became true in time.
func Poll(timeout time.Duration, cond func() bool) bool {
	if cond() {
		return true
	}
	end := time.NewTimer(timeout)
	defer end.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if cond() {
				return true
			}
		case <-end.C:
			return cond()
		}
	}
}
