package pool

import (
	"context"
	"sync/atomic"
	"time"

	"weir/internal/reason"
	"weir/internal/sock"
	"weir/limiter"
)

// sideWaiters bounds those who wait for a reserved socket. Kills and checks are
// rare; this many at once is a fault somewhere else.
const sideWaiters = 64

// Side is one of the reserved sockets: newly dialled, outside MaxOpen, never
// used again. Its holder owns the connection and must call Close, once.
type Side struct {
	c     *conn
	ended atomic.Bool
}

// Conn is the connection; Close ends it, not its own Close.
func (s *Side) Conn() sock.Conn { return s.c.sock }

// Attached is what Connect returned with it.
func (s *Side) Attached() any { return s.c.attached }

// Close ends the connection and frees its place. Calling it again panics.
func (s *Side) Close() {
	if s.ended.Swap(true) {
		panic("BUG: reserved connection closed twice")
	}
	s.c.pool.closeSide(s.c, reason.CloseReserved)
}

// Reserve dials a reserved connection, for a kill or a check. It waits for one
// of the Reserved places and its turn to dial until ctx ends, but does not care
// for hold-down: asking again is what a check is for. If it succeeds, hold-down
// is over.
func (p *Pool) Reserve(ctx context.Context, key string) (*Side, error) {
	if err := p.enterSide(ctx); err != nil {
		return nil, err
	}
	p.mu.Lock()
	c := &conn{pool: p, opts: p.opts, book: &p.side, born: p.now()}
	p.mu.Unlock()

	// Unlike other dials this one is for its caller alone, and ends with it.
	dialCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	err := p.pacer.Wait(dialCtx)
	dialled := err == nil
	if dialled {
		err = c.connect(dialCtx, key, reason.OpenReserved)
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	if dialled {
		p.count.opens[reason.OpenReserved]++
	}
	if err == nil {
		p.sideArrived(c)
		return &Side{c: c}, nil
	}
	c.to(closed)
	p.planSide()
	p.noteEmpty()
	e := c.opts.dialError(err)
	switch {
	case p.closed:
		err = ErrClosed
	case ctx.Err() != nil:
		err = ctx.Err()
	default:
		p.count.dials[classify(e)]++
		if c.opts.sameEndpoint(p.opts) {
			p.denied(e, p.now())
		}
		return nil, e
	}
	if dialled {
		p.count.dials[DialAbandoned]++
	}
	return nil, c.opts.explain(err)
}

// sideArrived books a reserved connection. The backend is back if it was gone.
func (p *Pool) sideArrived(c *conn) {
	p.count.dials[DialOK]++
	c.to(leased)
	if (p.hold.failing() || p.trouble.last != nil) && c.opts.sameEndpoint(p.opts) {
		p.answered()
		p.plan()
	}
}

// enterSide waits for one of the reserved places and books it as a dial.
func (p *Pool) enterSide(ctx context.Context) error {
	p.mu.Lock()
	if p.closed {
		defer p.mu.Unlock()
		return p.opts.explain(ErrClosed)
	}
	if p.side.open < p.opts.Reserved {
		p.side.enter()
		p.mu.Unlock()
		return nil
	}
	w, err := p.turns.Join(ctx, struct{}{}, limiter.ClassDefault, time.Now(), 0)
	o := p.opts
	p.mu.Unlock()
	if err == nil {
		_, err = p.turns.Await(w)
	}
	if err != nil {
		return o.explainSide(err)
	}
	return nil // planSide has booked the place
}

// planSide gives free reserved places to those who wait. mu is held.
func (p *Pool) planSide() {
	for w := p.turns.First(); w != nil && !p.closed && p.side.open < p.opts.Reserved; w = p.turns.First() {
		if p.turns.Claim(w, 0) {
			p.side.enter()
			p.turns.Give(w, struct{}{})
		}
	}
}

// closeSide closes in the holder's goroutine: nobody waits for it but him.
func (p *Pool) closeSide(c *conn, why reason.Close) {
	p.mu.Lock()
	c.why = why
	c.to(closing)
	p.mu.Unlock()
	p.finish(c)
}
