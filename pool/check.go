package pool

import (
	"context"
	"errors"
	"time"

	"weir/internal/reason"
	"weir/internal/sock"
)

// verdict says whether what was seen on a connection without an exchange ends
// it. Bytes nobody asked for would be the next client's answer.
func verdict(s sock.Sight) (why reason.Close, dead bool) {
	switch s {
	case sock.Quiet:
		return 0, false
	case sock.PeerFIN:
		return reason.CloseBackendFIN, true
	case sock.Readable:
		return reason.CloseUnsolicited, true
	default:
		return reason.CloseBroken, true
	}
}

// unwanted says whether the pool has no further use for c, though nothing is
// wrong with it. mu is held.
func (p *Pool) unwanted(c *conn, now time.Duration) (why reason.Close, yes bool) {
	switch {
	case p.closed:
		return reason.CloseDrain, true
	case c.opts != p.opts && !c.opts.sameEndpoint(p.opts):
		return reason.CloseGeneration, true
	case p.surplus() > 0 || c.key.group.surplus() > 0:
		return reason.CloseResized, true
	case p.aged(c, now):
		return reason.CloseAge, true
	}
	return 0, false
}

// Recycling costs the backend an accept and a login each, so it goes at four a
// second, or at twice what the lifetime asks for if that is more. A second's
// worth may go at once, because sweeps come once a second.
const (
	recycleEvery = 250 * time.Millisecond
	recycleBurst = time.Second
)

// aged says whether c is past its lifetime and may be closed for it now. True
// uses up the turn: the caller must close c.
func (p *Pool) aged(c *conn, now time.Duration) bool {
	life := p.opts.MaxLifetime
	if life == 0 || now < c.expires(life) {
		return false
	}
	every := min(recycleEvery, life/time.Duration(2*p.opts.MaxOpen))
	next := max(p.recycle, now) + every
	if next > now+recycleBurst {
		return false
	}
	p.recycle = next
	return true
}

// pastLimit says whether c has been idle longer than the backend is known to
// allow. mu is held.
func (p *Pool) pastLimit(c *conn) bool {
	limit := p.learned.limit()
	return limit > 0 && p.now()-c.idleSince > limit
}

// learnFIN books that the backend's FIN was found on a connection after age in
// idleness. mu is held.
func (p *Pool) learnFIN(age time.Duration) {
	p.learned.fin(age, p.now())
	p.noteLimit()
}

// noteLimit has the reaper warn, once for each new value, if the configuration
// is longer than the backend allows. mu is held.
func (p *Pool) noteLimit() {
	known := p.learned.known
	longer := p.opts.IdleTimeout == 0 || p.opts.IdleTimeout > known
	if known > 0 && longer && (p.toldLimit == 0 || known < p.toldLimit) {
		p.tellLimit, p.toldLimit = known, known
	}
}

func isTimeout(err error) bool { return errors.Is(err, ErrQueueTimeout) }

func isContext(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
