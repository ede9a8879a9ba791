package http1

import (
	"context"
	"errors"
	"os"
	"time"

	"weir/internal/reason"
	"weir/internal/sock"
	"weir/limiter"
	"weir/pool"
	"weir/proxy/fault"
)

// answer is the response of one exchange on its way through.
type answer struct {
	resp   Response
	buf    *buffer // what the backend sent and we have not used
	asked  bool    // the client waits for the backend's 100
	fail   failure
	pend   *buffer // what the client has not taken yet
	begun  bool    // the client has got bytes of the final response
	lost   bool    // the client cannot be written to
	closed bool    // the backend's FIN came inside the body
	unsent bool    // the backend answered, and did not take all of the request
	left   int64   // of a Content-Length
	chunks Chunked
	mode   relayMode
	pace   pace
}

func (a *answer) reset() {
	a.asked, a.begun, a.lost, a.closed, a.unsent = false, false, false, false, false
	a.pace = pace{} // that of another client
}

func (a *answer) free(budget *Budget) {
	a.buf.free(budget)
	a.pend.free(budget)
	a.buf, a.pend = nil, nil
}

func (a *answer) failed(wrote int, err error) *failure {
	a.fail = failure{wrote, err}
	return &a.fail
}

// maxInterim bounds the 1xx responses before a final one.
const maxInterim = 32

// respond relays the response whose first bytes are in s.answer.buf, and ends
// the lease. It reports whether the client's connection is kept.
func (s *session) respond(lease pool.Lease, be *Backend) (keep bool) {
	a := &s.answer
	c := lease.Conn()
	for n := 0; ; n++ {
		a.resp.Reset(s.req.Verb, s.req.WebSocket)
		if k, rej := s.responseHead(c, be); k != fault.None || n == maxInterim {
			if k == fault.None {
				k = fault.BadResponse
			}
			return s.giveUp(lease, k, rej)
		}
		if !a.resp.Interim() {
			break
		}
		if !s.interim(c, be) {
			return s.clientLeft(lease)
		}
	}
	s.judged(limiter.Succeeded) // a body may last; if it fails, the breaker hears of that too
	if a.resp.Status == 101 {
		if !s.body.done || s.upload.done != nil {
			return s.giveUp(lease, fault.BadResponse, nil) // what follows the head is a body, not the other protocol
		}
		return s.tunnel(lease)
	}
	if a.resp.KeepAliveTimeout > 0 {
		lease.LearnIdle(a.resp.KeepAliveTimeout)
	}

	old := s.req.Minor == 0
	untilClose := old && (a.resp.Body == BodyChunked || a.resp.Body == BodyUntilClose)
	uploaded := s.upload.finished() && s.body.done
	keep = s.req.KeepAlive && !untilClose && uploaded && !s.l.Draining()
	s.lines = append(s.lines, s.modeLine()...)
	s.redit.Lines = s.lines
	s.redit.Chunked = !old && (a.resp.Chunked || a.resp.Body == BodyUntilClose)
	switch {
	case !keep:
		s.redit.Conn = ConnClose
	case old:
		s.redit.Conn = ConnKeepAlive
	default:
		s.redit.Conn = ConnNone
	}
	s.out = AppendResponse(s.out[:0], a.buf.bytes(), &a.resp, &s.redit)
	a.buf.skip(a.resp.HeadLen)
	s.tally.answering(a.resp.Status, len(s.out))

	if body, extra, ok := a.whole(old); ok {
		// All of it is here: the connection is free before the client is written to.
		s.settle(lease, exchanged{complete: true, extra: extra})
		if s.upload.done != nil {
			keep = keep && s.body.done
		}
		s.sent()
		return s.conclude(s.out, body, keep, old && !keep)
	}
	return s.relay(lease, be, keep, old, untilClose)
}

// whole returns the response's body if all of it is in the buffer and can go
// out as it is, and whether more bytes follow it.
func (a *answer) whole(old bool) (body []byte, extra, ok bool) {
	b := a.buf.bytes()
	switch a.resp.Body {
	case BodyNone:
		return nil, len(b) > 0, true
	case BodyLength:
		if n := a.resp.ContentLength; int64(len(b)) >= n {
			return b[:n], int64(len(b)) > n, true
		}
	case BodyChunked:
		if old {
			return nil, false, false
		}
		var c Chunked
		c.Start(true, len(a.buf.b))
		if n, done := c.Verbatim(b); done {
			return b[:n], len(b) > n, true
		}
	}
	return nil, false, false
}

// sent drops the request, which is done with.
func (s *session) sent() {
	if s.body.done {
		s.body.forwarded()
	}
}

// settle ends the lease after an exchange. An upload that still runs is ended
// first.
func (s *session) settle(lease pool.Lease, x exchanged) {
	s.upload.stop(lease.Conn())
	x.sent = s.body.done && !s.upload.stopping.Load() && !s.upload.unsent && !s.answer.unsent
	x.keep = s.answer.resp.KeepAlive
	if why, ok := x.reusable(); !ok {
		lease.Discard(why)
		return
	}
	lease.Release()
}

// conclude writes the last bytes and counts the request.
func (s *session) conclude(head, body []byte, keep, ours bool) bool {
	status := s.answer.resp.Status
	kept := s.deliver(head, body, keep, ours)
	s.counts.status(status)
	s.logEnd(classNames[status/100%classes], s.observe())
	return kept
}

// responseHead reads until a whole head is in the buffer and parsed.
func (s *session) responseHead(c sock.Conn, be *Backend) (fault.Kind, *Reject) {
	a := &s.answer
	limits := Limits{MaxHeader: s.set.MaxHeader}
	var until time.Time
	for {
		done, rej := a.resp.Parse(a.buf.bytes(), limits)
		switch {
		case rej != nil:
			return fault.BadResponse, rej
		case done:
			return fault.None, nil
		}
		if a.buf.w == len(a.buf.b) {
			big := a.buf.ensure(a.buf.len()+1, s.front.budget)
			if big == nil {
				return fault.NoMemory, nil
			}
			a.buf = big
		}
		// One deadline for the whole head: a byte now and then does not move it.
		if until.IsZero() || s.upload.running() {
			until = time.Now().Add(be.ResponseHeader)
		}
		wait := time.Until(until)
		if wait <= 0 {
			return fault.ResponseTimeout, nil
		}
		if f := s.await(c, be, wait); f != nil {
			if k := s.upload.clientFault(); k != fault.None {
				return k, s.upload.reject()
			}
			if errors.Is(f.err, os.ErrDeadlineExceeded) {
				return fault.ResponseTimeout, nil
			}
			if a.buf.len() > 0 {
				return fault.BadResponse, nil // half a head
			}
			return fault.BackendClosed, nil // nothing after an interim response
		}
	}
}

// interim passes a 1xx on, where the client can want it. It reports false when
// the client is gone.
func (s *session) interim(c sock.Conn, be *Backend) bool {
	a := &s.answer
	ok := true
	switch {
	case a.resp.Status == 100 && a.asked:
		a.asked = false
		ok = s.say100() == fault.None
		a.buf.skip(a.resp.HeadLen)
		s.body.headSent()
		s.upload.start(c, be, nil)
		return ok
	case a.resp.Status == 100 || s.req.Minor == 0:
		// Nobody asked for it (RFC 9110, section 15.2).
	default:
		s.redit.Chunked, s.redit.Conn = false, ConnNone
		s.out = AppendResponse(s.out[:0], a.buf.bytes(), &a.resp, &s.redit)
		ok = s.writeAll(s.out, nil)
	}
	a.buf.skip(a.resp.HeadLen)
	return ok
}

// giveUp ends an exchange whose response is of no use. Nothing of it has
// reached the client.
func (s *session) giveUp(lease pool.Lease, k fault.Kind, rej *Reject) (keep bool) {
	s.upload.stop(lease.Conn())
	why := reason.CloseBadResponse
	switch k {
	case fault.ResponseTimeout, fault.ResponseStalled:
		if why = reason.CloseTimeout; s.answer.closed {
			why = reason.CloseBackendError
		}
	case fault.BackendClosed, fault.BackendReset:
		why = reason.CloseBackendError
	case fault.ClientGone, fault.BodyTimeout, fault.BadRequest, fault.BodyTooLarge:
		why = s.clientReason()
	}
	lease.Discard(why)
	if k == fault.ClientGone {
		s.count(k)
		s.end(sock.EndLost)
		return false
	}
	s.noteBackend(k, rej)
	return s.refuse(k, rej)
}

// noteBackend logs a backend's misbehaviour.
func (s *session) noteBackend(k fault.Kind, rej *Reject) {
	row := k.Row()
	if row.Log == fault.LogNever {
		return
	}
	text := row.Text
	if rej != nil {
		text = rej.Text
	}
	s.front.log.Log(context.Background(), row.Level, "backend failed", "fold", k.String(), "listener", s.front.name,
		"backend", s.route.Backend.Name, "reason", k.String(), "err", text, "hint", row.Hint)
}

// clientLeft ends an exchange whose client cannot be written to.
func (s *session) clientLeft(lease pool.Lease) bool {
	s.upload.stop(lease.Conn())
	lease.Discard(s.clientReason())
	s.count(fault.ClientGone)
	s.end(sock.EndLost)
	return false
}

// clientReason is why a backend connection is closed for the client's sake.
func (s *session) clientReason() reason.Close {
	if s.slow.Load() {
		return reason.CloseSlow
	}
	return reason.CloseClientGone
}
