package limiter

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/sony/gobreaker/v2"
)

// BreakerState is what a breaker does with those who come.
//
//	          half or more of 20 failed
//	+--> closed --------------------------------------> open <---------+
//	|                                                    |             |
//	|                        1 s, doubled up to 60 s     |             |
//	|                        while probes fail           v             |
//	+------------------------------------------------ half_open -------+
//	         3 probes succeeded                                a probe failed
type BreakerState uint8

const (
	BreakerClosed   BreakerState = iota // all pass
	BreakerOpen                         // none pass
	BreakerHalfOpen                     // probes pass
	breakerStates
)

var breakerNames = [breakerStates]string{"closed", "open", "half_open"}

func (s BreakerState) String() string { return breakerNames[s] }

var breakerEdges = [breakerStates][breakerStates]bool{
	BreakerClosed:   {BreakerOpen: true},
	BreakerOpen:     {BreakerHalfOpen: true, BreakerClosed: true}, // closed: by hand, or before another backend
	BreakerHalfOpen: {BreakerClosed: true, BreakerOpen: true},
}

// breakerWord is the state and how many times it was set, so that one load
// tells both: 2 and 32 bits.
type breakerWord uint64

func (w breakerWord) state() BreakerState { return BreakerState(w & 3) }
func (w breakerWord) generation() uint32  { return uint32(w >> 2) }

func (w breakerWord) next(s BreakerState) breakerWord {
	return breakerWord(w.generation()+1)<<2 | breakerWord(s)
}

// BreakerChange is one change of state. From and To are the same if a hand
// fixed the state that was there.
type BreakerChange struct {
	From, To BreakerState
	At       int64
	Cause    string
	OpenFor  time.Duration // until probes may try; 0 for as long as it is forced

	Failures, Successes uint64 // in the window, where they were the cause
}

// BreakerForce is a hand on the breaker.
type BreakerForce uint8

const (
	BreakerAuto BreakerForce = iota
	BreakerForceClosed
	BreakerForceOpen
	breakerForces
)

var breakerForceNames = [breakerForces]string{"auto", "closed", "open"}

func (f BreakerForce) String() string { return breakerForceNames[f] }

// Force fixes the state until it is called with BreakerAuto, from which on the
// breaker is closed and counts anew.
func (b *Breaker) Force(now int64, f BreakerForce) error {
	if f >= breakerForces {
		return fmt.Errorf("breaker force %d: use auto, closed or open", f)
	}
	b.locked(now, func() {
		if f == b.forced {
			return
		}
		b.forced = f
		b.renew()
		b.cause = "set to " + f.String() + " by hand"
		if f == BreakerForceOpen {
			b.enter(BreakerOpen)
		} else {
			b.enter(BreakerClosed)
		}
	})
	return nil
}

// Reset closes the breaker and has it count anew, for a backend that is another
// one from now on; a hand's word was of the old one. One that was closed reports
// nothing.
func (b *Breaker) Reset(now int64, cause string) {
	b.locked(now, func() {
		was := b.state()
		b.forced, b.cause = BreakerAuto, cause
		b.renew()
		b.enter(BreakerClosed)
		b.changed = was != BreakerClosed
	})
}

// renew begins with a fresh gobreaker. Probes under way keep their places, but
// the old one, which would report its changes still, hears no more of them.
func (b *Breaker) renew() {
	b.gb = b.fresh()
	for i := range b.places {
		if p := &b.places[i]; p.done != nil {
			p.done = func(error) {}
		}
	}
}

// BreakerStats is a breaker at one moment.
type BreakerStats struct {
	State   BreakerState
	Force   BreakerForce
	For     time.Duration // in this state
	RetryIn time.Duration

	Successes, Failures uint64 // in the last 10 s, while closed
	Probes              int    // under way
	Opened              uint64 // times
	Refused             uint64
	Edges               [breakerStates][breakerStates]uint64 // from, to
}

// Stats takes the breaker's lock for a moment; it is made for scrapes.
func (b *Breaker) Stats(now int64) (s BreakerStats) {
	b.locked(now, func() {
		s = BreakerStats{
			State:   b.state(),
			Force:   b.forced,
			For:     time.Duration(now - b.since),
			RetryIn: b.RetryIn(now),
			Opened:  b.opened,
			Refused: b.refused.Load(),
			Edges:   b.edges,
		}
		if s.State == BreakerClosed {
			b.gb.State() // moves its window on; when open, it would end that
			s.Failures = uint64(b.gb.Counts().TotalFailures)
			s.Successes = b.successes()
		}
		for i := range b.places {
			if b.places[i].done != nil {
				s.Probes++
			}
		}
	})
	return s
}

var (
	errFailed  = errors.New("failed")
	errIgnored = errors.New("ignored")
)

// fresh is a closed gobreaker. How long it stays open is ours to say, as that
// doubles, so its own timeout is over at once; it is not asked before ours is.
func (b *Breaker) fresh() *gobreaker.TwoStepCircuitBreaker[struct{}] {
	return gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests:   breakerProbes,
		Interval:      breakerWindow * time.Second,
		BucketPeriod:  time.Second,
		Timeout:       1,
		ReadyToTrip:   b.readyToTrip,
		IsExcluded:    func(err error) bool { return err == errIgnored },
		OnStateChange: b.onStateChange,
	})
}

// fail counts a failure of the closed state; mu is held.
func (b *Breaker) fail() {
	if done, err := b.gb.Allow(); err == nil {
		done(errFailed)
	}
}

func (b *Breaker) readyToTrip(c gobreaker.Counts) bool {
	if b.forced != BreakerAuto {
		return false
	}
	failed, good := uint64(c.TotalFailures), b.successes()
	all := failed + good
	if all < breakerLeast || failed*100 < all*breakerPercent {
		return false
	}
	b.cause = fmt.Sprintf("%d of %d failed within %d s, the limit is %d %%", failed, all, breakerWindow, breakerPercent)
	b.failed = failed
	return true
}

// onStateChange is called by gobreaker, with mu held, as every call of it is.
func (b *Breaker) onStateChange(_ string, _, to gobreaker.State) {
	switch to {
	case gobreaker.StateClosed:
		b.enter(BreakerClosed)
	case gobreaker.StateOpen:
		b.enter(BreakerOpen)
	case gobreaker.StateHalfOpen:
		b.enter(BreakerHalfOpen)
	}
}

// enter puts the breaker into a state that begins now, and notes the change.
func (b *Breaker) enter(next BreakerState) {
	from := b.state()
	b.pending = BreakerChange{From: from, To: next, At: b.at, Cause: b.cause}
	b.changed = true
	b.since = b.at
	switch next {
	case BreakerClosed:
		b.streak = 0
		b.forget()
	case BreakerOpen:
		b.opened++
		if from == BreakerClosed {
			b.pending.Failures, b.pending.Successes = b.failed, b.successes()
		}
		b.failed = 0
		if b.forced == BreakerForceOpen {
			b.opens = math.MaxInt64
			break
		}
		d := min(breakerOpenFirst<<min(b.streak, 8), breakerOpenMost)
		b.streak++
		b.pending.OpenFor = d
		b.opens = b.at + int64(d)
	case BreakerHalfOpen:
		b.opens = math.MinInt64
	}
	b.until.Store(b.opens)
	b.to(next)
}

// to moves the word on; mu is held. An edge that is not legal is a bug in this
// package, so it panics.
func (b *Breaker) to(next BreakerState) {
	w := breakerWord(b.word.Load())
	if from := w.state(); from != next {
		if !breakerEdges[from][next] {
			panic(fmt.Sprintf("BUG: breaker goes from %v to %v", from, next))
		}
		b.edges[from][next]++
	}
	b.word.Store(uint64(w.next(next)))
}

// newSecond begins the second of now.
func (b *Breaker) newSecond(now int64) {
	b.locked(now, func() { b.successes() })
}

// successes is how many there were in the window; mu is held.
func (b *Breaker) successes() uint64 {
	now, last, good := b.at/int64(time.Second), b.second.Load(), b.good.Load()
	for s := max(last+1, now-breakerWindow+1); s <= now; s++ {
		b.before[s%breakerWindow] = good
	}
	last = max(last, now)
	b.second.Store(last)
	return good - b.before[(last+1)%breakerWindow]
}

// forget empties the window; mu is held.
func (b *Breaker) forget() {
	good := b.good.Load()
	for i := range b.before {
		b.before[i] = good
	}
}
