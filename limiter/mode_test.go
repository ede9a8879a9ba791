package limiter

import (
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// modeLoad is the signals of one tick.
type modeLoad struct {
	dials        int
	ports, delay float64 // delay as a multiple of the target
	served, shed uint64  // of class 3
	breaker      BreakerState
}

// modeLab is a ladder and the counters that its owner would have.
type modeLab struct {
	*testing.T
	*Ladder
	now     int64
	s       Signals
	changes []ModeChange
}

func newModeLab(t *testing.T) *modeLab {
	l := &modeLab{T: t}
	l.Ladder = NewLadder(0, func(c ModeChange) {
		l.changes = append(l.changes, c)
		l.Effect()
		l.Stats(c.At) // would hang if a lock were held
	})
	l.s.Target, l.s.InFlightMax = 10*time.Millisecond, 20
	l.tick(modeLoad{})
	return l
}

func (l *modeLab) tick(m modeLoad) Mode {
	l.now += int64(ModeTick)
	l.s.DialsWaiting, l.s.PortsUsed, l.s.Breaker = m.dials, m.ports, m.breaker
	l.s.LeastDelay = time.Duration(m.delay * float64(l.s.Target))
	l.s.Waiting = int(math.Ceil(m.delay))
	l.s.Served[3] += m.served
	l.s.Shed[3] += m.shed
	l.Tick(l.now, l.s)
	return l.Effect().Mode
}

func (l *modeLab) ticks(n int, m modeLoad) (at Mode) {
	for range n {
		at = l.tick(m)
	}
	return at
}

// stays ticks n times and wants the mode unchanged.
func (l *modeLab) stays(want Mode, n int, m modeLoad) {
	l.Helper()
	for i := range n {
		if got := l.tick(m); got != want {
			l.Fatalf("tick %d of %+v: %v, want %v", i+1, m, got, want)
		}
	}
}

func shedding(perMille uint64) modeLoad { return modeLoad{served: 1000 - perMille, shed: perMille} }

// Each row is one trigger: loads at its level, as high as can be below it, at
// half of it, and just below that.
var modeRows = []struct {
	name                      string
	rule                      int
	level, below, half, under modeLoad
	after                     Mode // where it comes from and goes
	enter, leave              int  // ticks
}{
	{"dials", 0, modeLoad{dials: 2}, modeLoad{dials: 1}, modeLoad{dials: 1}, modeLoad{}, ModeNormal, 3, 10},
	{"ports", 1, modeLoad{ports: .5}, modeLoad{ports: .499}, modeLoad{ports: .25}, modeLoad{ports: .249}, ModeNormal, 3, 10},
	{"delay", 2, modeLoad{delay: 1}, modeLoad{delay: .99}, modeLoad{delay: .5}, modeLoad{delay: .49}, ModeNormal, 1, 10},
	{"a 20th shed", 3, shedding(50), shedding(49), shedding(25), shedding(24), ModeNormal, 3, 10},
	{"half shed", 4, shedding(500), shedding(499), shedding(250), shedding(249), ModeShedding, 10, 10},
	{"breaker open", 5, modeLoad{breaker: BreakerOpen}, modeLoad{}, modeLoad{breaker: BreakerHalfOpen}, modeLoad{}, ModeNormal, 1, 1},
}

func TestModeIsEnteredKeptAndLeftByItsSignal(t *testing.T) {
	for _, r := range modeRows {
		t.Run(r.name, func(t *testing.T) {
			mode := modeTriggers[r.rule].mode
			l := newModeLab(t)
			// Below the level it is never entered, however long.
			if got := l.ticks(100, r.below); got != r.after {
				t.Fatalf("below the level: %v", got)
			}

			// At the level it is entered with the last of the ticks.
			l = newModeLab(t)
			for i := range r.enter {
				if got := l.tick(r.level); (got == mode) != (i == r.enter-1) {
					t.Fatalf("tick %d at the level: %v", i+1, got)
				}
			}
			// At half of it, it is kept. One tick too few below half, and it
			// is kept too.
			l.stays(mode, 100, r.half)
			for range 5 {
				l.stays(mode, r.leave-1, r.under)
				l.stays(mode, 5, r.level)
				l.stays(mode, 1, r.half)
			}
			l.stays(mode, 5, r.half) // out of the window of arrivals
			l.stays(mode, r.leave-1, r.under)
			l.stays(r.after, 100, r.under)
		})
	}
	if len(modeRows) != len(modeTriggers) {
		t.Errorf("%d rows for %d triggers", len(modeRows), len(modeTriggers))
	}
}

// A signal around the level, or one that jumps from nothing to twice the level
// and back, moves the mode once or never.
func TestModeNeverFlaps(t *testing.T) {
	for _, r := range modeRows {
		t.Run(r.name, func(t *testing.T) {
			mode := modeTriggers[r.rule].mode
			for seed := range uint64(20) {
				rnd := rand.New(rand.NewPCG(seed, 0))
				l := newModeLab(t)
				l.ticks(20, r.below) // may be a rung of its own
				for range 500 {
					l.tick([]modeLoad{r.level, r.below, r.half}[rnd.IntN(3)])
				}
				n := 0
				for _, c := range l.changes {
					if c.To == mode || c.From == mode {
						n++
					}
				}
				if n > 1 && mode != ModeOpen { // the breaker's state is no number
					t.Fatalf("seed %d: %d changes: %+v", seed, n, l.changes)
				}
			}
			for on := 1; on < r.enter+3; on++ {
				for off := 1; off < r.leave; off++ {
					l := newModeLab(t)
					for range 50 {
						l.ticks(on, r.level)
						l.ticks(off, modeLoad{})
					}
					if e := l.Stats(l.now).Edges; e[mode][r.after] > 0 {
						t.Fatalf("%d ticks on, %d off: left %d times", on, off, e[mode][r.after])
					}
				}
			}
		})
	}
}

func TestModeGoesUpOverRungsAndStraightDown(t *testing.T) {
	flood := modeLoad{dials: 9, ports: .9, delay: 9, served: 10, shed: 90}
	all := flood
	all.breaker = BreakerOpen
	for _, c := range []struct {
		name string
		do   func(*modeLab)
		want []Mode
	}{
		{"a flood", func(l *modeLab) { l.ticks(20, flood) }, []Mode{ModeQueueing, ModeShedding, ModeRefusing}},
		{"a flood of those who would not wait", func(l *modeLab) { l.ticks(5, shedding(900)) }, []Mode{ModeShedding}},
		{"a burst of one tick", func(l *modeLab) { l.tick(shedding(900)); l.ticks(30, modeLoad{served: 10}) },
			[]Mode{ModeShedding, ModeNormal}},
		{"the breaker opens", func(l *modeLab) { l.tick(modeLoad{breaker: BreakerOpen}) }, []Mode{ModeOpen}},
		{"it opens and closes in a flood", func(l *modeLab) { l.ticks(20, flood); l.tick(all); l.tick(flood) },
			[]Mode{ModeQueueing, ModeShedding, ModeRefusing, ModeOpen, ModeRefusing}},
		{"a backend is gone and back", func(l *modeLab) {
			l.ticks(20, flood)
			l.ticks(50, modeLoad{breaker: BreakerOpen})
			l.ticks(5, modeLoad{breaker: BreakerHalfOpen})
			l.ticks(5, modeLoad{served: 100})
		}, []Mode{ModeQueueing, ModeShedding, ModeRefusing, ModeOpen, ModeNormal}},
		{"the flood ends but ports are short", func(l *modeLab) {
			l.ticks(20, flood)
			l.ticks(4, modeLoad{ports: .9, served: 90})
			l.ticks(30, modeLoad{ports: .9, served: 90})
		}, []Mode{ModeQueueing, ModeShedding, ModeRefusing, ModeShedding, ModePaced}},
		{"all stops", func(l *modeLab) { l.ticks(20, flood); l.ticks(40, modeLoad{}) },
			[]Mode{ModeQueueing, ModeShedding, ModeRefusing, ModeNormal}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newModeLab(t)
			c.do(l)
			for i, got := range l.changes {
				if i >= len(c.want) || got.To != c.want[i] {
					t.Errorf("change %d: %v to %v (%s)", i, got.From, got.To, got.Cause)
				}
			}
			if len(l.changes) != len(c.want) {
				t.Errorf("%d changes, want %v", len(l.changes), c.want)
			}
		})
	}
}

func TestModeByHandHoldsUntilReleased(t *testing.T) {
	l := newModeLab(t)
	l.ticks(30, modeLoad{served: 10})
	for m := range modes {
		if err := l.Force(l.now, m); err != nil {
			t.Fatal(err)
		}
		l.stays(m, 30, modeLoad{breaker: BreakerOpen})
		length := 30 * ModeTick
		if m == ModeNormal {
			length = time.Duration(l.now) // it was normal before
		}
		if s := l.Stats(l.now); !s.Forced || s.Mode != m || s.Signs != ModeOpen || s.For != length {
			t.Errorf("%v: %+v", m, s)
		}
	}
	if l.Force(l.now, modes) == nil {
		t.Error("nonsense was taken")
	}
	l.Force(l.now, ModeNormal)
	l.Force(l.now, ModeNormal) // says nothing new
	// The signals were watched: what they say now holds at once.
	l.ticks(20, shedding(900))
	l.Release(l.now)
	l.Release(l.now)
	if got := l.Effect().Mode; got != ModeRefusing {
		t.Errorf("released: %v", got)
	}
	l.stays(ModeRefusing, 1, shedding(900))

	var want []ModeChange
	from := ModeNormal
	hand := func(to Mode, at time.Duration, cause string) {
		want = append(want, ModeChange{From: from, To: to, At: int64(at * ModeTick), ByHand: true, Held: cause == "fixed by hand", Cause: cause})
		from = to
	}
	for m := range modes {
		hand(m, time.Duration(31+30*int(m)), "fixed by hand")
	}
	hand(ModeNormal, 31+30*6, "fixed by hand")
	hand(ModeRefusing, 31+30*6+20, "released by hand")
	for i, c := range l.changes {
		if i >= len(want) || c != want[i] {
			t.Errorf("change %d: %+v", i, c)
		}
	}
	if len(l.changes) != len(want) {
		t.Errorf("%d changes, want %d", len(l.changes), len(want))
	}
}

func TestModePanicsAtAnEdgeThatSignalsDoNotTake(t *testing.T) {
	for from := range modes {
		for to := range modes {
			if modeEdges[from][to] {
				continue
			}
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%v to %v: no panic", from, to)
					}
				}()
				(&Ladder{mode: from}).to(to, false)
			}()
		}
	}
}

func TestModeChangeIsReportedOnceWithItsNumbers(t *testing.T) {
	l := newModeLab(t)
	l.ticks(4, modeLoad{dials: 7})
	l.ticks(11, modeLoad{ports: .6})
	l.ticks(2, modeLoad{delay: 2.5})
	l.ticks(14, shedding(600))
	l.ticks(2, modeLoad{breaker: BreakerOpen})
	l.ticks(60, modeLoad{served: 1000})
	for i, want := range []struct {
		edge, cause, signal string
		value, level        float64
	}{
		{"normal to paced", "dials that wait for the pacer (dial.rate): 7, the level is 2 for 300ms", "dials_waiting", 7, 2},
		{"paced to queueing", "least delay in the queue: 25ms, the level is 10ms for 100ms", "queue_delay", 2.5, 1},
		{"queueing to shedding", "shed of all arrivals: 60 %, the level is 5 % for 300ms", "shed_part", .6, .05},
		{"shedding to refusing", "shed of all arrivals: 60 %, the level is 50 % for 1s", "shed_part", .6, .5},
		{"refusing to open", "the breaker is open", "breaker", 1, 1},
		{"open to refusing", "the breaker is closed", "breaker", 0, 1},
		{"refusing to shedding", "shed of all arrivals: 0 %, below half of the level 50 % for 1s", "shed_part", 0, .5},
		{"shedding to normal", "shed of all arrivals: 0 %, below half of the level 5 % for 1s", "shed_part", 0, .05},
	} {
		if i >= len(l.changes) {
			t.Fatalf("%d changes only", len(l.changes))
		}
		c := l.changes[i]
		if edge := c.From.String() + " to " + c.To.String(); edge != want.edge || c.Cause != want.cause ||
			c.Signal != want.signal || c.Value != want.value || c.Level != want.level || c.ByHand {
			t.Errorf("change %d: %s: %+v, want %+v", i, edge, c, want)
		}
	}
	s := l.Stats(l.now)
	var edges uint64
	var in time.Duration
	for m := range modes {
		in += s.In[m]
		for _, n := range s.Edges[m] {
			edges += n
		}
	}
	if edges != uint64(len(l.changes)) || in != time.Duration(l.now) || s.In[ModeOpen] != 2*ModeTick {
		t.Errorf("%d changes, %d edges, %v of %v in modes: %+v", len(l.changes), edges, in, time.Duration(l.now), s)
	}
}

func TestModeMeansWhatTheTableSays(t *testing.T) {
	for _, want := range []Effect{
		{ModeNormal, RefuseNone, 5, 0, false, true},
		{ModePaced, RefuseNone, 5, 0, true, true},
		{ModeQueueing, RefuseNone, 5, 0, true, true},
		{ModeShedding, RefuseNone, 5, 0, true, true},
		{ModeRefusing, RefuseWaiters, 5, 20, true, true},
		{ModeOpen, RefuseAll, 5, 0, true, true},
	} {
		l := newModeLab(t)
		l.Force(l.now, want.Mode)
		if got := l.Effect(); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		if want.Mode == ModeRefusing { // the bound follows the limit
			l.s.InFlightMax = 0
			l.tick(modeLoad{})
			if got := l.Effect().QueueMax; got != 1 {
				t.Errorf("queue of %d", got)
			}
		}
		m, err := ParseMode(want.Mode.String())
		if err != nil || m != want.Mode || Modes()[m] != m {
			t.Errorf("%v: %v, %v", want.Mode, m, err)
		}
	}
	if _, err := ParseMode("brown"); err == nil || !strings.Contains(err.Error(), "normal, paced, queueing, shedding, refusing, open") {
		t.Errorf("%v", err)
	}
}

func TestModeTakesAnySignals(t *testing.T) {
	l := NewLadder(1<<63-1, nil)
	rnd := rand.New(rand.NewPCG(3, 3))
	ints := []int{0, 1, -1, math.MinInt, math.MaxInt}
	floats := []float64{0, 1, -1, math.NaN(), math.Inf(1), math.Inf(-1)}
	for range 10000 {
		i := func() int { return ints[rnd.IntN(len(ints))] }
		s := Signals{DialsWaiting: i(), PortsUsed: floats[rnd.IntN(len(floats))], Waiting: i(),
			LeastDelay: time.Duration(i()), Target: time.Duration(i()), InFlightMax: i(), Breaker: BreakerState(rnd.IntN(9))}
		for c := range s.Served {
			s.Served[c], s.Shed[c] = rnd.Uint64()>>rnd.IntN(64), rnd.Uint64()>>rnd.IntN(64)
		}
		l.Tick(int64(i()), s)
		l.Stats(int64(i()))
	}
	// A number that is none ends what it cannot prove.
	m := newModeLab(t)
	m.ticks(3, modeLoad{ports: .9})
	m.stays(ModePaced, 9, modeLoad{ports: math.NaN()})
	m.stays(ModeNormal, 1, modeLoad{ports: math.NaN()})
}

func TestModeIsJudgedByWhatIsNew(t *testing.T) {
	// A new queue counts from zero: that is no flood.
	m := newModeLab(t)
	m.ticks(20, modeLoad{served: 1000, shed: 10})
	m.s.Served, m.s.Shed = [6]uint64{}, [6]uint64{}
	m.stays(ModeNormal, 20, modeLoad{served: 1000, shed: 10})
	// Nor is what an old one has counted before the first tick.
	l := &modeLab{T: t, Ladder: NewLadder(0, nil)}
	l.s.Shed[3] = 1 << 40
	l.stays(ModeNormal, 20, modeLoad{})
	// A delay counts while somebody waits or is served.
	l.s.LeastDelay, l.s.Waiting = time.Hour, 0
	for range 20 {
		l.now += int64(ModeTick)
		l.Tick(l.now, l.s)
	}
	if got := l.Effect().Mode; got != ModeNormal {
		t.Errorf("an old delay: %v", got)
	}
	l.s.Waiting = 1
	l.Tick(l.now, l.s)
	if got := l.Effect().Mode; got != ModeQueueing {
		t.Errorf("somebody waits: %v", got)
	}
	// Of very few arrivals no part is taken.
	l = newModeLab(t)
	for range 20 {
		l.stays(ModeNormal, 1, modeLoad{shed: 1})
		l.stays(ModeNormal, 2, modeLoad{})
	}
}

func TestModeTakesFiveMillisecondsForAQueueWithoutTarget(t *testing.T) {
	for delay, want := range map[time.Duration]Mode{4999 * time.Microsecond: ModeNormal, 5 * time.Millisecond: ModeQueueing} {
		l := NewLadder(0, nil)
		l.Tick(0, Signals{Waiting: 1, LeastDelay: delay})
		if got := l.Effect().Mode; got != want {
			t.Errorf("%v: %v", delay, got)
		}
	}
}

func TestModeTimeIsBookedWhereItWasSpent(t *testing.T) {
	l := NewLadder(100, nil)
	l.Force(130, ModePaced)
	l.Tick(135, Signals{})
	l.Force(170, ModeOpen)
	s := l.Stats(171)
	if want := [modes]time.Duration{ModeNormal: 30, ModePaced: 40, ModeOpen: 1}; s.In != want || s.For != 1 {
		t.Errorf("%v, in this one for %v", s.In, s.For)
	}
}

// A backend that dies and comes back, seen through its breaker.
func TestModeFollowsTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		now := func() int64 { return int64(time.Since(start)) }
		b, l := NewBreaker(nil), NewLadder(0, nil)
		modeAfter := func(d time.Duration) Mode {
			for range d / ModeTick {
				<-time.After(ModeTick)
				l.Tick(now(), Signals{Breaker: b.Stats(now()).State})
			}
			return l.Effect().Mode
		}
		probe := func(o Outcome) {
			p, err := b.Allow(now())
			if err != nil {
				t.Fatal(err)
			}
			p.Done(now(), o)
		}
		for range breakerLeast {
			p, _ := b.Allow(now())
			p.Done(now(), Failed)
		}
		if got := modeAfter(ModeTick); got != ModeOpen {
			t.Fatalf("tripped: %v", got)
		}
		modeAfter(5 * time.Second)
		probe(Succeeded)
		if got := modeAfter(ModeTick); got != ModeOpen {
			t.Errorf("half-open: %v", got)
		}
		probe(Succeeded)
		probe(Succeeded)
		if got := modeAfter(ModeTick); got != ModeNormal {
			t.Errorf("closed: %v", got)
		}
	})
}

func TestModeUnderManyHands(t *testing.T) {
	l := NewLadder(0, func(ModeChange) {})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(i)))
			var s Signals
			for n := range int64(5000) {
				switch i {
				case 0:
					s.Shed[3] += uint64(rnd.IntN(20))
					s.Served[3] += 10
					s.Breaker = BreakerState(rnd.IntN(3))
					l.Tick(n, s)
				case 1:
					l.Force(n, Mode(rnd.IntN(int(modes))))
					l.Release(n)
				case 2:
					l.Stats(n)
				default:
					if e := l.Effect(); e.LowestClass < 1 || e.Mode >= modes {
						t.Error(e)
					}
				}
			}
		})
	}
	wg.Wait()
	l.Release(5000)
	if s := l.Stats(5000); s.Mode != s.Signs {
		t.Errorf("%+v", s)
	}
}

func BenchmarkLadderEffect(b *testing.B) {
	l := NewLadder(0, nil)
	b.ReportAllocs()
	for b.Loop() {
		if l.Effect().Refuse != RefuseNone {
			b.Fatal()
		}
	}
}

func BenchmarkLadderTick(b *testing.B) {
	l := NewLadder(0, nil)
	var s Signals
	b.ReportAllocs()
	for n := int64(0); b.Loop(); n++ {
		s.Served[3] += 10
		s.Shed[3] += 20
		l.Tick(n, s)
	}
}
