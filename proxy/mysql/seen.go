package mysql

import (
	"sync"
	"sync/atomic"
	"time"
)

// seenFor is how long a login at the backend vouches for the next ones of the
// same user and database.
const seenFor = time.Minute

// mostSeen bounds the pairs that are remembered. Names of databases come from
// clients, though from such as have logged in.
const mostSeen = 4096

// Seen remembers which users were let into which databases lately, and the
// pool's keys. It is safe for concurrent use.
type Seen struct {
	mu  sync.RWMutex
	all map[string]*place
}

// place is a user in a database, as a pool's key.
type place struct {
	key  string
	good atomic.Int64 // until when it is known to be let in, Unix nanoseconds
}

// of returns the place for a key. Callers keep it, but no longer than a session.
func (s *Seen) of(key []byte) *place {
	s.mu.RLock()
	p := s.all[string(key)]
	s.mu.RUnlock()
	if p != nil {
		return p
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.all[string(key)]; p != nil {
		return p
	}
	if s.all == nil || len(s.all) >= mostSeen {
		s.all = map[string]*place{}
	}
	p = &place{key: string(key)}
	s.all[p.key] = p
	return p
}

func (p *place) known(now time.Time) bool { return now.UnixNano() < p.good.Load() }
func (p *place) vouch(now time.Time)      { p.good.Store(now.Add(seenFor).UnixNano()) }
func (p *place) forget()                  { p.good.Store(0) }
