package pool

import (
	"time"

	"weir/internal/reason"
)

// sweepEvery is how often the reaper looks at what is idle. A FIN that waits
// longer costs a CLOSE_WAIT here and, at worst, one discard at the next take.
const sweepEvery = time.Second

// reap is the reaper's life: while something is idle it sweeps once a second,
// or sooner if a connection's time is up sooner; else it sleeps without a timer.
func (p *Pool) reap() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if wait, ok := p.nextSweep(); ok {
			timer.Reset(wait)
		} else {
			timer.Stop()
		}
		select {
		case <-timer.C:
			p.sweep()
			p.warnOfLimit()
		case <-p.wakeUp:
		case <-p.ctx.Done():
			return
		}
	}
}

// nextSweep says when to sweep next; not ok means when woken.
func (p *Pool) nextSweep() (time.Duration, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.idle.oldest
	if c == nil {
		p.sleeping = true
		return 0, false
	}
	wait := sweepEvery
	if limit := p.shortestIdle(); limit > 0 {
		if left := c.idleSince + limit - p.now(); left > 0 {
			wait = min(wait, left)
		}
	}
	return wait, true
}

// shortestIdle is the shorter of the configured and the learned timeout, 0 if
// there is neither.
func (p *Pool) shortestIdle() time.Duration {
	set, learned := p.opts.IdleTimeout, p.learned.limit()
	if set == 0 || learned > 0 && learned < set {
		return learned
	}
	return set
}

// sweep closes what is idle and has outlived its time, and looks at the rest,
// the coldest first, up to what was in use within the last second: its holder
// had a look.
//
// A connection stays where it is in the list and on its stack while it is
// looked at, so the order is kept and the list's links stay good: in that state
// nobody else moves it. The lock is not held over the look.
func (p *Pool) sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	p.learned.ease(now)
	p.said.Store(0) // so that what is still said is heard once a sweep
	for c := p.idle.oldest; c != nil; c = c.newer {
		if why, ok := p.expired(c, now); ok {
			p.condemn(c, why)
		}
	}
	p.execute()

	for c := p.idle.oldest; c != nil && now-c.idleSince >= sweepEvery; {
		c.to(looking)
		p.mu.Unlock()
		why, dead := verdict(c.sock.Look())
		p.mu.Lock()
		newer := c.newer
		p.looked(c, why, dead)
		c = newer
	}
	p.plan()
}

// looked ends the reaper's look at c.
func (p *Pool) looked(c *conn, why reason.Close, dead bool) {
	now := p.now()
	if !dead {
		why, dead = p.unwanted(c, now)
	} else if why == reason.CloseBackendFIN {
		p.learnFIN(now - c.idleSince)
	}
	if dead {
		c.key.pull(c)
		p.close(c, why)
		return
	}
	// Somebody may have come to wait while c was not to be had.
	if w := p.claim(c, 0); w != nil {
		c.key.pull(c)
		p.give(w, c)
		return
	}
	c.to(idle)
}

// expired says whether c, idle, has outlived its time. MinIdle connections are
// spared the configured timeout, but not the backend's: it would close them.
func (p *Pool) expired(c *conn, now time.Duration) (why reason.Close, yes bool) {
	age := now - c.idleSince
	if limit := p.learned.limit(); limit > 0 && age >= limit {
		return reason.CloseIdle, true
	}
	spared := c.key.name == p.opts.WarmKey && c.key.live()-c.key.condemned <= p.opts.MinIdle
	if limit := p.opts.IdleTimeout; limit > 0 && age >= limit && !spared {
		return reason.CloseIdle, true
	}
	return reason.CloseAge, p.aged(c, now)
}

// warnOfLimit writes what noteLimit left to be written.
func (p *Pool) warnOfLimit() {
	p.mu.Lock()
	o, d := p.opts, p.tellLimit
	p.tellLimit = 0
	p.mu.Unlock()
	if d > 0 {
		o.Log.Warn("the backend closes idle connections sooner than pool.idle_timeout; they are now closed at four fifths of its time",
			"fold", "idle_limit", "backend", o.Name, "idle_timeout", o.IdleTimeout, "backend_closes_after", d)
	}
}
