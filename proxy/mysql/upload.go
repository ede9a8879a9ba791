package mysql

import (
	"errors"
	"fmt"
	"time"

	"weir/internal/reason"
	"weir/internal/sock"
	"weir/proxy/fault"
	"weir/proxy/mysql/lex"
	"weir/proxy/mysql/wire"
)

// long passes on a command that is longer than in. What went before it is
// awaited, and so is never followed by a part of a command.
func (s *session) long() bool {
	switch {
	case s.cmd == wire.ComChangeUser || s.cmd == wire.ComInitDB || s.cmd == wire.ComProcessKill:
		s.tell(1, fault.BadPacket, fmt.Sprintf("%v of more than %d bytes", s.cmd, len(s.in)))
		return s.close()
	case !s.cmd.Known():
		s.tell(1, fault.UnknownCommand, s.cmd.String())
		return s.close() // where the next one starts is far away
	}
	var th *thread
	var c sock.Conn
	for try := 0; ; try++ {
		had := s.thread != nil
		prefix, err := s.connect(nil, lex.Unknown, try >= mostStale)
		if err != nil {
			s.failed(1, err)
			return s.close()
		}
		th, c = s.thread, s.lease.Conn()
		switch {
		case !s.rows && !s.gaveBack && s.statementIsText() && s.lease.Reused():
			// It may ask for FOUND_ROWS anywhere.
			err = s.forgetFoundRows(c, th, prefix)
		case prefix > 0:
			err = s.perform(c, th, th.restore, rollbackTime)
		default:
			err = c.Look().Unfit()
		}
		if err == nil {
			if prefix > 0 {
				th.left = leftNothing
			}
			break
		}
		if _, refused := errors.AsType[*Refusal](err); had && refused {
			break // as in the middle of an XA transaction, where there is no SELECT
		}
		if had {
			return s.lostSession(err)
		}
		s.abandon(staleReason(err))
		if try > mostStale {
			s.failed(1, err)
			return s.close()
		}
	}
	if s.killed.Load() {
		return s.drop(sock.EndOurs)
	}
	traits := traitsOf(s.cmd)
	if s.statementIsText() {
		traits = lex.Unknown
	}
	s.begin(nil, traits)
	frames, keep := s.pump(0, 0, false)
	switch {
	case !keep:
		return false
	case !s.cmd.Answered() && s.cut != nil:
		// Half a command is on its way, and what the client sends next is its
		// other half.
		return s.lostBackend(s.cut)
	case !s.cmd.Answered():
		s.counts.ok.Add(1)
		return true
	case s.cut == nil:
		s.bind(c, th)
	}
	s.br, s.bw = 0, 0
	return s.answer(0, uint8(frames))
}

// statementIsText says whether the command has a statement in it.
func (s *session) statementIsText() bool {
	return s.cmd == wire.ComQuery || s.cmd == wire.ComStmtPrepare
}

// upload passes on the file that the server has asked for. seq is the number of
// its first packet, of which the backend's is less by shift. keep is false if
// the session has ended.
func (s *session) upload(seq, shift uint8) (frames int, keep bool) {
	s.sql = nil // its place is taken by the file
	return s.pump(seq, shift, true)
}

// pump passes frames from the client on to the backend: one packet, or, of a
// file, all up to an empty one.
func (s *session) pump(seq, shift uint8, file bool) (frames int, keep bool) {
	c := s.lease.Conn()
	var left, size int // of the frame's payload, of the packet's
	in, more := false, false
	var words straddled
	var asks lex.Words
	var gone lex.Reads // what the statement may not ask for
	if !file && s.be.Sharing && s.statementIsText() {
		gone = s.gone()
		if s.goneInsertID { // mayAsk looks closer
			gone |= lex.ReadsInsertID
		}
	}
	for {
		k, done := s.r, false // in[r:k] may be passed on
		for !done {
			if left > 0 {
				n := min(left, s.w-k)
				k += n
				if left -= n; left > 0 {
					break
				}
			}
			if in && !more && (!file || size == 0) {
				done = true
				break
			}
			h, ok := wire.ParseHeader(s.in[k:s.w])
			if !ok {
				break
			}
			if h.Seq != seq {
				s.abandon(reason.CloseClientGone)
				s.tell(seq, fault.BadPacket, fmt.Sprintf("packet number %d, want %d", h.Seq, seq))
				return frames, s.close()
			}
			if !more {
				size = 0
			}
			s.in[k+wire.HeaderLen-1] -= shift
			in, more, left = true, h.Continues(), h.Len
			size += h.Len
			k += wire.HeaderLen
			seq++
			frames++
		}
		if k > s.r {
			if !file && s.statementIsText() {
				s.spoilt = s.spoilt || words.spoil(s.in[s.r:k])
			}
			if gone != 0 {
				// Before its last piece is sent, the server does nothing with it.
				asks.Feed(s.in[s.r:k])
				lost := asks.Found()
				if done {
					lost = asks.End()
				}
				if lost &= gone; lost != 0 {
					s.abandon(reason.CloseClientGone)
					s.refuseGone(lost)
					return frames, s.close()
				}
			}
			c.WriteWithin(s.set.SendTimeout)
			if _, err := c.Write(s.in[s.r:k]); err != nil {
				// The server may have said why before it closed.
				s.cut = err
				c.SetReadDeadline(time.Now().Add(s.set.SendTimeout))
				return frames, true
			}
		}
		s.r = k
		if done {
			return frames, true
		}
		s.w = copy(s.in[:], s.in[s.r:s.w])
		s.r = 0
		s.c.ReadWithin(s.set.SendTimeout)
		n, err := s.c.Read(s.in[s.w:])
		if s.w += n; err != nil {
			s.count(fault.ClientGone)
			s.abandon(reason.CloseClientGone)
			return frames, s.drop(sock.EndLost)
		}
	}
}
