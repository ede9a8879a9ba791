package mysql

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"

	"weir/internal/reason"
	"weir/internal/sock"
	"weir/limiter"
	"weir/proxy/fault"
	"weir/proxy/mysql/lex"
	"weir/proxy/mysql/wire"
)

// command reads the command that in[r:w] starts with and sees to its answer. It
// reports whether the session goes on.
func (s *session) command() (keep bool) {
	h, _ := wire.ParseHeader(s.in[s.r:s.w])
	s.timer, s.sql, s.first = time.Now(), nil, 1
	switch {
	case h.Seq != 0:
		s.tell(h.Seq+1, fault.BadPacket, fmt.Sprintf("packet number %d where a command starts, want 0", h.Seq))
		return s.close()
	case h.Len == 0:
		s.tell(1, fault.BadPacket, "a packet of 0 bytes")
		return s.close()
	}
	s.cmd = wire.Command(s.in[s.r+wire.HeaderLen])
	size := wire.HeaderLen + h.Len
	if s.noLast {
		if yes, keep := s.ofNone(size); yes {
			return keep
		}
	}
	if s.counted() {
		return s.admitted(size)
	}
	return s.perCommand(size)
}

// perCommand does what is to be done for the command, whose packet has that size.
func (s *session) perCommand(size int) (keep bool) {
	if size > len(s.in) {
		return s.long()
	}
	if !s.whole(size) {
		return false
	}
	packet := s.in[s.r : s.r+size]
	s.r += size
	if !s.statementIsText() && s.loose() {
		s.giveBack() // no such command asks what a statement left
	}
	body := packet[wire.HeaderLen+1:]
	switch s.cmd {
	case wire.ComQuit:
		s.leave(sock.EndFinished)
		return false
	case wire.ComPing:
		// While the last dial has failed it is passed on: its dial is what finds
		// out that the backend is back.
		if s.thread == nil && !s.be.Pool.Failing() {
			return s.sayOK(1, s.okay())
		}
	case wire.ComInitDB:
		if s.thread == nil {
			return s.initDB(string(body))
		}
	case wire.ComChangeUser:
		return s.changeUser(packet[wire.HeaderLen:])
	case wire.ComResetConnection:
		if s.thread == nil || !s.thread.lostTrack {
			return s.reset()
		}
	case wire.ComProcessKill:
		return s.processKill(body)
	case wire.ComQuery:
		return s.query(packet, body)
	case wire.ComStmtPrepare:
		s.sql = body
		return s.statement(packet, body, lex.Sets)
	}
	return s.forward(packet, nil, traitsOf(s.cmd))
}

// ascii says that statements can be read byte by byte, as far as is known.
func (s *session) ascii() bool {
	return wire.ASCIIStandsAlone(s.charset) && (s.thread == nil || !s.thread.mixed)
}

// query looks at a statement for what concerns weir, and passes it on.
func (s *session) query(packet, sql []byte) bool {
	s.sql = sql
	if k, ok := lex.Kill(sql); ok && !k.ByQueryID {
		return s.kill(k, sql)
	} else if ok {
		return s.forward(packet, sql, lex.Holds) // a query has its number from the server in any case
	}
	if lex.ConnectionID(sql) {
		packet = s.ownNumber(sql)
		sql = packet[wire.HeaderLen+1:]
	}
	return s.statement(packet, sql, 0)
}

// statement passes on one that is not to be mapped; more is what it does beyond
// what its text says.
func (s *session) statement(packet, sql []byte, more lex.Traits) bool {
	traits := lex.Scan(sql, s.ascii()) | more
	if traits&lex.Kills != 0 {
		s.forgetLast()
		return s.sayERR(1, fault.UnknownCommand, "KILL is, with a plain number and as a statement of its own")
	}
	if s.be.Sharing {
		if ok, keep := s.mayAsk(sql, traits); !ok {
			return keep
		}
	}
	return s.forward(packet, sql, traits)
}

// ownNumber makes a statement that answers SELECT CONNECTION_ID() with the
// number that the client was greeted with, under the same name: clients compare
// the two to see whether they were reconnected.
func (s *session) ownNumber(sql []byte) []byte {
	name := bytes.TrimSpace(bytes.TrimRight(bytes.TrimSpace(sql)[len("SELECT"):], "; \t\r\n"))
	text := fmt.Appendf(nil, "%cSELECT CAST(%d AS UNSIGNED) AS `%s`", wire.ComQuery, s.id, name)
	packet, _ := wire.AppendPacket(nil, text, 0)
	return packet
}

// traitsOf is what may follow from a command that is no statement. What a
// prepared one does was seen when it was prepared.
func traitsOf(c wire.Command) lex.Traits {
	switch c {
	case wire.ComPing, wire.ComStatistics, wire.ComInitDB,
		wire.ComStmtExecute, wire.ComStmtFetch, wire.ComStmtBulkExecute, wire.ComStmtSendLongData, wire.ComStmtReset, wire.ComStmtClose:
		return lex.Sets
	case wire.ComFieldList, wire.ComProcessInfo:
		return lex.Names | lex.Sets
	}
	return lex.Holds
}

// whole reads until in[r:] has size bytes.
func (s *session) whole(size int) bool {
	timed := false
	for s.w-s.r < size {
		if !timed {
			timed = true
			s.c.ReadWithin(s.set.SendTimeout)
			s.w = copy(s.in[:], s.in[s.r:s.w])
			s.r = 0
		}
		n, err := s.c.Read(s.in[s.w:])
		if s.w += n; err != nil {
			s.lostClient(err, false)
			return false
		}
	}
	return true
}

// connect sees that there is a connection to send the command on. prefix is how
// many of weir's own commands have to go before it; they are in thread.restore.
func (s *session) connect(sql []byte, traits lex.Traits, fresh bool) (prefix int, err error) {
	if s.thread != nil {
		return 0, nil
	}
	if err := s.attach(fresh); err != nil {
		return 0, err
	}
	if s.mustRestore(s.cmd, sql, traits) {
		prefix = s.thread.answers
	}
	return prefix, nil
}

// forward passes a whole command on, and its answer back.
func (s *session) forward(packet, sql []byte, traits lex.Traits) bool {
	if !s.cmd.Known() {
		return s.sayERR(1, fault.UnknownCommand, s.cmd.String())
	}
	if s.thread == nil && !s.cmd.Answered() {
		return true // of a statement that no connection knows
	}
	had := s.thread != nil
	for try := 0; ; try++ {
		prefix, err := s.connect(sql, traits, try >= mostStale)
		if err != nil {
			s.failed(1, err)
			return true
		}
		if s.killed.Load() { // while it waited
			return s.drop(sock.EndOurs)
		}
		th, c := s.thread, s.lease.Conn()
		if prefix > 0 && th.mayFail {
			if err := s.perform(c, th, th.restore, rollbackTime); err != nil {
				s.abandon(reason.CloseNotReset)
				if try < mostStale {
					continue // nothing was sent
				}
				s.failed(1, err)
				return true
			}
			th.left, prefix = leftNothing, 0
		}
		if !s.rows && !s.gaveBack && traits&(lex.Previous|lex.Unknown) != 0 && asksFoundRows(sql) {
			if err := s.forgetFoundRows(c, th, prefix); err != nil {
				if had {
					return s.lostSession(err)
				}
				s.abandon(staleReason(err))
				if try < mostStale {
					continue // nothing of the client's was sent
				}
				s.failed(1, err)
				return true
			}
			prefix = 0
		}
		s.begin(sql, traits)
		if !s.cmd.Answered() {
			c.WriteWithin(s.set.SendTimeout)
			if _, err := c.Write(packet); err != nil {
				return s.lostBackend(err)
			}
			s.counts.ok.Add(1)
			return true
		}
		req := packet
		if prefix > 0 {
			s.out = append(append(s.out[:0], th.restore...), packet...)
			req = s.out
		}
		s.bind(c, th)
		wrote, n, err := c.Exchange(req, s.back[:])
		s.br, s.bw = 0, n
		if err == nil {
			return s.answer(prefix, 1)
		}
		if wrote == 0 && !had {
			s.abandon(staleReason(err))
			if try < mostStale {
				continue // nothing was sent
			}
		}
		if wrote == 0 {
			return s.lostSession(err)
		}
		if wrote == len(req) && errors.Is(err, os.ErrDeadlineExceeded) && s.stop() {
			return s.answer(prefix, 1)
		}
		return s.lostBackend(err)
	}
}

// begin books that a command goes to the backend.
func (s *session) begin(sql []byte, traits lex.Traits) {
	s.used, s.stopped, s.begun, s.cut = true, false, false, nil
	s.traits |= traits
	if s.be.Sharing {
		s.lingers = false
		if s.pin == notPinned {
			s.keep(pinOf(s.cmd, sql, traits))
		}
	}
	switch s.cmd {
	case wire.ComStmtPrepare:
		s.noLast = false
	case wire.ComStmtSendLongData:
		s.longData = true
	case wire.ComStmtExecute, wire.ComStmtBulkExecute, wire.ComStmtReset:
		s.longData = false
	case wire.ComSetOption:
		s.thread.multi = true
	case wire.ComBinlogDump, wire.ComBinlogDumpGTID, wire.ComRegisterSlave:
		s.dedicated = true
	}
	if traits&(lex.Unknown|lex.Holds) != 0 {
		s.suspect = true
		s.spoilt = s.spoilt || spoils(sql)
	}
}

// bind gives the command its time to be taken, and the answer that of
// query_timeout.
func (s *session) bind(c sock.Conn, th *thread) {
	c.WriteWithin(s.set.SendTimeout) // one from a command before may have passed
	if t := s.be.QueryTimeout; t > 0 && !s.dedicated {
		c.ReadWithin(t)
		th.timed = true
	} else if th.timed { // by a session from before a reload
		c.SetReadDeadline(zeroTime)
		th.timed = false
	}
}

func staleReason(err error) reason.Close {
	switch {
	case errors.Is(err, sock.ErrFIN):
		return reason.CloseBackendFIN
	case errors.Is(err, sock.ErrNotQuiet):
		return reason.CloseUnsolicited
	}
	return reason.CloseBroken
}

// lostSession answers a command before which the backend had ended the session,
// with all that was in it: it was not sent.
func (s *session) lostSession(err error) bool {
	s.abandon(staleReason(err))
	s.tell(1, fault.SessionLost, "")
	return s.close()
}

// lostBackend ends a session whose backend failed under a command that may have
// run. If the client has had nothing of an answer, it is told.
func (s *session) lostBackend(err error) bool {
	if s.thread.killed.Load() && !s.stopped && isEnd(err) {
		// As a client asked; the server closes without a word.
		s.abandon(reason.CloseKilled)
		if s.begun {
			s.counter().err.Add(1)
			return s.drop(sock.EndTruncated)
		}
		s.sayRefusal(s.first, &Refusal{Code: wire.CodeConnectionKilled, Text: wire.Text(wire.CodeConnectionKilled)})
		return s.close()
	}
	k, why := fault.BackendReset, reason.CloseBackendError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		k, why = fault.ResponseStalled, reason.CloseTimeout
	case isEnd(err):
		k = fault.BackendClosed
	case isBad(err):
		k, why = fault.BadResponse, reason.CloseBadResponse
	}
	if s.ticket != (limiter.Ticket{}) {
		s.judge(limiter.Failed)
	} else {
		s.be.Guard.Failed(limiter.Nanos(time.Now()))
	}
	s.front.log.Log(s.front.ctx, k.Row().Level, "the backend failed under a command", "fold", k.String(),
		"listener", s.front.name, "backend", s.be.Name, "reason", k.String(), "command", s.cmd.String(), "err", err, "hint", k.Row().Hint)
	s.abandon(why)
	if s.begun {
		s.count(k)
		return s.drop(sock.EndTruncated)
	}
	s.tell(s.first, k, "")
	return s.close()
}
