package mysql

import "sync"

// firstID is where the numbers begin that weir gives its clients' connections.
// The server's own start at 1, so that one is seldom taken for the other.
const firstID, mostIDs = 1 << 30, 1 << 30

// Sessions are all clients that are logged in, by number: KILL finds them here.
// One serves all fronts.
type Sessions struct {
	mu   sync.Mutex
	last uint32
	all  map[uint32]*session
}

// NewSessions returns an empty Sessions.
func NewSessions() *Sessions { return &Sessions{all: map[uint32]*session{}} }

// number returns a number that no session has.
func (x *Sessions) number() uint32 {
	x.mu.Lock()
	defer x.mu.Unlock()
	for {
		x.last = (x.last + 1) % mostIDs
		if id := firstID + x.last; x.all[id] == nil {
			return id
		}
	}
}

func (x *Sessions) enter(s *session) {
	x.mu.Lock()
	x.all[s.id] = s
	x.mu.Unlock()
}

func (x *Sessions) leave(s *session) {
	x.mu.Lock()
	delete(x.all, s.id)
	x.mu.Unlock()
}

// find returns the session that a KILL means by id: weir's number for it, or
// the server's for the connection that a session to the same backend holds, as
// CONNECTION_ID() tells it.
func (x *Sessions) find(b *Backend, id uint64) *session {
	x.mu.Lock()
	defer x.mu.Unlock()
	if s := x.all[uint32(id)]; id < 1<<32 && s != nil && s.be.Name == b.Name {
		return s
	}
	for _, s := range x.all {
		if s.be.Name == b.Name && s.holds(id) {
			return s
		}
	}
	return nil
}

// interrupt ends the waiting of f's sessions for their backend.
func (x *Sessions) interrupt(f *Front) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, s := range x.all {
		if s.front == f {
			s.interrupt()
		}
	}
}

// Len is how many there are.
func (x *Sessions) Len() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.all)
}
