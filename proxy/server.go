// Package proxy owns the listeners and gives each its front. It knows fronts by
// an interface alone, so a protocol is added without touching it.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"weir/internal/sock"
)

// Front serves the clients of a listener.
type Front interface {
	sock.Handler
	// Interrupt makes sessions that wait for a backend give up. It is called
	// when a stop has no more time.
	Interrupt()
}

// Listener is what the server is told about one listener of the configuration.
type Listener struct {
	Name        string
	Addresses   []string
	MaxClients  int
	DeferAccept bool
	Front       Front
}

// Server holds the open listeners. Methods may be called from any goroutine.
type Server struct {
	poller *sock.Poller
	log    *slog.Logger

	mu       sync.Mutex // held while listeners are opened and closed, never while one drains
	open     map[string]*bound
	draining bool
	retired  sync.WaitGroup // listeners that a reload took away, while they drain
}

// bound is an open address.
type bound struct {
	spec Listener
	l    *sock.Listener
}

// NewServer makes a Server without listeners.
func NewServer(poller *sock.Poller, log *slog.Logger) *Server {
	return &Server{poller: poller, log: log, open: map[string]*bound{}}
}

// ErrDraining is returned by Open when the server is stopping.
var ErrDraining = errors.New("weir is stopping")

// Opened are listeners that were bound for a new configuration and wait to be
// committed.
type Opened struct {
	s     *Server
	specs []Listener
	fresh map[string]*bound
}

// Open binds every address of specs that is not open yet. Nothing else changes
// until Commit. If one address fails, none is left open.
func (s *Server) Open(specs []Listener) (*Opened, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return nil, ErrDraining
	}
	o := &Opened{s: s, specs: specs, fresh: map[string]*bound{}}
	for _, spec := range specs {
		for _, address := range spec.Addresses {
			if s.open[address] != nil {
				continue
			}
			l, err := sock.Listen(sock.ListenOptions{
				Address: address, MaxClients: spec.MaxClients, DeferAccept: spec.DeferAccept,
				Handler: spec.Front, Poller: s.poller, Log: s.log,
			})
			if err != nil {
				o.close()
				return nil, fmt.Errorf("listeners[%s].address: %w", spec.Name, err)
			}
			o.fresh[address] = &bound{spec, l}
		}
	}
	return o, nil
}

// Abandon closes what Open has opened.
func (o *Opened) Abandon() { o.close() }

func (o *Opened) close() {
	for _, b := range o.fresh {
		b.l.Close()
	}
}

// Commit makes the new listeners the server's. Addresses that stay keep their
// sockets and clients; those that are gone drain, for at most patience, in the
// background.
func (o *Opened) Commit(patience time.Duration) {
	s := o.s
	s.mu.Lock()
	defer s.mu.Unlock()
	next := map[string]*bound{}
	for _, spec := range o.specs {
		for _, address := range spec.Addresses {
			b := o.fresh[address]
			if b == nil {
				b = s.open[address]
				b.spec = spec
				b.l.SetHandler(spec.Front)
				b.l.SetMaxClients(spec.MaxClients)
				b.l.SetDeferAccept(spec.DeferAccept)
			}
			next[address] = b
		}
	}
	for address, b := range s.open {
		if next[address] == nil {
			s.retired.Go(func() { s.drain(b, patience) })
		}
	}
	s.open = next
	if s.draining { // a stop came between Open and Commit
		s.drainAll(patience)
	}
}

// drain ends a listener; clients that take longer than patience are cut off.
func (s *Server) drain(b *bound, patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s.end(ctx, b)
}

func (s *Server) end(ctx context.Context, b *bound) error {
	err := b.l.Drain(ctx)
	if err != nil {
		s.log.Warn("clients are cut off", "listener", b.spec.Name, "err", err, "hint", "drain.timeout has passed")
		b.spec.Front.Interrupt()
		b.l.Close()
	}
	return err
}

func (s *Server) drainAll(patience time.Duration) {
	for _, b := range s.open {
		s.retired.Go(func() { s.drain(b, patience) })
	}
	s.open = map[string]*bound{}
}

// Drain stops accepting on every listener and waits for the clients to finish.
// Those that are left when ctx ends are cut off.
func (s *Server) Drain(ctx context.Context) {
	s.mu.Lock()
	s.draining = true
	var wg sync.WaitGroup
	for _, b := range s.open {
		wg.Go(func() { s.end(ctx, b) })
	}
	s.open = map[string]*bound{}
	s.mu.Unlock()
	wg.Wait()
	s.retired.Wait()
}

// Stats are one address of a listener.
type Stats struct {
	Name    string // of the listener
	Address string // as it is bound
	sock.ListenerStats
}

// Stats returns the open addresses in order.
func (s *Server) Stats() []Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Stats
	for _, b := range s.open {
		out = append(out, Stats{b.spec.Name, b.l.Addr().String(), b.l.Stats()})
	}
	slices.SortFunc(out, func(a, b Stats) int {
		if a.Name != b.Name {
			if a.Name < b.Name {
				return -1
			}
			return 1
		}
		if a.Address < b.Address {
			return -1
		}
		return 1
	})
	return out
}
