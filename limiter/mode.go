package limiter

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Mode is how far a backend's service is degraded: the rungs of a ladder, the
// cheapest harm first. modeTriggers has the numbers.
//
//	              entered when                           what it means
//	normal
//	 |  paced     dials wait, or ports run short         no dials for comfort
//	 |  queueing  waits are longer than the target       the queue bends
//	 |  shedding  a 20th of arrivals is shed             the less important give way
//	 |   |
//	 |  refusing  half of arrivals is shed for a second  nobody waits for long
//	 v   v
//	 open         the breaker is not closed              only probes pass
//
// Upwards a rung may be skipped, except that refusing comes only after shedding:
// both look at the same number. Downwards it goes straight to the highest rung
// whose own signal still holds: each has been watched all along, with the same
// patience, so to go step by step would only refuse people for reasons that are
// gone.
type Mode uint8

const (
	ModeNormal Mode = iota
	ModePaced
	ModeQueueing
	ModeShedding
	ModeRefusing
	ModeOpen
	modes
)

// The words are metric labels and what a hand types.
var modeNames = [modes]string{"normal", "paced", "queueing", "shedding", "refusing", "open"}

func (m Mode) String() string { return modeNames[m] }

// Modes returns every Mode, in order, for those who make labels.
func Modes() []Mode {
	out := make([]Mode, modes)
	for i := range out {
		out[i] = Mode(i)
	}
	return out
}

// ParseMode is the Mode that a word names.
func ParseMode(word string) (Mode, error) {
	for m, name := range modeNames {
		if name == word {
			return Mode(m), nil
		}
	}
	return 0, fmt.Errorf("unknown mode %q: use %s", word, strings.Join(modeNames[:], ", "))
}

// modeEdges lists the edges that signals take. A hand takes any.
var modeEdges = [modes][modes]bool{
	ModeNormal:   {ModePaced: true, ModeQueueing: true, ModeShedding: true, ModeOpen: true},
	ModePaced:    {ModeNormal: true, ModeQueueing: true, ModeShedding: true, ModeOpen: true},
	ModeQueueing: {ModeNormal: true, ModePaced: true, ModeShedding: true, ModeOpen: true},
	ModeShedding: {ModeNormal: true, ModePaced: true, ModeQueueing: true, ModeRefusing: true, ModeOpen: true},
	ModeRefusing: {ModeNormal: true, ModePaced: true, ModeQueueing: true, ModeShedding: true, ModeOpen: true},
	ModeOpen:     {ModeNormal: true, ModePaced: true, ModeQueueing: true, ModeShedding: true, ModeRefusing: true},
}

// Refuse is who is turned away at once.
type Refuse uint8

const (
	RefuseNone    Refuse = iota
	RefuseWaiters        // who finds QueueMax others waiting
	RefuseAll            // all but those with a probe's Ticket
)

// Effect is what a mode means to the gate and to the pool.
type Effect struct {
	Mode        Mode
	Refuse      Refuse
	LowestClass int  // who is less important (a greater number) is turned away
	QueueMax    int  // bound of the queue; 0 is the configured one
	PaceDials   bool // no dials for comfort (min_idle, recycling)
	ByHand      bool // a hand has set the mode
}

// effect is what m means with these numbers.
func (m Mode) effect(lowest, inFlight int) Effect {
	e := Effect{Mode: m, LowestClass: modeClasses, PaceDials: m >= ModePaced}
	switch m {
	case ModeShedding:
		e.LowestClass = lowest
	case ModeRefusing:
		// A queue as long as what is in flight: the last in it waits
		// about as long as one request takes.
		e.Refuse, e.LowestClass, e.QueueMax = RefuseWaiters, lowest, max(inFlight, 1)
	case ModeOpen:
		e.Refuse = RefuseAll
	}
	return e
}

// ModeChange is one change of mode, for the log. From and To are the same if a
// hand fixed the mode that was there, or let go of it.
type ModeChange struct {
	From, To Mode
	At       int64
	ByHand   bool
	Held     bool // by a hand, from now on

	Cause  string // a whole sentence
	Signal string // which one it was; "" by hand
	Value  float64
	Level  float64 // the value entered the rung at this level, or left it below half of this
}

// Ladder is the mode of one backend. Its owner calls Tick with the signals every
// ModeTick; whoever serves a request reads Effect, which is one atomic load.
// Safe for concurrent use. It has no goroutine and needs no close.
type Ladder struct {
	effect   atomic.Pointer[Effect]
	onChange func(ModeChange)

	mu       sync.Mutex // guards what follows; never held over onChange
	mode     Mode
	signs    Mode // what the signals say
	forced   bool
	triggers [len(modeTriggers)]modeTrigger
	traffic  modeTraffic
	door     classDoor
	inFlight int

	at, since int64 // last booked, last change
	in        [modes]time.Duration
	edges     [modes][modes]uint64
	cause     string // of the last change
}

// NewLadder returns a ladder in normal. onChange, which may be nil, is called
// for every change, outside of locks, by the goroutine that caused it. Times are
// nanoseconds of any monotonic clock, the same for all calls.
func NewLadder(now int64, onChange func(ModeChange)) *Ladder {
	l := &Ladder{onChange: onChange, at: now, since: now}
	l.door.open()
	l.publish()
	return l
}

// Effect is what the mode means now.
func (l *Ladder) Effect() Effect { return *l.effect.Load() }

// Tick judges the signals of the last ModeTick.
func (l *Ladder) Tick(now int64, s Signals) {
	l.mu.Lock()
	v := l.traffic.add(&s)
	l.inFlight = s.InFlightMax
	cause := l.judge(&v)
	c, changed := cause, l.signs != l.mode && !l.forced
	if changed {
		c = l.move(now, l.signs, cause)
	}
	l.door.tick(l.mode, &l.traffic, &v)
	l.book(now)
	l.publish()
	l.mu.Unlock()
	if changed && l.onChange != nil {
		l.onChange(c)
	}
}

// judge moves every trigger and returns why the mode that the signals ask for
// has changed, if it has.
func (l *Ladder) judge(v *modeView) (cause ModeChange) {
	was := l.signs
	l.signs = ModeNormal
	for i := range l.triggers {
		t, rule := &l.triggers[i], &modeTriggers[i]
		t.moved = t.tick(rule, v.value[rule.signal])
		if t.on {
			l.signs = max(l.signs, rule.mode)
		}
	}
	// Whoever moved the mode moved in this tick: up, a trigger of the new
	// mode; down, the last one of the old.
	for i := range l.triggers {
		t, rule := &l.triggers[i], &modeTriggers[i]
		if t.moved && (l.signs > was && rule.mode == l.signs || l.signs < was && rule.mode == was) {
			return rule.explain(v, t.on)
		}
	}
	return ModeChange{}
}

// Force fixes the mode until Release. The signals are watched on. It does not
// touch the breaker, which has a Force of its own.
func (l *Ladder) Force(now int64, m Mode) error {
	if m >= modes {
		return fmt.Errorf("mode %d: use 0 to %d (%s)", m, modes-1, strings.Join(modeNames[:], ", "))
	}
	l.byHand(now, true, func() Mode { return m }, "fixed by hand")
	return nil
}

// Release lets the signals decide again; at once, to what they say now.
func (l *Ladder) Release(now int64) {
	l.byHand(now, false, func() Mode { return l.signs }, "released by hand")
}

func (l *Ladder) byHand(now int64, forced bool, to func() Mode, cause string) {
	l.mu.Lock()
	next := to()
	changed := forced != l.forced || forced && next != l.mode
	l.forced = forced
	var c ModeChange
	if changed {
		c = l.move(now, next, ModeChange{ByHand: true, Held: forced, Cause: cause})
		l.publish()
	}
	l.mu.Unlock()
	if changed && l.onChange != nil {
		l.onChange(c)
	}
}

// move goes to next and completes the report of it; mu is held.
func (l *Ladder) move(now int64, next Mode, c ModeChange) ModeChange {
	l.book(now)
	c.From, c.To, c.At = l.mode, next, now
	l.cause = c.Cause
	if next != l.mode {
		l.to(next, c.ByHand)
		l.since = now
	}
	if next != ModeShedding && next != ModeRefusing {
		l.door.open()
	}
	return c
}

// to is the only one that sets the mode; mu is held. An edge that is not legal
// is a bug in this package, so it panics.
func (l *Ladder) to(next Mode, byHand bool) {
	if !byHand && !modeEdges[l.mode][next] {
		panic(fmt.Sprintf("BUG: mode goes from %v to %v", l.mode, next))
	}
	l.edges[l.mode][next]++
	l.mode = next
}

// book adds the time since the last booking to the mode that is.
func (l *Ladder) book(now int64) {
	if now > l.at {
		l.in[l.mode] += time.Duration(now - l.at)
		l.at = now
	}
}

func (l *Ladder) publish() {
	e := l.mode.effect(l.door.lowest, l.inFlight)
	e.ByHand = l.forced
	if old := l.effect.Load(); old == nil || *old != e {
		fresh := e // so that only a change allocates
		l.effect.Store(&fresh)
	}
}

// LadderStats is a ladder at one moment.
type LadderStats struct {
	Mode   Mode
	Signs  Mode // what the signals say; differs from Mode only while forced
	Forced bool
	For    time.Duration // in this mode
	Cause  string        // of the last change
	Effect Effect

	In       [modes]time.Duration // time in each mode
	Edges    [modes][modes]uint64 // changes, from and to
	Signals  map[string]float64   // as judged at the last tick, each as a part of the level of its first rung
	Narrowed uint64               // times a class was turned away for being served nothing
}

// Stats takes the ladder's lock for a moment; it is made for scrapes.
func (l *Ladder) Stats(now int64) LadderStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.book(now)
	s := LadderStats{
		Mode: l.mode, Signs: l.signs, Forced: l.forced,
		For:      time.Duration(max(now-l.since, 0)),
		Cause:    l.cause,
		Effect:   *l.effect.Load(),
		In:       l.in,
		Edges:    l.edges,
		Narrowed: l.door.narrowed,
		Signals:  make(map[string]float64, modeSignals),
	}
	for i := len(modeTriggers) - 1; i >= 0; i-- {
		rule := &modeTriggers[i]
		s.Signals[modeSignalNames[rule.signal]] = l.triggers[i].last / rule.level
	}
	return s
}
