package pool

import (
	"context"
	"errors"
	"syscall"
	"time"

	"weir/internal/hist"
	"weir/internal/reason"
	"weir/internal/sock"
	"weir/limiter"
)

// DialResult is how a dial ended. The words become labels.
type DialResult uint8

const (
	DialOK        DialResult = iota
	DialRefused              // nobody listens
	DialTimeout              // no answer within dial.timeout
	DialLocal                // see ErrLocal
	DialDenied               // see KeyError
	DialFailed               // anything else
	DialAbandoned            // its pool, its endpoint or, for a reserved one, its asker left first
	dialResults
)

var dialNames = [dialResults]string{"ok", "refused", "timeout", "local", "denied", "failed", "abandoned"}

func (r DialResult) String() string { return dialNames[r] }

// DialResults returns every DialResult, in order, for those who make labels.
func DialResults() []DialResult {
	out := make([]DialResult, dialResults)
	for i := range out {
		out[i] = DialResult(i)
	}
	return out
}

func classify(e *DialError) DialResult {
	var timeout interface{ Timeout() bool }
	switch {
	case e.Local:
		return DialLocal
	case e.KeyOnly:
		return DialDenied
	case errors.Is(e.Err, syscall.ECONNREFUSED):
		return DialRefused
	case errors.Is(e.Err, context.DeadlineExceeded), errors.As(e.Err, &timeout) && timeout.Timeout():
		return DialTimeout
	default:
		return DialFailed
	}
}

// counters are kept under the pool's lock.
type counters struct {
	opens  []uint64 // by reason.Open
	dials  [dialResults]uint64
	closes []uint64 // by reason.Close
	hows   []uint64 // by sock.How

	handOvers    uint64
	failedFast   uint64
	queueFull    uint64
	queueTimeout uint64
	left         uint64
	shed         [limiter.Classes]uint64
	unused       uint64
	mostWaiting  int
}

func (n *counters) make() {
	n.opens = make([]uint64, len(reason.Opens()))
	n.closes = make([]uint64, len(reason.Closes()))
	n.hows = make([]uint64, len(sock.Hows()))
}

// Stats is the state and the history of a pool at one moment.
type Stats struct {
	MaxOpen, Reserved int

	// Connections now. Idle includes those the reaper is looking at. Open
	// is the sum, never more than MaxOpen but after it was lowered.
	Dialing, Idle, Leased, Closing, Open int
	SideOpen                             int // reserved sockets now
	MostOpen                             int // the highest Open ever was
	Keys                                 int

	// Groups has those whose keys have connections or waiters, by name; nil
	// without Options.Group.
	Groups map[string]GroupStats

	InFlightMax int // of Pool.SetInFlight; 0 is none

	Waiting     int // in the queue now
	MostWaiting int
	Queue       limiter.Pressure // who waits by class, the delay, and what is overloaded

	Opens     map[reason.Open]uint64  // dials begun
	Dials     map[DialResult]uint64   // dials ended
	Closes    map[reason.Close]uint64 // sockets closed
	Hows      map[sock.How]uint64
	HandOvers uint64 // from one holder straight to a waiter

	Waits        hist.Snapshot // in the queue, those that ended in an error too; who found an idle connection did not wait
	FailedFast   uint64        // got a dial's error, waiting or at once
	QueueFull    uint64
	QueueTimeout uint64
	Left         uint64                  // the caller's context ended first
	Shed         [limiter.Classes]uint64 // got ErrShed, by limiter.Class.Level
	Unused       uint64                  // leases that ended by Lease.Unused

	HoldDown     time.Duration // no dial for so long; 0 is none held
	DialFailures int           // in a row
	LastError    *DialError    // of the last dial; nil after one that did not fail. See Kept
	LastErrorAge time.Duration
	LearnedIdle  time.Duration // what the backend allows, 0 is unknown
}

// Stats takes the pool's lock for a moment; it is made for scrapes.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	b, n := &p.main, &p.count
	s := Stats{
		MaxOpen: p.opts.MaxOpen, Reserved: p.opts.Reserved,
		Dialing: b.n[dialing], Idle: b.n[idle] + b.n[looking], Leased: b.n[leased], Closing: b.n[closing],
		Open: b.open, SideOpen: p.side.open, MostOpen: b.most, Keys: len(p.keys),
		Groups: p.groupStats(), Waiting: p.queue.Len(), MostWaiting: n.mostWaiting,
		Opens: make(map[reason.Open]uint64), Dials: make(map[DialResult]uint64),
		Closes: make(map[reason.Close]uint64), Hows: make(map[sock.How]uint64),
		HandOvers: n.handOvers, Waits: p.waits.Snapshot(), FailedFast: n.failedFast,
		QueueFull: n.queueFull, QueueTimeout: n.queueTimeout, Left: n.left,
		Shed: n.shed, Unused: n.unused, InFlightMax: p.inFlight, Queue: p.queue.Pressure(),
		HoldDown: max(0, p.hold.until-p.now()), DialFailures: p.hold.failures, LastError: p.trouble.last,
		LearnedIdle: p.learned.known,
	}
	if s.LastError != nil {
		s.LastErrorAge = p.now() - p.trouble.at
	}
	for _, r := range reason.Opens() {
		s.Opens[r] = n.opens[r]
	}
	for _, r := range DialResults() {
		s.Dials[r] = n.dials[r]
	}
	for _, r := range reason.Closes() {
		s.Closes[r] = n.closes[r]
	}
	for _, h := range sock.Hows() {
		s.Hows[h] = n.hows[h]
	}
	return s
}

// Pressure is Stats.Queue alone, for who looks often.
func (p *Pool) Pressure() limiter.Pressure {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.queue.Pressure()
}

// Contended says whether anybody waits for a connection.
func (p *Pool) Contended() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.queue.Len() > 0
}
