package hist

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestEveryBoundIsTheLastOfItsBucket(t *testing.T) {
	for i := range Buckets - 1 {
		b := Bound(i)
		if got := index(b); got != i {
			t.Errorf("%v is in bucket %d, want %d", b, got, i)
		}
		if got := index(b + 1); got != i+1 {
			t.Errorf("%v + 1ns is in bucket %d, want %d", b, got, i+1)
		}
	}
	if Bound(0) != 1024 || Bound(Buckets-2) != 1<<37 || Bound(Buckets-1) != math.MaxInt64 {
		t.Errorf("the ends are %v %v %v", Bound(0), Bound(Buckets-2), Bound(Buckets-1))
	}
}

func TestBucketsAreAtMostAQuarterWide(t *testing.T) {
	for i := 1; i < Buckets-1; i++ {
		lo, hi := Bound(i-1), Bound(i)
		if hi <= lo || float64(hi-lo)/float64(lo) > 0.25 {
			t.Errorf("bucket %d goes from %v to %v", i, lo, hi)
		}
	}
}

func TestExtremesGoToTheOutermostBuckets(t *testing.T) {
	for d, want := range map[time.Duration]int{
		math.MinInt64: 0, -1: 0, 0: 0, 1: 0, 1024: 0, 1025: 1,
		1 << 37: Buckets - 2, 1<<37 + 1: Buckets - 1, math.MaxInt64: Buckets - 1,
	} {
		var h Hist
		h.Observe(d)
		s := h.Snapshot()
		if s.Counts[want] != 1 || s.Count() != 1 || s.Sum != max(d, 0) {
			t.Errorf("%d ns: want one in bucket %d, sum %v, got %v", d, want, max(d, 0), s)
		}
	}
}

func TestQuantilesAreWithinAnEighthOfTheTruth(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	shapes := map[string]func() time.Duration{
		"uniform":     func() time.Duration { return time.Duration(rng.Int64N(int64(10 * time.Millisecond))) },
		"exponential": func() time.Duration { return time.Duration(rng.ExpFloat64() * float64(time.Millisecond)) },
		"log normal": func() time.Duration {
			return time.Duration(math.Exp(rng.NormFloat64()) * float64(100*time.Microsecond))
		},
		"constant": func() time.Duration { return 3 * time.Millisecond },
		"two humps": func() time.Duration {
			if rng.IntN(10) == 0 {
				return time.Second
			}
			return 200 * time.Microsecond
		},
	}
	for name, draw := range shapes {
		var h Hist
		all := make([]time.Duration, 20000)
		for i := range all {
			all[i] = draw()
			h.Observe(all[i])
		}
		slices.Sort(all)
		s := h.Snapshot()
		for _, q := range []float64{0.01, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999, 1} {
			want := all[min(int(q*float64(len(all))), len(all)-1)]
			got := s.Quantile(q)
			if want > 10*time.Microsecond && math.Abs(float64(got-want)) > 0.25*float64(want) {
				t.Errorf("%s: q%v is %v, want %v within a bucket", name, q, got, want)
			}
			if q <= 0.99 && name != "constant" && name != "two humps" && want > 10*time.Microsecond &&
				math.Abs(float64(got-want)) > 0.125*float64(want) {
				t.Errorf("%s: q%v is %v, want %v within an eighth", name, q, got, want)
			}
		}
	}
}

func TestQuantileAtTheEdges(t *testing.T) {
	var empty Snapshot
	if empty.Quantile(0.5) != 0 || empty.Mean() != 0 || empty.Count() != 0 {
		t.Error("a histogram of nothing must say 0")
	}
	var h Hist
	h.Observe(time.Hour)
	s := h.Snapshot()
	if got := s.Quantile(0.5); got != 1<<37 {
		t.Errorf("beyond the last bound: %v, want the bound", got)
	}
	var one Hist
	one.Observe(time.Millisecond)
	s = one.Snapshot()
	for _, q := range []float64{-1, 0, 0.5, 1, 2} {
		if got := s.Quantile(q); got < 900*time.Microsecond || got > 1200*time.Microsecond {
			t.Errorf("q%v of a single 1 ms is %v", q, got)
		}
	}
}

func TestQuantilesNeverFall(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		var h Hist
		for range rng.IntN(200) + 1 {
			h.Observe(time.Duration(rng.Int64N(1 << (10 + rng.IntN(30)))))
		}
		s, last := h.Snapshot(), time.Duration(0)
		for q := 0.0; q <= 1.0001; q += 0.001 {
			got := s.Quantile(q)
			if got < last {
				t.Fatalf("q%.3f is %v, less than %v before it", q, got, last)
			}
			last = got
		}
	}
}

func TestMergeAndSinceAreOpposites(t *testing.T) {
	var a, b Hist
	for i := range 1000 {
		a.Observe(time.Duration(i) * time.Microsecond)
		b.Observe(time.Duration(i) * time.Millisecond)
	}
	sa, sb := a.Snapshot(), b.Snapshot()
	sum := sa
	sum.Merge(sb)
	if sum.Count() != 2000 || sum.Sum != sa.Sum+sb.Sum {
		t.Errorf("merged: %d observations, sum %v", sum.Count(), sum.Sum)
	}
	if back := sum.Since(sb); back != sa {
		t.Error("what was merged in cannot be taken out again")
	}
	if got := sa.Mean(); got != 499500*time.Nanosecond {
		t.Errorf("the mean of 0 to 999 us is %v", got)
	}
}

func TestOctavesAreCumulativeAndLoseOnlyTheOverflow(t *testing.T) {
	var h Hist
	for _, d := range []time.Duration{1, 1024, 1025, 2048, 2049, time.Second, 1 << 37, time.Hour} {
		h.Observe(d)
	}
	s := h.Snapshot()
	oct := s.Octaves()
	if len(oct) != 28 || oct[0] != (Octave{1024, 2}) || oct[1] != (Octave{2048, 4}) || oct[27] != (Octave{1 << 37, 7}) {
		t.Fatalf("octaves: %v", oct)
	}
	for i := 1; i < len(oct); i++ {
		if oct[i].Bound != 2*oct[i-1].Bound || oct[i].Count < oct[i-1].Count {
			t.Errorf("octave %d: %v after %v", i, oct[i], oct[i-1])
		}
	}
}

func TestNothingIsLostUnderConcurrentObservers(t *testing.T) {
	var h Hist
	var wg sync.WaitGroup
	const workers, each = 8, 5000
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				h.Observe(time.Duration(w*each+i) * time.Microsecond)
				if i%1000 == 0 {
					s := h.Snapshot()
					_ = s.Quantile(0.99)
				}
			}
		})
	}
	wg.Wait()
	s := h.Snapshot()
	n := int64(workers * each)
	if s.Count() != uint64(n) || s.Sum != time.Duration(n*(n-1)/2)*time.Microsecond {
		t.Errorf("%d observations, sum %v", s.Count(), s.Sum)
	}
}
