package mysql

import (
	"errors"
	"fmt"
	"strings"

	"weir/proxy/mysql/lex"
	"weir/proxy/mysql/wire"
)

// What a statement leaves for later ones to ask for (ROW_COUNT and the like) stays
// on its connection. In mode transaction that one may have been given back: then
// the answer would be another one's, or none, and the statement is refused.

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
func (s *session) refuseGone(lost lex.Reads) bool {
	s.forgetLast()
	return s.sayRefusal(1, goneRefusal(lost))
}

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
