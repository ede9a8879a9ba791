package limiter

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Adaptive finds how many requests a backend should have in flight: as many as
// it works on at once, and a tenth more. With fewer it idles; each one more only
// waits inside it, where nobody can shed it. Whoever owns the requests bounds
// them by Limit and tells of each one that ends; those who do not get in wait in
// a queue that sheds.
//
// It is a closed loop in windows of 100 ms or more. Observe adds to the sums of
// the window with atomics: no lock, no allocation, no timer. Whoever finds the
// window over closes it, and the knee (see there) moves the limit by what it saw.
// While nothing ends, nothing moves.
//
// All methods are safe for concurrent use. There is nothing to close.
type Adaptive struct {
	// Written once in a window, read for every request.
	limit  atomic.Int64
	from   atomic.Int64 // requests that ended before this time are not counted
	due    atomic.Int64 // the window may be closed from this time on
	last   atomic.Int64 // when a request ended, to the nearest lastGrain
	origin atomic.Int64 // what logarithms are counted from, in logUnits

	_ [64]byte // the sums below must not share a cache line with the above

	// Sums of the window. A request that ends while it is closed may be
	// counted in one and summed up in the other: that is why logarithms are
	// counted from origin, near which they are small.
	ended   atomic.Uint64 // requests that succeeded, and in the lower half those that found the limit used up
	failed  atomic.Uint64
	logs    atomic.Int64 // of their response times, in logUnits
	squares atomic.Int64

	_ [64]byte

	// mu guards all below. Observe never waits for it.
	mu       sync.Mutex
	knee     knee
	onChange func(limit int)
	seen     window // the last one
	rtt      time.Duration
}

// AdaptiveOptions are the bounds of the limit. Zero values are the defaults.
type AdaptiveOptions struct {
	Min   int // 1 by default
	Max   int // needed: what the pool can have in flight
	Start int // until something is known; 20, or the nearest within the bounds, by default

	// OnChange is called with each new limit, one call at a time, by
	// whoever observed or set what changed it. It may take its owner's lock:
	// so Observe, Set and Stats must not be called with that lock held. It must
	// not call Set or Stats itself.
	OnChange func(limit int)
}

const (
	// A window ends after 100 ms at the earliest, so that what a move did is
	// known some eight times in the second in which a step of load has to be
	// settled, and after twice the response time, so that requests sent under
	// another limit are few in it. 50 response times that scatter as service
	// times do have a mean that is right to 15 %.
	adaptiveTime     = 100 * time.Millisecond
	adaptiveTimeMost = 10 * time.Second
	adaptiveSamples  = 50

	// After a move the first requests to end were sent before it.
	adaptiveSettle = 2 // response times

	// If nothing has ended for a second, and for several times as long as
	// the request that now has, then for most of that time none was under way.
	adaptiveIdle      = time.Second
	adaptiveIdleTimes = 4

	adaptiveTook   = time.Hour         // longer is not told apart
	adaptiveLatest = math.MaxInt64 / 2 // in 146 years

	lastGrain = 10 * time.Millisecond
	logUnits  = 1 << 12 // to 0.02 %; the squares of 2^29 requests fit
	logMost   = 16      // a factor of 9 million to the mean of the last window
)

// NewAdaptive returns a limiter that is at Start.
func NewAdaptive(o AdaptiveOptions) (*Adaptive, error) {
	if o.Min == 0 {
		o.Min = 1
	}
	if o.Min < 1 || o.Max < o.Min || o.Max > math.MaxInt32 {
		return nil, fmt.Errorf("an adaptive limit between %d and %d: use at least 1, and no maximum below the minimum", o.Min, o.Max)
	}
	if o.Start == 0 {
		o.Start = max(o.Min, min(o.Max, 20))
	}
	if o.Start < o.Min || o.Start > o.Max {
		return nil, fmt.Errorf("an adaptive limit that starts at %d: use %d to %d", o.Start, o.Min, o.Max)
	}
	a := &Adaptive{onChange: o.OnChange, knee: newKnee(o.Min, o.Max, o.Start)}
	a.limit.Store(int64(o.Start))
	a.origin.Store(int64(math.Log(float64(10*time.Millisecond)) * logUnits))
	a.due.Store(int64(adaptiveTime))
	return a, nil
}

// Limit is how many may be in flight now.
func (a *Adaptive) Limit() int { return int(a.limit.Load()) }

// Observe tells of one request that has ended: at now, in nanoseconds of a
// monotonic clock, not negative, as Nanos gives; how long the backend took to
// answer it, without waits for a place or for a slow client; how many were in
// flight, itself included; and whether it succeeded. One that timed out or was
// reset has failed: it counts, but what it took is not a response time. One whose
// client left is best not observed.
func (a *Adaptive) Observe(now int64, took time.Duration, inFlight int, ok bool) {
	if uint64(now) > adaptiveLatest {
		return
	}
	if last := a.last.Load(); now-last > int64(lastGrain) {
		a.last.Store(now)
		if now-last > max(int64(adaptiveIdle), adaptiveIdleTimes*int64(min(took, adaptiveTook))) {
			a.begin(now)
			return
		}
	}
	if now < a.from.Load() {
		return
	}
	var n uint64
	if ok {
		took = max(1, min(took, adaptiveTook))
		l := int64(math.Log(float64(took))*logUnits) - a.origin.Load()
		l = max(-logMost*logUnits, min(l, logMost*logUnits))
		a.logs.Add(l)
		a.squares.Add(l * l)
		one := uint64(1) << 32
		if limit := a.limit.Load(); int64(inFlight) >= limit-limit/usedUpWithin {
			one++
		}
		n = a.ended.Add(one)>>32 + a.failed.Load()
	} else {
		n = a.failed.Add(1) + a.ended.Load()>>32
	}
	if n >= adaptiveSamples && now >= a.due.Load() && a.mu.TryLock() {
		a.close(now)
		a.mu.Unlock()
	}
}

// begin throws the window away: its time was not one of work.
func (a *Adaptive) begin(now int64) {
	if !a.mu.TryLock() {
		return
	}
	defer a.mu.Unlock()
	a.sums()
	a.knee.rest()
	a.publish(now)
}

// close ends the window at now. mu is held.
func (a *Adaptive) close(now int64) {
	// Two may find the same window over, one after the other.
	if now < a.due.Load() {
		return
	}
	w, origin := a.sums(), a.origin.Load()
	span := float64(now - a.from.Load())
	w.limit = float64(a.limit.Load())
	if w.requests > 0 {
		w.throughput = w.requests / span * float64(time.Second)
		w.log += float64(origin) / logUnits
		a.origin.Store(int64(w.log * logUnits))
		a.rtt = time.Duration(math.Exp(w.log))
	}
	a.seen = w
	a.knee.observe(w)
	a.publish(now)
}

// sums takes the window's sums. Only the logarithm is yet to be counted from 0.
func (a *Adaptive) sums() window {
	ended, failed := a.ended.Swap(0), float64(a.failed.Swap(0))
	logs, squares := float64(a.logs.Swap(0))/logUnits, float64(a.squares.Swap(0))/(logUnits*logUnits)
	n := float64(ended >> 32)
	w := window{requests: n}
	if n > 0 {
		w.full = float64(ended&math.MaxUint32) / n
		w.log = logs / n
		w.variance = max(0, squares/n-w.log*w.log) / n
	}
	if n+failed > 0 {
		w.failed = failed / (n + failed)
	}
	return w
}

// publish begins the next window, with the limit that the knee has found. mu is
// held.
func (a *Adaptive) publish(now int64) {
	limit := int64(math.Round(a.knee.limit))
	old := a.limit.Load()
	if limit != old {
		a.limit.Store(limit)
		now += min(adaptiveSettle*int64(a.rtt), int64(adaptiveTimeMost))
	}
	a.from.Store(now)
	a.due.Store(now + max(int64(adaptiveTime), min(adaptiveSettle*int64(a.rtt), int64(adaptiveTimeMost))))
	if limit != old && a.onChange != nil {
		a.onChange(int(limit))
	}
}

// Set changes the upper bound, as a reload does. What was learned stays.
func (a *Adaptive) Set(most int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if float64(most) < a.knee.min || most > math.MaxInt32 {
		return fmt.Errorf("an adaptive limit of at most %d: the minimum is %.0f", most, a.knee.min)
	}
	a.knee.bound(float64(most))
	if limit := int64(math.Round(a.knee.limit)); limit != a.limit.Load() {
		a.limit.Store(limit)
		if a.onChange != nil {
			a.onChange(int(limit))
		}
	}
	return nil
}
