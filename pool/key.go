package pool

import (
	"context"
	"math"
	"time"

	"github.com/jackc/puddle/v2"

	"weir/limiter"
)

// keyed is what the pool knows of one key. Guarded by the pool's lock; it goes
// away with its last connection and waiter.
type keyed struct {
	pool  *Pool
	name  string
	group *group // nil if it has no bound but the pool's
	stack *puddle.Pool[*conn]

	arriving *conn // what stack's constructor returns: it never dials itself

	n       [connStates]int // connections by state
	waiting int             // in the queue
	waits   [limiter.Classes]int
	fresh   int      // of waiting: want none that was used
	need    int      // waiters for whom no connection is there or on the way
	hold    holddown // after a KeyError

	trying time.Duration // while dials are under way: since when none arrived (pool time)

	scan, seen, spare int // see Pool.provided
	condemned         int // idle connections, see Pool.condemn
	granted           int // places that were freed for it, see Pool.starving
}

// keyed returns the entry for key. The pool's lock must be held.
func (p *Pool) keyed(key string) *keyed {
	if k := p.keys[key]; k != nil {
		return k
	}
	k := &keyed{pool: p, name: key, group: p.grouped(key)}
	// The bound is the pool's, over all keys, and a reload may raise it, so
	// puddle's is as good as none. The destructor runs in a goroutine of
	// puddle's, which Pool.Close waits for through the census.
	stack, err := puddle.NewPool(&puddle.Config[*conn]{
		Constructor: func(context.Context) (*conn, error) { return k.arriving, nil },
		Destructor:  p.finish,
		MaxSize:     math.MaxInt32,
	})
	if err != nil {
		panic("BUG: puddle refused its configuration: " + err.Error())
	}
	k.stack = stack
	p.keys[key] = k
	return k
}

// forget drops k if nothing is left of it.
func (p *Pool) forget(k *keyed) {
	gone := k.waiting == 0 && k.count() == 0 && !k.hold.active(p.now())
	if gone && p.keys[k.name] == k { // not twice: it leaves its group
		delete(p.keys, k.name)
		k.group.leave()
	}
}

func (k *keyed) count() int { return k.live() + k.n[dialing] + k.n[closing] }

// enter books a connection that is about to be dialled.
func (k *keyed) enter() {
	if k.n[dialing] == 0 {
		k.trying = k.pool.now()
	}
	k.n[dialing]++
	k.group.enter()
	k.recount()
}

// live is how many connections can serve or will again.
func (k *keyed) live() int { return k.n[idle] + k.n[looking] + k.n[leased] }

// recount brings need up to date after waiting or n changed. What the reaper
// looks at is back at once, so it covers a waiter as a dial does. So does what is
// idle: then it is the in-flight bound that keeps the waiter.
func (k *keyed) recount() {
	need := 0
	if k.waiting > 0 {
		need = max(0, k.waiting-min(k.n[idle], k.waiting-k.fresh)-k.n[dialing]-k.n[looking])
	}
	if k.hold.failures > 0 && k.hold.active(k.pool.now()) {
		need = 0
	}
	k.pool.need += need - k.need
	if g := k.group; g != nil {
		g.need += need - k.need
		g.recount()
	}
	k.need = need
}

// register makes c, just dialled, a resource of puddle's, acquired. Under the
// lock nobody else can take it between the two calls; CreateResource alone
// would leave it on the stack for anyone.
func (k *keyed) register(c *conn) {
	k.arriving = c
	if err := k.stack.CreateResource(context.Background()); err != nil {
		panic("BUG: puddle refused a connection: " + err.Error())
	}
	k.arriving = nil
	c.res = k.mustPop()
	if c.res.Value() != c {
		panic("BUG: puddle's stack is not last in, first out")
	}
}

// mustPop takes the top of the stack. It must not be empty: puddle would then
// dial in a goroutine nobody waits for.
func (k *keyed) mustPop() *puddle.Resource[*conn] {
	res, err := k.stack.TryAcquire(context.Background())
	if err != nil {
		panic("BUG: puddle's stack holds less than the pool counts: " + err.Error())
	}
	return res
}

// take returns the newest idle connection, leased, or nil. One that the reaper
// is looking at is left where it is. The pool's lock must be held.
func (k *keyed) take() *conn {
	if k.n[idle] == 0 {
		return nil
	}
	res := k.mustPop()
	if c := res.Value(); c.state == looking {
		// There is one reaper, so the next one down is free.
		next := k.mustPop()
		res.ReleaseUnused()
		res = next
	}
	c := res.Value()
	k.pool.idle.remove(c)
	c.cold = k.pool.pastLimit(c)
	c.to(leased)
	return c
}

// pull takes c, which is idle or looked at, from wherever it is in the stack,
// and leaves the order of the others. It costs two steps for each newer one,
// all in memory.
func (k *keyed) pull(c *conn) {
	above := k.pool.scratch[:0]
	for {
		res := k.mustPop()
		if res == c.res {
			break
		}
		above = append(above, res)
	}
	k.putBack(above)
	k.pool.idle.remove(c)
}

// cull closes the condemned, in one pass for all of them.
func (k *keyed) cull() {
	above := k.pool.scratch[:0]
	for k.condemned > 0 {
		res := k.mustPop()
		c := res.Value()
		if !c.condemned {
			above = append(above, res)
			continue
		}
		k.condemned--
		c.condemned = false
		k.pool.idle.remove(c)
		k.pool.close(c, c.why)
	}
	k.putBack(above)
}

// putBack undoes pops, the last one first, and keeps the slice for next time.
func (k *keyed) putBack(above []*puddle.Resource[*conn]) {
	for i := len(above) - 1; i >= 0; i-- {
		above[i].ReleaseUnused()
	}
	clear(above)
	k.pool.scratch = above
}
