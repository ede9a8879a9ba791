package proxy

// SetAccepting stops or goes on with taking clients on every open listener; see
// sock.Listener. A listener that is opened later accepts, so whoever stops says it
// again as long as it is to hold. Listeners that drain are not concerned.
func (s *Server) SetAccepting(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.open {
		b.l.SetAccepting(on)
	}
}

// HearAll has all clients read that are left unread for their refusals.
func (s *Server) HearAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.open {
		b.l.HearAll()
	}
}

// Backlog is the kernel's queue of a listener, on all of its addresses together.
type Backlog struct {
	Waiting int // clients that are connected and not accepted
	Most    int // that may be
}

// Backlogs returns the queue of each open listener, by its name. It takes a system
// call for each socket.
func (s *Server) Backlogs() map[string]Backlog {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]Backlog, len(s.open))
	for _, b := range s.open {
		waiting, most := b.l.Backlog()
		sum := out[b.spec.Name]
		out[b.spec.Name] = Backlog{sum.Waiting + waiting, sum.Most + most}
	}
	return out
}
