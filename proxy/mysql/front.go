package mysql

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"weir/internal/hist"
	"weir/internal/sock"
	"weir/limiter"
	"weir/pool"
	"weir/proxy/fault"
	"weir/proxy/fault/overlimit"
	"weir/proxy/mysql/wire"
	"weir/proxy/proxied"
)

// Backend is where the statements of a listener's clients go. It is not changed
// once a Front has it, but for what its parts learn.
type Backend struct {
	Name   string
	Pool   *pool.Pool // with HolderLooks, and with Server's Connect and Quit
	Server *Server
	Seen   *Seen
	Plugin string // of the login that clients are asked for
	Limit  overlimit.Limit
	Guard  *limiter.Guard // nil: none

	// Proven leaves out the reset between two clients where it is proved that
	// the first has left nothing.
	Proven bool
	// Sharing takes a client's connection back as soon as nothing of the client's
	// is on it: mode transaction. The server's options have Track then.
	Sharing      bool
	QueryTimeout time.Duration // a statement that runs longer is killed; 0: none
	IdleAttached time.Duration // a client that holds a connection and is silent for longer is closed; 0: none

	Slow   time.Duration // statements that run as long are given to OnSlow; 0: none
	OnSlow func(*Slow)   // must not block; its argument is good until it returns
}

// Slow is a statement that took long.
type Slow struct {
	At       time.Time // its end
	Took     time.Duration
	Client   netip.Addr
	User     string
	Database string
	Backend  string
	Command  wire.Command
	SQL      []byte // empty for a command without, or one that was not kept whole
	Code     wire.Code
}

// Settings are what a Front can be changed to while it serves. They are
// immutable once given to it.
type Settings struct {
	Backend     *Backend
	Allow       []netip.Prefix // nil: everybody
	Limit       overlimit.Limit
	Connections overlimit.Connections
	Class       limiter.Class

	// ProxyProtocol says that the peers in Trusted begin each connection with a
	// PROXY header. The client is the one that it names from then on: for Allow,
	// for the users' own, and in what is logged. They are closed gracefully.
	ProxyProtocol bool
	Trusted       []netip.Prefix

	LoginTimeout time.Duration
	SendTimeout  time.Duration
	IdleTimeout  time.Duration
	MaxLogins    int  // clients in login at one time
	Graceful     bool // never answer a client's FIN with a reset

	TLS        *tls.Config // nil: clients get none
	RequireTLS bool
}

// Front serves the clients of one listener.
type Front struct {
	name     string
	sweeper  *sock.Sweeper
	sessions *Sessions
	log      *slog.Logger
	ctx      context.Context // of waits for a connection
	cancel   context.CancelFunc

	set    atomic.Pointer[Settings]
	logins atomic.Int64 // clients in login
	stats  stats
}

// NewFront makes a Front. Its listeners end before it does.
func NewFront(name string, set *Settings, sweeper *sock.Sweeper, sessions *Sessions, log *slog.Logger) *Front {
	f := &Front{name: name, sweeper: sweeper, sessions: sessions, log: log}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.Apply(set)
	return f
}

// Apply changes the settings for clients that log in from now on. Those that
// are logged in keep their backend.
func (f *Front) Apply(set *Settings) { f.set.Store(set) }

// Interrupt makes sessions that wait for a backend connection, or for its answer,
// give up.
func (f *Front) Interrupt() {
	f.cancel()
	f.sessions.interrupt(f)
}

// Serve runs a client's session; see sock.Handler.
func (f *Front) Serve(l *sock.Listener, c sock.Conn, w sock.Wake, state any) sock.Next {
	set := f.set.Load()
	behind := proxied.Behind(set.ProxyProtocol, set.Trusted, c, state)
	if behind && w != sock.WakeFull {
		if next, known := f.identify(l, c, w, set); !known {
			return next
		}
		w, behind = sock.WakeAccepted, false
	}
	switch w {
	case sock.WakeAccepted, sock.WakeFull:
		kind := fault.None
		switch {
		case !behind && !allows(set.Allow, c.RemoteAddr().Addr()):
			kind = fault.NotAllowed
		case w == sock.WakeFull:
			kind = fault.MaxClients
		default:
			kind, _ = set.Connections.Enter(c)
		}
		if kind != fault.None {
			f.turnAway(l, c, w, kind, set)
			return sock.Next{}
		}
		return f.begin(l, c, set)
	}
	s := state.(*session) // a listener's protocol does not change while it runs
	if s.l != l {
		s.mu.Lock()
		s.l = l
		s.mu.Unlock()
	}
	if s.c != c { // TLS lies over it; what was said of deadlines there is out of date
		s.c.SetReadDeadline(zeroTime)
		s.c.SetWriteDeadline(zeroTime)
	}
	return s.wake(w)
}

// turnAway answers a client that is not let in. The packet has the number of a
// greeting, for it takes its place.
func (f *Front) turnAway(l *sock.Listener, c sock.Conn, w sock.Wake, k fault.Kind, set *Settings) {
	f.stats.refused.count(k)
	gone, hold := l.Refuse(w)
	ending := sock.EndRefused
	if hold {
		b, _ := wire.AppendPacket(nil, appendFault(nil, k, "", 0), 0)
		c.WriteWithin(time.Second)
		if _, err := c.TryWrite(b); err != nil {
			ending = sock.EndLost
		} else {
			ending = sock.EndUnread
		}
	}
	f.sweeper.End(c, ending, set.graceful(c.RemoteAddr().Addr()), gone)
}

// appendFault appends the ERR for k, with more about it if there is.
func appendFault(dst []byte, k fault.Kind, more string, caps wire.Caps) []byte {
	row := k.Row()
	text := wire.Text(row.Errno)
	if text != "" {
		text += " "
	}
	text += "(weir: " + row.Text
	if more != "" {
		text += "; " + more
	}
	return wire.AppendERR(dst, caps, row.Errno, text+")")
}

// stats are a Front's counters. The sessions add to them; Stats reads them.
type stats struct {
	seconds hist.Hist // from a command's first byte to the last of its answer

	refused outcomes // before a client was logged in

	mu        sync.Mutex
	byBackend map[string]*outcomes

	attached atomic.Int64 // clients that hold a connection and are silent
}

// outcomes counts how commands ended.
type outcomes struct {
	ok, err atomic.Uint64 // as the server said
	resets  [resetKinds]atomic.Uint64
	pinned  [pins]atomic.Int64  // clients that are
	pins    [pins]atomic.Uint64 // times that one became so
	kind    [64]atomic.Uint64
}

func (o *outcomes) count(k fault.Kind) { o.kind[k].Add(1) }

func (s *stats) of(name string) *outcomes {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.byBackend[name]
	if o == nil {
		if s.byBackend == nil {
			s.byBackend = map[string]*outcomes{}
		}
		o = new(outcomes)
		s.byBackend[name] = o
	}
	return o
}

// Stats is a Front's state by value.
type Stats struct {
	Requests       map[string]map[string]uint64 // by backend ("" before a login) and outcome
	RequestSeconds hist.Snapshot
	Resets         map[string]map[string]uint64 // by backend and kind
	Pinned         map[string]map[string]int64  // by backend and reason: clients that keep their connection (Sharing)
	Pins           map[string]map[string]uint64 // by backend and reason: how often one came to
	IdleAttached   int64
	Logins         int64 // clients in login
}

// Stats returns the counts so far.
func (f *Front) Stats() Stats {
	s := &f.stats
	st := Stats{
		Requests:       map[string]map[string]uint64{"": s.refused.snapshot()},
		RequestSeconds: s.seconds.Snapshot(),
		Resets:         map[string]map[string]uint64{},
		Pinned:         map[string]map[string]int64{},
		Pins:           map[string]map[string]uint64{},
		IdleAttached:   s.attached.Load(),
		Logins:         f.logins.Load(),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, o := range s.byBackend {
		st.Requests[name] = o.snapshot()
		m := map[string]uint64{}
		for k, name := range resetNames {
			m[name] = o.resets[k].Load()
		}
		st.Resets[name] = m
		st.Pinned[name], st.Pins[name] = o.pinnedBy()
	}
	return st
}

func (o *outcomes) snapshot() map[string]uint64 {
	m := map[string]uint64{}
	for name, n := range map[string]uint64{"ok": o.ok.Load(), "error": o.err.Load()} {
		if n > 0 {
			m[name] = n
		}
	}
	for _, k := range fault.Kinds() {
		if n := o.kind[k].Load(); n > 0 {
			m[k.String()] = n
		}
	}
	return m
}
