//go:build !race

package limiter

import (
	"sync/atomic"
	"testing"
	"time"
)

var simSeeds = []uint64{1, 2, 3, 4, 5}

// Windows are closed and the limit moves in it, too.
func TestObservingAllocatesNothing(t *testing.T) {
	a := newAdaptive(t, AdaptiveOptions{Max: 40, OnChange: func(int) {}})
	var now int64
	n := testing.AllocsPerRun(100, func() {
		now = feed(a, now, 100*time.Millisecond, 1000, steady(a))
		now = feed(a, now, 100*time.Millisecond, 1000, func(i int) (time.Duration, int, bool) { return 30 * time.Millisecond, a.Limit(), i%20 > 0 })
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
	if a.Stats().Reason == AdaptiveUnmoved {
		t.Error("the limit has not moved")
	}
}

func BenchmarkAdaptiveObserve(b *testing.B) {
	a := newAdaptive(b, AdaptiveOptions{Max: 40})
	var now int64
	b.ReportAllocs()
	for b.Loop() {
		now += int64(50 * time.Microsecond)
		a.Observe(now, 10*time.Millisecond, 20, true)
	}
}

func BenchmarkAdaptiveObserveContended(b *testing.B) {
	a := newAdaptive(b, AdaptiveOptions{Max: 40})
	var clock atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		now := clock.Add(1)
		for pb.Next() {
			now += int64(50 * time.Microsecond)
			a.Observe(now, 10*time.Millisecond, 20, true)
		}
	})
}
