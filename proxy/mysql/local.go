package mysql

import (
	"fmt"
	"time"

	"weir/proxy/fault"
	"weir/proxy/mysql/lex"
	"weir/proxy/mysql/wire"
)

// What weir answers itself, for a client that holds no connection.

// okay is an OK with the session's status.
func (s *session) okay() *wire.OK {
	ok := &wire.OK{Status: wire.StatusAutocommit}
	if s.thread != nil {
		ok.Status = s.thread.status
	}
	return ok
}

// initDB makes name the database that the client's connection will be opened
// in.
func (s *session) initDB(name string) bool {
	if wire.CheckLogin(&wire.Login{Database: []byte(name)}) != nil {
		return s.sayRefusal(1, &Refusal{Code: wire.CodeWrongDatabaseName, Text: fmt.Sprintf("Incorrect database name '%.64s'", name)})
	}
	old := s.database
	s.database = name
	s.settle()
	if err := s.enter(); err != nil {
		s.database = old
		s.settle()
		s.failed(1, err)
		return true
	}
	ok := s.okay()
	ok.Track = wire.AppendSchema(nil, name)
	return s.sayOK(1, ok)
}

// lostByReset are the flags of a login that act through variables, which a reset
// and COM_CHANGE_USER set back to the server's own.
const lostByReset = wire.CapIgnoreSpace | wire.CapInteractive

// reset is COM_RESET_CONNECTION: the session goes back to its beginning, but for
// the database, and the connection to the pool.
func (s *session) reset() bool {
	s.forget()
	s.caps &^= lostByReset
	if s.thread != nil {
		s.database = s.thread.current
		// At once, and then awaited: a client that has its OK has no locks.
		s.traits |= lex.Holds
		s.detach()
		s.settle()
	}
	return s.sayOK(1, s.okay())
}

// mostCollation is the highest number that a login to the server has room for.
const mostCollation = 255

// changeUser is COM_CHANGE_USER: another login on the same connection of the
// client's, and another of the pool's.
func (s *session) changeUser(p []byte) bool {
	l, err := wire.ParseChangeUser(p, s.caps)
	if err != nil {
		s.tell(1, fault.BadPacket, err.Error())
		return s.close()
	}
	if l.Charset > mostCollation {
		s.tell(1, fault.BadLogin, fmt.Sprintf("collation %d, and logins have room for %d at most; choose it with SET NAMES", l.Charset, mostCollation))
		return s.close()
	}
	s.detach()
	s.forget()
	l.Caps = s.caps
	// The nonce of the greeting is used up, so the proof that came is not
	// looked at: servers ask for a new one, too.
	name := append([]byte(nil), l.User...)
	database := string(l.Database)
	seq := uint8(1)
	l.Plugin, l.User = nil, name
	s.c.SetReadDeadline(time.Now().Add(s.set.LoginTimeout)) // the last one was of a wait that is over
	user, seq, ok := s.identify(&l, seq)
	if !ok {
		return false
	}
	if user == nil {
		return s.denied(seq, &l)
	}
	s.caps &^= lostByReset
	s.mu.Lock()
	s.user = user
	s.mu.Unlock()
	s.database = database
	if l.Charset != 0 {
		s.charset = l.Charset
	}
	s.settle()
	if err := s.enter(); err != nil {
		s.failed(seq, err)
		return s.close()
	}
	return s.sayOK(seq, s.okay())
}
