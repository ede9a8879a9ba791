package pool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"weir/internal/reason"
	"weir/limiter"
)

// Acquire leases a connection for key: the newest idle one, else one that
// comes back or is dialled, in order of class and arrival (limiter.Queue). It
// waits until ctx ends or for QueueTimeout, and fails at once with ErrQueueFull,
// ErrClosed, or, if nothing of key is open and dials are held down, with the last
// *DialError. A more important one, or overload, ends its wait with ErrShed. Who
// waited for QueueTimeout for a dial that does not end gets a *DialError too.
func (p *Pool) Acquire(ctx context.Context, key string, class limiter.Class) (Lease, error) {
	return p.acquire(ctx, key, class, false)
}

// AcquireFresh leases a connection that is dialled from now on and was never
// used: for the one safe retry after a reused connection turned out dead.
func (p *Pool) AcquireFresh(ctx context.Context, key string, class limiter.Class) (Lease, error) {
	return p.acquire(ctx, key, class, true)
}

func (p *Pool) acquire(ctx context.Context, key string, class limiter.Class, fresh bool) (Lease, error) {
	if err := ctx.Err(); err != nil {
		return Lease{}, p.options().explain(err)
	}
	var since time.Time // of the wait, also when it has to be resumed
	for {
		p.mu.Lock()
		k := p.keyed(key)
		if !fresh && !p.closed && p.room() > 0 {
			if c := k.take(); c != nil {
				l := c.lease()
				p.queue.Immediate(class)
				p.mu.Unlock()
				if p.fit(l) {
					c.waited = 0
					if !since.IsZero() {
						c.waited = time.Since(since)
					}
					return l, nil
				}
				continue
			}
		}
		if since.IsZero() {
			since = time.Now()
		}
		w, err := p.join(ctx, want{k, fresh}, class, since)
		p.mu.Unlock()
		if err != nil {
			return Lease{}, err
		}
		l, err := p.queue.Await(w)
		waited := time.Since(since)
		p.waits.Observe(waited)
		if err != nil {
			return Lease{}, p.refused(want{k, fresh}, err)
		}
		// One newly dialled is handed over as it is: a backend that
		// accepts and hangs up would otherwise be dialled for ever.
		if !l.c.used || p.fit(l) {
			l.c.waited = waited
			return l, nil
		}
	}
}

// fit looks at a reused connection directly before its holder gets it: what the
// exchange relies on, since it does not notice a FIN that came before it. A
// dead one is closed and its lease ended.
func (p *Pool) fit(l Lease) bool {
	why, dead := reason.CloseIdle, l.c.cold
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
	p.freed()
	return false
}

// join queues a caller of Acquire for whom nothing is idle, and has dialled
// what it takes. mu is held.
func (p *Pool) join(ctx context.Context, w want, class limiter.Class, since time.Time) (*waiter, error) {
	k := w.key
	if p.closed {
		p.forget(k)
		return nil, p.opts.explain(ErrClosed)
	}
	now := p.now()
	if err := p.hopeless(w, now); err != nil {
		p.count.failedFast++
		p.forget(k)
		return nil, err
	}
	spare := max(0, p.opts.MaxOpen-p.main.open) + p.main.n[dialing] + p.main.n[looking]
	if g := k.group; g != nil {
		spare = min(spare, max(0, g.most-g.open)+g.n[dialing]+g.n[looking])
	}
	q, err := p.enqueue(ctx, w, class, since, min(spare, max(0, p.room())))
	if err != nil {
		p.count.queueFull++
		return nil, p.queueFull(k.group)
	}
	p.plan()
	return q, nil
}

// queueFull is the refusal of a waiter of g. They come in storms. mu is held.
func (p *Pool) queueFull(g *group) error {
	built := &p.errFull
	if g.full() {
		built = &g.errFull
	} else if p.full() {
		built = &p.errBusy
	}
	if *built == nil {
		*built = p.explain(ErrQueueFull, g)
	}
	return *built
}

// refused counts and explains what ended the wait of w.
func (p *Pool) refused(w want, err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if isTimeout(err) {
		if e := p.undialled(w, p.now()); e != nil {
			p.count.failedFast++
			return e
		}
	}
	switch {
	case errors.Is(err, ErrShed):
		return p.errShed // counted when it was
	case isTimeout(err):
		p.count.queueTimeout++
	case isContext(err):
		p.count.left++
	}
	return p.explain(err, w.key.group)
}

// explain wraps what ended the wait of one of g. It names the bound in the way:
// as long as g is full, a place in the pool is of no use, and without room for a
// lease neither is. mu is held.
func (p *Pool) explain(err error, g *group) error {
	return p.opts.explainWait(err, p.queueMax(), func() string {
		switch {
		case g.full():
			return fmt.Sprintf("%d connections of %q (users[].max_open)", g.most, g.name)
		case p.full():
			return fmt.Sprintf("%d requests at one time (limits.in_flight)", p.inFlight)
		}
		return p.opts.bound()
	})
}
