package pool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"weir/internal/reason"
)

// plan starts what the waiters and MinIdle need and the bounds allow: it closes
// idle connections whose places others need, and starts dialers. It is called
// with mu held after everything that may have changed the answer.
func (p *Pool) plan() {
	if p.closed {
		return
	}
	warmNeed := p.warmNeed()
	if p.need+warmNeed == 0 {
		return
	}
	if now := p.now(); p.hold.active(now) {
		p.ringAt(p.hold.until, now)
		return
	}
	// A group's own idle ones first: they make room in the group and in the
	// pool. Then those who have room in their group, or will, need places in
	// the pool; and only those who have it now are of use to a dialer.
	useful := 0
	if p.bounded() {
		useful = p.ration()
	} else {
		p.makeRoom()
		p.closeColdest(nil, p.need-p.short-p.coming(), reason.CloseKeyNeeded)
		useful = p.need - p.late
	}
	useful = min(useful+warmNeed, p.opts.MaxOpen-p.main.open)
	for p.dialers < p.mostDialers() && p.dialers-p.main.n[dialing] < useful {
		p.dialers++
		p.group.Go(p.dial)
	}
}

// planIfNeeded is plan for the hot path.
func (p *Pool) planIfNeeded() {
	if p.need > 0 || p.opts.MinIdle > 0 {
		p.plan()
	}
}

// mostDialers is how many dials may be under way. A backend that did not answer
// last time is tried by one alone.
func (p *Pool) mostDialers() int {
	if p.hold.failing() {
		return 1
	}
	return p.opts.DialConcurrent
}

// dial is the life of a dialer: it waits for its turn, and only then sees who
// needs a connection most, because until then somebody may have been served.
// It ends when nobody does.
func (p *Pool) dial() {
	for {
		p.mu.Lock()
		if _, _, ok := p.nextDial(); !ok || p.dialers > p.mostDialers() {
			p.dialers--
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()

		paced := p.pacer.Wait(p.ctx)

		p.mu.Lock()
		k, why, ok := p.nextDial()
		if !ok || paced != nil || p.dialers > p.mostDialers() {
			p.dialers--
			p.mu.Unlock()
			return
		}
		c := &conn{pool: p, key: k, opts: p.opts, book: &p.main, born: p.now()}
		p.main.enter()
		k.enter()
		if k.granted > 0 {
			k.granted--
			p.granted--
		}
		p.count.opens[why]++
		p.mu.Unlock()

		err := c.connect(p.ctx, k.name, why)

		p.mu.Lock()
		failures := p.hold.failures
		var failed *DialError
		if err != nil {
			failed = p.failed(c, err)
		} else {
			p.arrived(c)
		}
		p.mu.Unlock()

		log := c.opts.Log
		switch {
		case failed != nil:
			log.Warn("dial failed", "fold", "dial", "backend", c.opts.Name, "err", failed)
		case err == nil && failures > 0:
			log.Info("dial succeeded again", "fold", "dial", "backend", c.opts.Name, "failures_in_a_row", failures)
		}
	}
}

// connect dials c. It runs without the lock, for up to DialTimeout.
func (c *conn) connect(ctx context.Context, key string, why reason.Open) error {
	ctx, cancel := context.WithTimeout(ctx, c.opts.DialTimeout)
	defer cancel()
	var err error
	c.sock, c.attached, err = c.opts.Connect(context.WithValue(ctx, diallingKey{}, dialling{c, why}), key)
	switch t, ok := c.told.(*told); {
	case err != nil && c.told != nil:
		panic("BUG: a failed dial did not tell how its socket ended")
	case err != nil:
	case ok:
		t.put(c.sock)
	default:
		c.tell(c.sock, why)
	}
	return err
}

// nextDial says for which key to dial: that of the first waiter for whom no
// connection is on the way and whose group has room, else the warm key. mu is
// held.
func (p *Pool) nextDial() (*keyed, reason.Open, bool) {
	if p.closed || p.hold.active(p.now()) || p.main.open >= p.opts.MaxOpen {
		return nil, 0, false
	}
	if w := p.firstInNeed(); w != nil {
		if w.Want.fresh {
			return w.Want.key, reason.OpenFresh, true
		}
		return w.Want.key, reason.OpenDemand, true
	}
	if p.warmNeed() > 0 {
		return p.keyed(p.opts.WarmKey), reason.OpenMinIdle, true
	}
	return nil, 0, false
}

// firstInNeed is the first waiter that may be dialled for now, but of its class
// one whose key had a place freed for it comes before. mu is held.
func (p *Pool) firstInNeed() (first *waiter) {
	if p.need <= p.late {
		return nil
	}
	bounded, room, turn := p.bounded(), p.room()-p.main.n[dialing], 0
	if bounded && room <= 0 && p.passed == 0 {
		return nil
	}
	p.scan++
	for w := p.queue.First(); w != nil; w = p.queue.Next(w) {
		turn++
		k := w.Want.key
		switch {
		case first != nil && w.Level() > first.Level():
			return first
		case p.provided(w) || k.group.full():
		case bounded && !p.entitled(w, room, turn):
		case p.granted == 0 || k.granted > 0:
			return w
		case first == nil:
			first = w
		}
	}
	return first
}

// arrived finds the first use for a connection just dialled. mu is held.
func (p *Pool) arrived(c *conn) {
	now := p.now()
	p.answered()
	c.key.hold.ok()
	c.key.trying = now
	p.count.dials[DialOK]++
	dialled := c.born
	c.born, c.idleSince = now, now
	c.jitter = p.rand.Int64N(201) - 100
	c.key.register(c)
	if why, ok := p.unwanted(c, now); ok {
		p.close(c, why)
	} else if !p.handOver(c, now-dialled) {
		p.stack(c)
	}
	p.noteWarm()
	p.plan()
}

// failed books a failed dial and tells those who have nothing else to hope for.
// It returns what to log, nil if nobody needs to know. mu is held.
func (p *Pool) failed(c *conn, err error) *DialError {
	now, k := p.now(), c.key
	c.to(closed)
	if p.closed || c.opts != p.opts && !c.opts.sameEndpoint(p.opts) {
		p.count.dials[DialAbandoned]++
		p.forget(k)
		p.noteEmpty()
		p.plan()
		return nil // it says nothing about today's endpoint
	}
	e := c.opts.dialError(err)
	p.count.dials[classify(e)]++
	hold := &p.hold
	if e.KeyOnly {
		p.answered()
		p.denied(e, now)
		hold = &k.hold
	} else {
		p.failing.Store(true)
		p.trouble = trouble{e, now}
	}
	hold.fail(e, now)
	k.recount()
	for w := p.queue.First(); w != nil; {
		next := p.queue.Next(w)
		if err := p.hopeless(w.Want, now); err != nil {
			p.queue.Fail(w, err)
			p.count.failedFast++
		}
		w = next
	}
	p.ringAt(hold.until, now)
	p.forget(k)
	p.plan()
	return e
}

// answered ends hold-down: the endpoint did answer, or is another now. mu is
// held.
func (p *Pool) answered() {
	p.hold.ok()
	p.trouble = trouble{}
	p.failing.Store(false)
}

// Failing is true from the first failed dial, whatever its cause, to the next one
// that the endpoint answers, if only to refuse a key, or to an Apply that brings
// another endpoint: for who has to say whether the backend is there, and has no
// connection to ask it. It takes no lock. Nothing tries the endpoint on account of
// it: it stays as it is until somebody needs a connection, or asks by Reserve.
// A Reserve that fails does not make it true.
func (p *Pool) Failing() bool { return p.failing.Load() }

// hopeless returns the error for a waiter that cannot be served before its
// dials are held down no more: no connection that would do is open or on its
// way. mu is held.
func (p *Pool) hopeless(w want, now time.Duration) error {
	k := w.key
	if k.n[dialing] > 0 || k.live() > 0 && !w.fresh {
		return nil
	}
	if p.hold.active(now) {
		return p.hold.last
	}
	if k.hold.active(now) {
		return k.hold.last
	}
	return nil
}

// undialled returns the dial's error for a waiter whose time is up, if it is a dial
// that it waited for and no bound: no connection that would do is open, and either
// the last dial failed, or dials for its key have come to nothing for most of the
// time that they, or the waiter, have. The two times are often the same, as the
// defaults are, and a waiter's began before its dial's. mu is held.
func (p *Pool) undialled(w want, now time.Duration) error {
	k := w.key
	if k.live() > 0 && !w.fresh {
		return nil
	}
	most := min(p.opts.DialTimeout, p.opts.QueueTimeout)
	if tried := now - k.trying; k.n[dialing] > 0 && tried >= most-most/10 {
		return p.opts.dialError(fmt.Errorf("no answer in %v, and queue.timeout is over: %w", tried.Round(time.Millisecond), os.ErrDeadlineExceeded))
	}
	if live := p.main.n[idle] + p.main.n[looking] + p.main.n[leased]; live == 0 && p.hold.failing() {
		return p.hold.last
	}
	return nil
}

func (o *Options) dialError(err error) *DialError {
	_, keyOnly := errors.AsType[*KeyError](err)
	return &DialError{Backend: o.Name, Address: o.Address, Local: IsLocal(err), KeyOnly: keyOnly, Err: err}
}

// alarm wakes the pool when dials are held down no more. One timer serves the
// pool and all keys; it is set to the earliest.
type alarm struct {
	timer *time.Timer
	at    time.Duration // 0 is not set
}

func (p *Pool) ringAt(at, now time.Duration) {
	if p.alarm.at == 0 || at < p.alarm.at {
		p.alarm.at = at
		p.alarm.timer.Reset(max(0, at-now))
	}
}

func (p *Pool) ring() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.alarm.at = 0
	now := p.now()
	for _, k := range p.keys {
		if k.hold.failing() {
			k.recount()
			if k.hold.active(now) {
				p.ringAt(k.hold.until, now)
			}
			p.forget(k)
		}
	}
	p.plan()
}
