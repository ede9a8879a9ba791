package limiter

import "sync/atomic"

// Guard stands before a backend: its breaker, its ladder of modes, and the counts
// by class that the ladder judges by. All methods are safe for concurrent use. A
// nil Guard lets everything through.
type Guard struct {
	Breaker *Breaker
	Ladder  *Ladder
	Breaks  atomic.Bool // the breaker is asked

	served, shed [Classes]atomic.Uint64
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
func (g *Guard) Enter(now int64, class Class) (Ticket, Door) {
	if g == nil {
		return Ticket{}, DoorPass
	}
	var t Ticket
	if g.Breaks.Load() {
		var err error
		if t, err = g.Breaker.Allow(now); err != nil {
			g.shed[class.Level()].Add(1)
			return Ticket{}, DoorOpen
		}
	}
	e := g.Ladder.Effect()
	door := DoorPass
	switch {
	case t.Probe():
	case e.Refuse == RefuseAll:
		door = DoorOpen
	case class.Level() > int(e.LowestClass):
		door = DoorClass
	}
	if door != DoorPass {
		t.Done(now, Ignored)
		g.shed[class.Level()].Add(1)
		return Ticket{}, door
	}
	return t, DoorPass
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

// Counts are the requests so far, by Class.Level.
func (g *Guard) Counts() (served, shed [Classes]uint64) {
	for i := range served {
		served[i], shed[i] = g.served[i].Load(), g.shed[i].Load()
	}
	return served, shed
}
