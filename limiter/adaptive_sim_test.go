package limiter

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// simulation is an open loop without real time: Poisson arrivals, which do not
// wait for answers; a bounded queue in front, newest first, that sheds whoever has
// waited for its patience; a limiter that bounds how many are in flight; and a
// backend of some workers with a queue of its own, oldest first. All times are in
// seconds. The same seed gives the same run.
type simulation struct {
	limiter  simLimiter
	service  simService
	phases   []simPhase
	seed     uint64
	patience float64
	deadline float64 // of good answers, from arrival

	// What came of it.
	answers []simAnswer
	shed    int
	waits   []float64 // in front, of all who left it
	starved float64   // the longest anybody waited in front while a worker was idle
	windows []simWindow

	rand     *rand.Rand
	now      float64
	phase    int
	front    simQueue
	inside   simQueue // waits in the backend
	working  []simJob // whoever is done first comes first
	inFlight int
	idle     float64 // time so far in which a worker was idle
}

type simLimiter interface {
	Observe(now int64, took time.Duration, inFlight int, ok bool)
	Limit() int
}

// simService draws a service time.
type simService func(*rand.Rand) float64

type simPhase struct {
	until   float64
	rate    float64 // arrivals
	workers int
	slow    float64 // all service times are longer by this factor
}

type simJob struct {
	arrived, sent, done float64
	idle                float64 // simulation.idle at arrival
}

// simQueue gives away at both ends.
type simQueue struct {
	jobs []simJob
	gone int
}

func (q *simQueue) len() int       { return len(q.jobs) - q.gone }
func (q *simQueue) oldest() simJob { return q.jobs[q.gone] }
func (q *simQueue) add(j simJob)   { q.jobs = append(q.jobs, j) }

func (q *simQueue) takeOldest() simJob {
	j := q.jobs[q.gone]
	if q.gone++; q.gone == len(q.jobs) || q.gone == 1024 {
		q.jobs, q.gone = slices.Delete(q.jobs, 0, q.gone), 0
	}
	return j
}

func (q *simQueue) takeNewest() simJob {
	j := q.jobs[len(q.jobs)-1]
	q.jobs = q.jobs[:len(q.jobs)-1]
	return j
}

type simAnswer struct{ arrived, done float64 }

// simWindow is half a second.
type simWindow struct {
	good     int
	busy     float64 // worker seconds
	capacity float64
	limit    float64 // mean
}

const (
	simWindowTime = 0.5
	simFrontMost  = 256
)

// simFixed is the backend with nothing but the pool in front.
type simFixed int

func (simFixed) Observe(int64, time.Duration, int, bool) {}
func (f simFixed) Limit() int                            { return int(f) }

func (s *simulation) run() *simulation {
	s.rand = rand.New(rand.NewPCG(s.seed, 1))
	s.windows = make([]simWindow, int(math.Ceil(s.phases[len(s.phases)-1].until/simWindowTime)))
	arrival := s.next()
	for {
		at, answer := arrival, false
		if len(s.working) > 0 && s.working[0].done < at {
			at, answer = s.working[0].done, true
		}
		if end := s.phases[s.phase].until; at > end {
			s.advance(end)
			if s.phase++; s.phase == len(s.phases) {
				return s
			}
			arrival = s.next()
			s.work()
			continue
		}
		s.advance(at)
		if answer {
			s.answer()
		} else {
			s.arrive()
			arrival = s.next()
		}
		s.dispatch()
	}
}

func (s *simulation) next() float64 { return s.now + s.rand.ExpFloat64()/s.phases[s.phase].rate }

// advance moves the clock and keeps the books of time.
func (s *simulation) advance(to float64) {
	workers := s.phases[s.phase].workers
	if len(s.working) < workers {
		s.idle += to - s.now
	}
	for s.now < to {
		i := min(int(s.now/simWindowTime), len(s.windows)-1)
		end := min(to, float64(i+1)*simWindowTime)
		if end <= s.now {
			end = to
		}
		w, d := &s.windows[i], end-s.now
		w.busy += d * float64(min(len(s.working), workers))
		w.capacity += d * float64(workers)
		w.limit += d * float64(s.limiter.Limit()) / simWindowTime
		s.now = end
	}
}

func (s *simulation) arrive() {
	if s.front.len() == simFrontMost {
		s.leave(s.front.takeOldest())
		s.shed++
	}
	s.front.add(simJob{arrived: s.now, idle: s.idle})
}

// leave notes that j has left the front.
func (s *simulation) leave(j simJob) {
	s.waits = append(s.waits, s.now-j.arrived)
	s.starved = max(s.starved, s.idle-j.idle)
}

func (s *simulation) dispatch() {
	for s.front.len() > 0 && s.now-s.front.oldest().arrived > s.patience {
		s.leave(s.front.takeOldest())
		s.shed++
	}
	for s.front.len() > 0 && s.inFlight < s.limiter.Limit() {
		j := s.front.takeNewest()
		s.leave(j)
		j.sent = s.now
		s.inFlight++
		s.inside.add(j)
		s.work()
	}
}

// work gives idle workers what waits in the backend.
func (s *simulation) work() {
	p := s.phases[s.phase]
	for s.inside.len() > 0 && len(s.working) < p.workers {
		j := s.inside.takeOldest()
		j.done = s.now + s.service(s.rand)*p.slow
		i := len(s.working)
		for i > 0 && s.working[i-1].done > j.done {
			i--
		}
		s.working = slices.Insert(s.working, i, j)
	}
}

// answer ends what is done first.
func (s *simulation) answer() {
	j := s.working[0]
	s.working = slices.Delete(s.working, 0, 1)
	s.work()
	s.limiter.Observe(simNanos(s.now), time.Duration(simNanos(s.now-j.sent)), s.inFlight, true)
	s.inFlight--
	s.answers = append(s.answers, simAnswer{j.arrived, s.now})
	if s.now-j.arrived <= s.deadline {
		s.windows[min(int(s.now/simWindowTime), len(s.windows)-1)].good++
	}
}

func simNanos(seconds float64) int64 { return int64(seconds * 1e9) }

// between are the windows from one time to another.
func (s *simulation) between(from, to float64) []simWindow {
	return s.windows[int(math.Ceil(from/simWindowTime)):int(to/simWindowTime)]
}

// goodput is good answers per second.
func (s *simulation) goodput(from, to float64) float64 {
	n := 0
	w := s.between(from, to)
	for i := range w {
		n += w[i].good
	}
	return float64(n) / (float64(len(w)) * simWindowTime)
}

// limit is the mean.
func (s *simulation) limit(from, to float64) (mean float64) {
	w := s.between(from, to)
	for i := range w {
		mean += w[i].limit / float64(len(w))
	}
	return mean
}

// busy is the workers' share of time, of all windows and of the lowest.
func (s *simulation) busy(from, to float64) (mean, lowest float64) {
	lowest = 1
	w := s.between(from, to)
	for i := range w {
		share := w[i].busy / w[i].capacity
		mean += share / float64(len(w))
		lowest = min(lowest, share)
	}
	return mean, lowest
}

// response is a quantile of the time from arrival to answer, of those who arrived
// in that time.
func (s *simulation) response(q, from, to float64) float64 {
	var took []float64
	for _, a := range s.answers {
		if a.arrived >= from && a.arrived < to {
			took = append(took, a.done-a.arrived)
		}
	}
	return simQuantile(took, q)
}

func simQuantile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return v[min(len(v)-1, int(q*float64(len(v))))]
}

// trace is the mean limit of each half second.
func (s *simulation) trace() string {
	var b strings.Builder
	for i, w := range s.windows {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%.0f", w.limit)
	}
	return b.String()
}

// The backends that the constants are made for: ten workers, 10 ms on average.
var simBackends = []struct {
	name    string
	service simService

	// What must hold from a second after a step to overload on: goodput by
	// capacity; p99 by that of an unloaded backend; and of each half second
	// by the mean of all. The last two are for a limiter that knows nothing
	// yet: the search does not end in a second where service times scatter.
	goodput             float64
	slower, settled     float64
	searched, searching float64
}{
	{"fixed", simFixedTime, 0.98, 2, 0.95, 2, 0.95},
	{"exponential", simExponential, 0.95, 1.25, 0.8, 1.5, 0.55},
	{"bimodal", simBimodal, 0.95, 1.25, 0.8, 1.5, 0.55},
}

func simFixedTime(*rand.Rand) float64     { return 0.010 }
func simExponential(r *rand.Rand) float64 { return 0.010 * r.ExpFloat64() }
func simBimodal(r *rand.Rand) float64 {
	if r.Float64() < 0.9 {
		return 0.005
	}
	return 0.055
}

// simTimes makes a service slower by a factor.
func simTimes(f float64, s simService) simService {
	return func(r *rand.Rand) float64 { return f * s(r) }
}

// simGradient2 is Netflix' Gradient2 with its defaults, in windows of 100 ms.
type simGradient2 struct {
	most, limit, long float64
	from              int64
	n, took           float64
}

func (g *simGradient2) Limit() int { return int(g.limit) }

func (g *simGradient2) Observe(now int64, took time.Duration, inFlight int, _ bool) {
	g.n++
	g.took += took.Seconds()
	if now-g.from < int64(100*time.Millisecond) {
		return
	}
	short := g.took / g.n
	g.from, g.n, g.took = now, 0, 0
	if g.long == 0 {
		g.long = short
	}
	g.long += (short - g.long) * 2 / (600 + 1)
	if g.long/short > 2 {
		g.long *= 0.9
	}
	if float64(inFlight) < g.limit/2 {
		return
	}
	gradient := max(0.5, min(1, g.long/short))
	g.limit = min(g.most, 0.8*g.limit+0.2*(g.limit*gradient+4))
}
