package mysql

import (
	"time"

	"weir/internal/sock"
	"weir/limiter"
	"weir/proxy/fault"
	"weir/proxy/fault/overlimit"
	"weir/proxy/mysql/wire"
)

// counted says whether the command counts in the limits: it runs a statement,
// and not within a transaction, where a refusal would leave half of one.
func (s *session) counted() bool {
	if s.set.Limit.Gate == nil && s.be.Limit.Gate == nil {
		return false
	}
	switch s.cmd {
	case wire.ComQuery, wire.ComStmtPrepare, wire.ComStmtExecute, wire.ComStmtBulkExecute:
		return !s.inTransaction()
	}
	return false
}

// admitted takes a command of that size through the gates of its listener and
// backend, and goes on with it, or answers it.
func (s *session) admitted(size int) (keep bool) {
	var way limiter.Way
	now := limiter.Nanos(s.timer)
	for _, l := range [...]*overlimit.Limit{&s.set.Limit, &s.be.Limit} {
		if l.Gate == nil {
			continue
		}
		if v, wait := way.Enter(l.Gate, now, s.keyOf(&l.By)); v != limiter.Pass {
			l.Log(s.front.log, s.front.name, v, now)
			if v == limiter.OverPerRate && s.patience.Refuse() {
				s.hold = wait
			}
			return s.overLimit(size, overlimit.Kind(v))
		}
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
	next = s.parkOn(max(hold, time.Millisecond))
	next.Unread = true
	return next, true
}
