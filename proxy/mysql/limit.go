package mysql

import (
	"strings"
	"time"

	"weir/internal/sock"
	"weir/limiter"
	"weir/proxy/fault"
	"weir/proxy/fault/overlimit"
	"weir/proxy/mysql/lex"
	"weir/proxy/mysql/wire"
)

// counted says whether the command counts in the limits: it runs a statement.
func (s *session) counted() bool {
	if s.set.Limit.Gate == nil && s.be.Limit.Gate == nil {
		return false
	}
	switch s.cmd {
	case wire.ComQuery, wire.ComStmtPrepare, wire.ComStmtExecute, wire.ComStmtBulkExecute:
		return true
	}
	return false
}

// refusable says whether the command may be refused. It may not within a
// transaction, of which half would be left; where it ends one, or gives up a lock,
// which others wait for; and where a part of its data is with the server already,
// so that the client would send it twice.
func (s *session) refusable(size int) bool {
	switch {
	case s.thread == nil:
		return true
	case s.thread.status&(wire.StatusInTrans|wire.StatusInTransReadOnly) != 0:
		return false
	case s.longData:
		return s.cmd != wire.ComStmtExecute && s.cmd != wire.ComStmtBulkExecute
	case s.cmd == wire.ComQuery:
		sql := s.in[min(s.r+wire.HeaderLen+1, s.w):min(s.r+size, s.w)]
		return !frees[strings.ToUpper(string(lex.FirstWord(sql)))]
	}
	return true
}

// frees are the words that statements begin with which give something up.
var frees = map[string]bool{"COMMIT": true, "ROLLBACK": true, "UNLOCK": true, "RELEASE": true, "XA": true}

// admitted takes a command of that size through the gates of its listener and
// backend, and goes on with it, or answers it. One that may not be refused
// counts as far as it can.
func (s *session) admitted(size int) (keep bool) {
	var way limiter.Way
	now := limiter.Nanos(s.timer)
	for _, l := range [...]*overlimit.Limit{&s.set.Limit, &s.be.Limit} {
		if l.Gate == nil {
			continue
		}
		v, wait := way.Enter(l.Gate, now, s.keyOf(&l.By))
		if v == limiter.Pass {
			continue
		}
		if size <= len(s.in) && !s.whole(size) {
			return false
		}
		if !s.refusable(size) {
			continue
		}
		l.Log(s.front.log, s.front.name, v, now)
		if v == limiter.OverPerRate && s.patience.Refuse() {
			s.hold = wait
		}
		return s.overLimit(size, overlimit.Kind(v))
	}
	s.patience = 0
	keep = s.perCommand(size)
	way.Leave()
	return keep
}

// keyOf finds who is counted.
func (s *session) keyOf(by *limiter.KeyBy) limiter.Key {
	if by.User {
		return limiter.KeyOfString(s.user.Name)
	}
	return limiter.KeyOfAddr(s.peer, by.IPv4, by.IPv6)
}

// overLimit answers a command that is over a limit. Nothing of it goes on; the rest of
// a long one is not waited for.
func (s *session) overLimit(size int, k fault.Kind) bool {
	s.forgetLast()
	if size > len(s.in) {
		s.tell(1, k, "")
		return s.close()
	}
	if !s.whole(size) {
		return false
	}
	s.r += size
	return s.sayERR(1, k, "")
}

// rest leaves a client unread that sends more than it may. One that has sent its
// next command already goes on: what was read would be lost.
func (s *session) rest() (next sock.Next, ok bool) {
	hold := s.hold
	s.hold = 0
	if s.r != s.w || s.l.Draining() {
		return next, false
	}
	if !s.flush() {
		s.drop(sock.EndLost)
		return next, true
	}
	s.resting = true
	if s.thread != nil { // it has a connection, and perhaps locks: see backendLook
		hold = min(hold, backendLook)
	}
	next = s.parkOn(max(hold, time.Millisecond))
	next.Unread = true
	return next, true
}
