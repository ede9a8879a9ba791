package limiter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/ratelimit"
)

// ErrPacerStopped is what Wait returns after Stop.
var ErrPacerStopped = errors.New("pacer is stopped")

// Pacer spaces its callers evenly, as ratelimit.Limiter does, but a caller can
// give up. One goroutine, which Stop ends, takes the turns and passes them on:
// a caller that leaves costs no turn and leaves no sleeper behind.
//
// Any second sees at most rate turns taken. Below 100 a second the next turn is an
// interval after the one before was taken, and not after it was due, so lateness is
// lost. From there on timers are too coarse for that, and 10 ms of lateness are
// made up for, at a rate up to 4 % lower so that the bound holds. Time in which
// nobody came is never made up for.
type Pacer struct {
	turn    chan struct{} // unbuffered: a turn is passed only to one who waits
	taken   chan struct{} // one token: who got the turn runs
	rate    atomic.Int64
	changed chan struct{} // one token: rate is new
	stop    chan struct{}
	done    chan struct{}
	once    sync.Once
}

// NewPacer starts a pacer that lets rate callers a second through. Stop must be
// called to end its goroutine.
func NewPacer(rate int) (*Pacer, error) {
	if err := checkRate(rate); err != nil {
		return nil, err
	}
	p := &Pacer{
		turn:    make(chan struct{}),
		taken:   make(chan struct{}, 1),
		changed: make(chan struct{}, 1),
		stop:    make(chan struct{}),
		done:    make(chan struct{}),
	}
	p.rate.Store(int64(rate))
	go p.run()
	return p, nil
}

// Wait blocks until it is the caller's turn. It returns the context's error or
// ErrPacerStopped. Safe for concurrent use; turns go to callers in order.
func (p *Pacer) Wait(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-p.turn:
		p.taken <- struct{}{} // there is room: run empties it before the next turn
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-p.stop:
		return ErrPacerStopped
	}
}

// SetRate changes the rate from the next turn on, which comes one new interval
// from now, or at once if nobody has come for that long.
func (p *Pacer) SetRate(rate int) error {
	if err := checkRate(rate); err != nil {
		return err
	}
	if p.rate.Swap(int64(rate)) == int64(rate) {
		return nil
	}
	select {
	case p.changed <- struct{}{}:
	default: // the token that is there already will do
	}
	return nil
}

// Stop ends the pacer, in mid-sleep too, and waits for its goroutine. Those in
// Wait get ErrPacerStopped. Stop may be called again.
func (p *Pacer) Stop() {
	p.once.Do(func() { close(p.stop) })
	<-p.done
}

// ratelimit divides by the rate, so 0 would panic there.
func checkRate(rate int) error {
	if rate <= 0 {
		return fmt.Errorf("rate %d/s lets nothing through; use at least 1/s", rate)
	}
	return nil
}

func (p *Pacer) run() {
	defer close(p.done)
	clock := &pacerClock{pacer: p, start: time.Now(), timer: time.NewTimer(time.Hour)}
	defer clock.timer.Stop()

	limit := clock.fresh()
	for {
		limit.Take()
		switch clock.woken() {
		case wokenToStop:
			return
		case wokenByRate:
			limit = clock.freshAfterTurn()
		case notWoken:
			atOnce, ok := p.pass()
			if !ok {
				return
			}
			// Who got it may be slow to wake: the next would follow too soon.
			<-p.taken
			select {
			case <-p.changed:
				atOnce = false // the limiter, which may never sleep, has the old rate
			default:
			}
			if !atOnce || !clock.makesUp() {
				limit = clock.freshAfterTurn()
			}
		}
	}
}

// pass gives a turn, at once or as soon as somebody wants it. ok is false after
// Stop.
func (p *Pacer) pass() (atOnce, ok bool) {
	select {
	case p.turn <- struct{}{}:
		return true, true
	default:
	}
	for {
		select {
		case p.turn <- struct{}{}:
			return false, true
		case <-p.changed: // run reads the rate when it needs it
		case <-p.stop:
			return false, false
		}
	}
}

// pacerClock lets a sleeping limiter be woken. It runs on the monotonic clock:
// on the wall clock a step back would stop all dials for as long as the step.
type pacerClock struct {
	pacer *Pacer
	start time.Time
	timer *time.Timer
	wake  waking
}

type waking uint8

const (
	notWoken waking = iota
	wokenToStop
	wokenByRate
)

func (c *pacerClock) Now() time.Time { return c.start.Add(time.Since(c.start)) }

func (c *pacerClock) Sleep(d time.Duration) {
	c.timer.Reset(d)
	select {
	case <-c.timer.C:
	case <-c.pacer.stop:
		c.wake = wokenToStop
	case <-c.pacer.changed:
		c.wake = wokenByRate
	}
}

// woken says why the last Take returned early, if it did, and forgets it.
func (c *pacerClock) woken() waking {
	w := c.wake
	c.wake = notWoken
	return w
}

// madeUp is for how many turns of a second lateness is made up for.
func madeUp(rate int) int { return rate / 100 }

func (c *pacerClock) makesUp() bool { return madeUp(int(c.pacer.rate.Load())) > 0 }

// fresh is a limiter that never had a turn. One that makes up for n turns may give
// them, the one it begins with, and one at either end more than its rate; and it
// cuts its interval to whole nanoseconds, which makes it faster.
func (c *pacerClock) fresh() ratelimit.Limiter {
	rate := int(c.pacer.rate.Load())
	n := madeUp(rate)
	if n > 0 {
		rate -= n + 3 + int(int64(rate)*int64(rate)/int64(time.Second))
	}
	return ratelimit.New(rate, ratelimit.WithSlack(n), ratelimit.WithClock(c))
}

// freshAfterTurn is a limiter on whose books a turn was given right now. Its
// first Take never sleeps.
func (c *pacerClock) freshAfterTurn() ratelimit.Limiter {
	l := c.fresh()
	l.Take()
	return l
}
