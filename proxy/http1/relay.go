package http1

import (
	"errors"
	"io"
	"os"

	"weir/internal/reason"
	"weir/internal/sock"
	"weir/pool"
	"weir/proxy/fault"
)

// relayMode says how a body's bytes change on the way to the client.
type relayMode uint8

const (
	relayLength   relayMode = iota // as they are, left of them
	relayVerbatim                  // chunked to chunked
	relayDechunk                   // chunked to an HTTP/1.0 client: the data, ended by the close
	relayEnchunk                   // up to the backend's FIN, to chunked
	relayRaw                       // up to the backend's FIN, ended by our close
)

// relay passes on a response that is not all here yet. What the client does
// not take at once is kept, up to answerAhead bytes, and the lease ends as soon
// as the response is in: then a slow client holds memory, and no connection.
func (s *session) relay(lease pool.Lease, be *Backend, keep, old, untilClose bool) bool {
	a := &s.answer
	c := lease.Conn()
	switch {
	case a.resp.Body == BodyLength:
		a.mode, a.left = relayLength, a.resp.ContentLength
	case a.resp.Body == BodyChunked && old:
		a.mode = relayDechunk
	case a.resp.Body == BodyChunked:
		a.mode = relayVerbatim
	case old:
		a.mode = relayRaw
	default:
		a.mode = relayEnchunk
	}
	a.chunks.Start(true, s.set.MaxHeader)
	if a.pend = newBuffer(4*answerSize, s.front.budget); a.pend == nil {
		a.pend = newBuffer(answerSize, s.front.budget)
	}
	s.keepFor(s.out)
	for {
		done, rej := s.pump()
		switch {
		case a.lost:
			return s.clientLeft(lease)
		case rej != nil:
			return s.cut(lease, fault.BadResponse, rej, untilClose)
		case done:
			return s.relayed(lease, exchanged{complete: true, extra: a.buf.len() > 0}, keep, old)
		}
		if s.flush(); a.lost {
			return s.clientLeft(lease)
		}
		n, k := s.readMore(c, be)
		switch {
		case n > 0:
		case k == fault.None && a.resp.Body == BodyUntilClose: // the backend's FIN
			if a.mode == relayEnchunk {
				s.keepFor([]byte(LastChunk))
			}
			return s.relayed(lease, exchanged{complete: true}, keep, old)
		case k == fault.None:
			return s.cut(lease, fault.ResponseStalled, nil, untilClose)
		default:
			return s.cut(lease, k, s.upload.reject(), untilClose)
		}
	}
}

// relayed ends the lease and writes what the client has not taken yet.
func (s *session) relayed(lease pool.Lease, x exchanged, keep, old bool) bool {
	s.settle(lease, x)
	if s.upload.done != nil && !s.body.done {
		keep = false
	}
	s.sent()
	if s.answer.lost {
		s.count(fault.ClientGone)
		s.end(sock.EndLost)
		return false
	}
	return s.conclude(s.answer.pend.bytes(), nil, keep, old && !keep)
}

// readMore reads once from the backend. 0 and None is its FIN.
func (s *session) readMore(c sock.Conn, be *Backend) (int, fault.Kind) {
	a := &s.answer
	if len(a.buf.room()) == 0 || a.buf.r > 0 {
		a.buf.compact()
	}
	if len(a.buf.room()) == 0 {
		big := a.buf.ensure(a.buf.len()+1, s.front.budget)
		if big == nil {
			return 0, fault.NoMemory
		}
		a.buf = big
	}
	for {
		running := s.upload.running()
		c.ReadWithin(be.BodyIdle)
		n, err := c.Read(a.buf.room())
		a.buf.w += n
		switch {
		case n > 0:
			if a.buf.len() == answerSize && len(a.buf.b) == answerSize { // it came fast: read more at once
				if big := a.buf.ensure(4*answerSize, s.front.budget); big != nil {
					a.buf = big
				}
			}
			return n, fault.None
		case err == io.EOF:
			a.closed = true
			return 0, fault.None
		case s.upload.clientFault() != fault.None:
			return 0, s.upload.clientFault()
		case errors.Is(err, os.ErrDeadlineExceeded):
			if running {
				continue
			}
			return 0, fault.ResponseStalled
		}
		return 0, fault.BackendReset
	}
}

// pump moves what the buffer holds of the body towards the client.
func (s *session) pump() (done bool, rej *Reject) {
	a := &s.answer
	for !a.lost {
		b := a.buf.bytes()
		if len(b) == 0 {
			return a.mode == relayLength && a.left == 0, nil
		}
		n := len(b)
		switch a.mode {
		case relayLength:
			n = int(min(int64(n), a.left))
			s.pass(b[:n])
			a.left -= int64(n)
			a.buf.skip(n)
			return a.left == 0, nil
		case relayRaw:
			s.pass(b)
		case relayEnchunk:
			s.passChunk(b)
		case relayVerbatim:
			n, done = a.chunks.Verbatim(b)
			if n > 0 {
				s.pass(b[:n])
				a.buf.skip(n)
				if done {
					return true, nil
				}
				continue
			}
			fallthrough
		case relayDechunk:
			var data []byte
			data, n, done, rej = a.chunks.Next(b)
			if rej != nil || n == 0 && !done {
				return false, rej
			}
			if a.mode == relayVerbatim {
				s.passChunk(data)
				if done {
					s.keepFor([]byte("0\r\n"))
					s.keepFor(a.chunks.Trailer().of(b))
					s.keepFor([]byte("\r\n"))
				}
			} else {
				s.pass(data)
			}
			if done {
				a.buf.skip(n)
				return true, nil
			}
		}
		a.buf.skip(n)
	}
	return false, nil
}

// passChunk passes data on as a chunk.
func (s *session) passChunk(data []byte) {
	if len(data) == 0 {
		return
	}
	var line [20]byte
	s.keepFor(AppendChunkHeader(line[:0], len(data)))
	s.pass(data)
	s.keepFor([]byte("\r\n"))
}

// pass gives p to the client, directly as far as its socket takes it.
func (s *session) pass(p []byte) {
	a := &s.answer
	if len(p) >= headSize && !a.lost {
		if s.flush(); a.pend.len() == 0 && !a.lost {
			n, err := s.try(p)
			a.begun = a.begun || n > 0
			a.lost = err != nil
			p = p[n:]
		}
	}
	s.keepFor(p)
}

// keepFor keeps p for the client. Where answerAhead bytes are kept already, or
// memory is short, it waits until the client has taken them.
func (s *session) keepFor(p []byte) {
	a := &s.answer
	for len(p) > 0 && !a.lost {
		if a.pend.w == len(a.pend.b) {
			a.pend.compact()
		}
		if len(a.pend.room()) == 0 {
			if n := 2 * len(a.pend.b); n <= answerAhead {
				if big := a.pend.ensure(n, s.front.budget); big != nil {
					a.pend = big
					continue
				}
			}
			a.begun = true
			a.lost = !s.writeHeld(a.pend.bytes())
			a.pend.skip(a.pend.len())
			continue
		}
		n := copy(a.pend.room(), p)
		a.pend.w += n
		p = p[n:]
	}
}

// flush gives the client what it takes without waiting.
func (s *session) flush() {
	a := &s.answer
	if a.pend.len() == 0 || a.lost {
		return
	}
	n, err := s.try(a.pend.bytes())
	a.begun = a.begun || n > 0
	a.lost = err != nil
	a.pend.skip(n)
}

// try writes what the client takes at once. A deadline of an earlier write may
// have passed since: the backend was silent, and that is not the client's doing.
func (s *session) try(p []byte) (int, error) {
	s.c.WriteWithin(s.set.SendTimeout)
	n, err := s.c.TryWrite(p)
	s.tally.wrote += int64(n)
	return n, err
}

// cut ends a response that cannot be completed. If the client has got nothing
// of it yet, it gets an answer; else it must see that the response is not
// whole: nothing is ever added to a started body.
func (s *session) cut(lease pool.Lease, k fault.Kind, rej *Reject, untilClose bool) bool {
	if !s.answer.begun {
		return s.giveUp(lease, k, rej)
	}
	s.upload.stop(lease.Conn())
	why := reason.CloseBackendError
	switch k {
	case fault.ResponseStalled:
		if !s.answer.closed {
			why = reason.CloseTimeout
		}
	case fault.BadResponse:
		why = reason.CloseBadResponse
	case fault.ClientGone, fault.BodyTimeout, fault.BadRequest, fault.BodyTooLarge:
		why = s.clientReason()
	}
	lease.Discard(why)
	s.noteBackend(k, rej)
	ending := sock.EndCut
	if !untilClose {
		s.flush()
		ending = sock.EndTruncated
	}
	s.count(k)
	s.end(ending)
	return false
}
