package http1

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"weir/internal/accesslog"
	"weir/internal/sock"
	"weir/limiter"
	"weir/proxy/fault"
	"weir/proxy/fault/overlimit"
)

// session is one client's life while it has a goroutine. Sessions are used
// again: whatever is set in begin or per request must not be relied on before.
type session struct {
	front    *Front
	set      *Settings
	l        *sock.Listener
	c        sock.Conn
	peer     netip.Addr
	graceful bool
	served   bool       // the client has had an answer
	before   sock.Sight // of the client's socket, before its first response was written
	ended    bool       // c was given to the sweeper

	in  *buffer // what the client sent and we have not used
	req Request

	began  time.Time
	route  *Route
	counts *outcomes
	edit   RequestEdit
	redit  ResponseEdit
	ip     [48]byte
	id     [32]byte
	bare   []byte // the Host of a request that names none
	body   requestBody
	out    []byte // a head that is being composed
	owed   []byte // a whole response in out, to be written with the wait for the next request
	answer answer
	upload upload
	slow   atomic.Bool // the client was cut because it was slow and others waited

	class    limiter.Class      // of the request
	ticket   limiter.Ticket     // of the backend's breaker, until the response has begun
	way      limiter.Way        // through the gates
	lines    []byte             // of the response: Retry-After, RateLimit, X-Weir-Mode
	patience overlimit.Patience // refusals in a row
	hold     time.Duration      // the client is not to be read for so long

	tally  tally
	access *accesslog.Log // where the request's line goes; nil: nowhere
	line   accesslog.Line
}

func newSession(f *Front) *session {
	s := &session{front: f, out: make([]byte, 0, headSize)}
	s.upload.s = s
	return s
}

func (s *session) begin(l *sock.Listener, c sock.Conn, set *Settings, peer netip.Addr, graceful, served bool) {
	s.l, s.c, s.peer, s.graceful, s.served = l, c, peer, graceful, served
	s.ended, s.before, s.hold, s.patience = false, sock.Readable, 0, 0
	s.in = newBuffer(headSize, s.front.budget)
	s.apply(set)
}

// apply takes over settings.
func (s *session) apply(set *Settings) {
	s.set = set
	s.edit = RequestEdit{Proto: protoHTTP, Via: set.via, RFC7239: set.Forwarded}
	s.redit = ResponseEdit{Via: set.via}
	if set.ModeHeader {
		s.redit.Remove = cutMode
	}
	switch {
	case !set.XForwarded:
		s.edit.Forward = ForwardKeep
	case contains(set.Trusted, s.peer):
		s.edit.Forward = ForwardAppend
	default:
		s.edit.Forward = ForwardReplace
	}
	if s.peer.IsValid() {
		s.edit.ClientIP = s.peer.WithZone("").AppendTo(s.ip[:0])
	}
}

var protoHTTP = []byte("http")

// release gives up what the session holds beyond itself.
func (s *session) release() {
	s.in.free(s.front.budget)
	s.in, s.l, s.c, s.set, s.route, s.counts, s.access = nil, nil, nil, nil, nil, nil, nil
	s.line.Shrink()
	if cap(s.out) > answerSize {
		s.out = make([]byte, 0, headSize)
	}
}

// run serves requests until the connection has ended or is idle. woken says
// that the client was parked, so that its FIN, if that is what woke it, came
// after the last response.
func (s *session) run(woken bool) sock.Next {
	looked := false
	for {
		switch s.readHead(woken) {
		case headIdle:
			if s.l.Draining() {
				// A request that came in the last moment is answered. Only
				// once: half a TLS record is readable, and is no request.
				if !looked && s.c.Look() == sock.Readable {
					looked = true
					continue
				}
				s.end(sock.EndOurs)
				return sock.Next{}
			}
			if s.served {
				return sock.Next{Park: s.set.IdleTimeout, State: statesServed[s.patience.Rested()]}
			}
			return sock.Next{Park: s.set.HeaderTimeout, State: stateNew}
		case headEnded:
			return sock.Next{}
		}
		woken = false
		if !s.serve() {
			return sock.Next{}
		}
		s.served = true
		s.in = s.in.shrink(headSize, s.front.budget)
		if s.hold > 0 {
			if next, ok := s.rest(); ok {
				return next
			}
		}
	}
}

// rest leaves a client unread that sends more than it may. What it has sent ahead
// waits with it, if that is little; a body would have been read by now.
func (s *session) rest() (next sock.Next, ok bool) {
	hold := s.hold
	s.hold = 0
	if s.l.Draining() || s.in.len() > 0 && s.in.class >= freeClasses {
		return next, false
	}
	if owed := s.owed; len(owed) > 0 {
		s.owed = nil
		s.c.WriteWithin(s.set.SendTimeout)
		if _, err := s.c.Write(owed); err != nil {
			s.end(sock.EndLost)
			return next, true
		}
	}
	next = sock.Next{Park: hold, State: statesServed[overlimit.Spent], Unread: true}
	if s.in.len() > 0 {
		next.Ahead = true
		next.State, s.in = &pipelined{s.in.fit(headSize, s.front.budget)}, nil
	}
	return next, true
}

// end hands the connection to the sweeper.
func (s *session) end(e sock.Ending) {
	s.ended = true
	s.set.Connections.Leave(s.c)
	s.front.sweeper.End(s.c, e, s.graceful, s.l.Gone())
}

type headResult uint8

const (
	headReady headResult = iota
	headIdle             // nothing came: park
	headEnded            // the connection has been ended
)

// readHead reads until s.in starts with a whole request head.
func (s *session) readHead(woken bool) headResult {
	if s.in.len() == 0 {
		s.in.r, s.in.w = 0, 0
		n, err := s.nextBytes()
		switch {
		case err == nil:
			s.in.w = n
		case errors.Is(err, sock.ErrIdle):
			return headIdle
		case !s.served && (err == io.EOF || errors.Is(err, sock.ErrFIN)):
			s.end(sock.EndSilent)
			return headEnded
		case err == io.EOF || (woken || s.before == sock.Quiet) && errors.Is(err, sock.ErrFIN):
			s.end(sock.EndLeft)
			return headEnded
		case errors.Is(err, sock.ErrFIN) && s.before == sock.PeerFIN:
			s.end(sock.EndHalfClosed)
			return headEnded
		case errors.Is(err, sock.ErrFIN):
			// Perhaps it was there before the response. Not remembered
			// against the address, because perhaps it was not.
			s.end(sock.EndSilent)
			return headEnded
		default:
			s.end(sock.EndLost)
			return headEnded
		}
	}
	s.began = time.Now()
	s.req.Reset()
	s.route, s.counts = nil, &s.front.stats.refused
	s.tally = tally{}
	limits := Limits{MaxHeader: s.set.MaxHeader, MaxURI: s.set.MaxURI}
	timed := false
	for {
		done, rej := s.req.Parse(s.in.bytes(), limits)
		if rej != nil {
			s.logStart()
			s.reject(rej)
			return headEnded
		}
		if done {
			return headReady
		}
		if s.in.w == len(s.in.b) {
			big := s.in.ensure(min(2*len(s.in.b), s.set.MaxHeader), s.front.budget)
			if big == nil {
				s.logStart()
				s.refuse(fault.NoMemory, nil)
				return headEnded
			}
			s.in = big
		}
		if !timed {
			// One deadline for the whole head: a byte now and then does not move it.
			s.c.SetReadDeadline(s.began.Add(s.set.HeaderTimeout))
			timed = true
		}
		n, err := s.c.Read(s.in.room())
		s.in.w += n
		if err == nil {
			continue
		}
		switch {
		case !s.req.Started() && err == io.EOF:
			s.end(sock.EndLeft)
		case !s.req.Started():
			s.end(sock.EndOurs)
		case errors.Is(err, os.ErrDeadlineExceeded):
			s.logStart()
			s.refuse(fault.HeaderTimeout, nil)
		default:
			s.logStart()
			s.count(fault.ClientGone)
			s.end(sock.EndLost)
		}
		return headEnded
	}
}

// nextBytes reads the client's next bytes, after it has written what is owed.
func (s *session) nextBytes() (n int, err error) {
	if len(s.owed) == 0 {
		return s.c.ReadSoon(s.in.b)
	}
	s.c.WriteWithin(s.set.SendTimeout)
	_, n, err = s.c.Turn(s.owed, s.in.b)
	s.owed = nil
	s.before = sock.Quiet
	if errors.Is(err, sock.ErrFIN) {
		s.before = sock.PeerFIN
	}
	return n, err
}

// serve handles the request whose head was read. It reports whether the
// connection is kept.
func (s *session) serve() (keep bool) {
	// The client may have been silent since before a reload, which may also
	// have given its address to another listener.
	if f, ok := s.l.Handler().(*Front); ok && f != s.front {
		s.front, s.counts = f, &f.stats.refused
	}
	if set := s.front.set.Load(); set != s.set {
		s.apply(set)
	}
	s.logStart()
	s.body.start(s)
	s.upload.reset()
	rej := s.choose()
	if rej == nil && s.set.MaxBody > 0 && s.req.ContentLength > s.set.MaxBody {
		return s.refuse(fault.BodyTooLarge, nil)
	}
	in, keep := s.admit()
	switch {
	case !in:
		return keep
	case rej != nil: // who tries what is not there is within its rate as well, or refused
		keep = s.reject(rej)
	default:
		keep = s.admitted()
	}
	s.way.Leave()
	return keep
}

// admitted serves a request that is within its limits.
func (s *session) admitted() (keep bool) {
	if !s.body.done {
		if door := s.route.Backend.Guard.Look(s.class); door != limiter.DoorPass {
			if s.body.check() != fault.None {
				s.body.done = false
			}
			return s.refuse(closedDoors[door], nil)
		}
	}
	if k := s.body.readAhead(); k != fault.None {
		if k == fault.ClientGone {
			s.count(k)
			s.end(sock.EndLost)
			return false
		}
		return s.refuse(k, s.body.rejected())
	}
	return s.exchange()
}

// choose finds the request's route, and with it what changes in its head.
func (s *session) choose() *Reject {
	buf := s.in.bytes()
	rule, prefix, rej := s.set.router.Match(s.req.Host.of(buf), s.req.Path.of(buf))
	if rej != nil {
		return rej
	}
	s.route = &s.set.Routes[rule]
	s.counts = s.route.counts
	s.edit.Strip = 0
	if s.route.Strip {
		s.edit.Strip = prefix
	}
	s.edit.Set, s.edit.Remove = s.route.Set, s.route.removeAll
	s.class = s.route.Class
	if s.class == 0 {
		s.class = s.set.Class
	}
	if s.set.ClassField != "" && contains(s.set.Trusted, s.peer) {
		s.edit.Remove = s.route.Remove
		s.class = s.saidClass(s.class)
	}
	s.edit.BareHost = nil
	if s.req.Host.Len() == 0 {
		s.bare = append(s.bare[:0], s.route.Backend.Address...)
		s.edit.BareHost = s.bare
	}
	s.edit.RequestID = nil
	if s.set.MakeID && !s.req.Has(FieldXRequestID) {
		s.edit.RequestID = makeID(&s.id)
	}
	return nil
}

// count records how a request ended that gets nothing any more.
func (s *session) count(k fault.Kind) {
	s.blame(k)
	s.counts.count(k)
	s.logEnd(k.String(), s.observe())
}

// blame says to the backend's breaker what a fault says of the backend. Dials that
// fail are the pool's to hold down.
func (s *session) blame(k fault.Kind) {
	if k.Side() != fault.Backend || k == fault.DialRefused || k == fault.DialTimeout {
		return
	}
	if s.ticket != (limiter.Ticket{}) {
		s.judged(limiter.Failed)
	} else { // in the body
		s.route.Backend.Guard.Failed(limiter.Nanos(time.Now()))
	}
}

// observe records how long the request took.
func (s *session) observe() time.Duration {
	took := time.Since(s.began)
	s.front.stats.requestSeconds.Observe(took)
	return took
}
