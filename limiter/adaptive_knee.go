package limiter

import "math"

// knee is the control behind Adaptive. With more in flight a backend's
// throughput grows until all its workers are busy, and its response time from
// there on: the limit belongs just above that knee, where the power of the system,
// throughput by response time (Kleinrock 1979), is greatest.
//
// It is Netflix' Gradient2 (concurrency-limits, Gradient2Limit.java) with another
// long RTT. There,
//
//	limit = limit * long RTT / short RTT + headroom
//
// and the long one is an average of the short ones, so under lasting overload it
// learns the overload and the limit drifts up. Here it is the base: the response
// time without a queue in the backend, learned only while less is in flight. What
// fewer in flight cost in throughput, and bring in response time, is tried out
// again and again, and decides: that is the guard that failsafe-go's adaptive
// limiter has in its correlations.
//
//	slack -> holding      the limit is used up
//	holding -> looking    the base has not been looked at for a while
//	holding -> searching  the base is not known, or doubted
//	looking -> searching  it is lower than was thought
//	looking -> holding    the look is over
//	searching -> holding  fewer in flight would cost more than they bring
//	all -> slack          the limit is not used up any more, or requests fail
//
//	slack      the limit is seldom used up: it grows where it is touched,
//	           and where it is not, response times are the base
//	holding    the limit is used up: the gradient moves it
//	looking    one window just below the knee, to see whether the base is right
//	searching  down in steps as long as power grows: the base is not known
type knee struct {
	limit, min, max float64

	phase  kneePhase
	edges  [kneePhases][kneePhases]uint64
	reason AdaptiveReason
	moves  [adaptiveReasons]uint64

	base    baseline
	scatter scatter
	guard   guard
	usual   float64 // share of requests that fail anyway

	busy   int // windows in a row in which the limit was used up
	since  int // of these, since the last look
	denied int // windows in which it was not to grow, since it last did
	gap    int // looks are so far apart
	grown  int // windows in a row that saw no queue at all

	doubted bool // the base is the guard's, and yet to be searched for

	through  float64 // throughput, averaged over the windows of holding
	back     float64 // where the limit was before the look or the last step
	top      float64 // where the search began
	ref, lev level   // the search: the step before, and this one
}

func newKnee(least, most, start int) knee {
	return knee{min: float64(least), max: float64(most), limit: float64(start), gap: lookGap}
}

const (
	// One in flight more than it works on keeps a backend of few workers
	// busy while a response is on its way; a tenth more is as much time as
	// an overloaded backend adds to each request.
	headroomLeast = 1
	headroomShare = 0.1

	// The limit counts as used up by a request that found an eighth or less
	// of it free: a place that was given back is empty for a moment. 40 % of
	// requests is what bursts reach for single windows at 0.9 of capacity, and
	// what 1.1 times capacity reaches always.
	usedUpWithin = 8
	usedUp       = 0.4
	touched      = 0.05

	// Bursts may lengthen the response times of a window by so many of their
	// standard deviations. With 1 more than 1 % is shed at 0.9 of capacity
	// where service times are bimodal.
	burstDeviations = 1.25

	// After so many windows it grows by one step all the same: the backend may
	// have become slower, and nothing else would find that the base is wrong.
	denials = 8

	// Bursts below capacity use the limit up for three windows, rarely for more.
	sustained = 4

	// Towards a lower target half the way, at most by half of it: one window
	// scatters. Up all the way: what is too much is taken back soon, and until
	// then only waits.
	shrink     = 0.5
	shrinkMost = 0.5
	growth     = 3 // times the headroom at most, while no queue is seen
	noQueue    = 0.05

	// Looks are 15 to 40 windows apart, 2 to 5 s, and begin when the gradient is
	// within 15 % of where it wants to be: before, they would see its way.
	lookGap     = 15
	lookGapMost = 40
	lookSteady  = 0.15
	lookSure    = 0.06 // standard error of the base from which on looks become rare

	// A look goes as far below the knee as the limit is above it, and by one
	// standard error further, so that it can tell.
	lookBelow = 2 // headrooms
	lookMore  = 0.15

	// A step of the search is four standard errors of throughput, so that
	// one or two windows can tell what it did, at most by half. What is within
	// the error after four windows is not told apart.
	stepErrors = 4
	stepMost   = 0.7
	stepsTries = 4

	throughGain = 0.3

	// More failures than usual lower the limit, once they are one in 20. What
	// does not become less by it becomes usual in about five windows: until
	// then a share f has lowered the limit to exp(-5 f).
	failedNoted = 0.05
	failedGain  = 0.2
)

func headroom(limit float64) float64 { return max(headroomLeast, headroomShare*limit) }

// observe moves the limit by what one window saw.
func (k *knee) observe(w window) {
	more := w.failed - k.usual
	k.usual += failedGain * more
	switch {
	case more > failedNoted:
		k.rest()
		k.move(k.limit*max(shrinkMost, 1-more), AdaptiveFailing)
	case w.requests == 0:
	case w.full < usedUp:
		k.slack(w)
	default:
		k.used(w)
	}
}

// move sets the limit, within the bounds.
func (k *knee) move(limit float64, why AdaptiveReason) {
	limit = max(k.min, min(limit, k.max))
	if math.Round(limit) != math.Round(k.limit) {
		k.reason = why
		k.moves[why]++
	}
	k.limit = limit
}

// bound changes the upper bound.
func (k *knee) bound(most float64) {
	k.max = most
	k.move(k.limit, AdaptiveBounded)
}

// rest is for times without load, or with another kind of trouble: nothing of
// them says where the knee is. A look or a search is given up.
func (k *knee) rest() {
	if k.phase == looking || k.phase == searching {
		k.move(max(k.limit, k.back), AdaptiveReturned)
	}
	if k.phase != slack {
		k.to(slack)
	}
	k.busy, k.grown, k.through = 0, 0, 0
	k.scatter.interrupt()
	k.guard.on = false
	k.since = k.gap // base and load may be others then: look soon
}

func (k *knee) slack(w window) {
	k.rest()
	if w.full >= touched {
		// Bursts may wait in the backend for about as long as its response
		// times differ anyway. Beyond that they make a queue there, which a step
		// to overload would have to wait for.
		if k.base.known && k.base.excess(w) > burstDeviations*w.deviation() {
			if k.denied++; k.denied < denials {
				return
			}
		}
		k.denied = 0
		k.move(k.limit+headroom(k.limit), AdaptiveGrown)
		return
	}
	k.base.relaxed(w)
	k.gap, k.since, k.doubted = lookGap, 0, false
}

func (k *knee) used(w window) {
	k.busy++
	k.since++
	if k.phase == slack {
		k.to(holding)
	}
	if k.phase == holding || k.phase == searching && k.back < k.top {
		k.scatter.add(w)
	} else {
		k.scatter.interrupt() // throughput may differ by what is being tried
	}
	switch k.phase {
	case holding:
		k.hold(w)
	case looking:
		k.look(w)
	case searching:
		k.search(w)
	}
}

func (k *knee) hold(w window) {
	if k.through == 0 {
		k.through = w.throughput
	}
	k.through += throughGain * (w.throughput - k.through)
	if k.base.variance == 0 {
		k.base.guess(w)
	}
	excess := k.base.excess(w)
	target := w.limit*max(shrinkMost, min(1, math.Exp(-excess))) + headroom(w.limit)
	steady := k.grown == 0 && math.Abs(math.Log(target/k.limit)) < lookSteady
	switch {
	case !k.base.known && k.busy > 1, k.doubted && steady:
		k.down(w, searching)
	case k.base.known && k.busy >= sustained && k.since >= k.gap && steady:
		k.down(w, looking)
	case k.guard.costs(w, excess):
		k.base.renew(w)
		k.gap, k.since, k.doubted = lookGap, 0, true
		k.reason = AdaptiveGuarded
		k.moves[AdaptiveGuarded]++
	case target > k.limit:
		if excess < noQueue {
			k.grown++
		} else {
			k.grown = 0
		}
		k.move(k.limit+(target-k.limit)*float64(max(1, min(k.grown, growth))), AdaptiveGrown)
	default:
		k.grown = 0
		if k.busy >= sustained {
			k.move(k.limit+shrink*(target-k.limit), AdaptiveQueueing)
		}
	}
}

// down begins a look or a search.
func (k *knee) down(w window, how kneePhase) {
	k.to(how)
	k.doubted = false
	k.top, k.back = k.limit, k.limit
	k.ref, k.lev = level{}, level{}
	k.ref.add(w)
	k.move(k.below(w), AdaptiveLooking)
}

// below is the limit of a look or of the next step of a search.
func (k *knee) below(w window) float64 {
	limit := w.limit - lookBelow*headroom(w.limit)
	if k.phase == looking {
		limit -= w.limit * min(lookMore, k.scatter.of(w))
	} else {
		limit = min(limit, w.limit*math.Exp(-min(stepMost, stepErrors*k.scatter.of(w))))
	}
	return math.Ceil(limit - 0.01)
}

// look ends a look: the base is right, another one, or not known any more.
func (k *knee) look(w window) {
	switch k.base.look(w, k.since) {
	case baseStays:
		if k.base.variance < lookSure*lookSure {
			k.gap = min(2*k.gap, lookGapMost)
		}
	case baseHigher:
		k.gap = lookGap
	case baseLower:
		k.gap = lookGap
		k.to(searching)
		k.search(w)
		return
	}
	k.up(k.back)
}

// up ends a look or a search.
func (k *knee) up(limit float64) {
	k.to(holding)
	k.since = 0
	k.move(limit, AdaptiveReturned)
}

// search goes down by another step if the last one has brought more power: the
// response time has fallen by more than throughput has.
func (k *knee) search(w window) {
	k.lev.add(w)
	power := k.ref.log - k.lev.log + math.Log(k.lev.throughput/k.through)
	err := 2 * k.scatter.of(w) * math.Sqrt(1/k.lev.n+1/k.ref.n)
	if math.Abs(power) < err && k.lev.n < stepsTries {
		return
	}
	k.base.renew(k.lev.window)
	if power <= 0 {
		// The knee is in the step, or was in the one before.
		if k.back < k.top {
			k.back = min(k.top, k.back+headroom(k.back))
		}
		k.up(k.back)
		return
	}
	k.through += throughGain * (k.lev.throughput - k.through)
	next := k.below(w)
	if next < k.min {
		k.up(w.limit)
		return
	}
	k.back = w.limit
	k.ref, k.lev = k.lev, level{}
	k.base.known = false
	k.move(next, AdaptiveLooking)
}
