//go:build bench

package bench

import (
	"math"
	"slices"
	"testing"
	"time"
)

// window is what a step is looked at in.
const window = 500 * time.Millisecond

// overloadRow is a kind and what was measured of it.
type overloadRow struct {
	overloadKind
	refused  error // its configuration was; then there is nothing else
	capacity float64
	before   []overloadStep // those that warm up
	steps    []overloadStep
}

// overloadSample is what has been used up at the beginning of a step.
type overloadSample struct {
	proxy, backend, own time.Duration // CPU
	opened              int           // connections, by the clients
}

func (s overloadSample) since(b overloadSample) overloadSample {
	return overloadSample{s.proxy - b.proxy, s.backend - b.backend, s.own - b.own, s.opened - b.opened}
}

// overloadStep is what became of the arrivals of one step, whenever that was.
type overloadStep struct {
	step
	offered    int
	good       int
	refused    map[int]int // by result
	broken     int
	timedOut   int
	unsent     int
	p50, p99   time.Duration // of all answers that are fine, from the arrival
	settled99  time.Duration // the same, of those that came when the step was settledBy old
	late99     time.Duration // from an arrival to its write, where a connection was free or came free
	first      int           // of class 1
	firstGood  int
	windows    []float64
	used       overloadSample
	settled    time.Duration // from the step's beginning; forever: not in this step
	plateau    float64
	backToBase bool // the plateau that settled is about is that of the first step
}

// settledBy is when a step is to have settled. What was let in before, when nobody
// could know yet that the load would last, is in p99 and not in settled99.
const settledBy = time.Second

const forever = time.Duration(math.MaxInt64)

// measure counts arrivals by step. The last step, if it has the rate of the
// first, has to come back to the first one's plateau, and to no other.
func measure(steps []step, arrivals []arrival, samples []overloadSample, capacity float64) (before, list []overloadStep) {
	begin := time.Duration(0)
	for i, s := range steps {
		o := overloadStep{step: s, refused: map[int]int{}}
		offered, good := make([]int, s.length/window), make([]int, s.length/window)
		var took, later, late []time.Duration
		for _, a := range arrivals {
			if a.step != i {
				continue
			}
			w := (a.at - begin) / window
			o.offered++
			offered[w]++
			if a.first {
				o.first++
			}
			if a.result != unsent {
				late = append(late, a.sent-a.at)
			}
			switch {
			case a.result == timedOut:
				o.timedOut++
			case a.result == unsent:
				o.unsent++
			case a.result == broken:
				o.broken++
			case a.result/100 != fine/100:
				o.refused[a.result]++
			default:
				took = append(took, a.done-a.at)
				if a.at-begin >= settledBy {
					later = append(later, a.done-a.at)
				}
				if !a.good() {
					o.timedOut++
					break
				}
				o.good++
				good[w]++
				if a.first {
					o.firstGood++
				}
			}
		}
		slices.Sort(took)
		slices.Sort(later)
		slices.Sort(late)
		o.p50, o.p99, o.settled99, o.late99 = quantile(took, 0.5), quantile(took, 0.99), quantile(later, 0.99), quantile(late, 0.99)
		o.windows = shares(offered, good, capacity)
		o.plateau = plateau(o.windows)
		o.used = samples[i+1].since(samples[i])
		if i == len(steps)-1 && len(list) > 0 && list[0].times == s.times {
			o.backToBase, o.plateau = true, list[0].plateau
		}
		o.settled = settle(o.windows, o.plateau)
		begin += s.length
		if s.warm {
			before = append(before, o)
		} else {
			list = append(list, o)
		}
	}
	return before, list
}

// shares are the good answers of each window to those that could be: all that
// were asked for, or what the backend can do in a window. So a window in which
// few happened to arrive does not look like one in which few were answered.
func shares(offered, good []int, capacity float64) (list []float64) {
	for i, n := range offered {
		could := min(float64(n), capacity*window.Seconds())
		if could == 0 {
			list = append(list, 1)
			continue
		}
		list = append(list, float64(good[i])/could)
	}
	return list
}

// plateau is the median of a step's second half.
func plateau(windows []float64) float64 {
	half := slices.Sorted(slices.Values(windows[len(windows)/2:]))
	return half[len(half)/2]
}

// settle is when the first window begins from which on all have 95 % of a
// plateau.
func settle(windows []float64, plateau float64) time.Duration {
	for i := len(windows) - 1; i >= 0; i-- {
		if windows[i] >= 0.95*plateau {
			continue
		}
		if i == len(windows)-1 {
			return forever
		}
		return time.Duration(i+1) * window
	}
	return 0
}

// quantile is by the nearest rank, of sorted times; 0 where there are none.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

func TestAStepHasSettledWhenAllFurtherWindowsAreNearItsPlateau(t *testing.T) {
	for _, c := range []struct {
		windows []float64
		plateau float64
		want    time.Duration
	}{
		{[]float64{1, 1, 1}, 1, 0},
		{[]float64{0.2, 0.96, 1}, 1, window},
		{[]float64{1, 0.5, 1, 1}, 1, 2 * window}, // a dip begins it anew
		{[]float64{1, 1, 0.9}, 1, forever},
		{[]float64{0.4, 0.5, 0.5}, 0.5, window},
		{[]float64{0, 0, 0}, 1, forever},
	} {
		if got := settle(c.windows, c.plateau); got != c.want {
			t.Errorf("%v has settled at %v after %v, want %v", c.windows, c.plateau, got, c.want)
		}
	}
}

// What is refused, late, given up and broken is no goodput, and each arrival
// counts once, in the step in which it came.
func TestEachArrivalCountsOnceInItsStep(t *testing.T) {
	const ms = time.Millisecond
	steps := []step{{times: 1, length: window, warm: true}, {times: 1, length: window}, {times: 2, length: window}, {times: 1, length: window}}
	at := func(step int, took time.Duration, result int) arrival {
		begin := time.Duration(step) * window
		return arrival{at: begin, step: step, sent: begin + ms, done: begin + took, result: result}
	}
	arrivals := []arrival{
		at(0, 10*ms, 200),
		at(1, 10*ms, 200), at(1, 20*ms, 204),
		at(2, 30*ms, 200), at(2, 101*ms, 200), at(2, 1*ms, 503), at(2, 1*ms, 429), at(2, 0, timedOut), at(2, 0, unsent), at(2, 5*ms, broken),
		at(3, 0, timedOut),
	}
	before, got := measure(steps, arrivals, []overloadSample{{}, {opened: 1}, {opened: 3}, {opened: 7}, {opened: 8}}, 4) // 2 in a window
	if len(before) != 1 || len(got) != 3 {
		t.Fatalf("%d steps and %d before them, want 3 and 1: what warms up is not one of them", len(got), len(before))
	}
	if s := got[0]; s.offered != 2 || s.good != 2 || s.p50 != 10*ms || s.p99 != 20*ms || s.late99 != ms || s.used.opened != 2 || s.settled != 0 {
		t.Errorf("step 1: %+v", s)
	}
	s := got[1]
	if s.offered != 7 || s.good != 1 || s.timedOut != 2 || s.unsent != 1 || s.broken != 1 || s.refused[503] != 1 || s.refused[429] != 1 || s.used.opened != 4 {
		t.Errorf("step 2: %+v", s)
	}
	if s.windows[0] != 0.5 || s.settled != 0 {
		t.Errorf("step 2 has windows %v and settled after %v, want half of what could be, at once", s.windows, s.settled)
	}
	if s := got[2]; s.settled != forever {
		t.Errorf("the last step settled after %v, want never: nothing of the first step's plateau came back", s.settled)
	}
}
