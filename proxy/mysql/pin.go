package mysql

import (
	"bytes"

	"weir/proxy/mysql/lex"
	"weir/proxy/mysql/wire"
)

// pin is why a client of mode transaction keeps its connection to its end, or to
// its own reset: what it has there could be used later, or is not known. When in
// doubt it is pinned. The words become labels, so the list is closed.
type pin uint8

const (
	notPinned     pin = iota
	pinVariables      // it has set a variable, its own or the system's
	pinPrepared       // it has prepared statements
	pinTempTable      // it has, or had, temporary tables
	pinLocks          // it may hold locks that outlive a statement
	pinDatabase       // it is in another database than the connection was opened in
	pinRoutine        // a stored routine, or a function that is not known, may have left anything
	pinValues         // it has drawn from a sequence or from RAND, or set what is asked for with a function
	pinState          // the server said that something of the session has changed
	pinUnreadable     // a statement could not be read for certain
	pinUntracked      // the server does not say what changes, or may have been told not to
	pinKilled         // a KILL was sent for it and may yet come
	pinOther          // a statement or a command that is not known to leave nothing
	pins
)

var pinNames = [pins]string{
	"", "variables", "prepared", "temp_table", "locks", "database", "routine", "values", "state", "unreadable", "untracked", "killed", "other",
}

func (p pin) String() string { return pinNames[p] }

// PinReasons are the labels of Stats.Pinned and Stats.Pins.
func PinReasons() []string { return pinNames[notPinned+1:] }

// pinOf is what a command pins for, by itself. What the server tells of it comes
// on top.
func pinOf(cmd wire.Command, sql []byte, traits lex.Traits) pin {
	switch cmd {
	case wire.ComQuery:
	case wire.ComPing, wire.ComStatistics, wire.ComFieldList, wire.ComProcessInfo, wire.ComResetConnection:
		return notPinned
	case wire.ComInitDB:
		return pinDatabase
	case wire.ComStmtPrepare, wire.ComStmtExecute, wire.ComStmtBulkExecute, wire.ComStmtFetch,
		wire.ComStmtSendLongData, wire.ComStmtReset, wire.ComStmtClose:
		return pinPrepared
	default:
		return pinOther
	}
	switch {
	case traits&(lex.Unknown|lex.Holds|lex.Sets) != 0:
		return pinOfStatement(sql, traits)
	case mentions(sql, "RELEASE") && (mentions(sql, "COMMIT") || mentions(sql, "ROLLBACK")):
		return pinOther // COMMIT RELEASE: the server ends the connection, and with it the client is to end
	}
	return notPinned
}

// byFirstWord finds the reason for most statements. It is a name for what is
// pinned in any case, so it need not be exact.
var byFirstWord = map[string]pin{
	"SET": pinVariables, "USE": pinDatabase, "CALL": pinRoutine, "DO": pinRoutine,
	"PREPARE": pinPrepared, "EXECUTE": pinPrepared, "DEALLOCATE": pinPrepared,
	"LOCK": pinLocks, "UNLOCK": pinLocks, "FLUSH": pinLocks, "BACKUP": pinLocks, "HANDLER": pinLocks, "XA": pinLocks,
}

const longestFirst = 16

func pinOfStatement(sql []byte, traits lex.Traits) pin {
	if traits&lex.Unknown != 0 {
		return pinUnreadable
	}
	var b [longestFirst]byte
	word := lex.FirstWord(sql)
	word = bytes.ToUpper(append(b[:0], word[:min(len(word), len(b))]...))
	if p := byFirstWord[string(word)]; p != notPinned {
		return p
	}
	switch string(word) {
	case "SELECT", "WITH", "VALUES", "INSERT", "REPLACE", "UPDATE", "DELETE":
		switch {
		case mentions(sql, "GET_LOCK"):
			return pinLocks
		case traits&lex.Holds != 0:
			return pinRoutine
		case bytes.IndexByte(sql, '@') >= 0:
			return pinVariables
		}
		return pinValues
	case "CREATE", "DROP":
		if mentions(sql, "TEMPORARY") {
			return pinTempTable
		}
	}
	return pinOther
}

// keep pins the client, if it is not pinned yet. unpin is loosen's.
func (s *session) keep(why pin) {
	if s.pin == notPinned && why != notPinned {
		s.pin = why
		c := s.counter()
		c.pinned[why].Add(1)
		c.pins[why].Add(1)
	}
}

// pinnedBy is what is counted, by reason.
func (o *outcomes) pinnedBy() (now map[string]int64, ever map[string]uint64) {
	now, ever = map[string]int64{}, map[string]uint64{}
	for p := notPinned + 1; p < pins; p++ {
		now[p.String()], ever[p.String()] = o.pinned[p].Load(), o.pins[p].Load()
	}
	return now, ever
}

func (s *session) unpin() {
	if s.pin != notPinned {
		s.counter().pinned[s.pin].Add(-1)
		s.pin = notPinned
	}
}
