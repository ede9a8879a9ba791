package tcpstat

import (
	"math"
	"slices"
	"time"
)

// PortUse is how the local ports of a pair are used at one moment.
type PortUse struct {
	Ports int // there are
	Held  int // in use by sockets that nothing but their owner frees
	// Leaving[s] is how many more are kept by TIME-WAIT for another s to s+1
	// seconds; see LocalPorts.
	Leaving [ringSeconds + 1]int32
	// Life is how long a TIME-WAIT that begins now will keep its port.
	Life time.Duration
}

// Used is how many ports no dial can have.
func (u *PortUse) Used() int {
	n := u.Held
	for _, v := range u.Leaving {
		n += int(v)
	}
	return n
}

// gone is how many of those that leave will have left after s seconds.
func (u *PortUse) gone(s float64) (sum float64) {
	for i, n := range u.Leaving {
		part := min(s-float64(i), 1)
		if part <= 0 {
			break
		}
		sum += part * float64(n)
	}
	return sum
}

// Free is how many ports a dial may choose from.
func (u *PortUse) Free() int { return max(0, u.Ports-u.Used()) }

// Forecast says when the local ports of a pair will be used up.
//
// It keeps apart what grows and what only passes: arrivals, the ports taken since
// the last sample, are what used grew by and what TIME-WAIT gave back meanwhile,
// which the sample before had announced. So a backend that is dialled at an even
// rate is not taken for one that fills up: after a minute as many ports come
// back as are taken, and that is in the forecast from the start.
//
// The rate of arrivals is the lower quartile of the slopes between pairs of
// samples (Theil and Sen take the median): three quarters of all pairs must grow
// as fast, so one jump, as when a pool opens, is no trend. What is left of noise
// is held against history: see significant.
//
// The zero value is ready. It is for one goroutine at a time.
type Forecast struct {
	samples []sample // of the last forecastWindow, the oldest first
	past    []level  // of the last minutes, the oldest first
	use     PortUse
	sorted  []float64 // scratch
	left    float64

	alarm bool
	calm  time.Time // since when the alarm has no reason
	signs int       // samples in a row that speak for one
}

type sample struct {
	at       time.Time
	arrivals float64 // since the first sample, less what was given back
	held     float64
}

type level struct {
	at   time.Time
	used float64
}

const (
	// How far back samples speak. The longer window sees through more noise,
	// the shorter sees a ramp sooner that follows on a steady time; whichever
	// sees the nearer end is believed.
	forecastWindow = 30 * time.Second
	forecastShort  = 12 * time.Second
	forecastParts  = 4    // of a window, of which each must grow
	forecastOver   = 1.25 // times the least rate of a part is the most that is believed
	forecastMost   = 32   // samples
	forecastFewest = 4
	// A pool that opens, or the others after a restart, take some seconds.
	forecastSpan  = 11 * time.Second // of the least that is judged by
	forecastSure  = 2.0              // deviations of a rate that are left off,
	forecastSurer = 3.0              // and in the short window

	pastEvery = 5 * time.Second
	pastMost  = 72 // 6 minutes

	forecastEnd = 24 * time.Hour // what is further away is no end in sight

	// The alarm goes on at forecastNear or when almost no port is left, and off
	// when twice as much has been there for a while. Half a minute is wanted
	// for those who read it, and the samples that confirm take some seconds.
	forecastNear  = 60 * time.Second
	forecastSigns = 2 // samples in a row
	forecastLast  = 0.02
	forecastCalm  = 30 * time.Second
)

// Add takes a sample. A sample that is not later than the last one is dropped.
func (f *Forecast) Add(at time.Time, u PortUse) {
	s := sample{at: at, held: float64(u.Held)}
	if n := len(f.samples); n > 0 {
		last := f.samples[n-1]
		if !at.After(last.at) {
			return
		}
		if u.Ports != f.use.Ports || u.Life != f.use.Life {
			f.samples, f.past = f.samples[:0], f.past[:0] // an administrator has changed the range
		} else {
			back := f.use.gone(at.Sub(last.at).Seconds())
			s.arrivals = last.arrivals + float64(u.Used()-f.use.Used()) + back
		}
	}
	for len(f.samples) >= forecastMost || len(f.samples) >= 2*forecastFewest && at.Sub(f.samples[0].at) > forecastWindow {
		f.samples = slices.Delete(f.samples, 0, 1)
	}
	f.samples = append(f.samples, s)
	f.use = u
	f.left = f.estimate()
	f.judge(at)
	if n := len(f.past); n == 0 || at.Sub(f.past[n-1].at) >= pastEvery {
		if n >= pastMost {
			f.past = slices.Delete(f.past, 0, 1)
		}
		f.past = append(f.past, level{at, float64(u.Used())})
	}
}

// SecondsLeft is how long there will be a free port, +Inf if no end is in sight,
// 0 if there is none now.
func (f *Forecast) SecondsLeft() float64 {
	if len(f.samples) == 0 {
		return math.Inf(1)
	}
	return f.left
}

// Alarm says whether the ports will be used up soon, or nearly are. It has
// hysteresis, so that it may be logged when it changes.
func (f *Forecast) Alarm() bool { return f.alarm }

func (f *Forecast) estimate() float64 {
	if f.use.Used() >= f.use.Ports {
		return 0
	}
	if !f.significant() {
		return math.Inf(1)
	}
	n := len(f.samples)
	recent := n - 1
	for recent > 0 && f.samples[n-1].at.Sub(f.samples[recent].at) < forecastShort {
		recent--
	}
	return min(f.end(f.samples, forecastSure), f.end(f.samples[recent:], forecastSurer))
}

// significant says whether the ports in use are more than those of the last
// minutes make likely by chance. Connections that come and go by themselves are
// as many as a Poisson distribution has it, give or take the root of their
// number; where less noise was seen, less is allowed for. Without this the
// fluctuations of a busy backend, which last as long as its connections, would
// pass for ramps.
func (f *Forecast) significant() bool {
	const deviations = 4.5 // above the tenth percentile, so 3.2 above the mean
	used := float64(f.use.Used())
	if len(f.past) == 0 {
		return false
	}
	noise, now := math.Sqrt(used), f.samples[len(f.samples)-1].at
	f.sorted = f.sorted[:0]
	for _, l := range f.past {
		if now.Sub(l.at) > forecastWindow {
			f.sorted = append(f.sorted, l.used)
		}
	}
	if len(f.sorted) >= 8 {
		slices.Sort(f.sorted)
		middle := f.sorted[len(f.sorted)/2]
		for i := range f.sorted {
			f.sorted[i] = math.Abs(f.sorted[i] - middle)
		}
		slices.Sort(f.sorted)
		noise = min(noise, 1+1.4826*f.sorted[len(f.sorted)/2]) // of a normal distribution
	}
	f.sorted = f.sorted[:0]
	for _, l := range f.past {
		f.sorted = append(f.sorted, l.used)
	}
	slices.Sort(f.sorted)
	return used-f.sorted[len(f.sorted)/10] >= deviations*noise
}

// end says when no port will be free if all goes on as in these samples.
func (f *Forecast) end(of []sample, sure float64) float64 {
	n := len(of)
	if n < forecastFewest || of[n-1].at.Sub(of[0].at) < forecastSpan {
		return math.Inf(1)
	}
	taken := f.slope(of, sure, func(s *sample) float64 { return s.arrivals })
	taken = min(taken, forecastOver*slowest(of))
	if taken <= 0 {
		return math.Inf(1)
	}
	// What is taken is held, or passes into TIME-WAIT and back.
	held := min(max(0, f.slope(of, sure, func(s *sample) float64 { return s.held })), taken)
	passing, life := taken-held, f.use.Life.Seconds()
	free := float64(f.use.Ports - f.use.Used())
	for s := 1.0; s <= float64(ringSeconds); s++ {
		if held*s+passing*min(s, life)-f.use.gone(s) >= free {
			return s
		}
	}
	// From here on as much comes back as passes.
	if held <= 0 {
		return math.Inf(1)
	}
	s := (float64(f.use.Ports-f.use.Held) - passing*life) / held
	if s > forecastEnd.Seconds() {
		return math.Inf(1)
	}
	return max(s, timeWait.Seconds())
}

// slope is a rate, a second, that growth is at least as fast as: the median of
// the slopes between samples (Theil and Sen), less its uncertainty. That is a
// random walk's: the variance of the steps between samples, over the whole span.
// It is about nothing where growth is even, the rate's root where connections
// come of their own, and large where many come and go, or where all of the growth
// is one jump.
func (f *Forecast) slope(all []sample, sure float64, of func(*sample) float64) float64 {
	span := all[len(all)-1].at.Sub(all[0].at)
	f.sorted = f.sorted[:0]
	for i := range all {
		for j := i + 1; j < len(all); j++ {
			// Nearer ones show little but noise.
			if d := all[j].at.Sub(all[i].at); d >= span/3 {
				f.sorted = append(f.sorted, (of(&all[j])-of(&all[i]))/d.Seconds())
			}
		}
	}
	slices.Sort(f.sorted)
	rate, variance := f.sorted[len(f.sorted)/2], 0.0
	for i := 1; i < len(all); i++ {
		d := all[i].at.Sub(all[i-1].at).Seconds()
		step := of(&all[i]) - of(&all[i-1]) - rate*d
		variance += step * step / d
	}
	variance /= float64(len(all) - 2)
	return rate - sure*math.Sqrt(variance/span.Seconds())
}

// slowest is the least rate of arrivals in any part of the window. A jump, or a
// pool that opens within some seconds, is no trend, however steep it is; nor is
// what has stopped. Samples may stand at uneven distances: where one distance is
// most of the window, all of the growth may be one jump in it, and the rate is 0.
func slowest(all []sample) float64 {
	part := all[len(all)-1].at.Sub(all[0].at) / forecastParts
	least, from, parts := math.Inf(1), 0, 0
	grew := func(i, j int) float64 {
		return (all[j].arrivals - all[i].arrivals) / all[j].at.Sub(all[i].at).Seconds()
	}
	for i := range all {
		if all[i].at.Sub(all[from].at) >= part {
			least = min(least, grew(from, i))
			from = i
			parts++
		}
	}
	if parts < 2 {
		return 0
	}
	for i := len(all) - 1; i >= 0; i-- { // the last part may overlap
		if all[len(all)-1].at.Sub(all[i].at) >= part {
			return min(least, grew(i, len(all)-1))
		}
	}
	return least
}

// judge moves the alarm.
func (f *Forecast) judge(at time.Time) {
	part := float64(f.use.Free()) / float64(max(1, f.use.Ports))
	if !f.alarm {
		if f.left > forecastNear.Seconds() && part > forecastLast {
			f.signs = 0
			return
		}
		if f.signs++; f.signs >= forecastSigns || f.left == 0 {
			f.alarm, f.calm = true, time.Time{}
		}
		return
	}
	if f.left <= 2*forecastNear.Seconds() || part <= 2*forecastLast {
		f.calm = time.Time{}
		return
	}
	if f.calm.IsZero() {
		f.calm = at
	}
	if at.Sub(f.calm) >= forecastCalm {
		f.alarm, f.signs = false, 0
	}
}
