package pool

import (
	"context"
	"time"

	"weir/limiter"
)

// mostPassed is how many times a waiter may see one that comes after it served
// with a connection of another key before it gets the place instead. Smaller
// values close and dial more where keys compete, larger ones let the rare key
// wait.
const mostPassed = 8

// pass notes who was passed over when somebody got c: those of the queue before
// next, whom c's place would have helped. mu is held.
func (p *Pool) pass(next *waiter, c *conn) {
	for w := p.queue.First(); w != next; w = p.queue.Next(w) {
		if !w.Want.key.group.useful(c) {
			continue
		}
		if w.Passed++; w.Passed == 1 {
			p.passed++
		}
	}
}

// starving says whether c's place should go to a waiter that comes before all
// that c fits, who has been passed over too often or has used up half of its
// patience. One that comes later, so a less important one, has no claim to it.
// Where a class is overloaded, it is its newest that comes first, and not for
// long, so none is passed over often: there a key with no connection at all gets
// the first place that comes while one of its own is first.
//
// Such a waiter gets a dial as soon as a place is free: nextDial goes by the same
// order. So those for whom a place is about to be free need no other, and those
// whose group is full need one of their own group's.
func (p *Pool) starving(c *conn) bool {
	if p.need == 0 || p.hold.active(p.now()) || !p.roomFor(c) {
		return false
	}
	ours, coming := c.key.group, p.coming()
	bounded := p.bounded()
	if bounded { // what is idle makes room before c does, see ration
		coming += p.main.n[idle]
	}
	if p.need-p.short <= coming && (ours == nil || ours.short == 0) {
		return false // whoever c's place would do for gets another
	}
	p.scan++
	for w := p.queue.First(); w != nil && !w.Want.fits(c) && !p.kept(w); w = p.queue.Next(w) {
		if p.provided(w) {
			continue
		}
		k := w.Want.key
		g := k.group
		if g != nil && g.scan != p.scan {
			g.scan, g.left = p.scan, g.coming()
			if bounded {
				g.left += g.n[idle]
			}
		}
		full := g != nil && g.left == 0
		switch {
		case coming > 0 && !full:
			coming--
			if g != nil {
				g.left--
			}
		case full && g != ours:
		case w.Passed >= mostPassed || p.queue.Waited(w) > p.opts.QueueTimeout/2:
			return true
		case p.queue.Overloaded(w.Level()) && k.count() == 0:
			// A newer one may come before w until the place is free.
			k.granted++
			p.granted++
			return true
		}
	}
	return false
}

// provided says whether a connection for w is there or on its way already: those
// of a key are for those of its waiters that come first. It is asked of one
// waiter after the other, from the first on, after scan was raised.
func (p *Pool) provided(w *waiter) bool {
	k := w.Want.key
	if k.scan != p.scan {
		k.scan, k.seen, k.spare = p.scan, 0, k.n[idle]
	}
	if k.spare > 0 && !w.Want.fresh {
		k.spare--
		return true
	}
	if k.need == 0 {
		return true
	}
	k.seen++
	return k.seen <= k.n[dialing]+k.n[looking]
}

// onWay is provided for the queue, which asks of any waiter: whether there is one
// on its way for each that is as important.
func (p *Pool) onWay(w *waiter) bool {
	if p.room() <= 0 {
		return false
	}
	k := w.Want.key
	coming := k.n[dialing] + k.n[looking]
	for level := 1; level <= w.Level() && coming >= 0; level++ {
		coming -= k.waits[level]
	}
	return coming >= 0
}

// enqueue has the queue take in one who wants w, and books it. mu is held.
func (p *Pool) enqueue(ctx context.Context, w want, class limiter.Class, since time.Time, extra int) (*waiter, error) {
	k := w.key
	k.waiting++ // before: another may be shed, and k must not be forgotten with it
	q, err := p.queue.Join(ctx, w, class, since, extra)
	if err != nil {
		k.waiting--
		k.recount()
		p.forget(k)
		return nil, err
	}
	k.waits[class.Level()]++
	if w.fresh {
		k.fresh++
	}
	k.recount()
	p.count.mostWaiting = max(p.count.mostWaiting, p.queue.Len())
	return q, nil
}

// leftQueue is called by the queue, with mu held, for each who leaves it.
func (p *Pool) leftQueue(w *waiter, err error) {
	if w.Passed > 0 {
		p.passed--
	}
	if err == limiter.ErrShed {
		p.count.shed[w.Level()]++
	}
	k := w.Want.key
	k.waiting--
	k.waits[w.Level()]--
	if w.Want.fresh {
		k.fresh--
	}
	if k.waiting == 0 {
		p.granted -= k.granted
		k.granted = 0
	}
	k.recount()
	p.forget(k)
}
