package mysql

import (
	"time"

	"weir/internal/sock"
	"weir/proxy/fault"
)

// backendLook is how often a client that is silent and holds a connection is
// woken, to see whether the connection still lives. Dead ones would keep
// max_open used up after a restart of the server, until their clients speak.
const backendLook = time.Second

// parkOn parks a client until its end, or the next look at the connection that it
// holds.
func (s *session) parkOn(wait time.Duration) sock.Next {
	if s.thread != nil {
		s.front.stats.attached.Add(1)
	}
	return sock.Next{Park: wait, State: s}
}

// bereft ends a session whose connection the server has ended, with all that was
// in it, as the server would have ended its client.
func (s *session) bereft() bool {
	if s.thread == nil {
		return false
	}
	err := s.lease.Conn().Look().Unfit()
	if err == nil {
		return false
	}
	s.counts.count(fault.SessionLost)
	s.abandon(staleReason(err))
	s.leave(sock.EndOurs)
	return true
}
