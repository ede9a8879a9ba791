//go:build !race

package hist

import (
	"testing"
	"time"
)

func TestObservingAndReadingAllocateNothing(t *testing.T) {
	var h Hist
	d := time.Microsecond
	var total Snapshot
	n := testing.AllocsPerRun(1000, func() {
		d += 997
		h.Observe(d)
		s := h.Snapshot()
		total.Merge(s)
		if s.Quantile(0.99) == 0 {
			t.Error("a quantile of something is 0")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	var h Hist
	d := time.Microsecond
	for b.Loop() {
		d = (d*5 + 997) & (1<<30 - 1)
		h.Observe(d)
	}
}

func BenchmarkObserveContended(b *testing.B) {
	var h Hist
	b.RunParallel(func(pb *testing.PB) {
		d := time.Microsecond
		for pb.Next() {
			d = (d*5 + 997) & (1<<30 - 1)
			h.Observe(d)
		}
	})
}
