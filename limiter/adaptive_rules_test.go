package limiter

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// The rules of the limit, held against simulated backends. With -v the numbers of
// docs/decisions are logged.

const (
	simCapacity = 1000.0 // of simBackends, per second
	simMaxOpen  = 64
)

func newAdaptive(t testing.TB, o AdaptiveOptions) *Adaptive {
	t.Helper()
	a, err := NewAdaptive(o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// simLoad runs a backend of ten workers of 10 ms.
func simLoad(l simLimiter, service simService, seed uint64, phases ...simPhase) *simulation {
	s := &simulation{limiter: l, service: service, phases: phases, seed: seed, patience: 0.010, deadline: 0.100}
	return s.run()
}

// simUnloaded is the p99 at half the capacity, without a limiter.
func simUnloaded(service simService) float64 {
	return simLoad(simFixed(simMaxOpen), service, 1, simPhase{20, simCapacity / 2, 10, 1}).response(0.99, 1, 19)
}

// From a limit that was learned at half load, and from the one it starts with.
// Settled is said of the workers' time: throughput of service times that scatter
// does so by 5 and 7 % in half a second, whatever the limiter does.
func TestUnderOverloadNearlyAllIsAnsweredInTimeThatCanBe(t *testing.T) {
	for _, b := range simBackends {
		unloaded := simUnloaded(b.service)
		for _, learned := range []bool{true, false} {
			for _, load := range []float64{2, 5, 10} {
				t.Run(fmt.Sprintf("%s/learned=%v/%gx", b.name, learned, load), func(t *testing.T) {
					worst, slowest, least, limit := 1.0, 0.0, 9.0, 0.0
					for _, seed := range simSeeds {
						var phases []simPhase
						step, share, slower := 0.0, b.searching, b.searched
						if learned {
							step, share, slower = 4, b.settled, b.slower
							phases = append(phases, simPhase{step, simCapacity / 2, 10, 1})
						}
						end := step + 12
						phases = append(phases, simPhase{end, simCapacity * load, 10, 1})
						a := newAdaptive(t, AdaptiveOptions{Max: simMaxOpen})
						s := simLoad(a, b.service, seed, phases...)

						goodput := s.goodput(step+1, end) / simCapacity
						if goodput < b.goodput {
							t.Errorf("seed %d: goodput is %.3f of capacity, want %.2f", seed, goodput, b.goodput)
						}
						p99 := s.response(0.99, step+1, end-0.5)
						if p99 > slower*unloaded {
							t.Errorf("seed %d: p99 is %.1f ms, unloaded %.1f ms", seed, p99*1e3, unloaded*1e3)
						}
						plateau, lowest := s.busy(step+1, end)
						if lowest < share*plateau {
							t.Errorf("seed %d: workers are busy for %.3f of a half second after the first second, and %.3f of all the time", seed, lowest, plateau)
						}
						worst, slowest, least = min(worst, lowest/plateau), max(slowest, p99), min(least, goodput)
						limit += s.limit(step+1, end) / float64(len(simSeeds))
						if seed == simSeeds[0] {
							t.Logf("limit each half second: %s", s.trace())
						}
					}
					t.Logf("goodput at least %.3f, p99 at most %.1f ms (unloaded %.1f), half seconds at least %.2f, limit %.1f", least, slowest*1e3, unloaded*1e3, worst, limit)
				})
			}
		}
	}
}

// Nobody waits in front while a worker is idle, next to nobody waits there for
// long, and next to nobody is shed: what has to wait waits in the backend, as it
// would without a limit.
func TestBelowCapacityTheLimitIsNotFelt(t *testing.T) {
	for _, b := range simBackends {
		unloaded := simUnloaded(b.service)
		for _, load := range []float64{0.5, 0.9} {
			starved, waits, shed := 0.0, 0.0, 0.0
			for _, seed := range simSeeds {
				a := newAdaptive(t, AdaptiveOptions{Max: simMaxOpen})
				s := simLoad(a, b.service, seed, simPhase{20, simCapacity * load, 10, 1})
				starved = max(starved, s.starved)
				waits = max(waits, simQuantile(s.waits, 0.99))
				shed = max(shed, float64(s.shed)/float64(s.shed+len(s.answers)))
			}
			if starved > 0.2*unloaded {
				t.Errorf("%s at %gx: somebody waited for %.1f ms while a worker was idle", b.name, load, starved*1e3)
			}
			if waits > 0.2*unloaded {
				t.Errorf("%s at %gx: the p99 of waits in front is %.1f ms, that of answers without a limit %.1f ms", b.name, load, waits*1e3, unloaded*1e3)
			}
			if shed > 0.01 {
				t.Errorf("%s at %gx: %.2f %% are shed", b.name, load, 100*shed)
			}
			t.Logf("%s at %gx: waited at most %.1f ms with a worker idle, p99 of waits in front %.1f ms, shed %.2f %%", b.name, load, starved*1e3, waits*1e3, shed*100)
		}
	}
}

// At capacity bursts never end, and the limit must not take them all for a reason
// to grow: what they leave in the backend is what a step to overload waits for.
func TestAtCapacityTheQueueStaysInFront(t *testing.T) {
	for i, b := range simBackends {
		bound := []float64{2.5, 1.6, 1.6}[i] // without the bound on growth 3.9, 1.4, 1.7
		goodput, p99 := 0.0, 0.0
		for _, seed := range simSeeds {
			a := newAdaptive(t, AdaptiveOptions{Max: simMaxOpen})
			s := simLoad(a, b.service, seed, simPhase{3, simCapacity / 2, 10, 1}, simPhase{13, simCapacity, 10, 1}, simPhase{18, 2 * simCapacity, 10, 1})
			goodput += s.goodput(4, 13) / simCapacity / float64(len(simSeeds))
			p99 += s.response(0.99, 13, 18) / float64(len(simSeeds))
		}
		unloaded := simUnloaded(b.service)
		if goodput < 0.93 {
			t.Errorf("%s: at capacity goodput is %.3f of it", b.name, goodput)
		}
		if p99 > bound*unloaded {
			t.Errorf("%s: in the 5 s after a step from capacity to 2x p99 is %.1f ms, unloaded it is %.1f", b.name, 1e3*p99, 1e3*unloaded)
		}
		t.Logf("%s: at capacity goodput %.3f, and in the step from there to 2x p99 %.1f ms, unloaded %.1f", b.name, goodput, 1e3*p99, 1e3*unloaded)
	}
}

// Nor may it hold on to a base that is none any more: this backend is slower than
// it was, and works on more at once.
func TestASlowerBackendThatIsNotFullIsGivenMore(t *testing.T) {
	shed, all := 0, 0
	for _, seed := range simSeeds {
		a := newAdaptive(t, AdaptiveOptions{Max: 128})
		s := simLoad(a, simFixedTime, seed, simPhase{6, simCapacity / 2, 10, 1}, simPhase{66, 0.8 * simCapacity, 20, 2})
		shed, all = shed+s.shed, all+s.shed+len(s.answers)
	}
	share := float64(shed) / float64(all)
	if share > 0.004 { // without denials 0.005
		t.Errorf("%.2f %% are shed at 0.8 of capacity", 100*share)
	}
	t.Logf("%.2f %% are shed in a minute at 0.8 of capacity, with twice the workers and twice the time", 100*share)
}

// Five seconds after a change the limit is where it belongs.
func TestTheLimitFollowsTheBackend(t *testing.T) {
	changes := []struct {
		name    string
		workers int
		slow    float64
		late    float64 // share of answers that are too late by their service time alone
	}{
		{"twice the workers", 20, 1, 0},
		{"half the workers", 5, 1, 0},
		{"twice as fast", 10, 0.5, 0},
		{"twice as slow", 10, 2, 0.1},
	}
	const change, end = 6, 15
	for _, b := range simBackends {
		for _, c := range changes {
			for _, seed := range simSeeds {
				a := newAdaptive(t, AdaptiveOptions{Max: simMaxOpen})
				capacity := simCapacity / 10 * float64(c.workers) / c.slow
				s := simLoad(a, b.service, seed, simPhase{change, 2 * simCapacity, 10, 1}, simPhase{end, 2 * capacity, c.workers, c.slow})
				limit, goodput := s.limit(change+5, end)/float64(c.workers), s.goodput(change+5, end)/capacity
				if limit < 0.9 || limit > 1.75 || goodput < 0.9-c.late {
					t.Errorf("%s, %s, seed %d: the limit is %.2f for each worker, goodput %.3f of capacity: %s", b.name, c.name, seed, limit, goodput, s.trace())
				}
				if seed == 1 {
					t.Logf("%s, %s: %s", b.name, c.name, s.trace())
				}
			}
		}
	}
}

// The constants are about shares and counts, not about milliseconds.
func TestOtherTimesOfServiceNeedNoOtherConstants(t *testing.T) {
	scales := []struct {
		name    string
		times   float64
		workers int
		most    int
		settle  float64
		end     float64
	}{
		{"1 ms", 0.1, 10, simMaxOpen, 2, 6},
		{"1 s", 100, 100, 256, 90, 150},
	}
	for _, b := range simBackends {
		for _, sc := range scales {
			for _, seed := range simSeeds[:min(2, len(simSeeds))] {
				a := newAdaptive(t, AdaptiveOptions{Max: sc.most})
				capacity := float64(sc.workers) / (0.010 * sc.times)
				s := &simulation{
					limiter: a, service: simTimes(sc.times, b.service), seed: seed,
					phases:   []simPhase{{sc.end, 2 * capacity, sc.workers, 1}},
					patience: 0.010 * max(1, sc.times/10), deadline: 0.1 * sc.times,
				}
				s.run()
				limit, goodput := s.limit(sc.settle, sc.end)/float64(sc.workers), s.goodput(sc.settle, sc.end)/capacity
				if limit < 0.9 || limit > 1.5 || goodput < 0.9 {
					t.Errorf("%s, %s, seed %d: the limit is %.2f for each worker, goodput %.3f of capacity", b.name, sc.name, seed, limit, goodput)
				}
			}
		}
	}
}

// Gradient2's long RTT learns the overload; the base must not, whether the limiter
// has seen the backend unloaded before or not.
func TestLastingOverloadTeachesNothingWrong(t *testing.T) {
	for _, b := range simBackends {
		for _, before := range []float64{4, 0.1} {
			phases := []simPhase{{before, simCapacity / 2, 10, 1}, {64, 2 * simCapacity, 10, 1}}
			s := simLoad(newAdaptive(t, AdaptiveOptions{Max: simMaxOpen}), b.service, 1, phases...)
			g := simLoad(&simGradient2{most: simMaxOpen, limit: 20}, b.service, 1, phases...)
			limit, drifted := s.limit(54, 64), g.limit(54, 64)
			t.Logf("%s, after %v s at half load and a minute at 2x: limit %.1f, Gradient2's %.1f", b.name, before, limit, drifted)
			if limit > 13 {
				t.Errorf("%s: after a minute at 2x the limit is %.1f", b.name, limit)
			}
			if drifted < 1.3*limit {
				t.Errorf("%s: Gradient2's limit is %.1f: this load would not show a drift", b.name, drifted)
			}
		}
	}
}

// closedLoop is a backend that always has as many in flight as it may, and of
// these a random one done next. It returns means of the second half.
func closedLoop(a *Adaptive, seed uint64, seconds float64, rate func(inFlight float64) float64) (limit, throughput float64) {
	r := rand.New(rand.NewPCG(seed, 2))
	var sent []float64
	for now := 0.0; now < seconds; {
		for len(sent) < a.Limit() {
			sent = append(sent, now)
		}
		d := r.ExpFloat64() / rate(float64(len(sent)))
		now += d
		i := r.IntN(len(sent))
		a.Observe(simNanos(now), time.Duration(simNanos(now-sent[i])), len(sent), true)
		sent[i] = sent[len(sent)-1]
		sent = sent[:len(sent)-1]
		if now > seconds/2 {
			limit += d * float64(a.Limit()) / (seconds / 2)
			throughput += 1 / (seconds / 2)
		}
	}
	return limit, throughput
}

// Backends that have no queue of their own: one that shares its processors among
// all requests; one that loses throughput by each too many; and one without a
// sharp knee, whose power is greatest at the limit that doubles its response time.
func TestBackendsOfOtherKindsAreKeptAtTheirKneeToo(t *testing.T) {
	kinds := []struct {
		name             string
		rate             func(n float64) float64
		lowest, highest  float64 // limit
		best, throughput float64
	}{
		{"10 processors shared", func(n float64) float64 { return 100 * min(n, 10) }, 10, 20, 1000, 0.97},
		{"collapses beyond 10", func(n float64) float64 { return 100 * min(n, 100/n) }, 9, 13, 1000, 0.8},
		{"no sharp knee", func(n float64) float64 { return 2000 * n / (n + 10) }, 10, 40, 2000, 0.5},
	}
	for _, k := range kinds {
		for _, seed := range simSeeds {
			a := newAdaptive(t, AdaptiveOptions{Max: 256})
			limit, throughput := closedLoop(a, seed, 40, k.rate)
			if limit < k.lowest || limit > k.highest || throughput < k.throughput*k.best {
				t.Errorf("%s, seed %d: limit %.1f, throughput %.0f/s of %.0f/s", k.name, seed, limit, throughput, k.best)
			}
			if seed == 1 {
				t.Logf("%s: limit %.1f, throughput %.2f of the highest", k.name, limit, throughput/k.best)
			}
		}
	}
}

// What it costs not to know the number of workers.
func TestTheLimitFoundIsNearlyAsGoodAsTheRightOne(t *testing.T) {
	for _, b := range simBackends {
		for _, load := range []float64{1.2, 2, 10} {
			row := func(name string, l simLimiter) (goodput, p99 float64) {
				s := simLoad(l, b.service, 1, simPhase{4, simCapacity / 2, 10, 1}, simPhase{16, load * simCapacity, 10, 1})
				goodput, p99 = s.goodput(5, 16)/simCapacity, s.response(0.99, 5, 15.5)
				t.Logf("%s at %gx, %s: goodput %.3f, p50 %.1f ms, p99 %.1f ms, limit %.1f", b.name, load, name, goodput, s.response(0.5, 5, 15.5)*1e3, p99*1e3, s.limit(5, 16))
				return goodput, p99
			}
			row("no limit but the pool's 64", simFixed(simMaxOpen))
			row("Gradient2", &simGradient2{most: simMaxOpen, limit: 20})
			best, fastest := row("fixed at 11", simFixed(11))
			goodput, p99 := row("adaptive", newAdaptive(t, AdaptiveOptions{Max: simMaxOpen}))
			if goodput < 0.96*best || p99 > 1.25*fastest {
				t.Errorf("%s at %gx: goodput %.3f, p99 %.1f ms; with 11 in flight %.3f and %.1f ms", b.name, load, goodput, p99*1e3, best, fastest*1e3)
			}
		}
	}
}
