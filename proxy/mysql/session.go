package mysql

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"weir/internal/sock"
	"weir/limiter"
	"weir/pool"
	"weir/proxy/fault"
	"weir/proxy/fault/overlimit"
	"weir/proxy/mysql/lex"
	"weir/proxy/mysql/wire"
)

// session is one client's life. It is all that is kept of a client that is
// idle, so what is needed only while it has a goroutine stands in work.
type session struct {
	front *Front
	set   *Settings
	be    *Backend
	l     *sock.Listener
	c     sock.Conn // over TLS where the client asked for it
	peer  netip.Addr
	id    uint32 // of the connection, as clients see it

	phase    phase
	ended    bool // c was given to the sweeper
	tls      bool
	noSlot   bool // it does not count as a login any more
	nonce    [wire.NonceLen]byte
	began    time.Time // of the login
	user     *User
	place    *place
	caps     wire.Caps
	charset  uint16
	database string
	verbatim bool // answers need no translation

	patience overlimit.Patience // refusals in a row
	resting  bool               // it is left unread, for as long as it is parked
	noLast   bool               // there is no statement that was prepared last
	longData bool               // a part of a statement's data is with the server
	hold     time.Duration      // it is to be left unread for so long

	until  time.Time   // a parked client that holds a connection may be silent
	killed atomic.Bool // the next thing to do is to end it
	mu     sync.Mutex  // guards l, thread and, once logged in, user, for KILL
	thread *thread     // nil: no connection is attached
	lease  pool.Lease
	ticket limiter.Ticket // of the backend's breaker, until the first answer

	// Of what was done since the connection was attached:
	traits    lex.Traits // of all statements
	noisy     bool       // one of them left warnings, or failed
	used      bool       // there was one
	rows      bool       // one has had rows for an answer
	dedicated bool       // it has become a replica's
	spoilt    bool       // the connection cannot be reset
	suspect   bool       // the command may silence the trackers
	stopped   bool       // the command took too long and was killed
	begun     bool       // the client has got a part of its answer
	cut       error      // why the backend did not take the command whole
	counts    *outcomes

	sharing

	*work
}

// phase is how far a session is.
//
//	greeted --login--> ready --COM_CHANGE_USER--> ready
//
// Each ends at the client's end. Whether a connection is attached is said by
// thread alone.
type phase uint8

const (
	greeted phase = iota // the greeting is sent
	ready                // logged in
)

// work is what a session needs while it has a goroutine.
type work struct {
	in       [bufSize]byte // of what the client sent
	r, w     int           // in[r:w] is not used yet
	back     [bufSize]byte // of what the backend sent
	br, bw   int
	out      []byte // packets that are being made
	owed     []byte // for the client, to be written with the wait for its next command
	resp     wire.Response
	trans    wire.Translate
	key      []byte
	before   sock.Sight // of the client's socket, before the last write to it
	timer    time.Time  // when the command began
	cmd      wire.Command
	affected uint64 // by weir's own last command
	first    uint8  // the number of the answer's first packet
	sql      []byte // of the command, for the slow log; in in
}

// bufSize is enough for nearly every statement and for what wire.Response wants
// whole (wire.MaxHeld).
const bufSize = 16 << 10

// mostOut bounds what of out is kept for the next session.
const mostOut = 4 * bufSize

var works = sync.Pool{New: func() any { return &work{out: make([]byte, 0, bufSize)} }}

func (s *session) takeWork() {
	s.work = works.Get().(*work)
	s.r, s.w, s.br, s.bw, s.owed, s.before = 0, 0, 0, 0, nil, sock.Readable
}

func (s *session) giveWork() {
	w := s.work
	s.work = nil
	if cap(w.out) > mostOut {
		w.out = make([]byte, 0, bufSize)
	}
	w.sql, w.owed = nil, nil
	works.Put(w)
}

// wake goes on with a session that was parked.
func (s *session) wake(w sock.Wake) sock.Next {
	if s.thread != nil {
		s.front.stats.attached.Add(-1)
	}
	if s.killed.Load() {
		s.leave(sock.EndOurs)
		return sock.Next{}
	}
	resting := s.resting
	s.resting = false
	switch w {
	case sock.WakeExpired:
		switch {
		case resting && s.bereft():
			return sock.Next{}
		case resting:
			s.patience = s.patience.Rested()
		case s.c.Look() == sock.Readable:
		case s.bereft():
			return sock.Next{}
		case s.thread != nil && time.Now().Before(s.until):
			return s.parkOn(backendLook)
		default:
			s.expired()
			return sock.Next{}
		}
	case sock.WakeDraining:
		// Where nothing drains it is that the kernel could not park the client.
		if s.c.Look() != sock.Readable && !s.inTransaction() || !s.l.Draining() {
			s.leave(sock.EndOurs)
			return sock.Next{}
		}
	}
	s.takeWork()
	return s.run(w == sock.WakeReadable)
}

// expired ends a session whose client was silent for too long.
func (s *session) expired() {
	switch {
	case s.phase == greeted:
		s.front.stats.refused.count(fault.LoginTimeout)
	case s.thread != nil && s.be.IdleAttached > 0:
		s.counts.count(fault.IdleAttached)
	}
	s.leave(sock.EndOurs)
}

// inTransaction says whether the client's transaction is open at the backend.
func (s *session) inTransaction() bool { return s.thread != nil && !s.thread.idle() }

// run goes on until the client has left or is idle. woken says that the client
// was parked, so that a FIN that is there came after the last answer.
func (s *session) run(woken bool) sock.Next {
	next := s.serve(woken)
	s.giveWork()
	return next
}

func (s *session) serve(woken bool) sock.Next {
	for {
		switch s.nextPacket(woken) {
		case inputIdle:
			if !s.l.Draining() {
				return s.park()
			}
			if s.phase == greeted || !s.inTransaction() {
				s.leave(sock.EndOurs)
				return sock.Next{}
			}
			// The transaction is awaited in this goroutine: a drain leaves no
			// parked client alone. Its end interrupts the read.
			s.c.SetReadDeadline(zeroTime)
			n, err := s.c.Read(s.in[:])
			if err != nil {
				s.lostClient(err, false)
				return sock.Next{}
			}
			s.r, s.w = 0, n
			continue
		case inputEnded:
			return sock.Next{}
		}
		woken = false
		keep := false
		switch {
		case s.phase == greeted:
			keep = s.login()
		case s.killed.Load(): // an Interrupt does not stop what need not wait
			s.leave(sock.EndOurs)
		default:
			keep = s.command()
		}
		if !keep {
			return sock.Next{}
		}
		if s.hold > 0 {
			if s.loose() {
				s.giveBack()
			}
			if next, ok := s.rest(); ok {
				return next
			}
		}
		if s.l.Draining() && s.phase == ready && !s.inTransaction() && s.r == s.w {
			if !s.flush() || s.c.Look() != sock.Readable {
				s.leave(sock.EndOurs)
				return sock.Next{}
			}
		}
	}
}

func (s *session) park() sock.Next {
	switch {
	case s.phase == greeted:
		return sock.Next{Park: s.set.LoginTimeout, State: s}
	case s.thread == nil:
		return sock.Next{Park: s.set.IdleTimeout, State: s}
	}
	wait := s.set.IdleTimeout
	if t := s.be.IdleAttached; t > 0 {
		wait = min(wait, t)
	}
	s.until = time.Now().Add(wait)
	if wait > 8*backendLook { // else it would end too late by more than an eighth
		wait = backendLook
	}
	return s.parkOn(wait)
}

type input uint8

const (
	inputReady input = iota
	inputIdle        // nothing came: park
	inputEnded       // the connection has been ended
)

// nextPacket reads until in[r:w] starts with a packet's header and first byte.
func (s *session) nextPacket(woken bool) input {
	if s.r == s.w {
		s.r, s.w = 0, 0
		n, err := s.nextBytes()
		switch {
		case err == nil:
			s.w = n
		case errors.Is(err, sock.ErrIdle):
			return inputIdle
		default:
			s.lostClient(err, woken)
			return inputEnded
		}
	} else if !s.flush() {
		// Before the next command, which the client has sent already: its
		// answer takes the buffers, and all of it may not have come.
		s.drop(sock.EndLost)
		return inputEnded
	}
	timed := false
	for s.w-s.r < wire.HeaderLen+1 {
		if h, ok := wire.ParseHeader(s.in[s.r:s.w]); ok && h.Len == 0 {
			return inputReady
		}
		if !timed {
			timed = true
			by := time.Now().Add(s.set.SendTimeout)
			if s.phase == greeted {
				by = s.began.Add(s.set.LoginTimeout)
			}
			s.c.SetReadDeadline(by)
			s.w = copy(s.in[:], s.in[s.r:s.w])
			s.r = 0
		}
		n, err := s.c.Read(s.room())
		if s.w += n; err != nil {
			s.lostClient(err, woken)
			return inputEnded
		}
	}
	return inputReady
}

// nextBytes reads the client's next bytes, after it has written what is owed.
func (s *session) nextBytes() (n int, err error) {
	if s.loose() {
		if n, err = s.lingering(); n > 0 || err != nil {
			return n, err
		}
	}
	if len(s.owed) == 0 {
		return s.c.ReadSoon(s.room())
	}
	s.c.WriteWithin(s.set.SendTimeout)
	_, n, err = s.c.Turn(s.owed, s.room())
	s.owed = nil
	s.before = sock.Quiet
	if errors.Is(err, sock.ErrFIN) {
		s.before = sock.PeerFIN
	}
	return n, err
}

// room is where the client's next bytes go. What follows a request for TLS is
// TLS's own, and clients do not wait before they send it, so of a login no more
// is read at first than such a request has.
func (s *session) room() []byte {
	const request = wire.HeaderLen + wire.SSLRequestLen
	if s.phase == greeted && s.w < request && s.set.TLS != nil && !s.tls {
		return s.in[s.w:request]
	}
	return s.in[s.w:]
}

// flush writes what is owed now; false if the client is lost.
func (s *session) flush() bool {
	if len(s.owed) == 0 {
		return true
	}
	b := s.owed
	s.owed = nil
	return s.write(b)
}

// write writes to the client within send's time; false if it is lost.
func (s *session) write(b []byte) bool {
	s.c.WriteWithin(s.set.SendTimeout)
	_, err := s.c.Write(b)
	return err == nil
}

// lostClient ends a session whose client cannot be read from any more.
func (s *session) lostClient(err error, woken bool) {
	fin := errors.Is(err, sock.ErrFIN)
	switch {
	case s.phase == greeted && errors.Is(err, os.ErrDeadlineExceeded):
		s.front.stats.refused.count(fault.LoginTimeout)
		s.leave(sock.EndOurs)
	case s.phase == greeted:
		s.front.stats.refused.count(fault.LoginAborted)
		if err == io.EOF || fin {
			s.leave(sock.EndSilent)
			return
		}
		s.leave(sock.EndLost)
	case err == io.EOF || fin && (woken || s.before == sock.Quiet):
		s.leave(sock.EndLeft) // without COM_QUIT, as many clients do
	case fin:
		s.leave(sock.EndHalfClosed)
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.counts.count(fault.ClientGone)
		s.leave(sock.EndOurs)
	default:
		s.leave(sock.EndLost)
	}
}

// leave ends the session: the client's connection first, for its end may have to
// wait for the backend.
func (s *session) leave(e sock.Ending) {
	s.end(e)
	s.detach()
	if s.phase == ready {
		s.front.sessions.leave(s)
	}
}

// end hands the client's connection to the sweeper.
func (s *session) end(e sock.Ending) {
	if s.ended {
		return
	}
	s.ended = true
	s.set.Connections.Leave(s.c)
	s.leaveLogin()
	s.front.sweeper.End(s.c, e, s.set.graceful(s.peer), s.l.Gone())
}

// drop ends the session with the client's connection cut: the answer that it
// waits for will not come.
func (s *session) drop(e sock.Ending) bool {
	s.leave(e)
	return false
}

// say answers with packets that are in out from at on.
func (s *session) say(b []byte) bool {
	s.owed = b
	return true
}

// sayOK answers the current command itself.
func (s *session) sayOK(seq uint8, ok *wire.OK) bool {
	var at int
	s.out, at = wire.BeginPacket(s.out[:0])
	s.out = wire.AppendOK(s.out, ok, s.caps)
	s.out, _ = wire.EndPacket(s.out, at, seq)
	return s.say(s.out)
}

// sayERR answers the current command with an error of ours.
func (s *session) sayERR(seq uint8, k fault.Kind, more string) bool {
	s.tell(seq, k, more)
	return true
}

func (s *session) tell(seq uint8, k fault.Kind, more string) {
	s.count(k)
	var at int
	s.out, at = wire.BeginPacket(s.out[:0])
	s.out = appendFault(s.out, k, more, s.caps)
	s.out, _ = wire.EndPacket(s.out, at, seq)
	s.say(s.out)
}

// sayRefusal answers with an ERR of the server's.
func (s *session) sayRefusal(seq uint8, r *Refusal) bool {
	s.counter().err.Add(1)
	var at int
	s.out, at = wire.BeginPacket(s.out[:0])
	s.out = r.append(s.out, s.caps)
	s.out, _ = wire.EndPacket(s.out, at, seq)
	return s.say(s.out)
}

// close says what is owed, the last there is, and ends the session.
func (s *session) close() bool {
	if !s.flush() {
		return s.drop(sock.EndLost)
	}
	return s.drop(sock.EndUnread)
}

func (s *session) counter() *outcomes {
	if s.counts == nil {
		return &s.front.stats.refused
	}
	return s.counts
}

func (s *session) count(k fault.Kind) { s.counter().count(k) }
