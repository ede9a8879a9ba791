package pool

import (
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

// Waited is how long the holder waited in the queue, 0 if it found the connection
// idle. Who waited does well to look whether its client is still there, and if
// not to call Unused: the pool does not look, which is a system call for each.
func (l Lease) Waited() time.Duration { return l.held().waited }

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
		p.serve()
	} else {
		p.giveBack(c)
	}
	p.planIfNeeded()
}

// Unused gives the connection back as if it had not been leased: to the next
// waiter, or to where it was. Nothing may have been written to it. It is for
// holders whose client has left while they waited.
func (l Lease) Unused() {
	c := l.end()
	p := c.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	c.leases--
	p.count.unused++
	p.passOn(c, p.now())
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
	p.freed()
}

// freed is for a lease that has ended without giving its connection back: others
// may have room now. Its place is free only when it is closed. mu is held.
func (p *Pool) freed() {
	if p.inFlight > 0 {
		p.serveIdle()
		p.planIfNeeded()
	}
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
