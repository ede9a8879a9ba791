package pressure

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// fake is a machine.
type fake struct {
	use       Reading
	garbage   uint64 // of memory
	collects  time.Duration
	collected []time.Duration // when, since start
	start     time.Time
}

func newFake() *fake {
	return &fake{start: time.Now(), use: Reading{Memory: {Bound: 100}, Descriptors: {Bound: 100}}}
}

func (f *fake) read() Reading { return f.use }

func (f *fake) reclaim() {
	f.collected = append(f.collected, time.Since(f.start))
	<-time.After(f.collects)
	f.use[Memory].Used -= f.garbage
	f.garbage = 0
}

// looks lets d pass with four looks a second, and returns the last.
func looks(w *Watch, d time.Duration) (r Report) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		<-time.After(time.Second / 4)
		r = w.Look(time.Now())
	}
	return r
}

func TestGarbageIsNoShortage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		w := NewWatch(f.read, f.reclaim)
		f.use[Memory].Used, f.garbage = 89, 40
		if looks(w, 10*time.Second); len(f.collected) != 0 {
			t.Errorf("collected at %v with 89 of 100 in use", f.collected)
		}
		f.use[Memory].Used = 95
		if r := looks(w, time.Second); r.Short() || r[Memory].Used != 55 || len(f.collected) != 1 {
			t.Errorf("with 40 of 95 to be collected: %+v, collected at %v", r, f.collected)
		}
	})
}

func TestWhileMemoryIsShortGarbageIsLookedForUntilThereIsEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		w := NewWatch(f.read, f.reclaim)
		f.use[Memory].Used = 95
		if r := looks(w, 3*time.Second); !r.Short() || !r[Memory].Short || r[Descriptors].Short {
			t.Fatalf("at 95 of 100: %+v", r)
		}
		second := []time.Duration{time.Second / 4, 5 * time.Second / 4, 9 * time.Second / 4}
		if !slices.Equal(f.collected, second) {
			t.Errorf("collected at %v, want %v", f.collected, second)
		}
		f.use[Memory].Used, f.garbage = 88, 10 // of clients that have left: nobody else would collect it
		began := time.Now()
		for r := w.Look(began); r.Short(); r = looks(w, time.Second/4) {
			if time.Since(began) > 10*time.Second {
				t.Fatalf("with 10 of 88 to be collected it is short for good: %+v", r)
			}
		}
		n := len(f.collected)
		if r := looks(w, 10*time.Second); len(f.collected) != n || r[Memory].Since.IsZero() || time.Since(r[Memory].Since) < 10*time.Second {
			t.Errorf("afterwards: collected at %v, short changed at %v", f.collected[n:], r[Memory].Since.Sub(f.start))
		}
	})
}

func TestCollectionsTakeATwentiethOfTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		w := NewWatch(f.read, f.reclaim)
		f.use[Memory].Used, f.collects = 95, 500*time.Millisecond
		looks(w, 60*time.Second)
		if n := len(f.collected); n < 5 || n > 6 {
			t.Errorf("%d collections of half a second in a minute", n)
		}
	})
}

func TestEachResourceIsShortByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		w := NewWatch(f.read, f.reclaim)
		f.use[Memory].Used, f.use[Descriptors].Used = 85, 91
		r := looks(w, time.Second)
		if !r.Short() || r[Memory].Short || !r[Descriptors].Short || r[Descriptors].Used != 91 || len(f.collected) != 0 {
			t.Errorf("91 descriptors of 100: %+v, collected at %v", r, f.collected)
		}
		since := r[Descriptors].Since
		f.use[Memory].Used = 92
		looks(w, time.Second)
		f.use[Memory].Used = 70
		// The other one does not wait for it, nor does it end the other's.
		if r = looks(w, 2*time.Second); !r.Short() || r[Memory].Short || r[Descriptors].Since != since {
			t.Errorf("memory suffices again: %+v", r)
		}
		f.use[Descriptors] = Use{} // no bound any more
		if r = looks(w, 2*time.Second); r.Short() || r[Descriptors].Share() != 0 {
			t.Errorf("no bound: %+v", r)
		}
	})
}
