package mysql

import (
	"errors"
	"io"
	"os"
	"time"

	"weir/internal/reason"
	"weir/internal/sock"
	"weir/limiter"
	"weir/proxy/fault"
	"weir/proxy/mysql/wire"
)

// answer passes on the answer to the current command, of which back[br:bw] was
// read. Before it come those to prefix commands of weir's own. seq is the number
// of its first packet.
func (s *session) answer(prefix int, seq uint8) (keep bool) {
	th, c := s.thread, s.lease.Conn()
	s.judge(limiter.Succeeded) // it has begun to answer; how long that lasts is the client's wish
	s.first = seq
	if prefix > 0 {
		for rest := th.restore; len(rest) > 0; {
			_, p, next, _ := wire.NextFrame(rest)
			if err := s.settled(c, th, wire.Command(p[0])); err != nil {
				// It was seen to be taken at the login. The command went with
				// it, so it may have run, in somebody else's session.
				return s.lostBackend(badAnswer(err))
			}
			rest = next
		}
		th.left, th.changed = leftNothing, notPinned
	}
	if s.verbatim {
		s.resp.Start(s.cmd, seq, th.agreed)
		return s.relay(c, th)
	}
	s.trans.Start(s.cmd, seq, th.agreed, s.caps, th.status)
	return s.translate(c, th)
}

// relay passes an answer on as it came.
func (s *session) relay(c sock.Conn, th *thread) bool {
	r := &s.resp
	from := s.br // back[from:br] may be passed on
	for {
		n, ev, err := r.Scan(s.back[s.br:s.bw])
		s.br += n
		if err != nil {
			return s.lostBackend(badAnswer(err))
		}
		switch ev {
		case wire.EventEnd:
			s.say(s.back[from:s.br])
			return s.over(th, r)
		case wire.EventResult:
			s.took(th, r)
			continue
		case wire.EventPrepared:
			continue
		}
		if s.br > from {
			s.begun = true
			if !s.write(s.back[from:s.br]) {
				return s.slowClient()
			}
		}
		if ev == wire.EventInfile {
			frames, keep := s.upload(r.Seq(), 0)
			if !keep {
				return false
			}
			r.Sent(frames)
		}
		if err := s.more(c); err != nil {
			return s.lostBackend(err)
		}
		from = 0
	}
}

// translate passes an answer on in the form of a client that agreed to less.
func (s *session) translate(c sock.Conn, th *thread) bool {
	t := &s.trans
	s.out = s.out[:0]
	for {
		out, n, ev, err := t.Append(s.out, s.back[s.br:s.bw])
		s.out = out
		s.br += n
		if err != nil {
			return s.lostBackend(badAnswer(err))
		}
		switch ev {
		case wire.EventEnd:
			s.say(s.out)
			return s.over(th, &t.Response)
		case wire.EventResult:
			s.took(th, &t.Response)
			continue
		case wire.EventPrepared:
			continue
		}
		if len(s.out) > 0 {
			s.begun = true
			if !s.write(s.out) {
				return s.slowClient()
			}
			s.out = s.out[:0]
		}
		if ev == wire.EventInfile {
			frames, keep := s.upload(t.Seq()+t.Shift(), t.Shift())
			if !keep {
				return false
			}
			t.Sent(frames)
		}
		if err := s.more(c); err != nil {
			return s.lostBackend(err)
		}
	}
}

// more reads more of an answer.
func (s *session) more(c sock.Conn) error {
	s.bw = copy(s.back[:], s.back[s.br:s.bw])
	s.br = 0
	if s.thread.timed && !s.stopped {
		c.ReadWithin(s.be.QueryTimeout)
	}
	n, err := c.Read(s.back[s.bw:])
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) && s.stop() {
		n, err = c.Read(s.back[s.bw:])
	}
	s.bw += n
	return err
}

// took books the end of a result.
func (s *session) took(th *thread, r *wire.Response) {
	th.track(r)
	s.rows = s.rows || r.By == wire.ByEOF
	s.leftBy(r)
	if r.By == wire.ByERR || r.OK.Warnings > 0 || r.Partial {
		s.noisy = true
	}
}

// over books the end of an answer, which is owed to the client.
func (s *session) over(th *thread, r *wire.Response) bool {
	s.took(th, r)
	if s.suspect {
		// The statement may have silenced the trackers, and then gone on.
		s.suspect = false
		th.lostTrack = true
	}
	var code wire.Code
	if r.By == wire.ByERR {
		code = r.ERR.Code
		s.counts.err.Add(1)
	} else {
		s.counts.ok.Add(1)
	}
	took := time.Since(s.timer)
	s.front.stats.seconds.Observe(took)
	if s.be.Slow > 0 && took >= s.be.Slow {
		s.slow(took, code)
	}
	if s.stopped {
		// The KILL may yet come, and hit what this client does next: which is
		// his, but must not be another's.
		s.lease.Conn().SetReadDeadline(zeroTime)
	}
	if s.br != s.bw || s.cut != nil {
		// Nothing may follow an answer. What the client got was whole.
		s.abandon(reason.CloseExtraBytes)
		return s.close()
	}
	if s.be.Sharing {
		s.settleUp(th, r)
	}
	return true
}

// slowClient ends a session whose client does not take its answer.
func (s *session) slowClient() bool {
	s.count(fault.ClientGone)
	s.front.log.Info("a client did not take its answer and was cut", "fold", "slow client", "listener", s.front.name,
		"client", s.peer.String(), "user", s.user.Name, "send", s.set.SendTimeout, "hint", "listeners[].timeouts.send bounds how long it may hold a connection")
	s.abandon(reason.CloseSlow)
	return s.drop(sock.EndCut)
}

// slow tells of a statement that took long.
func (s *session) slow(took time.Duration, code wire.Code) {
	if !s.ascii() {
		s.sql = nil // a literal could be taken for code
	}
	s.be.OnSlow(&Slow{
		At: time.Now(), Took: took, Client: s.peer, User: s.user.Name, Database: s.thread.current,
		Backend: s.be.Name, Command: s.cmd, SQL: s.sql, Code: code,
	})
}

// badError is an answer that was not understood.
type badError struct{ error }

func badAnswer(err error) error {
	if isEnd(err) || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return badError{err}
}

func (e badError) Unwrap() error { return e.error }

func isBad(err error) bool { _, bad := errors.AsType[badError](err); return bad }
func isEnd(err error) bool { return err == io.EOF || errors.Is(err, errEnded) }
