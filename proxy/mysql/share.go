package mysql

import (
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"weir/internal/sock"
	"weir/proxy/mysql/lex"
	"weir/proxy/mysql/wire"
)

// In mode transaction a client has a connection only while it needs one:
//
//	             a command comes               its answer is over
//	free         attach, in the queue          -
//	held         on what it has                pinned, or in a transaction: held
//	                                           it left what the next one may ask for: lingering
//	                                           else: free
//	lingering    it may ask for that: held     -
//	             else: free, then as there
//	             nothing came for linger: free
//
// To be free is detach, as at a session's end: what was left is undone before
// the next client's first command, so the promise to others is the one of mode
// session. The promise to the client itself is that it gets the answers that it
// would get on one connection, or an error. It rests on three things: what could
// be used later pins (pin.go), by the text and by the server's trackers; what an
// answer left lingers; and whoever asks later for that is refused (gone.go).

// linger is how long a client may take to ask what its last statement left, such
// as LAST_INSERT_ID(), outside of a transaction; lingerBusy is how long while
// others wait for a connection. Meanwhile the connection serves nobody: 200
// clients that insert a row and rest for 200 ms, on 10 connections, got 111 rows
// a second written and 75 a second refused where each insert lingered for 100 ms,
// 461 and none with 20 ms, and 849 and none with 10 ms. Where all lingered for
// 10 ms, a client that is slow for once would be refused for nobody's good.
const (
	linger     = 10 * lingerBusy
	lingerBusy = 10 * time.Millisecond
)

// sharing is what mode transaction knows of a client.
type sharing struct {
	pin  pin
	gave uint64 // the last connection that it gave back has this number, unless another had it since

	// Since the client's login or reset:
	gaveBack     bool // a connection on which something was done
	goneInsertID bool // and with it a LAST_INSERT_ID, perhaps
	goneWarnings bool // and warnings or an error
	goneGTID     bool // and what @@last_gtid shows

	// Since the connection was attached:
	own      bool // it is the one that this client gave back last
	lingers  bool // the last answer left what may be asked for
	asked    bool // a statement asks for that now: it leaves most of it
	stated   bool // a statement has ended
	selected bool // a SELECT had rows
	inserted bool // an answer had an insert id
	warned   bool // an answer had warnings, or was an error
	wrote    bool // an answer had affected rows
}

// loose says whether nothing but what its last statement left keeps the client's
// connection.
func (s *session) loose() bool {
	th := s.thread
	return s.be.Sharing && th != nil && s.pin == notPinned && !s.dedicated && th.idle() && !th.oneShot && !th.killed.Load()
}

// giveBack lets the connection of a loose session go.
func (s *session) giveBack() {
	s.gaveBack = s.gaveBack || s.used
	s.goneInsertID = s.goneInsertID || s.inserted
	s.goneWarnings = s.goneWarnings || s.warned
	s.goneGTID = s.goneGTID || s.wrote
	s.gave = s.be.Server.gaves.Add(1)
	s.detach()
}

// forget is for a client whose session begins anew: it has left nothing that it
// could ask for.
func (s *session) forget() {
	s.gave, s.gaveBack, s.goneInsertID, s.goneWarnings, s.goneGTID = 0, false, false, false, false
}

// leftBy books what a result left that the next statement may ask for.
func (s *session) leftBy(r *wire.Response) {
	switch {
	case r.By == wire.ByERR:
		s.warned, s.lingers = true, true
	case r.By != wire.ByNothing:
		s.inserted = s.inserted || r.OK.InsertID != 0
		s.wrote = s.wrote || r.OK.Affected != 0
		s.warned = s.warned || r.OK.Warnings != 0
		s.lingers = s.lingers || r.OK.InsertID != 0 || r.OK.Affected != 0 || r.OK.Warnings != 0
	}
}

// settleUp decides at the end of an answer whether the client keeps its
// connection.
func (s *session) settleUp(th *thread, r *wire.Response) {
	switch {
	case s.cmd == wire.ComQuery:
		s.stated = true
		s.selected = s.selected || r.By == wire.ByEOF && selects(s.sql)
		// No rows affected is an answer, too; and who has asked may ask on.
		s.lingers = s.lingers || s.asked || r.By == wire.ByOK && writes(s.sql)
		s.asked = false
	case s.cmd == wire.ComResetConnection && r.By == wire.ByOK:
		s.forget()
	}
	switch {
	case th.killed.Load():
		s.keep(pinKilled)
	case !th.tracking || th.lostTrack:
		s.keep(pinUntracked)
	case !th.asBefore():
		s.keep(pinDatabase)
	case th.changed != notPinned:
		s.keep(th.changed)
	}
	if s.loose() && !s.lingers && s.r == s.w { // what has come already may rely on it
		s.giveBack()
	}
}

// writes says whether a statement is one after which ROW_COUNT() is asked for.
func writes(sql []byte) bool {
	word := lex.FirstWord(sql)
	for _, w := range [...]string{"INSERT", "UPDATE", "DELETE", "REPLACE"} {
		if len(word) == len(w) && strings.EqualFold(string(word), w) {
			return true
		}
	}
	return false
}

// lingering waits for the next command of a client that is loose, and lets the
// connection go if none comes in time. It ends with the client's first bytes, an
// error, or nothing and nil.
func (s *session) lingering() (n int, err error) {
	if s.lingers {
		s.before = s.c.Look()
		if len(s.owed) > 0 {
			b := s.owed
			s.owed = nil
			s.c.WriteWithin(s.set.SendTimeout)
			if _, err := s.c.Write(b); err != nil {
				return 0, err
			}
		}
		for waited := time.Duration(0); waited < linger; waited += lingerBusy {
			s.c.SetReadDeadline(time.Now().Add(lingerBusy))
			n, err = s.c.Read(s.room())
			switch {
			case n > 0:
				s.lingers = false // for one command, also if a limit refuses that
				return n, nil
			case err == io.EOF || err == io.ErrUnexpectedEOF: // the second is TLS's
				return 0, sock.ErrFIN
			case !errors.Is(err, os.ErrDeadlineExceeded):
				return 0, err
			}
			if s.be.Pool.Load().Waiting > 0 {
				break
			}
		}
	}
	if s.loose() { // no KILL came meanwhile
		s.giveBack()
	}
	return 0, nil
}
