package pool

import (
	"context"
	"time"

	"weir/internal/reason"
	"weir/internal/sock"
)

// Lease is the use of one connection by one holder, from Acquire to exactly one
// Release or Discard. It is a small value; copies are the same lease. Using it
// after its end, or ending it twice, panics, even if the connection has been
// leased to another meanwhile. The zero Lease holds nothing.
type Lease struct {
	c    *conn
	turn uint64
}

// Valid says whether l holds something. A lease that has ended was valid once:
// only the zero Lease is not.
func (l Lease) Valid() bool { return l.c != nil }

// Conn is the connection. The holder owns it, but must not close it.
func (l Lease) Conn() sock.Conn { return l.held().sock }

// Attached is what Connect returned with the connection.
func (l Lease) Attached() any { return l.held().attached }

// Reused is false only for a connection that was dialled for this lease. One
// that was idle may have been closed by the backend a moment ago.
func (l Lease) Reused() bool {
	c := l.held()
	return c.used || c.leases > 1
}

// Requests is which lease of its connection this is, from 1.
func (l Lease) Requests() uint64 { return l.held().leases }

// Age is how long the connection has been open.
func (l Lease) Age() time.Duration {
	c := l.held()
	return c.pool.now() - c.born
}

// LearnIdle tells the pool that the backend closes connections that are idle
// for d (Keep-Alive: timeout=N, wait_timeout). Repeating it
// costs next to nothing.
func (l Lease) LearnIdle(d time.Duration) {
	p := l.held().pool
	if p.said.Load() == int64(d) {
		return
	}
	p.said.Store(int64(d))
	p.mu.Lock()
	p.learned.said(d, p.now())
	p.noteLimit()
	p.mu.Unlock()
}

// Release gives the connection back for the next use. The exchange must have
// been complete on both sides, with nothing buffered and nobody asking to close.
func (l Lease) Release() {
	c := l.end()
	// The look costs one system call. It finds the backend that closes
	// after every response without saying so before a waiter gets to know it.
	var why reason.Close
	dead := false
	if !c.opts.HolderLooks {
		why, dead = verdict(c.sock.Look())
	}
	p := c.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if dead {
		p.close(c, why)
	} else {
		p.giveBack(c)
	}
	p.planIfNeeded()
}

// Discard closes the connection for the reason why.
func (l Lease) Discard(why reason.Close) {
	c := l.end()
	p := c.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.used && c.opts.HolderLooks && why == reason.CloseBackendFIN {
		p.learnFIN(p.now() - c.idleSince)
	}
	p.close(c, why)
}

// held is the connection of a lease that has not ended.
func (l Lease) held() *conn {
	if l.c == nil {
		panic("BUG: use of a zero Lease")
	}
	if l.c.turn.Load() != l.turn {
		panic("BUG: use of a Lease after its end")
	}
	return l.c
}

// end ends the lease, once.
func (l Lease) end() *conn {
	if l.c == nil {
		panic("BUG: end of a zero Lease")
	}
	if !l.c.turn.CompareAndSwap(l.turn, l.turn+1) {
		panic("BUG: Lease ended twice")
	}
	return l.c
}

// Acquire leases a connection for key: the newest idle one, else one that
// comes back or is dialled, in order of arrival. It waits until ctx ends or for
// QueueTimeout, and fails at once with ErrQueueFull, ErrClosed, or, if nothing
// of key is open and dials are held down, with the last *DialError.
func (p *Pool) Acquire(ctx context.Context, key string) (Lease, error) {
	return p.acquire(ctx, key, false)
}

// AcquireFresh leases a connection that is dialled from now on and was never
// used: for the one safe retry after a reused connection turned out dead.
func (p *Pool) AcquireFresh(ctx context.Context, key string) (Lease, error) {
	return p.acquire(ctx, key, true)
}

func (p *Pool) acquire(ctx context.Context, key string, fresh bool) (Lease, error) {
	if err := ctx.Err(); err != nil {
		return Lease{}, p.options().explain(err)
	}
	var since time.Time // of the wait, also when it has to be resumed
	for {
		p.mu.Lock()
		k := p.keyed(key)
		if !fresh && !p.closed {
			if c := k.take(); c != nil {
				l := c.lease()
				tooOld := p.pastLimit(c)
				p.mu.Unlock()
				if p.fit(l, tooOld) {
					return l, nil
				}
				continue
			}
		}
		if since.IsZero() {
			since = time.Now()
		}
		w, err := p.join(ctx, k, fresh, since)
		p.mu.Unlock()
		if err != nil {
			return Lease{}, err
		}
		l, err := p.queue.Await(w)
		p.waits.Observe(time.Since(since))
		if err != nil {
			return Lease{}, p.refused(k, err)
		}
		// One newly dialled is handed over as it is: a backend that
		// accepts and hangs up would otherwise be dialled for ever.
		if !l.c.used || p.fit(l, false) {
			return l, nil
		}
	}
}

// fit looks at a reused connection directly before its holder gets it: what the
// exchange relies on, since it does not notice a FIN that came before it. A
// dead one is closed and its lease ended.
func (p *Pool) fit(l Lease, tooOld bool) bool {
	why, dead := reason.CloseIdle, tooOld
	if !dead && !l.c.opts.HolderLooks {
		why, dead = verdict(l.c.sock.Look())
	}
	if !dead {
		return true
	}
	c := l.end()
	p.mu.Lock()
	defer p.mu.Unlock()
	if why == reason.CloseBackendFIN {
		p.learnFIN(p.now() - c.idleSince)
	}
	p.close(c, why)
	return false
}

// join queues a caller of Acquire for whom nothing is idle, and has dialled
// what it takes. mu is held.
func (p *Pool) join(ctx context.Context, k *keyed, fresh bool, since time.Time) (*waiter, error) {
	if p.closed {
		p.forget(k)
		return nil, p.opts.explain(ErrClosed)
	}
	now := p.now()
	if err := p.hopeless(want{k, fresh}, now); err != nil {
		p.count.failedFast++
		p.forget(k)
		return nil, err
	}
	spare := max(0, p.opts.MaxOpen-p.main.open) + p.main.n[dialing] + p.main.n[looking]
	if g := k.group; g != nil {
		spare = min(spare, max(0, g.most-g.open)+g.n[dialing]+g.n[looking])
	}
	w, err := p.queue.Join(ctx, want{k, fresh}, since, spare)
	if err != nil {
		p.count.queueFull++
		p.forget(k)
		return nil, p.queueFull(k.group)
	}
	p.count.mostWaiting = max(p.count.mostWaiting, p.queue.Len())
	k.waiting++
	k.recount()
	p.plan()
	return w, nil
}

// queueFull is the refusal of a waiter of g. They come in storms. mu is held.
func (p *Pool) queueFull(g *group) error {
	if !g.full() {
		return p.errFull
	}
	if g.errFull == nil {
		g.errFull = p.opts.explainWait(ErrQueueFull, g)
	}
	return g.errFull
}

// refused counts and explains what ended a wait for k.
func (p *Pool) refused(k *keyed, err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case isTimeout(err):
		p.count.queueTimeout++
	case isContext(err):
		p.count.left++
	}
	return p.opts.explainWait(err, k.group)
}
