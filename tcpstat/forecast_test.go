package tcpstat

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// world is the local ports of a pair, and those who take them. Its clock moves
// in steps of a fifth of a second.
type world struct {
	r      *rand.Rand
	ports  int
	life   float64 // of a TIME-WAIT, as far as it keeps its port
	now    float64
	held   []float64 // until when each is open; +Inf for good
	passed []float64 // when each TIME-WAIT gives its port back
	f      Forecast
	next   float64   // sample
	gaps   []float64 // between samples, one after the other; see step
	taken  int       // samples
	even   bool      // dials, not Poisson's
	due    float64

	alarmAt, fullAt float64
	began           time.Time
}

func newWorld(seed uint64, ports int) *world {
	return &world{r: rand.New(rand.NewPCG(seed, 1)), ports: ports, life: 60, gaps: gapsFew, began: time.Unix(1e9, 0), alarmAt: -1, fullAt: -1}
}

// How far apart the budget of the lists makes samples: with few sockets, and with
// 50,000 of which most are not towards the backend.
var (
	gapsFew  = []float64{2}
	gapsMany = []float64{6, 5, 4, 3, 3, 2, 2, 2}
)

func (w *world) free() int { return w.ports - len(w.held) - len(w.passed) }

// dial takes a port until then, and leaves a TIME-WAIT if leaves.
func (w *world) dial(until float64, leaves bool) {
	if w.free() <= 0 {
		if w.fullAt < 0 {
			w.fullAt = w.now
		}
		return
	}
	if until > w.now {
		w.held = append(w.held, until)
	} else if leaves {
		w.passed = append(w.passed, until+w.life)
	}
}

// step lets a fifth of a second pass in which arrive(now) connections are
// dialled, that last until(now). leaves says whether our side closes first.
func (w *world) step(rate, lasts float64, leaves bool) {
	const dt = 0.2
	w.now += dt
	keep := w.held[:0]
	for _, u := range w.held {
		if u > w.now {
			keep = append(keep, u)
		} else if leaves {
			w.passed = append(w.passed, u+w.life)
		}
	}
	w.held = keep
	tw := w.passed[:0]
	for _, u := range w.passed {
		if u > w.now {
			tw = append(tw, u)
		}
	}
	w.passed = tw
	n := 0
	if w.even {
		w.due += rate * dt * (0.5 + w.r.Float64())
		n = int(w.due)
		w.due -= float64(n)
	} else {
		n = poisson(w.r, rate*dt)
	}
	for ; n > 0; n-- {
		w.dial(w.now-dt*w.r.Float64()+lasts*w.r.ExpFloat64(), leaves)
	}
	if w.now < w.next {
		return
	}
	w.next = w.now + w.gaps[w.taken%len(w.gaps)] - 0.2 + 0.4*w.r.Float64()
	w.taken++
	u := PortUse{Ports: w.ports, Held: len(w.held), Life: time.Duration(w.life * float64(time.Second))}
	for _, t := range w.passed {
		u.Leaving[min(ringSeconds, int(t-w.now))]++
	}
	w.f.Add(w.began.Add(time.Duration(w.now*float64(time.Second))), u)
	if w.f.Alarm() && w.alarmAt < 0 {
		w.alarmAt = w.now
	}
}

// poisson is how many events of a mean there are (Knuth, TAOCP 3.4.1).
func poisson(r *rand.Rand, mean float64) (n int) {
	for p := r.Float64(); p > math.Exp(-mean); p *= r.Float64() {
		n++
	}
	return n
}

// Ramps of all kinds over 400 ports, from nothing or from a level that was held
// for two minutes, in 45 to 300 s.
func TestARampIsForecastHalfAMinuteAhead(t *testing.T) { rampsAreForecast(t, gapsFew, 0.01, 25) }

// Where lists are dear one in thirteen comes a little later. (At a list every 14.5 s, as
// it would be if each were of all sockets, it is two of three, and some never.)
func TestBesideManySocketsMostRampsAreForecastHalfAMinuteAhead(t *testing.T) {
	rampsAreForecast(t, gapsMany, 0.12, 15)
}

// rampsAreForecast wants no more than a part of them later than half a minute
// ahead, and none less than least seconds.
func rampsAreForecast(t *testing.T, gaps []float64, part, least float64) {
	t.Helper()
	const runs = simRuns
	late, worst := 0, math.Inf(1)
	for seed := range uint64(runs) {
		w := newWorld(seed, 400)
		w.even, w.gaps = true, gaps
		level := float64(w.r.IntN(3)) * 0.3 * 400 // 0, 30 or 60 %
		for range int(level) {
			w.dial(math.Inf(1), false)
		}
		for w.now < 120 && level > 0 {
			w.step(0, 0, false)
		}
		lasts := math.Inf(1) // a pool that grows
		leaves := false
		rate := (400 - level) / (50 + 250*w.r.Float64())
		if w.r.IntN(2) == 0 { // short connections, whose ports TIME-WAIT keeps
			lasts, leaves = 0.05+w.r.Float64(), true
			// At this rate they do not come back before the end.
			rate = (400 - level) / (47 + 6*w.r.Float64())
		}
		for w.fullAt < 0 && w.now < 900 {
			w.step(rate, lasts, leaves)
		}
		if w.fullAt < 0 {
			t.Fatalf("seed %d: the ramp does not end", seed)
		}
		ahead := w.fullAt - w.alarmAt
		if w.alarmAt < 0 {
			ahead = 0
		}
		worst = min(worst, ahead)
		if ahead < 30 {
			late++
			if late < 5 {
				t.Logf("seed %d: level %.0f, rate %.2f/s, lasts %.2f: full at %.0f s, said at %.0f s", seed, level, rate, lasts, w.fullAt, w.alarmAt)
			}
		}
	}
	t.Logf("%d of %d were later than 30 s ahead; the latest %.1f s", late, runs, worst)
	if float64(late) > part*runs || worst < least {
		t.Errorf("%d of %d ramps were seen less than 30 s ahead", late, runs)
	}
}

// A pool that opens within six seconds, and beside it short connections at an even rate, whose
// TIME-WAIT look like a ramp for their first minute: together 80 %.
func TestSteadyUseAtFourFifthsIsNoAlarm(t *testing.T) {
	alarms := 0
	for seed := range uint64(simRuns) {
		w := newWorld(seed, 400)
		w.even = true
		if seed%2 == 1 {
			w.gaps = gapsMany
		}
		kept, held := w.r.IntN(321), 0
		starts, lasts := 20*w.r.Float64(), 0.1+6*w.r.Float64()
		rate := float64(320-kept) / w.life
		for w.now < 200 {
			for held < kept && float64(held) <= float64(kept)*(w.now-starts)/lasts {
				w.dial(math.Inf(1), false)
				held++
			}
			w.step(rate, 0.1, true)
		}
		if w.alarmAt >= 0 {
			alarms++
			t.Logf("seed %d: an alarm after %.0f s, at %.1f short connections a second", seed, w.alarmAt, rate)
		}
	}
	if alarms > 1 {
		t.Errorf("%d alarms in %d runs, want one at most", alarms, simRuns)
	}
}

// Connections that come and go by themselves make four fifths a mean, 4.5
// deviations below the end. What such noise looks like for the time of a
// connection is a ramp, so an alarm in a dozen hours is allowed.
func TestNoiseIsSeldomAnAlarm(t *testing.T) {
	const runs = simRuns / 8
	alarms := 0
	for _, lasts := range []float64{0.2, 1, 3, 10, 30, 100} {
		for _, leaves := range []bool{false, true} {
			for seed := range uint64(runs) {
				w := newWorld(seed, 400)
				rate := 320 / lasts
				if leaves {
					rate = 320 / (lasts + w.life)
				} else {
					for range 320 {
						w.dial(w.now+lasts*w.r.ExpFloat64(), false)
					}
				}
				for w.now < 300 && w.alarmAt < 0 {
					w.step(rate, lasts, leaves)
				}
				if w.alarmAt >= 0 {
					alarms++
				}
			}
		}
	}
	if all := 12 * runs; alarms > 1+all/150 {
		t.Errorf("%d alarms in %d runs of 5 minutes", alarms, all)
	}
}

func TestTheAlarmGoesOffWhenPortsAreBackForAWhile(t *testing.T) {
	var f Forecast
	at := time.Unix(1e9, 0)
	add := func(held int) {
		at = at.Add(2 * time.Second)
		f.Add(at, PortUse{Ports: 400, Held: held, Life: timeWait})
	}
	for held := 0; held <= 400; held += 8 {
		add(held)
	}
	if !f.Alarm() || f.SecondsLeft() != 0 {
		t.Fatalf("all ports are used: alarm %v, %v s left", f.Alarm(), f.SecondsLeft())
	}
	offAfter := -1
	for i := range 40 {
		add(100)
		if !f.Alarm() {
			offAfter = 2 * i
			break
		}
		if i == 5 { // a short relief is none
			add(398)
		}
	}
	if offAfter < 30 || !math.IsInf(f.SecondsLeft(), 1) {
		t.Errorf("off after %d s with %v s left, want 30 s and more after the relief that lasts", offAfter, f.SecondsLeft())
	}
}
