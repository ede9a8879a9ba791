package limiter

// classDoor decides, while a backend sheds, which classes are not even let into
// the queue. The queue serves strictly by class, so who is served nothing there
// has only waited and been dropped, which costs more than a refusal at the gate.
//
// A class is turned away only for a more important one that is being served.
// With one class alone nobody ever is: on and off in turns would let the backend
// idle. And it is let in again before capacity is wasted: when the more
// important ones are not served any more, or leave something over. That it is
// let in too early costs the important ones nothing, the queue protects them.
type classDoor struct {
	lowest   int // the least important class let in
	grace    int // ticks until the next look: what is known is of a closed door
	room     int // ticks in a row that something was left over
	narrowed uint64
}

const (
	// Shed in a second. Fewer are not worth it, and may be chance.
	doorFewest = 10
	// Capacity is not to lie idle for longer, in ticks.
	doorTicks = 3
	// What is left over, of the target's delay and of arrivals: half of what
	// enters queueing and shedding.
	doorDelay, doorShed = 0.5, 0.025
)

func (d *classDoor) open() { d.lowest, d.grace, d.room = modeClasses, 0, 0 }

func (d *classDoor) tick(m Mode, h *modeTraffic, v *modeView) {
	if m != ModeShedding && m != ModeRefusing {
		d.open()
		return
	}
	d.room++
	served, shed := h.last(1, 1, d.lowest)
	if v.value[signalDelay] >= doorDelay || float64(shed) > doorShed*float64(served+shed) {
		d.room = 0
	}
	if d.lowest < modeClasses && (d.room >= doorTicks || !h.serves(d.lowest)) {
		d.open()
		d.grace = modeSecond
		return
	}
	if d.grace > 0 {
		d.grace--
		return
	}
	if c := h.starved(d.lowest); c > 0 && d.room == 0 {
		d.lowest = c - 1
		d.narrowed++
	}
}

// starved is the most important class that, like all below it, was served
// nothing for a second though it came, for a more important one's sake; or 0.
func (h *modeTraffic) starved(lowest int) (class int) {
	if h.n < modeSecond {
		return 0
	}
	for c := lowest; c > 1; c-- {
		served, shed := h.last(modeSecond, c, c)
		if served > 0 {
			break
		}
		if shed >= doorFewest {
			class = c
		}
	}
	if class == 0 || !h.serves(class-1) {
		return 0
	}
	return class
}

// serves says whether any of classes 1 to lowest is being served.
func (h *modeTraffic) serves(lowest int) bool {
	served, _ := h.last(doorTicks, 1, lowest)
	return served > 0
}
