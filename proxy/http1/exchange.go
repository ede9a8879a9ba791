package http1

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"

	"weir/internal/reason"
	"weir/internal/sock"
	"weir/limiter"
	"weir/pool"
	"weir/proxy/fault"
	"weir/proxy/fault/nolease"
)

// exchange asks the backend, if it is to be asked. It reports whether the client's
// connection is kept.
func (s *session) exchange() (keep bool) {
	be := s.route.Backend
	for {
		var door limiter.Door
		if s.ticket, door = be.Guard.Enter(s.class); door != limiter.DoorPass {
			return s.refuse(closedDoors[door], nil)
		}
		keep, again := s.exchangeWith(be)
		s.judged(limiter.Ignored)
		if !again {
			return keep
		}
		be = s.route.Backend
	}
}

// judged tells the backend's breaker, once for each exchange, what became of it.
func (s *session) judged(o limiter.Outcome) {
	if t := s.ticket; t != (limiter.Ticket{}) {
		s.ticket = limiter.Ticket{}
		t.Done(limiter.Nanos(time.Now()), o)
	}
}

var closedDoors = [...]fault.Kind{limiter.DoorOpen: fault.BreakerOpen, limiter.DoorClass: fault.Shed}

// exchangeWith takes a lease, sends the request and relays the response. again
// says that the request has another backend now, and nothing was sent.
func (s *session) exchangeWith(be *Backend) (keep, again bool) {
	be.Retries.Request()
	s.answer.reset()
	sent := false // it was sent on a connection that turned out dead
	for {
		s.tally.reused = false // of the connection before this one, which was dead
		lease, k := s.acquire(be, sent)
		if k != fault.None {
			if again, rej := s.moved(k); rej != nil {
				return s.reject(rej), false
			} else if again {
				return false, true
			}
			if k == fault.ClientGone {
				s.count(k)
				s.end(sock.EndOurs)
				return false, false
			}
			return s.refuse(k, nil), false
		}
		if s.answer.buf == nil {
			s.answer.buf = newBuffer(answerSize, s.front.budget)
		}
		s.tally.reused = lease.Reused()
		timed := be.Guard.Begin()
		var began time.Time
		if timed > 0 {
			began = time.Now()
		}
		f := s.send(lease.Conn(), be)
		if f == nil {
			if timed > 0 {
				now := time.Now()
				be.Guard.Answered(limiter.Nanos(now), now.Sub(began), timed, true)
			}
			keep = s.respond(lease, be)
			if timed > 0 {
				be.Guard.End()
			}
			s.answer.free(s.front.budget)
			return keep, false
		}
		if timed > 0 {
			be.Guard.End()
		}
		if why, ok := unfit(f.err); ok && lease.Reused() {
			lease.Discard(why) // nothing was sent, so this is no retry
			continue
		}
		k, why := s.judge(f, lease.Reused())
		if timed > 0 && k.Side() == fault.Backend && k != fault.StaleUnsafe {
			now := time.Now()
			be.Guard.Answered(limiter.Nanos(now), now.Sub(began), timed, false)
		}
		if k == fault.StaleUnsafe && !sent && s.replayable(f.wrote) && be.Retries.Allow() {
			lease.Discard(reason.CloseStale)
			s.counts.staleRetries.Add(1)
			s.tally.retries++
			sent = true
			continue
		}
		rej := s.upload.reject()
		s.upload.stop(lease.Conn())
		lease.Discard(why)
		s.answer.free(s.front.budget)
		if k == fault.ClientGone {
			s.count(k)
			s.end(sock.EndLost)
			return false, false
		}
		return s.refuse(k, rej), false
	}
}

// moved says whether the request's backend was taken away by a reload just
// now, so that the request has to be routed anew. The new settings' pools are
// open as long as those are in force, so this comes to an end.
func (s *session) moved(k fault.Kind) (yes bool, rej *Reject) {
	set := s.front.set.Load()
	if k != fault.Draining || set == s.set || s.l.Draining() {
		return false, nil
	}
	cut := s.edit.CutExpect
	s.apply(set)
	s.edit.CutExpect = cut
	return true, s.choose()
}

// acquire takes a lease; fresh asks for a connection that was not used before.
func (s *session) acquire(be *Backend, fresh bool) (l pool.Lease, k fault.Kind) {
	var err error
	if fresh {
		l, err = be.Pool.AcquireFresh(s.front.ctx, "", s.class)
	} else {
		l, err = be.Pool.Acquire(s.front.ctx, "", s.class)
	}
	switch {
	case err == nil && l.Waited() > 0 && sock.Left(s.c):
		l.Unused()
		return l, fault.ClientGone
	case err == nil:
		be.Guard.Served(s.class)
		return l, fault.None
	}
	k = nolease.Kind(err)
	if k == fault.Shed || k == fault.QueueFull || k == fault.QueueTimeout {
		be.Guard.Shed(s.class)
	}
	nolease.Log(s.front.log, s.front.name, be.Name, k, err)
	return l, k
}

// failure is an exchange that brought no byte of a response.
type failure struct {
	wrote int
	err   error
}

// send sends the request and reads the first bytes of the response into
// s.answer.buf. A body that was not read ahead whole is streamed by an upload.
func (s *session) send(c sock.Conn, be *Backend) *failure {
	s.out = AppendRequest(s.out[:0], s.in.bytes(), &s.req, &s.edit)
	into := s.answer.buf.room()
	c.WriteWithin(be.BodyIdle)
	if !s.body.done {
		if err := c.Look().Unfit(); err != nil {
			return s.answer.failed(0, err)
		}
		if s.req.Expect100 && !s.edit.CutExpect {
			return s.askFirst(c, be)
		}
		if s.ticket.Probe() {
			s.judged(limiter.Ignored) // an upload lasts as long as the client likes
		}
		s.upload.start(c, be, s.out)
		return s.await(c, be, be.ResponseHeader)
	}
	c.ReadWithin(be.ResponseHeader)
	data := s.body.data()
	var wrote, n int
	var err error
	s.body.closed, s.answer.unsent = false, false // also if this is the second time
	if len(s.out)+len(data) <= writeBlock {
		s.out = s.body.appendFront(s.out)
		s.out = append(s.out, data...)
		s.out = s.body.appendBack(s.out)
		wrote, n, err = c.Exchange(s.out, into)
	} else if err = c.Look().Unfit(); err != nil {
		return s.answer.failed(0, err)
	} else if wrote, err = s.body.send(c, s.out); err == nil {
		n, err = c.Read(into)
	} else if wrote > 0 && broken(err) {
		// It may have answered before it closed.
		n, _ = c.Read(into)
		s.answer.unsent = true
	}
	s.answer.buf.w += n
	if n == 0 {
		return s.answer.failed(wrote, err)
	}
	return nil
}

// await reads the first bytes of a response while an upload runs. The time for
// the response counts from the upload's end.
func (s *session) await(c sock.Conn, be *Backend, wait time.Duration) *failure {
	for {
		running := s.upload.running()
		c.ReadWithin(wait)
		n, err := c.Read(s.answer.buf.room())
		s.answer.buf.w += n
		switch {
		case n > 0:
			return nil
		case running && errors.Is(err, os.ErrDeadlineExceeded) && s.upload.clientFault() == fault.None:
			continue
		}
		return s.answer.failed(1, err)
	}
}

// continueWait is how long a backend may think about an Expect: 100-continue
// before the body is sent to it anyway (RFC 9110, section 10.1.1).
const continueWait = time.Second

// askFirst sends the head of a request whose client wants to be told first.
func (s *session) askFirst(c sock.Conn, be *Backend) *failure {
	c.ReadWithin(continueWait)
	wrote, n, err := c.Exchange(s.out, s.answer.buf.room())
	s.answer.buf.w += n
	switch {
	case n > 0:
		s.answer.asked = true // respond looks for the 100
		return nil
	case !errors.Is(err, os.ErrDeadlineExceeded):
		return s.answer.failed(wrote, err)
	}
	s.say100() // a client that is gone is noticed by the upload
	s.body.headSent()
	s.upload.start(c, be, nil)
	return s.await(c, be, be.ResponseHeader)
}

// unfit says whether a connection was found dead before anything was written to
// it, and which.
func unfit(err error) (why reason.Close, yes bool) {
	switch {
	case errors.Is(err, sock.ErrFIN):
		return reason.CloseBackendFIN, true
	case errors.Is(err, sock.ErrNotQuiet):
		return reason.CloseUnsolicited, true
	case errors.Is(err, sock.ErrDead):
		return reason.CloseBroken, true
	}
	return 0, false
}

// judge says what a failure means, and why the connection is closed for it.
func (s *session) judge(f *failure, reused bool) (fault.Kind, reason.Close) {
	if k := s.upload.clientFault(); k != fault.None {
		return k, s.clientReason()
	}
	switch {
	case errors.Is(f.err, os.ErrDeadlineExceeded):
		return fault.ResponseTimeout, reason.CloseTimeout
	case reused && broken(f.err):
		return fault.StaleUnsafe, reason.CloseStale
	case f.err == io.EOF, errors.Is(f.err, sock.ErrFIN):
		return fault.BackendClosed, reason.CloseBackendError
	}
	return fault.BackendReset, reason.CloseBackendError
}

// broken: the errors of a connection that the other side has closed.
func broken(err error) bool {
	return err == io.EOF || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// replayable says whether the request may be sent a second time after a reused
// connection gave no byte back: all of it must still be here, or not have been asked
// for yet, and either doing it twice is as good as once or nothing of it went
// out.
func (s *session) replayable(wrote int) bool {
	return s.upload.done == nil && (s.req.Verb.Idempotent() || wrote == 0)
}
