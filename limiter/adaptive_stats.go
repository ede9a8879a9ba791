package limiter

import (
	"math"
	"time"
)

// AdaptiveReason is why the limit was moved.
type AdaptiveReason uint8

const (
	AdaptiveUnmoved  AdaptiveReason = iota
	AdaptiveGrown                   // it was reached, and no queue was seen
	AdaptiveQueueing                // response times were above the base
	AdaptiveLooking                 // to see what fewer in flight bring
	AdaptiveReturned                // from there
	AdaptiveGuarded                 // fewer had cost throughput and brought nothing: the base is another
	AdaptiveFailing                 // more requests failed than usually
	AdaptiveBounded                 // by a new upper bound
	adaptiveReasons
)

var adaptiveReasonNames = [adaptiveReasons]string{"unmoved", "grown", "queueing", "looking", "returned", "guarded", "failing", "bounded"}

func (r AdaptiveReason) String() string { return adaptiveReasonNames[r] }

// AdaptiveStats is what an Adaptive knows. The last window is the last one that
// had enough requests; that may be long ago.
type AdaptiveStats struct {
	Limit, Min, Max int
	Phase           string // slack, holding, looking or searching
	Reason          AdaptiveReason
	Moves           map[string]uint64 // since the start, by reason

	RTT        time.Duration // geometric mean of the last window: the short RTT
	Base       time.Duration // without a queue in the backend: the long RTT; 0 is unknown
	Throughput float64       // successes per second in the last window
	Full       float64       // share of these that ended with the limit used up
	Failed     float64       // share that failed
}

// Stats is made for scrapes.
func (a *Adaptive) Stats() AdaptiveStats {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := &a.knee
	s := AdaptiveStats{
		Limit:      a.Limit(),
		Min:        int(k.min),
		Max:        int(k.max),
		Phase:      k.phase.String(),
		Reason:     k.reason,
		Moves:      make(map[string]uint64, adaptiveReasons),
		RTT:        a.rtt,
		Throughput: a.seen.throughput,
		Full:       a.seen.full,
		Failed:     a.seen.failed,
	}
	for r, n := range k.moves {
		if n > 0 {
			s.Moves[AdaptiveReason(r).String()] = n
		}
	}
	if k.base.variance > 0 {
		s.Base = time.Duration(math.Exp(k.base.log))
	}
	return s
}
