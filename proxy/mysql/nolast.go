package mysql

import "weir/proxy/mysql/wire"

// forgetLast is for a prepare that weir has answered with an error. The server has
// not heard of it, and has another statement for its last.
func (s *session) forgetLast() {
	if s.cmd == wire.ComStmtPrepare {
		s.noLast = true
	}
}

// ofNone says whether the command, of that size, is for the last prepared statement
// (wire.LastStmt) while there is none, and sees to it: as the server does after a
// prepare that it has refused.
func (s *session) ofNone(size int) (yes, keep bool) {
	if !s.cmd.HasStmtID() || size < wire.HeaderLen+wire.StmtHeaderLen {
		return false, false // one that is too short is the server's to judge
	}
	if !s.whole(wire.HeaderLen + wire.StmtHeaderLen) {
		return true, false
	}
	if id, _ := wire.StmtID(s.in[s.r+wire.HeaderLen : s.w]); id != wire.LastStmt {
		return false, false
	}
	if size > len(s.in) { // the rest of it is not waited for
		s.sayRefusal(1, noStatement)
		return true, s.close()
	}
	if !s.whole(size) {
		return true, false
	}
	s.r += size
	return true, !s.cmd.Answered() || s.sayRefusal(1, noStatement)
}

var noStatement = &Refusal{Code: wire.CodeUnknownStatement, Text: wire.Text(wire.CodeUnknownStatement)}
