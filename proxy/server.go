// Package proxy owns the listeners and gives each its front. It knows fronts by
// an interface alone, so a protocol is added without touching it.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
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

	ctx context.Context // of listeners that a reload took away; ends with a stop's patience
	cut context.CancelFunc

	mu       sync.Mutex // held while listeners are opened and closed, never while one drains
	open     map[string]*bound
	leaving  map[*bound]bool               // taken away, with clients left
	past     map[string]sock.ListenerStats // counts of what is no longer a listener's, by its name
	draining bool
	retired  sync.WaitGroup // those who wait for leaving
}

// bound is an open address.
type bound struct {
	spec Listener
	l    *sock.Listener
	base sock.ListenerStats // what was counted for another listener, before the address moved
}

// counted is what b counted for the listener it belongs to now.
func (b *bound) counted() sock.ListenerStats {
	st := b.l.Stats()
	st.Accepted -= b.base.Accepted
	st.Full -= b.base.Full
	st.AcceptErrors -= b.base.AcceptErrors
	for i := range st.Closed {
		st.Closed[i] -= b.base.Closed[i]
	}
	return st
}

// NewServer makes a Server without listeners.
func NewServer(poller *sock.Poller, log *slog.Logger) *Server {
	s := &Server{poller: poller, log: log, open: map[string]*bound{}, leaving: map[*bound]bool{}, past: map[string]sock.ListenerStats{}}
	s.ctx, s.cut = context.WithCancel(context.Background())
	return s
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
	for b := range s.leaving { // an address that the last reload took away may come back
		b.l.StopAccepting(s.ctx)
	}
	o := &Opened{s: s, specs: specs, fresh: map[string]*bound{}}
	for _, spec := range specs {
		for i, address := range spec.Addresses {
			if s.open[spec.key(i)] != nil {
				continue
			}
			l, err := sock.Listen(sock.ListenOptions{
				Address: address, MaxClients: spec.MaxClients, DeferAccept: spec.DeferAccept,
				Handler: spec.Front, Poller: s.poller, Log: s.log,
			})
			if err != nil {
				o.close()
				if own := s.overlapped(address); own != "" && errors.Is(err, syscall.EADDRINUSE) {
					return nil, fmt.Errorf("listeners[%s].address: %s overlaps %s, where this weir listens already; "+
						"take that out in one reload and add this in the next, or restart", spec.Name, address, own)
				}
				return nil, fmt.Errorf("listeners[%s].address: %w", spec.Name, err)
			}
			o.fresh[spec.key(i)] = &bound{spec: spec, l: l}
		}
	}
	return o, nil
}

// key is what makes the i-th address of a listener the same one after a reload:
// the address, whatever listener has it. With port 0 each is one of its own.
func (l *Listener) key(i int) string {
	a := l.Addresses[i]
	if !strings.HasSuffix(a, ":0") || strings.HasPrefix(a, "unix:") {
		return a
	}
	nth := 0
	for _, before := range l.Addresses[:i] {
		if before == a {
			nth++
		}
	}
	return fmt.Sprintf("%s %s %d", a, l.Name, nth)
}

// overlapped returns an open address with the port of this one, where one of
// the two stands for every host or both are the same; "" if there is none.
func (s *Server) overlapped(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil || strings.HasPrefix(address, "unix:") {
		return ""
	}
	every := func(host string) bool { ip := net.ParseIP(host); return host == "" || ip != nil && ip.IsUnspecified() }
	for key, b := range s.open {
		h, p, err := net.SplitHostPort(b.l.Addr().String())
		if err == nil && p == port && (h == host || every(h) || every(host)) {
			return key
		}
	}
	return ""
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
	names := map[string]bool{}
	for _, spec := range o.specs {
		names[spec.Name] = true
		var all []*sock.Listener
		for i := range spec.Addresses {
			b := o.fresh[spec.key(i)]
			if b == nil {
				b = s.open[spec.key(i)]
				if b.spec.Name != spec.Name {
					s.book(b)
					b.base = b.l.Stats()
				}
				b.spec = spec
				b.l.SetHandler(spec.Front)
				b.l.SetMaxClients(spec.MaxClients)
				b.l.SetDeferAccept(spec.DeferAccept)
			}
			next[spec.key(i)] = b
			all = append(all, b.l)
		}
		for _, l := range all { // max_clients is the listener's, not each address's
			l.ShareMax(all)
		}
	}
	for key, b := range s.open {
		if next[key] == nil {
			s.leaving[b] = true
			s.retired.Go(func() { s.drain(b, patience) })
		}
	}
	s.open = next
	for name := range s.past {
		if !names[name] {
			delete(s.past, name)
		}
	}
	if s.draining { // a stop came between Open and Commit
		s.drainAll(patience)
	}
}

// drain ends a listener; clients that take longer than patience are cut off.
func (s *Server) drain(b *bound, patience time.Duration) {
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	s.end(ctx, b)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.leaving, b)
	if s.serves(b.spec.Front) {
		s.book(b)
	}
}

// book keeps what b counted for its listener, so that the listener's counters
// do not fall when b leaves it. mu is held.
func (s *Server) book(b *bound) {
	st, sum := b.counted(), s.past[b.spec.Name]
	sum.Accepted += st.Accepted
	sum.Full += st.Full
	sum.AcceptErrors += st.AcceptErrors
	for i := range st.Closed {
		sum.Closed[i] += st.Closed[i]
	}
	s.past[b.spec.Name] = sum
}

// serves says whether f has an open address. mu is held.
func (s *Server) serves(f Front) bool {
	for _, b := range s.open {
		if b.spec.Front == f {
			return true
		}
	}
	return false
}

func (s *Server) end(ctx context.Context, b *bound) error {
	err := b.l.Drain(ctx)
	if err != nil {
		s.log.Warn("clients are cut off", "listener", b.spec.Name, "err", err, "hint", "drain.timeout has passed")
		s.mu.Lock()
		stays := s.serves(b.spec.Front)
		s.mu.Unlock()
		if !stays { // it has no other clients
			b.spec.Front.Interrupt()
		}
		b.l.Close()
	}
	return err
}

func (s *Server) drainAll(patience time.Duration) {
	for _, b := range s.open {
		s.leaving[b] = true
		s.retired.Go(func() { s.drain(b, patience) })
	}
	s.open = map[string]*bound{}
}

// Drain stops accepting on every listener and waits for the clients to finish.
// Those that are left when ctx ends are cut off.
func (s *Server) Drain(ctx context.Context) {
	defer context.AfterFunc(ctx, s.cut)()
	s.mu.Lock()
	s.draining = true
	var wg sync.WaitGroup
	for _, b := range s.open {
		s.leaving[b] = true
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
	Address string // as it is bound; empty for what a listener counted on addresses it has no more
	Front   Front  // nil for the same
	sock.ListenerStats
}

// Stats returns the addresses in order, those that drain included.
func (s *Server) Stats() []Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Stats
	for _, b := range s.open {
		out = append(out, Stats{b.spec.Name, b.l.Addr().String(), b.spec.Front, b.counted()})
	}
	for b := range s.leaving {
		out = append(out, Stats{b.spec.Name, b.l.Addr().String(), b.spec.Front, b.counted()})
	}
	for name, st := range s.past {
		out = append(out, Stats{Name: name, ListenerStats: st})
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
