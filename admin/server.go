// Package admin is the operator's door: metrics, health, status, profiles, and a
// few actions. It only shows what it is given: the hot packages keep plain
// counters, and a scrape pulls a Snapshot of them through a func.
//
// Reading is open on a loopback address or a unix socket, unless Access asks for a
// token or a certificate, and needs one of them on other addresses; actions are
// taken on a unix socket only, whose file mode says who may. Requests that came through a
// proxy or from another site's page in a browser are refused everywhere.
package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"
)

// Options says what to show. All funcs are called from several goroutines at
// once and must return soon; none may be called after Close has returned.
type Options struct {
	Version string // shown in the index and as weir_build_info

	// Snapshot gives the values behind /metrics. Nil leaves only go_*,
	// process_* and build information.
	Snapshot func() Snapshot

	// Ready returns what is missing until weir takes traffic, a short line
	// each; none means ready. Nil is never ready.
	Ready func() []string

	// Status gives the value that /api/status shows as JSON. Nil answers 404.
	Status func() any

	// Live feeds /api/stream and, with it, the dashboard at /. Nil leaves both
	// out.
	Live *Live

	// Actions by name, as POST /api/actions/NAME runs them. The context ends
	// after ActionTimeout and when the server closes. One runs at a time.
	Actions       map[string]Action
	ActionTimeout time.Duration // 0: 30 s

	Pprof bool // serve /debug/pprof/

	// Access says who may ask over TCP. Without a token or client certificates
	// only loopback addresses are bound. SetAccess replaces it.
	Access Access

	Log *slog.Logger // nil: slog.Default()
}

// Limits of the admin server. It has a handful of readers: a scraper, a probe, a
// person. What goes over is refused, because it must not take weir's resources.
const (
	maxConns     = 64 // on one address, without streams
	maxHead      = 8 << 10
	maxBody      = 4 << 10
	readTimeout  = 5 * time.Second
	writeTimeout = 30 * time.Second // to read a large status over a slow line
	idleTimeout  = 75 * time.Second // over the usual scrape interval of 15 to 60 s
	maxScrapes   = 3                // at once; one takes milliseconds

	defaultActionTimeout = 30 * time.Second
)

// Server serves the admin pages on any number of addresses. Methods may be called
// from any goroutine. Close must be called once, by the owner.
type Server struct {
	opt      Options
	registry *prometheus.Registry
	access   atomic.Pointer[Access]
	pages    pages
	streams  *streams // nil: there is no dashboard

	ctx    context.Context // of all actions; ended by Close
	cancel context.CancelFunc

	action sync.Mutex // held while one runs; only ever tried, never waited for

	mu      sync.Mutex // guards below; not held while a socket is used
	doors   []*door
	closed  bool
	serving sync.WaitGroup
}

// door is one listener with its own HTTP server: whether actions are taken is
// the listener's property, not the request's.
type door struct {
	http *fasthttp.Server
	ln   net.Listener
	open *conns
	done func() // after the listener is closed: removes a unix socket's file
}

// New returns a server that listens nowhere yet.
func New(opt Options) *Server {
	if opt.Log == nil {
		opt.Log = slog.Default()
	}
	if opt.ActionTimeout <= 0 {
		opt.ActionTimeout = defaultActionTimeout
	}
	s := &Server{opt: opt, registry: newRegistry(opt)}
	s.access.Store(&opt.Access)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.pages = s.newPages()
	if opt.Live != nil {
		s.streams = newStreams(opt.Live, opt.Log)
	}
	return s
}

// ErrClosed is returned by Listen after Close.
var ErrClosed = errors.New("admin: the server is closed")

// Listen binds address, "host:port" or "unix:/path", and serves on it until
// Close. It returns the address bound, which differs where the port was 0.
func (s *Server) Listen(address string) (net.Addr, error) {
	ln, done, err := listen(address, s.access.Load().asks())
	if err != nil {
		return nil, err
	}
	if err := s.serve(ln, done); err != nil {
		return nil, err
	}
	return ln.Addr(), nil
}

// serve takes ln over, and calls done after it has closed it.
func (s *Server) serve(ln net.Listener, done func()) error {
	open := newConns(ln, s.opt.Log)
	d := &door{ln: ln, open: open, done: done}
	g := guard{unix: ln.Addr().Network() == "unix", access: &s.access}
	d.http = &fasthttp.Server{
		Handler:      func(ctx *fasthttp.RequestCtx) { s.handle(ctx, &g) },
		ErrorHandler: badRequest,
		// The bound is that of open. The server lets go of a connection a moment
		// before it has a goroutine for the next.
		Concurrency:           2 * maxConns,
		ReadBufferSize:        maxHead,
		MaxRequestBodySize:    maxBody,
		ReadTimeout:           readTimeout,
		WriteTimeout:          writeTimeout,
		IdleTimeout:           idleTimeout,
		NoDefaultServerHeader: true,
		NoDefaultContentType:  true,
		// With a Date comes a goroutine that nothing can stop, and fasthttp
		// drops a Date that is set by hand. Nobody caches these pages.
		NoDefaultDate:   true,
		CloseOnShutdown: true,
		// What could not be read may hold a token, and is as long as it likes.
		SecureErrorLogMessage: true,
		Logger:                httpLog{s.opt.Log},
	}

	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		ln.Close()
		done()
		return ErrClosed
	}
	s.doors = append(s.doors, d)
	s.serving.Go(func() {
		if err := d.http.Serve(s.overTLS(open)); err != nil {
			s.opt.Log.Error("admin stopped serving", "address", ln.Addr().String(), "error", err)
		}
	})
	s.mu.Unlock()
	return nil
}

// Close stops listening, ends streams, lets requests finish until ctx ends, cuts
// those that have not, and removes unix socket files. It returns ctx's error where
// it cut.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	doors := s.doors
	s.doors = nil
	s.mu.Unlock()
	s.cancel()
	if s.streams != nil {
		s.streams.close()
	}

	var errs []error
	for _, d := range doors {
		// Serve sets up what Shutdown ends, so a Shutdown before it would be
		// lost: the listener is closed in any case.
		err := d.http.ShutdownWithContext(ctx)
		d.ln.Close()
		if err != nil && ctx.Err() != nil {
			n := d.open.cut()
			errs = append(errs, fmt.Errorf("admin: %d connections on %s were cut: %w", n, d.ln.Addr(), ctx.Err()))
		}
		d.done()
	}
	s.serving.Wait()
	return errors.Join(errs...)
}

// httpLog takes what fasthttp has to say. It says it per connection, so it is
// folded.
type httpLog struct{ log *slog.Logger }

func (l httpLog) Printf(format string, args ...any) {
	l.log.Warn("admin connection failed", "fold", "admin", "error", fmt.Sprintf(format, args...))
}
