//go:build !race

package limiter

import (
	"context"
	"testing"
	"time"
)

func TestSheddingAndDisplacingAllocateNothing(t *testing.T) {
	const max = 4
	l := newLine(max, time.Minute)
	l.SetTarget(1) // any wait is too long, and an interval is 20 ns
	ctx := context.Background()
	var ws [max + 1]*Waiter[int, string]
	shed := 0
	n := testing.AllocsPerRun(1000, func() {
		for i := range ws {
			var err error
			if ws[i], err = l.join(ctx, "", time.Now(), i/max); err != nil {
				t.Fatal(err)
			}
		}
		l.serve(1)
		l.Lock()
		l.FailAll(ErrQueueFull)
		l.Unlock()
		for _, w := range ws {
			if _, err := l.Await(w); err == ErrShed {
				shed++
			}
		}
	})
	if n != 0 || shed == 0 {
		t.Errorf("%v allocations, %d shed", n, shed)
	}
}
