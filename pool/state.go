package pool

import "fmt"

// connState is where a backend connection is in its life.
//
//	dialing --> idle <--> looking
//	   |  \      |  \       |  |
//	   |   \     v   \      v  |
//	   |    +-> leased -\---+  |     leased --> leased: handed to a waiter
//	   |          |      \     |
//	   +------> closing <-+----+
//	   v          v
//	closed <------+
//
// A connection counts against its bound in every state but closed.
type connState uint8

const (
	dialing connState = iota // the dial is under way, there may be no socket yet
	idle                     // on its key's stack
	looking                  // on its key's stack, but the reaper has it in its hands
	leased                   // in use by one holder of a Lease
	closing                  // its Quit is under way
	closed
	connStates
)

var stateNames = [connStates]string{"dialing", "idle", "looking", "leased", "closing", "closed"}

func (s connState) String() string { return stateNames[s] }

// legal lists the edges, each with what takes it.
var legal = [connStates][connStates]bool{
	dialing: {
		idle:    true, // arrived, nobody waits for it any more
		leased:  true, // arrived, goes to a waiter
		closing: true, // arrived too late: the pool or the settings are gone
		closed:  true, // did not arrive
	},
	idle: {
		leased:  true,
		looking: true,
		closing: true, // reaped, or its place was needed
	},
	looking: {
		idle:    true,
		leased:  true, // somebody came to wait for it meanwhile
		closing: true, // found dead
	},
	leased: {
		leased:  true, // from one holder to the next
		idle:    true,
		closing: true,
	},
	closing: {closed: true},
}

// census counts connections by state, and the edges they took.
type census struct {
	n     [connStates]int
	open  int // all that are not closed
	most  int // the highest open ever was
	edges [connStates][connStates]uint64
}

// enter books a connection that is about to be dialled.
func (b *census) enter() {
	b.n[dialing]++
	b.open++
	b.most = max(b.most, b.open)
}

// to moves c to next; the pool's lock must be held. An edge that is not legal
// is a bug in this package, so it panics.
func (c *conn) to(next connState) {
	if !legal[c.state][next] {
		panic(fmt.Sprintf("BUG: connection goes from %v to %v", c.state, next))
	}
	b := c.book
	b.edges[c.state][next]++
	b.n[c.state]--
	b.n[next]++
	if next == closed {
		b.open--
	}
	if k := c.key; k != nil {
		k.n[c.state]--
		k.n[next]++
		k.group.move(c.state, next)
		k.recount()
	}
	if c.state == dialing && c.told != nil {
		c.pool.told--
	}
	c.state = next
}
