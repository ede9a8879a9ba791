package pressure

import (
	"fmt"
	"time"
)

// A resource runs short at nine tenths of its bound, and suffices again when less
// than eight tenths have been in use for a second: what was freed in a moment is
// mostly taken again in the next, and each change of mind costs all waiting
// clients a wait.
const (
	shortAt  = 0.90
	enoughAt = 0.80
	holdFor  = time.Second
)

// state is what is to be thought of a resource.
//
//	enough --> short <--> easing
//	   ^                    |
//	   +--------------------+
type state uint8

const (
	enough state = iota
	short        // at shortAt, and not below enoughAt since
	easing       // below enoughAt, not for holdFor yet; counts as short
	states
)

var stateNames = [states]string{"enough", "short", "easing"}

func (s state) String() string { return stateNames[s] }

// legal lists the edges, each with what takes it.
var legal = [states][states]bool{
	enough: {short: true}, // shortAt is reached
	short:  {easing: true},
	easing: {
		short:  true, // enoughAt is reached again
		enough: true, // holdFor is over
	},
}

// judge follows one resource from look to look. Its zero value is ready.
type judge struct {
	state state
	since time.Time // of the last edge
	edges [states][states]uint64
}

// look takes the share that is in use now.
func (j *judge) look(now time.Time, share float64) {
	switch {
	case j.state == enough && share >= shortAt,
		j.state == easing && share >= enoughAt:
		j.to(short, now)
	case j.state == short && share < enoughAt:
		j.to(easing, now)
	case j.state == easing && now.Sub(j.since) >= holdFor:
		j.to(enough, now)
	}
}

// to moves j to next. An edge that is not legal is a bug in this package, so it
// panics.
func (j *judge) to(next state, now time.Time) {
	if !legal[j.state][next] {
		panic(fmt.Sprintf("BUG: pressure goes from %v to %v", j.state, next))
	}
	j.edges[j.state][next]++
	j.state, j.since = next, now
}
