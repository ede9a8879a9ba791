package limiter

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// ErrBreakerOpen is what Allow returns instead of a Ticket. Owners wrap it with
// the backend's name; RetryIn says when it is worth coming again.
var ErrBreakerOpen = errors.New("breaker is open")

// When the breaker trips and how it comes back. The ratio is Hystrix's default
// (half of at least 20 in 10 s).
const (
	breakerWindow  = 10 // seconds, in as many buckets
	breakerLeast   = 20 // outcomes in the window, below which no ratio is taken
	breakerPercent = 50 // failures among them

	// A backend that restarts is back in seconds, one that is broken is
	// asked once a minute.
	breakerOpenFirst = 1 * time.Second
	breakerOpenMost  = 60 * time.Second

	breakerProbes = 3 // at one time, and good ones to close

	// A probe that says nothing for so long gives its place to another:
	// one lost Ticket must not keep a backend away for good.
	breakerProbeMost = 60 * time.Second

	// What a client is told while probes are under way.
	breakerProbeRetry = time.Second
)

// Breaker stops asking a backend that fails, and finds out with a few probes
// when it is back. gobreaker's two-step breaker holds the states, the rolling
// window of failures and the places of probes; it takes a mutex and returns a
// closure, which is too dear for each request of a healthy backend. So it hears
// of failures and of probes alone, and the successes are counted here: while
// closed, a request costs one atomic load before, and a load and an add after.
//
// Times are the caller's: nanoseconds of any monotonic clock, the same for all
// calls. Safe for concurrent use. It has no goroutine and needs no close.
type Breaker struct {
	word  atomic.Uint64 // a breakerWord
	until atomic.Int64  // while not closed: nobody passes before
	_     [48]byte      // the words above are read by all, those below written by all

	good   atomic.Uint64 // successes ever
	second atomic.Int64  // the newest that before knows
	_      [48]byte

	refused  atomic.Uint64
	onChange func(BreakerChange)

	mu     sync.Mutex // guards what follows and every call of gb; never held over onChange
	gb     *gobreaker.TwoStepCircuitBreaker[struct{}]
	at     int64 // the time of the call that holds mu, for gb's callbacks
	forced BreakerForce
	since  int64 // when the state began
	opens  int64 // until, but for what a lack of places makes of it

	// before is what good was when each of the last seconds began: that of
	// second s at s modulo the window.
	before [breakerWindow]uint64

	streak int // times opened without closing
	places [breakerProbes]breakerProbe
	serial uint32
	opened uint64
	edges  [breakerStates][breakerStates]uint64

	cause   string        // of the next change
	failed  uint64        // in the window, at the trip
	pending BreakerChange // to be reported when mu is free
	changed bool
}

// breakerProbe is a place for a probe; free if done is nil. It outlives the
// state it was given in, so that there are never more probes than places.
type breakerProbe struct {
	serial uint32
	since  int64
	done   func(error)
}

// Outcome is how a request ended. Dials that fail are not its affair: whoever dials
// holds them down, and a request that got no connection is Ignored.
type Outcome uint8

const (
	// Ignored says nothing about the backend: the client left, or this
	// machine was short of ports, descriptors or memory.
	Ignored Outcome = iota
	Succeeded
	Failed
)

// Ticket is the right to ask the backend once. Done must be called exactly
// once. The zero Ticket is of no breaker; its Done does nothing.
type Ticket struct {
	b      *Breaker
	serial uint32 // of the probe, or the generation of the closed state
	place  uint8  // 1 and up for a probe
}

// Probe says whether the request is one of the few that try out a backend.
func (t Ticket) Probe() bool { return t.place != 0 }

// NewBreaker returns a closed breaker. onChange, which may be nil, is called for
// every change, outside of locks, by the goroutine that caused it.
func NewBreaker(onChange func(BreakerChange)) *Breaker {
	b := &Breaker{onChange: onChange}
	b.gb = b.fresh()
	return b
}

// Allow gives a Ticket or ErrBreakerOpen. It never waits.
func (b *Breaker) Allow(now int64) (Ticket, error) {
	if w := breakerWord(b.word.Load()); w.state() == BreakerClosed {
		return Ticket{b: b, serial: w.generation()}, nil
	}
	return b.allowProbe(now)
}

// Done says how the request with this Ticket ended.
func (t Ticket) Done(now int64, o Outcome) {
	b := t.b
	switch {
	case b == nil:
	case t.place != 0:
		b.probed(t, now, o)
	case o == Succeeded:
		if now/int64(time.Second) > b.second.Load() {
			b.newSecond(now)
		}
		b.good.Add(1)
	case o == Failed:
		b.locked(now, func() {
			w := breakerWord(b.word.Load())
			// What was asked before a trip says nothing of today.
			if w.state() == BreakerClosed && w.generation() == t.serial {
				b.fail()
			}
		})
	}
}

// RetryIn is when a refused client should come again; 0 if it need not wait.
func (b *Breaker) RetryIn(now int64) time.Duration {
	switch b.state() {
	case BreakerOpen:
		until := b.until.Load()
		if until == math.MaxInt64 { // by hand: nobody knows
			return breakerOpenMost
		}
		return min(max(time.Duration(until-now), 0), breakerOpenMost)
	case BreakerHalfOpen:
		return breakerProbeRetry
	default:
		return 0
	}
}

// shut says whether Allow refuses everybody now, and counts one of them.
func (b *Breaker) shut(now int64) bool {
	if now >= b.until.Load() {
		return false
	}
	b.refused.Add(1)
	return true
}

func (b *Breaker) state() BreakerState { return breakerWord(b.word.Load()).state() }

// locked runs f with mu held, then reports what it changed.
func (b *Breaker) locked(now int64, f func()) {
	b.mu.Lock()
	b.at = now
	f()
	c, changed := b.pending, b.changed
	b.changed = false
	b.mu.Unlock()
	if changed && b.onChange != nil {
		b.onChange(c)
	}
}

// allowProbe is Allow when the breaker is not closed. Those who come too early
// are refused without the lock.
func (b *Breaker) allowProbe(now int64) (t Ticket, err error) {
	err = ErrBreakerOpen
	if now >= b.until.Load() {
		b.locked(now, func() {
			w := breakerWord(b.word.Load())
			if w.state() == BreakerClosed {
				t, err = Ticket{b: b, serial: w.generation()}, nil
			} else if now >= b.until.Load() {
				t, err = b.take(now)
			}
		})
	}
	if err != nil {
		b.refused.Add(1)
	}
	return t, err
}

// take gives a place for a probe, if one is free; mu is held.
func (b *Breaker) take(now int64) (Ticket, error) {
	b.giveUpLost(now)
	free, oldest := -1, int64(math.MaxInt64)
	for i := range b.places {
		if p := &b.places[i]; p.done == nil {
			free = i
		} else {
			oldest = min(oldest, p.since)
		}
	}
	if free >= 0 {
		b.cause = "it was open long enough, probes may try"
		done, err := b.gb.Allow() // the first one makes it half-open
		if err == nil {
			b.serial++
			b.places[free] = breakerProbe{serial: b.serial, since: now, done: done}
			return Ticket{b: b, serial: b.serial, place: uint8(free + 1)}, nil
		}
	}
	// All probes are under way. The lock is of no use to anybody until one
	// of them ends, or is given up.
	if oldest != math.MaxInt64 {
		b.until.Store(oldest + int64(breakerProbeMost))
	}
	return Ticket{}, ErrBreakerOpen
}

func (b *Breaker) giveUpLost(now int64) {
	for i := range b.places {
		if p := &b.places[i]; p.done != nil && now-p.since >= int64(breakerProbeMost) {
			done := p.done
			*p = breakerProbe{}
			b.tell(done, errIgnored)
		}
	}
}

// probed ends a probe. One that is ignored gives its place back.
func (b *Breaker) probed(t Ticket, now int64, o Outcome) {
	b.locked(now, func() {
		p := &b.places[t.place-1]
		if p.serial != t.serial || p.done == nil {
			return // it was given up
		}
		done := p.done
		*p = breakerProbe{}
		if b.state() != BreakerClosed {
			b.until.Store(b.opens)
		}
		switch o {
		case Succeeded:
			b.cause = fmt.Sprintf("%d probes succeeded", breakerProbes)
			b.tell(done, nil)
		case Failed:
			b.cause = "a probe failed"
			b.tell(done, errFailed)
		default:
			b.tell(done, errIgnored)
		}
	})
}

// tell says to gobreaker how a probe ended; mu is held. It hears no probe of an
// earlier half-open state. When it is open it must not even be asked: its own
// timeout has long passed, and it would be half-open by the question.
func (b *Breaker) tell(done func(error), err error) {
	if b.state() != BreakerOpen {
		done(err)
	}
}
