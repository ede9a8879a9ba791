package http1

import (
	"encoding/hex"
	"math/rand/v2"

	"weir/internal/reason"
	"weir/internal/sock"
	"weir/proxy/fault"
)

// exchanged is what is known of a backend connection when its exchange is over.
type exchanged struct {
	sent     bool // the request went out whole
	complete bool // the response came in whole
	extra    bool // bytes followed it
	keep     bool // the backend said that it keeps the connection
	upgraded bool
}

// reusable is the one place that decides whether a backend connection may
// carry another client's request.
func (x exchanged) reusable() (why reason.Close, ok bool) {
	switch {
	case x.upgraded:
		return reason.CloseUpgraded, false
	case !x.complete:
		return reason.CloseBackendError, false
	case x.extra:
		return reason.CloseExtraBytes, false
	case !x.sent:
		return reason.CloseEarlyResponse, false
	case !x.keep:
		return reason.CloseSaidClose, false
	}
	return 0, true
}

// deliver writes the last bytes of a response, and ends the connection unless
// it is kept. ours says that the client waits for our FIN.
func (s *session) deliver(head, body []byte, keep, ours bool) bool {
	if len(head)+len(body) <= smallAnswer && same(head, s.out) {
		// One copy is cheaper than a second piece in the system call.
		s.out = append(s.out, body...)
		if keep && s.in.len() == 0 {
			s.owed = s.out
			s.tally.wrote += int64(len(s.out)) // the next thing that is done is to write it
			return true
		}
		head, body = s.out, nil
	}
	ending := sock.EndFinished
	switch {
	case keep && s.served:
		s.before = sock.Readable // not looked
	case keep:
		// Most clients that leave do so after one response, and some are so
		// quick that their FIN is here before the next read. This look tells
		// them from those that half-close. Later responses are spared it.
		s.before = s.c.Look()
	case ours:
		ending = sock.EndOurs
	default:
		// Just before the last write: a FIN that is here now was sent
		// without waiting for the response.
		switch s.c.Look() {
		case sock.PeerFIN:
			ending = sock.EndHalfClosed
		case sock.Readable:
			ending = sock.EndUnread
		}
		if s.in.len() > 0 || !s.body.done {
			ending = sock.EndUnread
		}
	}
	if !s.writeAll(head, body) {
		s.end(sock.EndLost)
		return false
	}
	if keep {
		return true
	}
	s.end(ending)
	return false
}

// smallAnswer is up to where a body is copied behind its head.
const smallAnswer = 4 << 10

// same says whether two slices start at the same byte.
func same(a, b []byte) bool { return cap(a) > 0 && cap(b) > 0 && &a[:1][0] == &b[:1][0] }

// writeAll writes all to the client. What the socket does not take at once is
// written in blocks with a deadline each, so that a client must take a block
// per timeout and not a byte.
func (s *session) writeAll(head, body []byte) bool {
	s.c.WriteWithin(s.set.SendTimeout)
	if len(body) == 0 && len(head) <= writeBlock {
		n, err := s.c.Write(head)
		s.tally.wrote += int64(n)
		return err == nil
	}
	if len(head)+len(body) <= writeBlock {
		n, err := s.c.WriteTwo(head, body)
		s.tally.wrote += int64(n)
		return err == nil
	}
	for _, p := range [2][]byte{head, body} {
		n, err := s.c.TryWrite(p)
		s.tally.wrote += int64(n)
		if err != nil {
			return false
		}
		for p = p[n:]; len(p) > 0; p = p[n:] {
			s.c.WriteWithin(s.set.SendTimeout)
			n, err = s.c.Write(p[:min(len(p), writeBlock)])
			s.tally.wrote += int64(n)
			if err != nil {
				return false
			}
		}
	}
	return true
}

// reject answers a request that the scanner or the router refused.
func (s *session) reject(rej *Reject) (keep bool) {
	r := refusals[rej]
	return s.answerFault(r.kind, r.answer)
}

// refuse answers a request with a fault; rej, if not nil, says more.
func (s *session) refuse(k fault.Kind, rej *Reject) (keep bool) {
	if rej != nil {
		return s.reject(rej)
	}
	return s.answerFault(k, k.Answer())
}

// answerFault counts the request and answers with rendered bytes.
func (s *session) answerFault(k fault.Kind, a *fault.Answer) (keep bool) {
	s.blame(k)
	s.counts.count(k)
	took := s.observe()
	keep = s.writeFault(k, a, nil)
	s.logEnd(k.String(), took)
	return keep
}

// writeFault writes a fault's answer, with lines in place of its own Retry-After
// if there are any; for overload the backend's page, if it has one. The connection
// is kept where it is known where the next request begins.
func (s *session) writeFault(k fault.Kind, a *fault.Answer, lines []byte) (keep bool) {
	whole := s.req.HeadLen > 0 && s.body.done
	keep = whole && s.req.KeepAlive && !k.Closes() && !s.l.Draining()
	form := fault.Form(0)
	if !keep {
		form |= fault.Close
	}
	if s.req.Verb == VerbHEAD {
		form |= fault.NoBody
	}
	old := s.req.HeadLen > 0 && s.req.Minor == 0
	if old {
		form |= fault.HTTP10
	}
	if whole {
		s.body.forwarded()
	}
	status, head, body := s.page(k, form)
	switch {
	case head != nil:
		s.out = appendWithLine(s.out[:0], head, s.modeLine())
	case len(lines) > 0:
		status, s.out = k.Status(), a.Append(s.out[:0], form, lines)
	default:
		status, s.out = k.Status(), appendWithLine(s.out[:0], a.Bytes(form), s.modeLine())
	}
	s.tally.answering(status, headLen(s.out))
	if !whole {
		// The client may still be sending.
		if !s.writeAll(s.out, body) {
			s.end(sock.EndLost)
			return false
		}
		s.end(sock.EndUnread)
		return false
	}
	return s.deliver(s.out, body, keep, old && !keep)
}

// refusal is what a Reject becomes.
type refusal struct {
	kind   fault.Kind
	answer *fault.Answer
}

// refusals has the answers to all Rejects, rendered once. It is filled by an
// init function: only then are the Rejects of all files there.
var refusals = map[*Reject]refusal{}

func init() {
	for _, rej := range rejects {
		k := kindOf(rej)
		refusals[rej] = refusal{k, k.With(rej.Reason, rej.Text)}
	}
}

// kindOf finds the fault whose status a Reject has.
func kindOf(rej *Reject) fault.Kind {
	switch rej {
	case RejectNoRoute:
		return fault.NoRoute
	case RejectCrosses:
		return fault.AmbiguousPath
	}
	switch rej.Status {
	case 413:
		return fault.BodyTooLarge
	case 414:
		return fault.URITooLong
	case 417:
		return fault.Expectation
	case 431:
		return fault.HeaderTooLarge
	case 501:
		return fault.NotImplemented
	case 502:
		return fault.BadResponse
	case 505:
		return fault.Version
	}
	return fault.BadRequest
}

// makeID writes a random X-Request-Id: 128 bits in hexadecimal. It tells
// requests apart and is no secret.
func makeID(dst *[32]byte) []byte {
	var raw [16]byte
	for i := range 2 {
		n := rand.Uint64()
		for j := range 8 {
			raw[8*i+j] = byte(n >> (8 * j))
		}
	}
	hex.Encode(dst[:], raw[:])
	return dst[:]
}
