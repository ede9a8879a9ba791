package pool

import (
	"time"

	"weir/internal/reason"
	"weir/limiter"
)

type waiter = limiter.Waiter[Lease, want]

// giveBack finds the next use for c, whose exchange is over. mu is held.
func (p *Pool) giveBack(c *conn) {
	now := p.now()
	c.used = true
	c.idleSince = now
	p.passOn(c, now)
}

// passOn finds the next use for c, whose lease is over: a waiter, the idle
// stack, or its end. mu is held.
func (p *Pool) passOn(c *conn, now time.Duration) {
	if why, ok := p.unwanted(c, now); ok {
		p.close(c, why)
	} else if p.starving(c) {
		p.close(c, reason.CloseKeyNeeded)
	} else if p.handOver(c, 0) {
		p.count.handOvers++
		return
	} else {
		p.stack(c)
	}
	p.serve()
}

// handOver gives c to the first waiter it fits, if there is one. made is how long
// its dial took, if it comes from there. mu is held, and c is acquired as far as
// puddle knows.
func (p *Pool) handOver(c *conn, made time.Duration) bool {
	w := p.claim(c, made)
	if w != nil {
		p.give(w, c)
	}
	return w != nil
}

// claim takes the first waiter that c fits out of the queue, or returns nil if
// there is none, or if one before it is to have an idle connection. After it,
// give must follow.
func (p *Pool) claim(c *conn, made time.Duration) *waiter {
	if c.key.waiting == 0 || !p.roomFor(c) {
		return nil // a full group's waiters can make the queue long
	}
	for w := p.queue.First(); w != nil; {
		next := p.queue.Next(w)
		if w.Want.fits(c) {
			if p.queue.Claim(w, made) {
				p.pass(next, c)
				return w
			}
		} else if p.kept(w) {
			return nil
		}
		w = next
	}
	return nil
}

func (p *Pool) give(w *waiter, c *conn) {
	c.to(leased)
	p.queue.Give(w, c.lease())
}

// coming is how many places are free or about to be.
func (p *Pool) coming() int {
	return max(0, p.opts.MaxOpen-(p.main.open-p.main.n[closing]))
}

// stack puts c on top of its key's idle stack. mu is held.
func (p *Pool) stack(c *conn) {
	c.used = true
	c.to(idle)
	p.idle.push(c)
	c.res.Release()
	if p.sleeping {
		p.sleeping = false
		p.wakeUp <- struct{}{} // has room: the reaper took the last token before it slept
	}
}

// close begins c's end. mu is held, and c is acquired as far as puddle knows.
// puddle runs finish in a goroutine, and c counts until that is done.
func (p *Pool) close(c *conn, why reason.Close) {
	c.why = why
	c.to(closing)
	c.res.Destroy()
}

// finish is the destructor: it closes the socket and gives its place to others.
func (p *Pool) finish(c *conn) {
	how := c.opts.quit(c)
	if c.opts.OnClose != nil {
		c.opts.OnClose(c.told, c.why, how)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c.to(closed)
	p.count.closes[c.why]++
	p.count.hows[how]++
	if c.key == nil {
		p.planSide()
	} else {
		p.forget(c.key)
		p.plan()
	}
	p.noteEmpty()
}

// condemn marks an idle connection; execute closes all that are marked. In two
// steps, because a stack is taken apart to get at what lies deep in it: once for
// a thousand connections whose time is up, not a thousand times. mu is held.
func (p *Pool) condemn(c *conn, why reason.Close) {
	c.condemned, c.why = true, why
	if c.key.condemned++; c.key.condemned == 1 {
		p.culls = append(p.culls, c.key)
	}
}

func (p *Pool) execute() {
	for _, k := range p.culls {
		k.cull()
	}
	clear(p.culls)
	p.culls = p.culls[:0]
}

// closeColdest closes up to n connections, those idle longest, of whatever key
// of g, or of all keys if g is nil. What the reaper is looking at it leaves to
// the reaper. mu is held.
func (p *Pool) closeColdest(g *group, n int, why reason.Close) {
	for c := p.idle.oldest; c != nil && n > 0; c = c.newer {
		if c.state == idle && (g == nil || c.key.group == g) {
			p.condemn(c, why)
			n--
		}
	}
	p.execute()
}
