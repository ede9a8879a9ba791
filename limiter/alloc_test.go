//go:build !race

package limiter

import (
	"context"
	"testing"
	"time"
)

func TestQueueWaitingAllocatesNothing(t *testing.T) {
	l := newLine(4, time.Minute)
	ctx := context.Background()
	n := testing.AllocsPerRun(1000, func() {
		w, err := l.join(ctx, "", time.Now(), 0)
		if err != nil {
			t.Fatal(err)
		}
		l.serve(1)
		if _, err := l.Await(w); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestRetryBudgetAllocatesNothing(t *testing.T) {
	b, err := NewRetryBudget(10, 3)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1000, func() { b.Request(); b.Allow() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
