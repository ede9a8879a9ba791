package procs

import "time"

const (
	// period is the time from one look to the next. Where there is little to do,
	// less than half of one processor's time, it is half a second.
	period     = 100 * time.Millisecond
	idlePeriod = 5 * period
	little     = 0.5

	// busy is how much of its processors' time weir may use before it gets more:
	// nearly all. What becomes ready meanwhile waits a few requests' time, some
	// ten microseconds each; another processor would cost each of them more.
	busy = 0.95

	// free is how much of a processor must have been free for weir to take
	// another.
	free = 0.3

	// pressed is for how long, in periods, more must have been needed before
	// there is more: one period alone is measured some percent too long or short.
	pressed = 3

	// calm is for how long fewer processors must have been enough before one
	// is given back: five seconds, in periods.
	calm = 50
)

// used is what a process did in one period, as a number of processors: 0.5 is
// half of one processor's time.
type used struct {
	ran    float64 // its threads ran
	waited float64 // its threads could have run, and other threads did
	free   float64 // of all processors nobody used
}

// rule decides how many processors the scheduler uses. Growing is quick,
// shrinking is slow: too few cost latency, too many cost a few percent.
type rule struct {
	more    int // the least that was needed since more than those in use were
	pressed int // periods since then

	enough int // the most that was needed since the calm began
	calm   int // periods in which fewer than those in use were needed
}

// next returns how many processors to use, from 1 to most, when have are in use
// and u was the use of the last periods.
func (r *rule) next(have, most int, u used, periods int) int {
	need := int(u.ran/busy) + 1
	// Where no processor is free, another would only be taken from others, and
	// that is not what more threads are for.
	if need > have && u.free < free {
		need = have
	}
	// But where threads of other programs have the cores, weir's share is by the
	// thread. With more of them it gets what it would with as many workers.
	if u.waited > u.ran && u.waited > 0.5 {
		need = max(need, have+1)
	}
	need = min(need, most)
	if need > have {
		r.calm, r.enough = 0, 0
		if r.pressed == 0 {
			r.more = need
		}
		r.more = min(r.more, need)
		if r.pressed += periods; r.pressed < pressed {
			return have
		}
		r.pressed = 0
		return r.more
	}
	r.pressed = 0
	if need == have {
		r.calm, r.enough = 0, 0
		return have
	}
	r.enough = max(r.enough, need)
	if r.calm += periods; r.calm < calm {
		return have
	}
	need = r.enough
	r.calm, r.enough = 0, 0
	return need
}
