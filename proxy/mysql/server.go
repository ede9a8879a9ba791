package mysql

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"weir/pool"
	"weir/proxy/mysql/wire"
)

// ServerOptions say how to reach a backend's server and log in to it. They are
// not changed once given to a Server.
type ServerOptions struct {
	Name    string     // of the backend
	Address string     // host:port or unix:/path
	Source  netip.Addr // of all connections; the zero Addr lets the kernel choose
	Users   map[string]*User
	TLS     *tls.Config // nil: none
	Version string      // for clients; empty: as the server says
	Track   bool        // connections are for a Backend with Sharing
}

// Server is what is known of the server of a backend. It is safe for concurrent
// use.
type Server struct {
	opt     atomic.Pointer[ServerOptions]
	learned atomic.Pointer[Learned]
	failed  atomic.Pointer[error] // why it is not known yet

	mu      sync.Mutex
	threads map[uint64]*thread // connections that are open, by the server's numbers

	gaves atomic.Uint64 // the last sharing.gave
}

// enter and forget keep threads.
func (s *Server) enter(th *thread) {
	s.mu.Lock()
	s.threads[uint64(th.id)] = th
	s.mu.Unlock()
}

func (s *Server) forget(th *thread) {
	s.mu.Lock()
	if s.threads[uint64(th.id)] == th { // a server counts from 1 again when it is restarted
		delete(s.threads, uint64(th.id))
	}
	s.mu.Unlock()
}

// ours says whether the server knows a connection of the pool's by id.
func (s *Server) ours(id uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.threads[id] != nil
}

// Learned is what a server said when it was last reached.
type Learned struct {
	Version string // as greeted: "5.5.5-10.11.19-MariaDB"
	Caps    wire.Caps
	Charset uint8
}

// NewServer returns a Server of which nothing is known yet.
func NewServer(o *ServerOptions) *Server {
	s := &Server{threads: map[uint64]*thread{}}
	s.opt.Store(o)
	return s
}

// Apply changes the options for logins that begin from now on.
func (s *Server) Apply(o *ServerOptions) { s.opt.Store(o) }

// User returns the user of that name, nil if there is none.
func (s *Server) User(name []byte) *User { return s.opt.Load().Users[string(name)] }

// Learned returns what is known, or the error of the last try to reach the
// server; nil and nil before the first.
func (s *Server) Learned() (*Learned, error) {
	if l := s.learned.Load(); l != nil {
		return l, nil
	}
	if err := s.failed.Load(); err != nil {
		return nil, *err
	}
	return nil, nil
}

func (s *Server) greeted(g *wire.Greeting) {
	l := s.learned.Load()
	if l != nil && l.Version == string(g.Version) && l.Caps == g.Caps && l.Charset == g.Charset {
		return
	}
	s.learned.Store(&Learned{string(g.Version), g.Caps, g.Charset})
}

// guess stands in for a server that was never reached, where server_version
// says what to greet with. The capabilities are those of every server of that
// kind that is still maintained.
func guess(version string) *Learned {
	caps := wire.CapLongFlag | wire.CapFoundRows | wire.CapLocalFiles | wire.CapIgnoreSpace | wire.CapInteractive |
		wire.CapTransactions | wire.CapMultiStatements | wire.CapMultiResults | wire.CapPSMultiResults |
		wire.CapSessionTrack | wire.CapDeprecateEOF | wire.CapODBC | wire.CapIgnoreSigpipe
	if strings.Contains(version, "MariaDB") {
		return &Learned{version, caps | wire.CapStmtBulk, wire.CollationUTF8MB4}
	}
	return &Learned{version, caps | wire.CapMySQL, wire.CollationUTF8MB4}
}

// greets returns what clients are greeted with; nil while that is not known.
func (s *Server) greets() *Learned {
	version := s.opt.Load().Version
	l := s.learned.Load()
	switch {
	case version == "":
		return l
	case l == nil:
		return guess(version)
	case l.Version == version:
		return l
	}
	return &Learned{version, l.Caps, l.Charset}
}

// quitTime bounds a goodbye: a server closes within a tenth of a millisecond.
const quitTime = 100 * time.Millisecond

// Learn connects until the server has greeted us once, so that clients can be
// greeted; until ctx or the pool ends. It uses a reserved connection. It tells
// log why it goes on, folded, and when it was there at last.
func (s *Server) Learn(ctx context.Context, p *pool.Pool, key string, log *slog.Logger) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	name, failed := s.opt.Load().Name, false
	for wait := learnFirst; s.learned.Load() == nil; wait = min(2*wait, learnMost) {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		side, err := p.Reserve(ctx, key)
		if err == nil {
			side.Close()
		}
		switch {
		case errors.Is(err, pool.ErrClosed) || ctx.Err() != nil:
			return
		case err != nil:
			failed = true
			log.Warn("the backend's server was not reached yet; tried again until it is", "fold", "learn",
				"backend", name, "err", err, "hint", "clients are greeted all the same with backends[].mysql.server_version")
		}
		timer.Reset(wait)
	}
	if failed {
		log.Info("the backend's server was reached", "backend", name, "version", s.learned.Load().Version)
	}
}

// How long to wait between tries to reach a server for the first time.
const learnFirst, learnMost = 50 * time.Millisecond, time.Second
