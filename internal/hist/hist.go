// Package hist is the one histogram behind all Stats: durations in fixed
// buckets, counted with atomics, given away by value.
//
// The buckets are log-linear: each doubling from 1.024 us to 137 s is cut into
// four equal parts. A bucket's width is therefore at most a quarter of its lower
// bound, and that is the most a quantile can be off by; interpolated, those of
// smooth distributions are within an eighth. Telling "p99 doubled" from "p99 rose
// by half" needs as much; 1-2-5 buckets, at a quarter of the memory, are up to
// 2.5 times wide and cannot. Bounds are powers of two so that the index is a bit count
// and a shift, with no table and no floating point: finding it costs about 1 ns.
// All histograms have the same bounds, so any two can be added or subtracted.
//
// It is a leaf: it imports nothing of ours.
package hist

import (
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	firstExp = 10 // the first bucket ends at 2^10 ns: nothing we time is faster
	lastExp  = 37 // the last bound is 2^37 ns, 137 s: longer than any of our waits
	perOct   = 4  // 4 per doubling: see the package comment
	subBits  = 2  // log2(perOct)

	// Buckets is the number of buckets: one up to the first bound, perOct for
	// each doubling, and one for what is over the last bound.
	Buckets = 2 + (lastExp-firstExp)*perOct
)

// Hist counts durations. The zero value is ready and takes 888 bytes. All
// methods are safe for concurrent use. A Hist must not be copied: use Snapshot.
type Hist struct {
	sum   atomic.Int64 // nanoseconds; 2^63 ns is 292 years of waiting
	count [Buckets]atomic.Uint64
}

// Observe counts d with two atomic additions and no allocation. A negative d, as
// from a clock that is no Go clock, counts as zero.
func (h *Hist) Observe(d time.Duration) {
	d = max(d, 0)
	h.sum.Add(int64(d))
	h.count[index(d)].Add(1)
}

// Snapshot returns the counts as they are. Observations made meanwhile may be in
// the sum and not yet in a bucket, or the other way round: never more than one
// for each goroutine that is observing.
func (h *Hist) Snapshot() Snapshot {
	s := Snapshot{Sum: time.Duration(h.sum.Load())}
	for i := range h.count {
		s.Counts[i] = h.count[i].Load()
	}
	return s
}

// index returns the bucket of d: the i with Bound(i-1) < d <= Bound(i), so that
// the bounds are "less or equal" as Prometheus has them.
func index(d time.Duration) int {
	if d <= 1<<firstExp {
		return 0
	}
	u := uint64(d - 1)
	e := bits.Len64(u) - 1
	if e >= lastExp {
		return Buckets - 1
	}
	return 1 + (e-firstExp)*perOct + int(u>>(e-subBits))&(perOct-1)
}

// Bound returns the largest duration that bucket i holds. The last bucket has no
// bound; for it Bound returns the largest time.Duration.
func Bound(i int) time.Duration {
	switch {
	case i <= 0:
		return 1 << firstExp
	case i >= Buckets-1:
		return 1<<63 - 1
	}
	e, sub := firstExp+(i-1)/perOct, (i-1)%perOct
	return time.Duration(perOct+sub+1) << (e - subBits)
}
