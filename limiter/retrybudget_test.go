package limiter

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func budget(t *testing.T, percent, perSecond int) *RetryBudget {
	t.Helper()
	b, err := NewRetryBudget(percent, perSecond)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func allowed(b *RetryBudget, tries int) (n int) {
	for range tries {
		if b.Allow() {
			n++
		}
	}
	return n
}

func TestRetryBudgetIsAShareOfRequestsPlusAFloor(t *testing.T) {
	for _, c := range []struct{ percent, floor, requests, want int }{
		{10, 0, 1000, 100},
		{10, 3, 1000, 130},
		{10, 3, 0, 30},
		{0, 0, 1000, 0},
		{100, 0, 7, 7},
		{10, 0, 9, 1}, // 0.9 of a retry: the first is within it
	} {
		synctest.Test(t, func(t *testing.T) {
			b := budget(t, c.percent, c.floor)
			for range c.requests {
				b.Request()
			}
			if got := allowed(b, 2000); got != c.want {
				t.Errorf("%+v: %d", c, got)
			}
			if got := b.Refused(); got != uint64(2000-c.want) {
				t.Errorf("%+v: %d refused", c, got)
			}
		})
	}
}

func TestRetryBudgetForgetsAfterTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget(t, 10, 0)
		for range 100 {
			b.Request()
		}
		<-time.After(9 * time.Second)
		if got := allowed(b, 20); got != 10 {
			t.Errorf("in the tenth second: %d", got)
		}
		<-time.After(time.Second)
		// The requests are gone; the retries of the second before still count.
		if got := allowed(b, 20); got != 0 {
			t.Errorf("after it: %d", got)
		}
		for range 200 {
			b.Request()
		}
		if got := allowed(b, 20); got != 10 {
			t.Errorf("with 200 new requests and 10 old retries: %d", got)
		}
	})
}

func TestRetryBudgetIsNeverOverspentByMany(t *testing.T) {
	b := budget(t, 10, 0)
	for range 10000 {
		b.Request()
	}
	var n atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { n.Add(int64(allowed(b, 1000))) })
	}
	wg.Wait()
	if n.Load() > 1000 {
		t.Errorf("%d of 1000", n.Load())
	}
}

func TestRetryBudgetRefusesNonsense(t *testing.T) {
	for _, c := range [][2]int{{-1, 0}, {101, 0}, {10, -1}, {10, 1 << 20}} {
		if _, err := NewRetryBudget(c[0], c[1]); err == nil {
			t.Errorf("%v was taken", c)
		}
	}
}
