package limiter

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// breakerLab is a breaker in a bubble: its clock is the bubble's.
type breakerLab struct {
	*testing.T
	*Breaker
	start   time.Time
	changes []BreakerChange
}

func breakerBubble(t *testing.T, f func(*breakerLab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &breakerLab{T: t, start: time.Now()}
		l.Breaker = NewBreaker(func(c BreakerChange) {
			l.changes = append(l.changes, c)
			l.stats() // would hang if a lock were held
		})
		f(l)
	})
}

func (l *breakerLab) now() int64           { return int64(time.Since(l.start)) }
func (l *breakerLab) pass(d time.Duration) { <-time.After(d) }
func (l *breakerLab) stats() BreakerStats  { return l.Stats(l.now()) }

// ask is one whole request.
func (l *breakerLab) ask(o Outcome) error {
	t, err := l.Allow(l.now())
	if err == nil {
		t.Done(l.now(), o)
	}
	return err
}

func (l *breakerLab) asks(n int, o Outcome) {
	for range n {
		l.ask(o)
	}
}

func (l *breakerLab) probe() Ticket {
	l.Helper()
	t, err := l.Allow(l.now())
	if err != nil || !t.Probe() {
		l.Fatalf("no probe after %v: %v, %+v", l.now(), err, l.stats())
	}
	return t
}

func (l *breakerLab) refuses() {
	l.Helper()
	if t, err := l.Allow(l.now()); !errors.Is(err, ErrBreakerOpen) {
		l.Fatalf("a request passed (probe: %v)", t.Probe())
	}
}

func (l *breakerLab) is(want BreakerState) {
	l.Helper()
	if s := l.stats(); s.State != want {
		l.Fatalf("state is %v, want %v: %+v", s.State, want, s)
	}
}

// turn is a minute of five good requests a second, then so many seconds of bad.
func (l *breakerLab) turn(bad int) {
	for range 60 {
		l.asks(5, Succeeded)
		l.pass(time.Second)
	}
	for range bad {
		l.asks(5, Failed)
		l.pass(time.Second)
	}
}

func (l *breakerLab) trip() {
	l.Helper()
	l.pass(breakerWindow * time.Second) // what succeeded until now is forgotten
	l.asks(breakerLeast, Failed)
	l.is(BreakerOpen)
}

func TestBreakerTripsAtHalfOfTwentyInTenSeconds(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(*breakerLab)
		want BreakerState
	}{
		{"19 failures", func(l *breakerLab) { l.asks(19, Failed) }, BreakerClosed},
		{"20 failures", func(l *breakerLab) { l.asks(20, Failed) }, BreakerOpen},
		{"half of 20", func(l *breakerLab) { l.asks(10, Succeeded); l.asks(10, Failed) }, BreakerOpen},
		{"less than half", func(l *breakerLab) { l.asks(101, Succeeded); l.asks(100, Failed) }, BreakerClosed},
		{"successes of long ago", func(l *breakerLab) { l.asks(1000, Succeeded); l.pass(11 * time.Second); l.asks(20, Failed) }, BreakerOpen},
		{"successes of just now", func(l *breakerLab) { l.asks(1000, Succeeded); l.pass(8 * time.Second); l.asks(20, Failed) }, BreakerClosed},
		{"failures of long ago", func(l *breakerLab) { l.asks(19, Failed); l.pass(11 * time.Second); l.asks(19, Failed) }, BreakerClosed},
		{"a trickle of both", func(l *breakerLab) {
			for range 60 {
				l.asks(2, Succeeded)
				l.asks(1, Failed)
				l.pass(time.Second)
			}
		}, BreakerClosed},
		{"a trickle that turns", func(l *breakerLab) { l.turn(6) }, BreakerOpen},
		{"a trickle that has turned for 4 s", func(l *breakerLab) { l.turn(4) }, BreakerClosed},
		{"clients that left", func(l *breakerLab) { l.asks(1000, Ignored); l.asks(19, Failed) }, BreakerClosed},
	} {
		t.Run(c.name, func(t *testing.T) {
			breakerBubble(t, func(l *breakerLab) { c.do(l); l.is(c.want) })
		})
	}
}

func TestBreakerStaysOpenTwiceAsLongAfterEachProbeThatFails(t *testing.T) {
	breakerBubble(t, func(l *breakerLab) {
		l.trip()
		for _, d := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
			d *= time.Second
			if got := l.RetryIn(l.now()); got != d {
				t.Errorf("retry in %v, want %v", got, d)
			}
			l.pass(d - 1)
			l.refuses()
			l.pass(1)
			p := l.probe()
			l.is(BreakerHalfOpen)
			p.Done(l.now(), Failed)
			l.is(BreakerOpen)
		}
		l.pass(time.Minute)
		for range breakerProbes {
			l.probe().Done(l.now(), Succeeded)
		}
		l.is(BreakerClosed)
		l.trip() // and begins anew
		if got := l.RetryIn(l.now()); got != breakerOpenFirst {
			t.Errorf("after it was closed: retry in %v", got)
		}
		if s := l.stats(); s.Opened != 10 || s.Refused != 8 {
			t.Errorf("%+v", s)
		}
	})
}

// Probes that were under way when the first of them failed say nothing new, however
// they end.
func TestBreakerStaysOpenWhenFurtherProbesEnd(t *testing.T) {
	for _, o := range []Outcome{Failed, Succeeded, Ignored} {
		breakerBubble(t, func(l *breakerLab) {
			l.asks(breakerLeast, Failed)
			for open := breakerOpenFirst; open < breakerOpenMost; open *= 2 {
				l.pass(open)
				first, second, third := l.probe(), l.probe(), l.probe()
				first.Done(l.now(), Failed)
				l.pass(33 * time.Millisecond)
				second.Done(l.now(), o)
				l.pass(33 * time.Millisecond)
				third.Done(l.now(), o)
				if got, want := l.RetryIn(l.now()), min(2*open, breakerOpenMost)-66*time.Millisecond; l.state() != BreakerOpen || got != want {
					t.Fatalf("after %v open, and one probe of three that failed, it is %v for %v, want open for %v", open, l.state(), got, want)
				}
			}
		})
	}
}

func TestBreakerLetsThreeProbesThroughAndClosesWhenTheyAreGood(t *testing.T) {
	breakerBubble(t, func(l *breakerLab) {
		l.asks(100, Succeeded)
		l.trip()
		l.pass(breakerOpenFirst)
		a, b, c := l.probe(), l.probe(), l.probe()
		for range 10 {
			l.refuses()
		}
		// One whose client left gives its place back, once.
		b.Done(l.now(), Ignored)
		b.Done(l.now(), Ignored)
		d := l.probe()
		l.refuses()
		a.Done(l.now(), Succeeded)
		l.refuses() // its place is used up
		c.Done(l.now(), Succeeded)
		l.is(BreakerHalfOpen)
		d.Done(l.now(), Succeeded)
		l.is(BreakerClosed)
		if s := l.stats(); s.Probes != 0 || s.Failures+s.Successes != 0 {
			t.Errorf("a closed breaker counts anew: %+v", s)
		}
		for range 100 { // no ramp: queue and pacer shield the backend
			if err := l.ask(Succeeded); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestBreakerHearsNothingOfRequestsFromBeforeATrip(t *testing.T) {
	breakerBubble(t, func(l *breakerLab) {
		var late []Ticket
		for range 100 {
			p, _ := l.Allow(l.now())
			late = append(late, p)
		}
		l.trip()
		l.pass(breakerOpenFirst)
		p := []Ticket{l.probe(), l.probe(), l.probe()}
		for _, p := range late[:50] {
			p.Done(l.now(), Failed)
		}
		l.is(BreakerHalfOpen)
		for _, p := range p {
			p.Done(l.now(), Succeeded)
		}
		for _, p := range late[50:] {
			p.Done(l.now(), Failed)
		}
		l.is(BreakerClosed)
	})
}

func TestBreakerGivesUpAProbeThatIsLost(t *testing.T) {
	breakerBubble(t, func(l *breakerLab) {
		l.trip()
		l.pass(breakerOpenFirst)
		lost := []Ticket{l.probe(), l.probe(), l.probe()}
		l.pass(breakerProbeMost - 1)
		l.refuses()
		l.pass(1)
		p := l.probe()
		lost[0].Done(l.now(), Failed) // too late
		l.is(BreakerHalfOpen)
		p.Done(l.now(), Succeeded)
		l.probe().Done(l.now(), Succeeded)
		l.probe().Done(l.now(), Succeeded)
		l.is(BreakerClosed)
	})
}

func TestBreakerCountsAProbeThatHangsAgainstTheNextOnes(t *testing.T) {
	breakerBubble(t, func(l *breakerLab) {
		l.trip()
		l.pass(breakerOpenFirst)
		hang, hang2, p := l.probe(), l.probe(), l.probe()
		p.Done(l.now(), Failed)
		l.pass(2 * breakerOpenFirst)
		p = l.probe() // the third place
		l.refuses()
		hang.Done(l.now(), Failed) // of the last half-open state: gives its place back, says nothing
		l.is(BreakerHalfOpen)
		q := l.probe()
		l.refuses()
		p.Done(l.now(), Failed)
		q.Done(l.now(), Succeeded)
		hang2.Done(l.now(), Succeeded)
		l.is(BreakerOpen)
		if got := l.RetryIn(l.now()); got != 4*breakerOpenFirst {
			t.Errorf("retry in %v: late probes must not end the wait", got)
		}
	})
}

func TestBreakerObeysAHand(t *testing.T) {
	breakerBubble(t, func(l *breakerLab) {
		force := func(f BreakerForce) {
			t.Helper()
			if err := l.Force(l.now(), f); err != nil {
				t.Fatal(err)
			}
		}
		force(BreakerForceOpen)
		l.pass(time.Hour)
		l.refuses()
		if got := l.RetryIn(l.now()); got != breakerOpenMost {
			t.Errorf("retry in %v", got)
		}
		force(BreakerForceClosed)
		l.asks(200, Failed)
		l.is(BreakerClosed)
		if s := l.stats(); s.Failures != 200 || s.Force != BreakerForceClosed {
			t.Errorf("forced: %+v", s)
		}
		force(BreakerAuto)
		l.is(BreakerClosed)
		l.asks(19, Failed)
		l.is(BreakerClosed) // counts anew
		l.asks(1, Failed)
		l.is(BreakerOpen)
		force(BreakerForceOpen)
		force(BreakerAuto)
		l.is(BreakerClosed)
		if l.Force(l.now(), breakerForces) == nil {
			t.Error("nonsense was taken")
		}
	})
}

func TestBreakerThatIsResetBeginsAnewAndReportsOnlyWhatItChanged(t *testing.T) {
	breakerBubble(t, func(l *breakerLab) {
		reset := func() { l.Reset(l.now(), "another backend") }
		old, _ := l.Allow(l.now())
		l.asks(19, Failed)
		reset()
		old.Done(l.now(), Failed)
		l.asks(19, Failed)
		l.is(BreakerClosed)
		if len(l.changes) > 0 {
			t.Errorf("nothing changed, and this was told: %+v", l.changes)
		}
		l.asks(1, Failed)
		l.is(BreakerOpen)
		l.pass(breakerOpenFirst)
		probe := l.probe()
		told := len(l.changes)
		reset()
		l.is(BreakerClosed)
		want := BreakerChange{From: BreakerHalfOpen, To: BreakerClosed, At: l.now(), Cause: "another backend"}
		if len(l.changes) != told+1 || l.changes[told] != want {
			t.Errorf("%+v, want %+v", l.changes[told:], want)
		}
		probe.Done(l.now(), Failed) // of the old backend
		l.is(BreakerClosed)
		l.Force(l.now(), BreakerForceOpen)
		reset()
		l.is(BreakerClosed)
		if s := l.stats(); s.Force != BreakerAuto || s.Probes != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestBreakerStatsAreOfTheLastTenSeconds(t *testing.T) {
	breakerBubble(t, func(l *breakerLab) {
		for range 30 {
			l.asks(7, Succeeded)
			l.asks(1, Failed)
			l.pass(time.Second)
		}
		// Nine whole seconds, and the one that has just begun.
		if s := l.stats(); s.Successes != 63 || s.Failures != 9 || s.For != 30*time.Second {
			t.Errorf("in the rush: %+v", s)
		}
		l.pass(10 * time.Second)
		if s := l.stats(); s.Successes+s.Failures != 0 {
			t.Errorf("after it: %+v", s)
		}
		l.trip()
		l.pass(breakerOpenFirst / 4)
		if s := l.stats(); s.For != breakerOpenFirst/4 || s.RetryIn != 3*breakerOpenFirst/4 {
			t.Errorf("open: %+v", s)
		}
	})
}

func TestBreakerReportsEveryChangeOnce(t *testing.T) {
	breakerBubble(t, func(l *breakerLab) {
		l.asks(10, Succeeded)
		l.asks(10, Failed)
		l.pass(breakerOpenFirst)
		l.probe().Done(l.now(), Failed)
		l.pass(2 * breakerOpenFirst)
		for range breakerProbes {
			l.probe().Done(l.now(), Succeeded)
		}
		l.Force(l.now(), BreakerForceClosed)
		l.Force(l.now(), BreakerForceClosed)
		l.Force(l.now(), BreakerForceOpen)
		l.Force(l.now(), BreakerAuto)
		l.trip()
		l.pass(breakerOpenFirst)
		l.probe()
		l.Force(l.now(), BreakerForceClosed)

		s := func(d time.Duration) int64 { return int64(d * breakerOpenFirst) }
		const trip = int64(breakerWindow * time.Second) // that l.trip waits
		want := []BreakerChange{
			{BreakerClosed, BreakerOpen, 0, "10 of 20 failed within 10 s, the limit is 50 %", breakerOpenFirst, 10, 10},
			{BreakerOpen, BreakerHalfOpen, s(1), "it was open long enough, probes may try", 0, 0, 0},
			{BreakerHalfOpen, BreakerOpen, s(1), "a probe failed", 2 * breakerOpenFirst, 0, 0},
			{BreakerOpen, BreakerHalfOpen, s(3), "it was open long enough, probes may try", 0, 0, 0},
			{BreakerHalfOpen, BreakerClosed, s(3), "3 probes succeeded", 0, 0, 0},
			{BreakerClosed, BreakerClosed, s(3), "set to closed by hand", 0, 0, 0},
			{BreakerClosed, BreakerOpen, s(3), "set to open by hand", 0, 0, 0},
			{BreakerOpen, BreakerClosed, s(3), "set to auto by hand", 0, 0, 0},
			{BreakerClosed, BreakerOpen, s(3) + trip, "20 of 20 failed within 10 s, the limit is 50 %", breakerOpenFirst, 20, 0},
			{BreakerOpen, BreakerHalfOpen, s(4) + trip, "it was open long enough, probes may try", 0, 0, 0},
			{BreakerHalfOpen, BreakerClosed, s(4) + trip, "set to closed by hand", 0, 0, 0},
		}
		for i, c := range l.changes {
			if i >= len(want) || c != want[i] {
				t.Errorf("change %d: %+v", i, c)
			}
		}
		if len(l.changes) != len(want) {
			t.Errorf("%d changes, want %d", len(l.changes), len(want))
		}
		// That was every edge there is.
		for from, row := range l.stats().Edges {
			for to, n := range row {
				if (n > 0) != breakerEdges[from][to] {
					t.Errorf("%v to %v: taken %d times", BreakerState(from), BreakerState(to), n)
				}
			}
		}
	})
}

func TestBreakerPanicsAtAnEdgeOutsideTheTable(t *testing.T) {
	b := NewBreaker(nil)
	defer func() {
		if recover() == nil {
			t.Error("closed to half_open: no panic")
		}
	}()
	b.to(BreakerHalfOpen)
}

// Whatever many do at once: never more than three probes, no deadlock, and a
// backend that is good again is found in the end.
func TestBreakerUnderManyHands(t *testing.T) {
	b := NewBreaker(func(BreakerChange) {})
	var clock, probes, most atomic.Int64
	work := func(r *rand.Rand, steps int, bad int) {
		for range steps {
			now := clock.Add(int64(r.IntN(int(20 * time.Millisecond))))
			p, err := b.Allow(now)
			if err != nil {
				b.RetryIn(now)
				continue
			}
			if p.Probe() {
				n := probes.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
			}
			o := Succeeded
			if r.IntN(100) < bad {
				o = Outcome(r.IntN(3))
			}
			if p.Probe() {
				probes.Add(-1) // before Done, which gives the place away
			}
			p.Done(now, o)
			if r.IntN(500) == 0 {
				b.Stats(now)
			}
		}
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() { work(rand.New(rand.NewPCG(1, uint64(i))), 20000, 90) })
	}
	wg.Wait()
	s := b.Stats(clock.Load())
	if most.Load() > breakerProbes || s.Probes != 0 {
		t.Errorf("%d probes at once, %d left", most.Load(), s.Probes)
	}
	if in := s.Edges[BreakerClosed][BreakerOpen] + s.Edges[BreakerHalfOpen][BreakerOpen]; in != s.Opened || in < 3 {
		t.Errorf("opened %d times, by its edges %d", s.Opened, in)
	}
	work(rand.New(rand.NewPCG(2, 2)), 20000, 0)
	if s := b.Stats(clock.Load()); s.State != BreakerClosed || s.Successes == 0 {
		t.Errorf("the backend is good again: %+v", s)
	}
}

func TestBreakerTakesAnyTime(t *testing.T) {
	times := []int64{0, -1, -1 << 63, 1<<63 - 1, 5, 1 << 62}
	for _, at := range times {
		b := NewBreaker(nil)
		for _, later := range times {
			for range breakerLeast {
				if p, err := b.Allow(at); err == nil {
					p.Done(at, Failed)
				}
			}
			p, _ := b.Allow(later)
			p.Done(at, Succeeded)
			p.Done(later, Outcome(200))
			b.Stats(at)
			b.RetryIn(later)
		}
	}
}

func BenchmarkBreakerClosed(b *testing.B) {
	k := NewBreaker(nil)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for now := int64(0); pb.Next(); now += 1000 {
			p, _ := k.Allow(now)
			p.Done(now, Succeeded)
		}
	})
}

func BenchmarkBreakerOpen(b *testing.B) {
	k := NewBreaker(nil)
	k.Force(0, BreakerForceOpen)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			k.Allow(0)
		}
	})
}
