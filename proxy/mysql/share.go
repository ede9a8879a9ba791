package mysql

import (
	"errors"
	"fmt"
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
// answer left lingers; and whoever asks later for that is refused (gone).

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

// gone is what the client can no longer ask for rightly.
func (s *session) gone() (g lex.Reads) {
	if !s.gaveBack {
		return 0
	}
	held := s.thread != nil
	if !held || !s.stated {
		g |= lex.ReadsRowCount
	}
	if !held || !s.selected {
		g |= lex.ReadsFoundRows
	}
	if s.goneInsertID && (!held || !s.inserted) {
		g |= lex.ReadsInsertID
	}
	if s.goneWarnings && (!held || !s.warned) {
		g |= lex.ReadsWarnings
	}
	if s.goneGTID && (!held || !s.wrote) {
		g |= lex.ReadsGTID
	}
	return g
}

// mayAsk sees to it that a statement gets the connection that it relies on. If
// not ok it was answered, and keep says whether the session goes on.
func (s *session) mayAsk(sql []byte, traits lex.Traits) (ok, keep bool) {
	if traits&(lex.Previous|lex.Unknown) == 0 {
		if s.loose() {
			s.giveBack() // others may stand in the queue
		}
		return true, true
	}
	loose := s.loose()
	if !s.gaveBack && !loose {
		return true, true
	}
	reads := lex.ReadsOf(sql, s.ascii())
	s.asked = loose && reads != 0
	if lost := reads & s.gone(); lost != 0 {
		return false, s.refuseGone(lost)
	}
	if reads&lex.ReadsInsertID == 0 || !s.goneInsertID {
		return true, true
	}
	// An answer's insert id may be one that the client gave itself, and then
	// LAST_INSERT_ID() is what an earlier statement has made, on a connection that
	// is gone. Then it is still 0 here.
	if reads != lex.ReadsInsertID || s.cmd != wire.ComQuery {
		return false, s.refuseGone(lex.ReadsInsertID)
	}
	err := s.perform(s.lease.Conn(), s.thread, hasInsertID, rollbackTime)
	s.selected = false // FOUND_ROWS is 1 now
	if _, refused := errors.AsType[*Refusal](err); refused {
		// What the client could ask for here is about that now.
		s.stated, s.warned, s.goneWarnings = false, false, true
		return false, s.refuseGone(lex.ReadsInsertID)
	}
	if err != nil {
		return false, s.lostSession(err)
	}
	return true, true
}

// hasInsertID fails if LAST_INSERT_ID() is 0: a value of two rows is an error.
var hasInsertID, _ = wire.AppendPacket(nil, append([]byte{byte(wire.ComQuery)}, "SELECT (SELECT 1 UNION ALL SELECT 2 FROM DUAL WHERE LAST_INSERT_ID()=0)"...), 0)

// refuseGone answers a statement that asks for what is gone. It was not sent.
func (s *session) refuseGone(lost lex.Reads) bool { return s.sayRefusal(1, goneRefusal(lost)) }

var goneNames = [...]struct {
	reads lex.Reads
	name  string
}{
	{lex.ReadsRowCount, "ROW_COUNT()"}, {lex.ReadsFoundRows, "FOUND_ROWS()"}, {lex.ReadsInsertID, "LAST_INSERT_ID()"},
	{lex.ReadsWarnings, "the warnings"}, {lex.ReadsGTID, "@@last_gtid"},
}

func goneRefusal(lost lex.Reads) *Refusal {
	var names []string
	for _, n := range goneNames {
		if lost&n.reads != 0 {
			names = append(names, n.name)
		}
	}
	return &Refusal{Code: wire.CodeNotSupportedYet, Text: fmt.Sprintf("%s (weir: the statement was not passed on; it reads what an earlier statement left (%s), and that "+
		"connection was given back (mysql.mode: transaction): read it within one transaction, or use mode session)",
		wire.Text(wire.CodeNotSupportedYet), strings.Join(names, ", "))}
}
