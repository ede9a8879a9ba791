//go:build bench

package bench

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// step is a piece of an overload run with one rate.
type step struct {
	times  float64 // of the capacity
	length time.Duration
	warm   bool // comes before those that are reported
}

// arrival is one request and what became of it. All of them are drawn before the
// run, so that neither a slow server nor a slow client can delay the next one:
// latency counts from at, whatever the request waits for (Schroeder, Wierman and
// Harchol-Balter, Open Versus Closed: A Cautionary Tale, NSDI 2006).
type arrival struct {
	at    time.Duration // since the run began
	step  int
	first bool // of class 1

	sent   time.Duration // when it was written
	done   time.Duration // when its answer was whole
	result int           // the answer's, or one of those below
	conn   int           // that it is on
}

// What becomes of a request without an answer.
const (
	undecided = 0
	timedOut  = -1 // it was given up at its deadline
	unsent    = -2 // no connection came free until its deadline
	broken    = -3 // its connection ended before the answer
)

// deadline is when a client gives up, from the request's arrival.
const deadline = 100 * time.Millisecond

// good says whether the request was answered as its client wished.
func (a *arrival) good() bool {
	return a.result/100 == fine/100 && a.done-a.at <= deadline
}

// draw makes arrivals of a Poisson process whose rate goes up and down in steps:
// its gaps are exponential. The share first are of class 1. The same seed makes
// the same arrivals.
func draw(seed uint64, capacity float64, steps []step, first float64) (list []arrival) {
	r := rand.New(rand.NewPCG(seed, 0))
	begin := time.Duration(0)
	for i, s := range steps {
		mean := float64(time.Second) / (capacity * s.times)
		end := begin + s.length
		for at := begin; ; {
			at += time.Duration(r.ExpFloat64() * mean)
			if at >= end {
				break
			}
			list = append(list, arrival{at: at, step: i, first: r.Float64() < first})
		}
		begin = end
	}
	return list
}

func TestArrivalsAreAPoissonProcessOfTheStepsRate(t *testing.T) {
	steps := []step{{times: 1, length: 20 * time.Second}, {times: 4, length: 20 * time.Second}}
	list := draw(1, 1000, steps, 0.2)
	if !slices.IsSortedFunc(list, func(a, b arrival) int { return int(a.at - b.at) }) {
		t.Error("arrivals are not in the order of their time")
	}
	if again := draw(1, 1000, steps, 0.2); !slices.Equal(list, again) {
		t.Error("the same seed makes other arrivals")
	}
	var n [2]int
	first := 0
	counts := map[time.Duration]int{} // in each 10 ms of the first step
	for _, a := range list {
		n[a.step]++
		if a.first {
			first++
		}
		if a.step == 0 {
			counts[a.at/(10*time.Millisecond)]++
		}
	}
	// Five standard deviations each way.
	for i, want := range []int{20_000, 80_000} {
		if d := n[i] - want; d*d > 25*want {
			t.Errorf("step %d has %d arrivals, want about %d", i, n[i], want)
		}
	}
	if share := float64(first) / float64(len(list)); share < 0.19 || share > 0.21 {
		t.Errorf("%.3f of the arrivals are of class 1, want 0.2", share)
	}
	// The variance of a Poisson count is its mean, 10; of a regular one it is 0.
	variance := 0.0
	for i := range time.Duration(2000) {
		d := float64(counts[i] - 10)
		variance += d * d / 2000
	}
	if variance < 8 || variance > 12 {
		t.Errorf("the arrivals in 10 ms have a variance of %.1f, want about 10", variance)
	}
}
