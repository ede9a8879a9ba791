package main

import (
	"context"
	"sync"
	"time"

	"weir/internal/sock"
	"weir/tcpstat"
)

// retirement is a backend that a reload took away. Requests that were routed to
// it before may still read their bodies, wait in its queue or hold a lease, and
// the file may bring it back: so its pool works on until nobody uses it.
type retirement struct{ *backend }

// The idle connections of a retired backend are closed after retiredIdle; from
// the end of drain.timeout on, retiredLook is how often is asked whether it is
// still in use.
const (
	retiredIdle = 10 * time.Millisecond
	retiredLook = time.Second
)

// retire is called with mu held.
func (g *graph) retire(b *backend, patience time.Duration) {
	name := b.cfg.Name
	r := &retirement{b}
	g.retired[name] = r
	delete(g.cold, name)
	o := g.poolOptions(b.cfg, b.database)
	o.MinIdle, o.IdleTimeout = 0, retiredIdle
	if err := b.pool.Apply(o); err != nil {
		g.log.Error("BUG: a retired backend kept its settings", "backend", name, "err", err)
	}
	g.removed.Go(func() {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		for {
			select {
			case <-g.quit: // stop closes the pool
				return
			case <-timer.C:
			}
			if g.closeUnused(name, r) {
				return
			}
			timer.Reset(retiredLook)
		}
	})
}

// closeUnused closes a retired backend's pool, unless it is in use. It reports
// whether that was the last to be done about r.
func (g *graph) closeUnused(name string, r *retirement) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.retired[name] != r {
		return true // the file has brought it back
	}
	if st := r.pool.Stats(); st.Leased+st.Dialing+st.Waiting > 0 {
		return false
	}
	delete(g.retired, name)
	g.closePool(r.backend)
	return true
}

// closePool closes a pool that nobody uses.
func (g *graph) closePool(b *backend) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	b.database.end()
	if err := b.pool.Close(ctx); err != nil {
		g.log.Warn("backend was closed while in use", "backend", b.cfg.Name, "err", err)
	}
}

// sockets knows all open backend connections and their places in the ledgers, so
// that a stop whose time is over can end every wait for a backend. The zero value
// is ready.
type sockets struct {
	mu   sync.Mutex
	open map[sock.Conn]tcpstat.Entry
	over bool
}

func (s *sockets) opened(c sock.Conn, e tcpstat.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[sock.Conn]tcpstat.Entry{}
	}
	s.open[c] = e
	if s.over {
		c.Interrupt()
	}
}

// closed returns the entry, whose end is the caller's to book.
func (s *sockets) closed(c sock.Conn) tcpstat.Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.open[c]
	delete(s.open, c)
	return e
}

// cut makes every read and write on a backend connection fail, now and later.
func (s *sockets) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	for c := range s.open {
		c.Interrupt()
	}
}
