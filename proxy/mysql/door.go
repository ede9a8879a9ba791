package mysql

import (
	"errors"
	"time"

	"weir/internal/sock"
	"weir/limiter"
	"weir/proxy/fault"
)

// closedDoor says that the backend is not to be asked.
type closedDoor limiter.Door

func (d closedDoor) Error() string { return "the backend is not asked now: " + d.kind().String() }

func (d closedDoor) kind() fault.Kind {
	if limiter.Door(d) == limiter.DoorClass {
		return fault.Shed
	}
	return fault.BreakerOpen
}

// errLeft says that the client left while it waited for a connection.
var errLeft = errors.New("the client left while it waited")

// hasLeft says whether the client, which waits for an answer, is still there. A
// client of MySQL does not half-close.
func (s *session) hasLeft() bool {
	sight := s.c.Look()
	return sight == sock.PeerFIN || sight == sock.Broken
}

// judge tells the backend's breaker, once for each connection that was attached,
// what the first command on it says of the backend.
func (s *session) judge(o limiter.Outcome) {
	if t := s.ticket; t != (limiter.Ticket{}) {
		s.ticket = limiter.Ticket{}
		t.Done(limiter.Nanos(time.Now()), o)
	}
}
