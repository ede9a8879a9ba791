package pool

import (
	"weir/internal/reason"
	"weir/limiter"
)

type waiter = limiter.Waiter[Lease, want]

// mostPassed is how many times a waiter may see a younger one served with a
// connection of another key before it gets the place instead. Smaller values
// close and dial more where keys compete, larger ones let the rare key wait.
const mostPassed = 8

// giveBack finds the next use for c, whose exchange is over: a waiter, the idle
// stack, or its end. mu is held.
func (p *Pool) giveBack(c *conn) {
	now := p.now()
	if why, ok := p.unwanted(c, now); ok {
		p.close(c, why)
		return
	}
	c.used = true
	c.idleSince = now
	if p.starving(c) {
		p.close(c, reason.CloseKeyNeeded)
		return
	}
	if p.handOver(c) {
		p.count.handOvers++
		return
	}
	p.stack(c)
}

// handOver gives c to the oldest waiter it fits, if there is one. mu is held,
// and c is acquired as far as puddle knows.
func (p *Pool) handOver(c *conn) bool {
	w := p.claim(c)
	if w != nil {
		p.give(w, c)
	}
	return w != nil
}

// claim takes the oldest waiter that c fits out of the queue, or returns nil.
// Those before it that c's place would have helped were passed over. After it,
// give must follow.
func (p *Pool) claim(c *conn) *waiter {
	if c.key.waiting == 0 {
		return nil // a full group's waiters can make the queue long
	}
	for w := p.queue.Oldest(); w != nil; {
		newer := w.Newer()
		if w.Want.fits(c) && p.queue.Claim(w) {
			for o := p.queue.Oldest(); o != newer; o = o.Newer() {
				if o.Want.key.group.useful(c) {
					o.Passed++
				}
			}
			return w
		}
		w = newer
	}
	return nil
}

func (p *Pool) give(w *waiter, c *conn) {
	c.to(leased)
	p.queue.Give(w, c.lease())
}

// starving says whether c's place should go to an older waiter it does not fit,
// who has been passed over too often or has used up half of its patience. Such
// a waiter gets a dial as soon as a place is free: nextDial goes by age. So
// those for whom a place is about to be free need no other, and those whose
// group is full need one of their own group's.
func (p *Pool) starving(c *conn) bool {
	if p.need == 0 || p.hold.active(p.now()) {
		return false
	}
	ours, coming := c.key.group, p.coming()
	if p.need-p.short <= coming && (ours == nil || ours.short == 0) {
		return false // whoever c's place would do for gets another
	}
	p.scan++
	for w := p.queue.Oldest(); w != nil && !w.Want.fits(c); w = w.Newer() {
		if p.provided(w) {
			continue
		}
		g := w.Want.key.group
		if g != nil && g.scan != p.scan {
			g.scan, g.left = p.scan, g.coming()
		}
		full := g != nil && g.left == 0
		switch {
		case coming > 0 && !full:
			coming--
			if g != nil {
				g.left--
			}
		case full && g != ours:
		case w.Passed >= mostPassed || w.Waited() > p.opts.QueueTimeout/2:
			return true
		}
	}
	return false
}

// provided says whether a connection for w is on its way already: those under
// way for a key are for its oldest waiters. It is asked of one waiter after the
// other, from the oldest on, after scan was raised.
func (p *Pool) provided(w *waiter) bool {
	k := w.Want.key
	if k.need == 0 {
		return true
	}
	if k.scan != p.scan {
		k.scan, k.seen = p.scan, 0
	}
	k.seen++
	return k.seen <= k.n[dialing]+k.n[looking]
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
		c.opts.OnClose(c.sock, c.why, how)
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
