package limiter

import (
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// feed observes requests that end evenly, per second of them, for so long, with
// these response times and results. It returns the time after.
func feed(a *Adaptive, now int64, d time.Duration, perSecond int, one func(i int) (took time.Duration, inFlight int, ok bool)) int64 {
	n := int(d.Seconds() * float64(perSecond))
	for i := range n {
		now += int64(time.Second) / int64(perSecond)
		took, inFlight, ok := one(i)
		a.Observe(now, took, inFlight, ok)
	}
	return now
}

// steady are requests of 10 ms that always use the limit up, and succeed.
func steady(a *Adaptive) func(int) (time.Duration, int, bool) {
	return func(int) (time.Duration, int, bool) { return 10 * time.Millisecond, a.Limit(), true }
}

// overloaded returns a limiter that has learned that ten are enough, and when.
func overloaded(t *testing.T) (*Adaptive, int64) {
	t.Helper()
	a := newAdaptive(t, AdaptiveOptions{Max: simMaxOpen})
	s := &simulation{limiter: a, service: simFixedTime, seed: 1, patience: 0.010, deadline: 0.100, phases: []simPhase{{4, 2 * simCapacity, 10, 1}}}
	s.run()
	if got := a.Limit(); got < 9 || got > 12 || a.Stats().Phase != "holding" {
		t.Fatalf("the limit is %d, %s", got, a.Stats().Phase)
	}
	return a, simNanos(s.now)
}

func TestTimeWithoutLoadDoesNotMoveTheLimit(t *testing.T) {
	light := func(int) (time.Duration, int, bool) { return time.Millisecond, 2, true }
	for _, pause := range []time.Duration{2 * time.Second, 10 * time.Minute, 24 * time.Hour} {
		a, now := overloaded(t)
		limit := a.Limit()
		now += int64(pause)
		for range 100 {
			now = feed(a, now, 200*time.Millisecond, 10, light) + int64(pause/100)
		}
		now = feed(a, now, 30*time.Second, 200, light)
		if got := a.Limit(); got != limit {
			t.Errorf("after pauses of %v and light load the limit is %d, it was %d", pause, got, limit)
		}
		// The window of the first requests after a pause must not be
		// one of the pause: at so little throughput nothing would be queued.
		feed(a, now, 300*time.Millisecond, 1000, steady(a))
		if got := a.Stats().Throughput; got < 900 || got > 1100 {
			t.Errorf("after %v the throughput of 1000/s is seen as %.0f/s", pause, got)
		}
	}
}

func TestTheLimitGrowsOnlyWhereItIsReached(t *testing.T) {
	a := newAdaptive(t, AdaptiveOptions{Max: 40, Start: 20})
	now := feed(a, 0, 20*time.Second, 1000, func(int) (time.Duration, int, bool) { return 10 * time.Millisecond, 16, true })
	if got := a.Limit(); got != 20 {
		t.Errorf("with 16 in flight the limit has moved from 20 to %d", got)
	}
	feed(a, now, 5*time.Second, 1000, steady(a))
	if got := a.Limit(); got != 40 {
		t.Errorf("used up, with response times that stay, the limit is %d, want 40", got)
	}
}

func TestFailuresLowerTheLimitAndSuccessRaisesIt(t *testing.T) {
	a := newAdaptive(t, AdaptiveOptions{Min: 2, Max: 40})
	now := feed(a, 0, 10*time.Second, 1000, steady(a))
	if got := a.Limit(); got < 36 {
		t.Fatalf("the limit is %d", got)
	}
	now = feed(a, now, 2*time.Second, 1000, func(int) (time.Duration, int, bool) { return 30 * time.Second, a.Limit(), false })
	if got := a.Limit(); got != 2 || a.Stats().Reason != AdaptiveFailing {
		t.Errorf("when all has failed for two seconds the limit is %d, by reason %s", got, a.Stats().Reason)
	}
	feed(a, now, 5*time.Second, 1000, steady(a))
	if got := a.Limit(); got < 32 {
		t.Errorf("five seconds later the limit is %d", got)
	}
}

// Three of ten requests fail at once, whatever the load: they lower the limit,
// but as that is no help not for long, and 1 us is no response time.
func TestFailuresAreNotShortResponseTimes(t *testing.T) {
	a := newAdaptive(t, AdaptiveOptions{Max: 40})
	now := feed(a, 0, 10*time.Second, 1000, steady(a))
	base, lowest := a.Stats().Base, a.Limit()
	feed(a, now, 20*time.Second, 1000, func(i int) (time.Duration, int, bool) {
		lowest = min(lowest, a.Limit())
		if i%10 < 3 {
			return time.Microsecond, a.Limit(), false
		}
		return 10 * time.Millisecond, a.Limit(), true
	})
	if got := a.Stats().Base; got < base*19/20 || got > base*21/20 {
		t.Errorf("the base is %v, it was %v", got, base)
	}
	if lowest > 20 || lowest < 4 {
		t.Errorf("the limit was lowered to %d", lowest)
	}
	if got := a.Limit(); got < 30 {
		t.Errorf("after 20 s the limit is %d", got)
	}
}

func TestANewMaximumCountsAtOnceAndForgetsNothing(t *testing.T) {
	var told []int
	a := newAdaptive(t, AdaptiveOptions{Min: 4, Max: 64, Start: 48, OnChange: func(n int) { told = append(told, n) }})
	feed(a, 0, 5*time.Second, 1000, func(int) (time.Duration, int, bool) { return 10 * time.Millisecond, 5, true })
	base := a.Stats().Base
	if err := a.Set(30); err != nil {
		t.Fatal(err)
	}
	if err := a.Set(100); err != nil {
		t.Fatal(err)
	}
	if len(told) != 1 || told[0] != 30 || a.Limit() != 30 {
		t.Errorf("the limit is %d, told was %v", a.Limit(), told)
	}
	if s := a.Stats(); s.Max != 100 || s.Base != base || base == 0 || s.Reason != AdaptiveBounded {
		t.Errorf("%+v; the base was %v", s, base)
	}
	if err := a.Set(3); err == nil {
		t.Error("a maximum below the minimum was taken")
	}
}

func TestBoundsThatMakeNoSenseAreRefused(t *testing.T) {
	for _, o := range []AdaptiveOptions{{}, {Min: -1, Max: 5}, {Min: 6, Max: 5}, {Max: 5, Start: 6}, {Min: 3, Max: 5, Start: 2}, {Max: math.MaxInt}} {
		if _, err := NewAdaptive(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

func TestNonsenseStaysWithinTheBounds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	ends := []int64{0, 1, -1, math.MaxInt64, math.MinInt64, math.MaxInt64 / 2, int64(time.Hour)}
	for i := range 200 {
		least := 1 + i%3
		most := least + i%50
		a := newAdaptive(t, AdaptiveOptions{Min: least, Max: most})
		now := int64(0)
		for range 2000 {
			at, took, inFlight := now, r.Int64N(int64(time.Second)), r.Int64N(100)
			switch r.IntN(8) {
			case 0:
				took = ends[r.IntN(len(ends))]
			case 1:
				inFlight = ends[r.IntN(len(ends))]
			case 2:
				at += r.Int64N(int64(time.Second)) - int64(time.Second)/2
			}
			if r.IntN(2000) == 0 {
				at = ends[r.IntN(len(ends))]
			}
			a.Observe(at, time.Duration(took), int(inFlight), r.IntN(10) > 0)
			now += r.Int64N(int64(10 * time.Millisecond))
			if got := a.Limit(); got < least || got > most {
				t.Fatalf("the limit is %d, not %d to %d", got, least, most)
			}
		}
		if s := a.Stats(); math.IsNaN(s.Throughput) || s.Base < 0 || s.RTT < 0 {
			t.Fatalf("%+v", s)
		}
	}
}

// Many at once: the race detector looks on, and whoever is told of the limit last
// is told the one that counts.
func TestManyMayObserveAtOnce(t *testing.T) {
	told := 0
	a := newAdaptive(t, AdaptiveOptions{Max: 40, OnChange: func(n int) { told = n }})
	var clock atomic.Int64
	var observers, setter sync.WaitGroup
	for i := range 8 {
		r := rand.New(rand.NewPCG(1, uint64(i)))
		observers.Go(func() {
			for range 10000 {
				now := clock.Add(int64(100 * time.Microsecond))
				a.Observe(now, time.Duration(1+r.Int64N(int64(20*time.Millisecond))), r.IntN(50), r.IntN(50) > 0)
			}
		})
	}
	var done atomic.Bool
	setter.Go(func() {
		for i := 0; !done.Load(); i++ {
			if err := a.Set(10 + i%50); err != nil {
				t.Error(err)
			}
			if s := a.Stats(); s.Limit < 1 || s.Limit > 60 {
				t.Errorf("the limit is %d", s.Limit)
			}
			runtime.Gosched()
		}
	})
	observers.Wait()
	done.Store(true)
	setter.Wait()
	feed(a, clock.Load(), time.Second, 1000, steady(a))
	if got := a.Stats().Throughput; got < 900 || got > 1100 {
		t.Errorf("afterwards 1000/s are seen as %.0f/s", got)
	}
	if got := a.Limit(); got != told {
		t.Errorf("the limit is %d, told was %d", got, told)
	}
}

// The guard concludes from a fall of throughput that the backend has become slower.
// It may have lost workers at the same moment: so a search follows.
func TestWhatTheGuardSaysIsLookedInto(t *testing.T) {
	a := newAdaptive(t, AdaptiveOptions{Max: simMaxOpen})
	s := simLoad(a, simFixedTime, 1, simPhase{3, simCapacity / 2, 10, 1}, simPhase{6, 2 * simCapacity, 10, 1}, simPhase{12, simCapacity, 10, 2})
	if a.knee.moves[AdaptiveGuarded] != 1 {
		t.Errorf("the guard spoke %d times: %s", a.knee.moves[AdaptiveGuarded], s.trace())
	}
	if got := a.knee.edges[holding][searching]; got != 1 {
		t.Errorf("%d searches followed: %s", got, s.trace())
	}
}

// Every legal edge of the phases is taken, and every
// other one is a bug.
func TestTheKneeTakesItsEdgesAndNoOthers(t *testing.T) {
	var taken [kneePhases][kneePhases]uint64
	count := func(a *Adaptive) {
		for from := range taken {
			for to := range taken[from] {
				taken[from][to] += a.knee.edges[from][to]
			}
		}
	}
	for seed := range uint64(5) {
		a := newAdaptive(t, AdaptiveOptions{Max: simMaxOpen})
		simLoad(a, simBimodal, seed, simPhase{10, 2 * simCapacity, 10, 1}, simPhase{30, 1.05 * simCapacity, 10, 1}, simPhase{40, 3 * simCapacity, 10, 0.3})
		count(a)
	}
	a := newAdaptive(t, AdaptiveOptions{Max: 40})
	now := feed(a, 0, 300*time.Millisecond, 1000, steady(a))
	if got := a.Stats().Phase; got != "searching" {
		t.Errorf("overloaded from the start, it is %s", got)
	}
	feed(a, now, time.Second, 1000, func(int) (time.Duration, int, bool) { return time.Millisecond, 2, true })
	count(a)
	a, now = overloaded(t)
	for i := 0; i < 500 && a.Stats().Phase != "looking"; i++ {
		now = feed(a, now, 20*time.Millisecond, 1000, func(int) (time.Duration, int, bool) {
			return time.Duration(a.Limit()) * time.Millisecond, a.Limit(), true
		})
	}
	feed(a, now, time.Second, 1000, func(int) (time.Duration, int, bool) { return time.Millisecond, 2, true })
	count(a)
	for from := range kneePhases {
		for to := range kneePhases {
			if legal := kneeEdges[from][to]; legal && taken[from][to] == 0 {
				t.Errorf("%s -> %s was never taken", from, to)
			} else if !legal && !panics(func() { (&knee{phase: from}).to(to) }) {
				t.Errorf("%s -> %s does not panic", from, to)
			}
		}
	}
}

func panics(f func()) (did bool) {
	defer func() { did = recover() != nil }()
	f()
	return false
}
