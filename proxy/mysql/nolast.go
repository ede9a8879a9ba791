package mysql

import (
	"encoding/binary"

	"weir/proxy/mysql/wire"
)

// lastPrepared is the number that stands for the statement prepared last: MariaDB's
// clients may send its prepare and its execute in one write.
const lastPrepared = 1<<32 - 1

// forgetLast is for a prepare that weir has answered with an error. The server has
// not heard of it, and has another statement for its last.
func (s *session) forgetLast() {
	if s.cmd == wire.ComStmtPrepare {
		s.noLast = true
	}
}

// ofNone says whether the command, of that size, is for the last prepared statement
// while there is none, and sees to it: as the server does after a prepare that it
// has refused. Its answer is keep.
func (s *session) ofNone(size int) (yes, keep bool) {
	const least = wire.HeaderLen + 1 + 4
	switch s.cmd {
	case wire.ComStmtExecute, wire.ComStmtBulkExecute, wire.ComStmtFetch, wire.ComStmtReset, wire.ComStmtSendLongData, wire.ComStmtClose:
	default:
		return false, false
	}
	if size < least {
		return false, false // the server will say what it thinks of that
	}
	if !s.whole(least) {
		return true, false
	}
	if binary.LittleEndian.Uint32(s.in[s.r+wire.HeaderLen+1:]) != lastPrepared {
		return false, false
	}
	long := size > len(s.in)
	if !long {
		if !s.whole(size) {
			return true, false
		}
		s.r += size
	}
	switch {
	case s.cmd.Answered():
		s.sayRefusal(1, &Refusal{Code: wire.CodeUnknownStatement, Text: wire.Text(wire.CodeUnknownStatement)})
	case !long:
		return true, true
	}
	if long { // the rest of it is not waited for
		return true, s.close()
	}
	return true, true
}
