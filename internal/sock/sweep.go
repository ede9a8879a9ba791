package sock

import (
	"context"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Sweeper ends client connections. Those that must wait, for the client's FIN
// or for its last bytes, it holds without a goroutine or timer each: one
// goroutine looks at all of them after 2, 4, 8... ms and sleeps while there is
// none.
type Sweeper struct {
	mem *memory

	mu     sync.Mutex
	fresh  []held // handed over since the last sweep
	due    int64  // when the next sweep is planned
	closed bool

	wake chan struct{} // capacity 1
	done chan struct{}

	heldNow atomic.Int64
	how     [hows]atomic.Uint64
	noTS    atomic.Uint64
	inWait  atomic.Uint64
}

// held is a connection that waits for its end.
type held struct {
	c        Conn
	peer     netip.Addr
	gone     func(How)
	linger   bool
	half     bool // closed by the client before the response, and by us
	graceful bool
	idle     bool // all we wrote is acknowledged: the wait for the FIN counts
	began    int64
	next     int64
	delay    time.Duration
	deadline int64
	read     int
}

// SweeperStats counts ends since the start.
type SweeperStats struct {
	Held         int64 // now
	How          [hows]uint64
	NoTimestamps uint64 // the client closed first, but a reset was not allowed without timestamps
	InFlight     uint64 // the same, with bytes unacknowledged or unsent
}

// NewSweeper starts a Sweeper. Close ends it.
func NewSweeper() *Sweeper {
	s := &Sweeper{mem: newMemory(), wake: make(chan struct{}, 1), done: make(chan struct{})}
	go s.run()
	return s
}

// End ends c, now or soon, and takes it over: the caller may not touch it
// again. graceful rules out the quiet close, as a proxy in between does: it
// passes half-closes on, and takes a reset for an error. gone, if not nil, is
// called once when the connection has ended, possibly before End returns; it
// must not block.
func (s *Sweeper) End(c Conn, e Ending, graceful bool, gone func(How)) {
	peer, proxied := carrierOf(c)
	h := held{c: c, peer: peer, gone: gone, graceful: graceful || proxied}
	switch closings[e] {
	case closeHold:
		if !peer.IsValid() || !holdable(c) || s.mem.patience(peer, time.Now().UnixNano(), minWait) == 0 {
			s.finish(&h, HowActive)
			return
		}
		s.hold(h)
	case closeLinger:
		h.linger = true
		if c.CloseWrite() != nil {
			s.finish(&h, HowReset)
			return
		}
		s.hold(h)
	case closeQuiet:
		s.answerFIN(&h)
	case closeAbort:
		s.abort(&h, HowAbort)
	case closeNow:
		switch e {
		case EndHalfClosed:
			s.endHalf(h)
		case EndSilent:
			s.finish(&h, HowPeerFirst)
		case EndLost:
			s.finish(&h, HowReset)
		default:
			s.finish(&h, HowActive)
		}
	}
}

// endHalf closes a connection whose client's FIN came before the response. Such
// a client half-closes, or it has gone, and its FIN does not tell which: what
// it answers to the response and our FIN does, an acknowledgment or a reset.
// Only the first is remembered, or one user who gives up would cost all clients
// of the address the quiet close.
func (s *Sweeper) endHalf(h held) {
	if !h.peer.IsValid() || !holdable(h.c) {
		s.mem.sawHalfClose(h.peer, time.Now().UnixNano())
		s.finish(&h, HowHalfClosed)
		return
	}
	if h.c.CloseWrite() != nil { // there was a reset already
		s.finish(&h, HowReset)
		return
	}
	h.half = true
	s.hold(h)
}

// lookHalf waits for the client's answer.
func (s *Sweeper) lookHalf(h *held, now int64) bool {
	info, ok := h.c.Info()
	switch {
	case ok && info.State == Closed && !info.FINAcked:
		s.finish(h, HowReset)
	case ok && info.State == Closed:
		s.mem.sawHalfClose(h.peer, now)
		s.finish(h, HowHalfClosed)
	case !ok || now >= h.deadline:
		s.finish(h, HowPeerFirst)
	default:
		s.again(h, now)
		return false
	}
	return true
}

// holdable: only where the kernel tells the state is there something to wait
// for; a unix socket has no TIME_WAIT, and TLS ends with an alert of its own.
func holdable(c Conn) bool {
	if p, ok := c.(*plainConn); ok {
		return p.tcp
	}
	return true
}

func (s *Sweeper) hold(h held) {
	h.delay = firstLook
	now := time.Now().UnixNano()
	h.began, h.next = now, onGrid(now+int64(h.delay))
	h.deadline = now + int64(unackedWait)
	if h.linger {
		h.deadline = now + int64(lingerTime)
	}
	s.mu.Lock()
	if s.closed || s.heldNow.Load() >= maxHeld {
		s.mu.Unlock()
		s.finish(&h, HowActive)
		return
	}
	s.heldNow.Add(1)
	s.fresh = append(s.fresh, h)
	rouse := h.next < s.due
	s.due = min(s.due, h.next)
	s.mu.Unlock()
	if rouse {
		s.rouse()
	}
}

func (s *Sweeper) rouse() {
	select {
	case s.wake <- struct{}{}:
	default: // it has been told already
	}
}

// onGrid moves a time up to the next even millisecond, so that what becomes
// due together is swept together.
func onGrid(t int64) int64 {
	const grid = int64(firstLook)
	return (t + grid - 1) / grid * grid
}

// finish closes with a FIN, or with what the kernel makes of it.
func (s *Sweeper) finish(h *held, how How) {
	h.c.Close()
	s.ended(h, how)
}

func (s *Sweeper) abort(h *held, how How) {
	h.c.Abort()
	s.ended(h, how)
}

func (s *Sweeper) ended(h *held, how How) {
	s.how[how].Add(1)
	if h.gone != nil {
		h.gone(how)
	}
}

// answerFIN ends a connection whose client has sent its FIN.
func (s *Sweeper) answerFIN(h *held) {
	info, ok := h.c.Info()
	switch {
	case !ok || h.graceful || s.mem.halfCloses(h.peer, time.Now().UnixNano()):
		s.finish(h, HowPeerFirst)
	case info.State == Closed:
		s.finish(h, HowReset)
	case quietly(info):
		s.abort(h, HowQuiet)
	default:
		if !info.Timestamps {
			s.noTS.Add(1)
		} else {
			s.inWait.Add(1)
		}
		s.finish(h, HowPeerFirst)
	}
}

func (s *Sweeper) run() {
	defer close(s.done)
	var all []held
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	scratch := make([]byte, 64<<10)
	for {
		s.mu.Lock()
		all = append(all, s.fresh...)
		clear(s.fresh)
		s.fresh = s.fresh[:0]
		due := int64(math.MaxInt64)
		for i := range all {
			due = min(due, all[i].next)
		}
		s.due = due
		closed := s.closed
		s.mu.Unlock()
		if closed {
			for i := range all {
				s.heldNow.Add(-1)
				s.finish(&all[i], HowActive)
			}
			return
		}
		if len(all) == 0 {
			<-s.wake
			continue
		}
		now := time.Now().UnixNano()
		if now < due {
			timer.Reset(time.Duration(due - now))
			select {
			case <-timer.C:
			case <-s.wake:
				continue
			}
			now = time.Now().UnixNano()
		}
		all = s.sweep(all, now, max(0, now-due), scratch)
	}
}

// sweep looks at all that is due and returns what is still held.
func (s *Sweeper) sweep(all []held, now, late int64, scratch []byte) []held {
	keep := all[:0]
	for i := range all {
		h := &all[i]
		if h.next > now || !s.look(h, now, late, scratch) {
			keep = append(keep, *h)
			continue
		}
		s.heldNow.Add(-1)
	}
	clear(all[len(keep):])
	return keep
}

// look looks at one held connection and reports whether it has ended.
func (s *Sweeper) look(h *held, now, late int64, scratch []byte) bool {
	// A sweep that comes late says that the machine is busy, so the client is
	// likely to be late too.
	h.deadline += late
	switch {
	case h.linger:
		return s.lookLinger(h, now, scratch)
	case h.half:
		return s.lookHalf(h, now)
	}
	switch h.c.Look() {
	case PeerFIN:
		s.mem.closedFirst(h.peer)
		s.answerFIN(h)
		return true
	case Broken:
		s.finish(h, HowReset)
		return true
	case Readable:
		// A client that goes on sending after the last response was announced.
		h.linger, h.deadline = true, now+int64(lingerTime)
		h.c.CloseWrite()
		return s.lookLinger(h, now, scratch)
	}
	if !h.idle {
		info, ok := h.c.Info()
		if !ok {
			s.finish(h, HowActive)
			return true
		}
		if info.Unacked == 0 && info.NotSent == 0 {
			h.idle = true
			wait := s.mem.patience(h.peer, now, max(2*info.RTT, minWait))
			h.deadline = now + int64(wait)
		}
	}
	if now >= h.deadline {
		// Waits that overlap and run out together say one thing and not many:
		// that the client or the machine was busy for a moment.
		if h.idle && h.began > s.mem.lastMiss(h.peer) {
			s.mem.missed(h.peer, now)
		}
		s.finish(h, HowActive)
		return true
	}
	s.again(h, now)
	return false
}

// lookLinger reads and drops what the client still sends.
func (s *Sweeper) lookLinger(h *held, now int64, scratch []byte) bool {
	for h.c.Look() == Readable && h.read < lingerBytes {
		h.c.SetReadDeadline(time.Unix(0, now).Add(time.Second))
		n, err := discard(h.c, scratch)
		h.read += n
		h.delay = firstLook
		if err != nil {
			break
		}
		if n < len(scratch) {
			break
		}
	}
	sight := h.c.Look()
	if sight == PeerFIN || sight == Broken || h.read >= lingerBytes || now >= h.deadline {
		s.finish(h, HowLinger)
		return true
	}
	s.again(h, now)
	return false
}

// discard reads bytes that nobody wants. Under TLS it reads them as they are:
// half a record would keep a Read, and with it the sweeper, waiting.
func discard(c Conn, p []byte) (int, error) {
	if t, ok := c.(*plainConn); ok && t.rc == nil {
		return t.below().Read(p)
	}
	return c.Read(p)
}

func (s *Sweeper) again(h *held, now int64) {
	h.delay = min(2*h.delay, lastLook)
	h.next = onGrid(min(now+int64(h.delay), max(h.deadline, now+1)))
}

// Stats returns the counts so far.
func (s *Sweeper) Stats() SweeperStats {
	st := SweeperStats{Held: s.heldNow.Load(), NoTimestamps: s.noTS.Load(), InFlight: s.inWait.Load()}
	for i := range st.How {
		st.How[i] = s.how[i].Load()
	}
	return st
}

// Close waits until nothing is held or ctx ends, then closes what is left and
// stops. End may still be called, and closes at once.
func (s *Sweeper) Close(ctx context.Context) {
	tick := time.NewTicker(firstLook)
	defer tick.Stop()
	for s.heldNow.Load() > 0 && ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if !closed {
		s.rouse()
	}
	<-s.done
}
