//go:build !race

package limiter

// One goroutine and many million comparisons: the race detector would only make
// them slow.

import (
	"math/rand/v2"
	"testing"
	"time"
)

// modeOracle is what the triggers say by the letter, from the whole history.
type modeOracle struct {
	loads  []modeLoad
	values [][modeSignals]float64
	on     [len(modeTriggers)]bool
	moved  [len(modeTriggers)]int // ticks before the last move
}

func (o *modeOracle) add(m modeLoad) {
	o.loads = append(o.loads, m)
	var v [modeSignals]float64
	v[signalDials], v[signalPorts], v[signalDelay] = float64(m.dials), m.ports, m.delay
	var served, shed uint64
	for _, m := range o.loads[max(0, len(o.loads)-5):] {
		served, shed = served+m.served, shed+m.shed
	}
	if served+shed >= 5 {
		v[signalShed] = float64(shed) / float64(served+shed)
	}
	if m.breaker != BreakerClosed {
		v[signalBreaker] = 1
	}
	o.values = append(o.values, v)
}

func (o *modeOracle) tick(m modeLoad) (mode Mode) {
	o.add(m)
	n := len(o.values)
	for i, r := range modeTriggers {
		need := r.ticks
		if o.on[i] {
			need = r.hold
		}
		speak := n-o.moved[i] >= need
		for at := n - 1; speak && at >= n-need; at-- {
			v := o.values[at][r.signal]
			speak = !o.on[i] && v >= r.level || o.on[i] && v < r.level/2
		}
		if speak {
			o.on[i], o.moved[i] = !o.on[i], n
		}
		if o.on[i] {
			mode = max(mode, r.mode)
		}
	}
	return mode
}

// Every edge of the table is taken by some sequence of signals, no other is by
// any, and the mode is always what the triggers say by the letter.
func TestModeTakesEveryEdgeOfTheTableAndNoOther(t *testing.T) {
	const sequences, length = 100_000, 40
	var edges [modes][modes]int
	rnd := rand.New(rand.NewPCG(7, 7))
	some := func(n int) bool { return rnd.IntN(n) == 0 }
	var o modeOracle
	for n := range sequences {
		l := &modeLab{T: t, Ladder: NewLadder(0, nil)}
		l.s.Target = 5 * time.Millisecond
		l.Tick(0, l.s)
		o = modeOracle{loads: o.loads[:0], values: o.values[:0]}
		// Calm and storm in turns, so that rungs are left too.
		var m modeLoad
		left, storm := 0, false
		mode := ModeNormal
		for range length {
			if left--; left < 0 {
				left, storm = 1+rnd.IntN(16), !storm
				m = modeLoad{served: 300}
				if storm || some(4) {
					m.dials = rnd.IntN(4)
				}
				if storm || some(4) {
					m.ports = rnd.Float64()
				}
				if storm || some(4) {
					m.delay = float64(rnd.IntN(5)) / 2
				}
				if storm {
					m.shed = []uint64{0, 10, 30, 300, 3000}[rnd.IntN(5)]
				}
				if some(4) {
					m.breaker = BreakerState(rnd.IntN(int(breakerStates)))
				}
				if some(8) {
					m.served = 0
				}
			}
			was := mode
			mode = l.tick(m)
			if want := o.tick(m); mode != want {
				t.Fatalf("sequence %d: %v, want %v after %+v", n, mode, want, o.loads)
			}
			edges[was][mode]++
			if was != mode && !modeEdges[was][mode] {
				t.Fatalf("sequence %d: %v to %v", n, was, mode)
			}
		}
	}
	for from := range modes {
		for to := range modes {
			if modeEdges[from][to] && edges[from][to] == 0 {
				t.Errorf("%v to %v is in the table, but never happens", from, to)
			}
		}
	}
}
