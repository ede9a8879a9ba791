package pool

import (
	"math"

	"weir/internal/reason"
)

// SetInFlight bounds the leases at one time, whatever MaxOpen is; reserved
// connections do not count. Others wait in the queue, even if connections are
// idle, and nothing is dialled for them. 0 or less is no bound but MaxOpen. A
// higher bound serves waiters at once; a lower one takes no lease away.
func (p *Pool) SetInFlight(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n = max(0, n); n == p.inFlight || p.closed {
		return
	}
	p.inFlight, p.errBusy = n, nil
	p.serveIdle()
	p.plan()
}

// bounded says whether the in-flight bound is one besides MaxOpen. mu is held.
func (p *Pool) bounded() bool { return p.inFlight > 0 && p.inFlight < p.opts.MaxOpen }

// room is how many more leases may begin; less than 0 after the bound was
// lowered. mu is held.
func (p *Pool) room() int {
	if p.inFlight == 0 {
		return math.MaxInt
	}
	return p.inFlight - p.main.n[leased]
}

// full says that the in-flight bound lets no lease begin. mu is held.
func (p *Pool) full() bool { return p.bounded() && p.room() <= 0 }

// roomFor says whether c may be leased, now or again. mu is held.
func (p *Pool) roomFor(c *conn) bool {
	room := p.room()
	return room > 0 || room == 0 && c.state == leased
}

// kept says whether only the in-flight bound keeps w from a connection: one for
// it is idle. Without that bound there is none such. mu is held.
func (p *Pool) kept(w *waiter) bool { return !w.Want.fresh && w.Want.key.n[idle] > 0 }

// serve gives idle connections to those whom the in-flight bound has kept from
// them, after a lease has ended. mu is held.
func (p *Pool) serve() {
	if p.inFlight > 0 {
		p.serveIdle()
	}
}

func (p *Pool) serveIdle() {
	for p.room() > 0 && p.main.n[idle] > 0 && p.serveFirst() {
	}
}

func (p *Pool) serveFirst() bool {
	for w := p.queue.First(); w != nil; {
		next := p.queue.Next(w)
		if p.kept(w) && p.queue.Claim(w, 0) {
			c := w.Want.key.take()
			p.pass(next, c)
			p.queue.Give(w, c.lease())
			return true
		}
		w = next
	}
	return false
}

// ration is plan's part where the in-flight bound counts: it makes places for
// those waiters that may have a connection of their own, and returns for how many
// of them one may be dialled now, as far as their groups go. These are as many as
// there is room for; and those whose turn to be leased one has come and gone by,
// because there was none of their key: or they would wait for ever for a dial
// that waits for room. Whose turn comes only because one before it leaves need
// not be thought of: without room, the next to end its lease asks again. mu is
// held.
func (p *Pool) ration() (useful int) {
	room, coming := p.room()-p.main.n[dialing], p.coming()
	if room <= 0 && p.passed == 0 {
		return 0
	}
	p.scan++
	now, turn := room, 0 // room that nobody takes whose group has its place later
	for w := p.queue.First(); w != nil && (now > 0 || turn < p.inFlight); w = p.queue.Next(w) {
		turn++
		if p.provided(w) || !p.entitled(w, now, turn) {
			continue
		}
		g := w.Want.key.group
		if g != nil && g.scan != p.scan {
			g.scan, g.left, g.free = p.scan, g.coming(), max(0, g.most-g.open)
		}
		if g == nil || g.free > 0 {
			now--
			useful++
			if g != nil {
				g.free--
			}
		}
		if !p.entitled(w, room, turn) {
			continue
		}
		switch {
		case g != nil && g.left == 0:
			if p.closeSpare(g) {
				room--
			}
			continue
		case coming > 0:
			coming--
		case !p.closeSpare(nil):
			continue
		}
		room--
		if g != nil {
			g.left--
		}
	}
	return useful
}

// entitled says whether the in-flight bound lets w, the turn-th of the queue,
// have a dial.
func (p *Pool) entitled(w *waiter, room, turn int) bool {
	return room > 0 || w.Passed > 0 && turn <= p.inFlight
}

// closeSpare closes the coldest idle connection, of g if that is not nil, that
// is not there for a waiter that provided was asked of in this scan. mu is held.
func (p *Pool) closeSpare(g *group) bool {
	for c := p.idle.oldest; c != nil; c = c.newer {
		k := c.key
		if c.state != idle || g != nil && k.group != g || k.scan == p.scan && k.spare == 0 {
			continue
		}
		if k.scan == p.scan {
			k.spare--
		}
		p.condemn(c, reason.CloseKeyNeeded)
		p.execute()
		return true
	}
	return false
}
