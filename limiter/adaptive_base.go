package limiter

import "math"

// baseline is what the knee takes for the response time of a backend without a
// queue: the mean of logarithms, a geometric mean. Where service times scatter, a
// wait in front of them moves it more than the arithmetic mean, so it is seen with
// a quarter (exponential) to a tenth (bimodal) of the samples.
type baseline struct {
	log      float64
	variance float64 // of log, as far as known; 0 is nothing known
	known    bool    // else log is only an upper bound: it may have a queue in it
	trend    float64 // of what looks found, in standard errors
}

type baseVerdict uint8

const (
	baseStays baseVerdict = iota
	baseHigher
	baseLower // and who knows how much
)

const (
	// While the limit is not touched, response times have no queue in them
	// but what bursts make: lower ones are believed sooner.
	relaxedDown  = 0.1
	relaxedUp    = 0.05
	relaxedShare = 0.5 // of a window's variance is left by that averaging

	// A limit that rests on an uncertain base is higher by one and a half
	// standard errors, at most 15 %: too high costs time, too low throughput.
	benefitErrors = 1.5
	benefitMost   = 0.15

	// One look never counts for more than all that was known.
	gainMost = 0.5

	// What a mean that does not scatter may be off by, as of a fixed response
	// time: the limit is a whole number and clocks have grains.
	leastError = 0.01

	baseDrift = 1e-5 // variance per window: 8 % in a minute

	// Looks whose results all lie on one side mean another base: a cumulative
	// sum (Page 1954) with a memory of three looks.
	trendKeep  = 0.7
	trendMost  = 3
	trendTrips = 2.5
)

func errorOf(w window) float64 { return max(leastError*leastError, w.variance) }

// guess begins with what is there.
func (b *baseline) guess(w window) { b.log, b.variance, b.known = w.log, 1, false }

// renew takes w, which had no queue, for all that is known.
func (b *baseline) renew(w window) {
	b.log, b.variance, b.known, b.trend = w.log, errorOf(w), true, 0
}

// relaxed learns from a window in which the limit was not touched.
func (b *baseline) relaxed(w window) {
	d := w.log - b.log
	switch {
	case b.variance == 0:
		b.log = w.log
	case d < 0:
		b.log += relaxedDown * d
	default:
		b.log += relaxedUp * d
	}
	b.variance, b.known, b.trend = relaxedShare*errorOf(w), true, 0
}

// look learns from a window below the knee, the first after so many others. It
// is a Kalman filter with one state.
func (b *baseline) look(w window, windows int) baseVerdict {
	b.variance += baseDrift * float64(windows)
	v := errorOf(w)
	z := (w.log - b.log) / math.Sqrt(b.variance+v)
	b.trend = trendKeep*b.trend + max(-trendMost, min(z, trendMost))
	switch {
	case b.trend <= -trendTrips:
		b.known, b.trend = false, 0
		return baseLower
	case b.trend >= trendTrips:
		b.renew(w)
		return baseHigher
	}
	gain := min(gainMost, b.variance/(b.variance+v))
	b.log += gain * (w.log - b.log)
	b.variance *= 1 - gain
	return baseStays
}

// excess is by how much, in logarithms, w's response time is above the base.
func (b *baseline) excess(w window) float64 {
	return w.log - b.log - min(benefitMost, benefitErrors*math.Sqrt(b.variance))
}

// scatter measures how much throughput scatters while the limit is used up: by
// the differences of windows that follow each other. It is kept for one request,
// as the square of their coefficient of variation.
type scatter struct {
	square float64
	n      float64
	last   float64 // throughput
}

const (
	scatterPrior  = 1   // before anything is known: as of exponential service times,
	scatterWeight = 0.5 // counted as half a difference
	scatterMemory = 20  // differences
)

func (s *scatter) add(w window) {
	if s.last > 0 {
		d := math.Log(w.throughput / s.last)
		old := s.one()
		s.n++
		s.square = old + (d*d/2*w.requests-old)/(scatterWeight+min(s.n, scatterMemory))
	}
	s.last = w.throughput
}

// interrupt says that the next window is not like the last one.
func (s *scatter) interrupt() { s.last = 0 }

func (s *scatter) one() float64 {
	if s.n == 0 {
		return scatterPrior
	}
	return s.square
}

// of is the standard error of the logarithm of w's throughput.
func (s *scatter) of(w window) float64 { return math.Sqrt(s.one() / w.requests) }

// guard sees when lowering the limit is no use: fewer in flight have cost
// throughput and not brought shorter response times, so it is not a queue but the
// backend that has become slower.
type guard struct {
	on    bool
	high  window  // what it is compared with: the worst before the limit fell
	limit float64 // when it began
}

const (
	guardFrom = 0.75 // share of the limit down to which the worst is looked for
	guardFall = 0.5  // logarithm of the limit: by 40 %
	guardCost = 0.25 // of the fall, lost in power; a queue would have gained it
)

// costs says whether lowering the limit so far has cost power.
func (g *guard) costs(w window, excess float64) bool {
	switch {
	case excess < noQueue:
		g.on = false
	case !g.on:
		g.on, g.high, g.limit = true, w, w.limit
	case w.log > g.high.log && w.limit > guardFrom*g.limit:
		g.high = w
	}
	if !g.on {
		return false
	}
	fall := math.Log(g.high.limit / w.limit)
	power := math.Log(w.throughput/g.high.throughput) + g.high.log - w.log
	if fall > guardFall && power < -guardCost*fall {
		g.on = false
		return true
	}
	return false
}
