package limiter

import (
	"fmt"
	"math"
	"time"
)

// ModeTick is how often a Ladder wants its signals.
const ModeTick = 100 * time.Millisecond

// Signals is what a Ladder judges by. Numbers that are not known stay zero.
type Signals struct {
	DialsWaiting int     // for the pacer, now
	PortsUsed    float64 // part of the local ports towards the backend, TIME_WAIT included: 0 to 1

	Waiting     int           // in the queue, now
	LeastDelay  time.Duration // least delay in the queue over its last whole interval
	Target      time.Duration // of the queue; 0 means 5 ms
	InFlightMax int           // how many requests the backend may have at one time

	// Since any time in the past, by class, 1 to 5; [0] is not used. Served
	// got a connection, Shed was turned away for want of capacity: by the
	// queue, or at the gate on this ladder's word. Leave the latter out, and
	// the ladder takes its own work for the end of the overload.
	Served, Shed [modeClasses + 1]uint64

	Breaker BreakerState
}

const (
	modeClasses = 5 // 1 is the most important
	// What CoDel takes for a queue that stands.
	modeTarget = 5 * time.Millisecond

	modeSecond = 10 // ticks
	// Half a second is soon enough to see a step and long enough not to take
	// one burst, which is in the window for five ticks, for a flood.
	modeShedWindow = 5 // ticks
	// Of fewer arrivals in that window no part is taken: refusing is cheap
	// for few, too.
	modeFewest = 5
)

type modeSignal uint8

const (
	signalDials modeSignal = iota
	signalPorts
	signalDelay // as a multiple of the target
	signalShed  // part of arrivals
	signalBreaker
	modeSignals
)

var modeSignalNames = [modeSignals]string{"dials_waiting", "ports_used", "queue_delay", "shed_part", "breaker"}

// modeTriggers are the rungs' entries and ends: a trigger goes on when its signal
// has been at its level for ticks in a row, and off when it has been below half
// of it for hold ticks in a row. In between it stays as it is, so no signal can
// move it more often than every ticks + hold. The mode is the highest rung with
// a trigger that is on.
var modeTriggers = [...]modeRule{
	// Two, because one is there at any moment of an ordinary dial.
	{mode: ModePaced, signal: signalDials, level: 2, ticks: 3, hold: modeSecond},
	// connect() gets slow when half of the ports are used.
	{mode: ModePaced, signal: signalPorts, level: 0.5, ticks: 3, hold: modeSecond},
	// The least delay of a whole interval is already a hold.
	{mode: ModeQueueing, signal: signalDelay, level: 1, ticks: 1, hold: modeSecond},
	{mode: ModeShedding, signal: signalShed, level: 0.05, ticks: 3, hold: modeSecond},
	// Offered is twice the capacity, for a second.
	{mode: ModeRefusing, signal: signalShed, level: 0.5, ticks: modeSecond, hold: modeSecond},
	// The breaker has a hold of its own.
	{mode: ModeOpen, signal: signalBreaker, level: 1, ticks: 1, hold: 1},
}

type modeRule struct {
	mode   Mode
	signal modeSignal
	level  float64
	ticks  int
	hold   int
}

type modeTrigger struct {
	on    bool
	run   int // ticks in a row that speak for a move
	moved bool
	last  float64
}

// tick says whether it moved.
func (t *modeTrigger) tick(r *modeRule, value float64) bool {
	t.last = value
	speaks, need := value >= r.level, r.ticks
	if t.on {
		speaks, need = value < r.level/2, r.hold
	}
	if !speaks {
		t.run = 0
		return false
	}
	if t.run++; t.run < need {
		return false
	}
	t.on, t.run = !t.on, 0
	return true
}

// explain is the report of a trigger that went on or off.
func (r *modeRule) explain(v *modeView, on bool) ModeChange {
	value := v.value[r.signal]
	c := ModeChange{Signal: modeSignalNames[r.signal], Value: value, Level: r.level}
	text := func(n float64) string { return fmt.Sprintf("%.3g", n) }
	switch r.signal {
	case signalDials:
		c.Cause = "dials that wait for the pacer (dial.rate): "
	case signalPorts:
		c.Cause, text = "local ports in use: ", modePercent
	case signalDelay:
		c.Cause = "least delay in the queue: "
		text = func(n float64) string {
			return time.Duration(n * float64(v.target)).Round(10 * time.Microsecond).String()
		}
	case signalShed:
		c.Cause, text = "shed of all arrivals: ", modePercent
	case signalBreaker:
		c.Cause = "the breaker is closed"
		if on {
			c.Cause = "the breaker is open"
		}
		return c
	}
	if on {
		c.Cause += fmt.Sprintf("%s, the level is %s for %v", text(value), text(r.level), time.Duration(r.ticks)*ModeTick)
	} else {
		c.Cause += fmt.Sprintf("%s, below half of the level %s for %v", text(value), text(r.level), time.Duration(r.hold)*ModeTick)
	}
	return c
}

func modePercent(part float64) string { return fmt.Sprintf("%.3g %%", part*100) }

// modeView is what one tick shows.
type modeView struct {
	value  [modeSignals]float64
	target time.Duration
}

// modeTraffic is the traffic of the last second, tick by tick.
type modeTraffic struct {
	served, shed [modeClasses + 1]uint64 // last counts seen
	ring         [modeSecond]modeCounts
	n            int // ticks ever
}

type modeCounts struct{ served, shed [modeClasses + 1]uint64 }

// add takes in a tick's signals.
func (h *modeTraffic) add(s *Signals) modeView {
	now := &h.ring[h.n%modeSecond]
	*now = modeCounts{}
	for c := 1; c <= modeClasses; c++ {
		if h.n > 0 { // of what was before the first tick nothing is known
			now.served[c] = grown(h.served[c], s.Served[c])
			now.shed[c] = grown(h.shed[c], s.Shed[c])
		}
	}
	h.served, h.shed = s.Served, s.Shed
	h.n++

	v := modeView{target: s.Target}
	if v.target <= 0 {
		v.target = modeTarget
	}
	v.value[signalDials] = float64(s.DialsWaiting)
	v.value[signalPorts] = s.PortsUsed
	if served, shed := now.sum(1, modeClasses); s.Waiting > 0 || served+shed > 0 {
		// A delay of the past is no news when nobody comes.
		v.value[signalDelay] = float64(s.LeastDelay) / float64(v.target)
	}
	v.value[signalShed] = h.shedPart(modeClasses)
	if s.Breaker != BreakerClosed {
		v.value[signalBreaker] = 1
	}
	for i := range v.value {
		if math.IsNaN(v.value[i]) {
			v.value[i] = 0
		}
	}
	return v
}

// grown is how much a counter grew. One that went back belongs to a new queue.
func grown(last, now uint64) uint64 {
	if now < last {
		return now
	}
	return now - last
}

// last is the traffic of the last ticks of classes first to last.
func (h *modeTraffic) last(ticks, first, last int) (served, shed uint64) {
	for i := 1; i <= min(ticks, h.n); i++ {
		a, b := h.ring[(h.n-i)%modeSecond].sum(first, last)
		served, shed = served+a, shed+b
	}
	return served, shed
}

func (c *modeCounts) sum(first, last int) (served, shed uint64) {
	for i := first; i <= last; i++ {
		served += c.served[i]
		shed += c.shed[i]
	}
	return served, shed
}

// shedPart is the part of arrivals of classes 1 to lowest that was shed.
func (h *modeTraffic) shedPart(lowest int) float64 {
	served, shed := h.last(modeShedWindow, 1, lowest)
	if served+shed < modeFewest {
		return 0
	}
	return float64(shed) / float64(served+shed)
}
