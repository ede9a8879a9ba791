package limiter

import (
	"sync/atomic"
	"time"
)

// Guard stands before a backend: its breaker, its ladder of modes, and the counts
// by class that the ladder judges by. All methods are safe for concurrent use. A
// nil Guard lets everything through.
type Guard struct {
	Breaker *Breaker
	Ladder  *Ladder
	Breaks  atomic.Bool // the breaker is asked

	// Adaptive, unless nil, finds how many requests the backend should have.
	Adaptive atomic.Pointer[Adaptive]
	inFlight atomic.Int64 // those that Begin counted

	served, shed, open [Classes]atomic.Uint64
}

// Door is what a Guard says to a request.
type Door uint8

const (
	DoorPass  Door = iota
	DoorOpen       // the backend is left alone: the breaker is open, or a hand says so
	DoorClass      // the request's class gets nothing now
)

// Enter asks for a request of a class. After DoorPass the ticket's Done must be
// called, exactly once; after anything else there is nothing to do.
func (g *Guard) Enter(class Class) (Ticket, Door) {
	if g == nil {
		return Ticket{}, DoorPass
	}
	e := g.Ladder.Effect()
	var t Ticket
	now := int64(0)
	if g.Breaks.Load() && !shut(&e) {
		now = Nanos(time.Now())
		var err error
		if t, err = g.Breaker.Allow(now); err != nil {
			return Ticket{}, g.refuse(class, DoorOpen)
		}
	}
	door := DoorPass
	switch {
	case t.Probe():
	case shut(&e):
		door = DoorOpen
	case class.Level() > int(e.LowestClass):
		door = DoorClass
	}
	if door != DoorPass {
		t.Done(now, Ignored)
		return Ticket{}, g.refuse(class, door)
	}
	return t, DoorPass
}

// Look is for a request that has more to send before it can Enter: what it says,
// unless DoorPass, Enter would say, and nothing needs to be sent. It counts as Enter
// does.
func (g *Guard) Look(class Class) Door {
	if g == nil {
		return DoorPass
	}
	e := g.Ladder.Effect()
	if g.Breaks.Load() && !shut(&e) && g.Breaker.state() != BreakerClosed {
		if !g.Breaker.shut(Nanos(time.Now())) {
			return DoorPass // it may be a probe
		}
		return g.refuse(class, DoorOpen)
	}
	switch {
	case shut(&e):
		return g.refuse(class, DoorOpen)
	case class.Level() > int(e.LowestClass):
		return g.refuse(class, DoorClass)
	}
	return DoorPass
}

// shut says whether a hand has all refused. Where the mode is open because the
// breaker is, the breaker's own word is the newer one.
func shut(e *Effect) bool { return e.Refuse == RefuseAll && e.ByHand }

func (g *Guard) refuse(class Class, door Door) Door {
	if door == DoorOpen {
		g.open[class.Level()].Add(1)
	} else {
		g.shed[class.Level()].Add(1)
	}
	return door
}

// Failed tells the breaker of a failure at now that came after the ticket's Done.
func (g *Guard) Failed(now int64) {
	if g != nil && g.Breaks.Load() {
		if t, err := g.Breaker.Allow(now); err == nil {
			t.Done(now, Failed)
		}
	}
}

// Served counts a request that got a connection.
func (g *Guard) Served(class Class) {
	if g != nil {
		g.served[class.Level()].Add(1)
	}
}

// Shed counts a request that was turned away because there was none for it.
func (g *Guard) Shed(class Class) {
	if g != nil {
		g.shed[class.Level()].Add(1)
	}
}

// Counts are the requests so far, by Class.Level. Those of open were turned away
// because the backend is left alone, which says nothing of the load.
func (g *Guard) Counts() (served, shed, open [Classes]uint64) {
	for i := range served {
		served[i], shed[i], open[i] = g.served[i].Load(), g.shed[i].Load(), g.open[i].Load()
	}
	return served, shed, open
}

// Begin counts a request that has got its connection, where Adaptive wants to know
// of it. Unless it returns 0, the number now in flight, End must follow.
func (g *Guard) Begin() int {
	if g == nil || g.Adaptive.Load() == nil {
		return 0
	}
	return int(g.inFlight.Add(1))
}

// Answered tells Adaptive, at now, of a request that Begin returned inFlight for:
// how long the backend took to answer, or that it failed to.
func (g *Guard) Answered(now int64, took time.Duration, inFlight int, ok bool) {
	if a := g.Adaptive.Load(); a != nil {
		a.Observe(now, took, inFlight, ok)
	}
}

// End is for a request whose exchange is over.
func (g *Guard) End() { g.inFlight.Add(-1) }
