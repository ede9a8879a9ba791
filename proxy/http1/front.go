// Package http1 is the front for HTTP/1.0 and HTTP/1.1: it reads requests from
// clients, forwards each over a leased backend connection, and relays the
// response. A client's connection and a backend's have nothing in common but
// the exchange: many short clients share few backend connections.
//
// The path of a request: session.go reads its head, body.go as much of its
// body as is read ahead, exchange.go takes a lease and sends it, respond.go
// relays the answer, finish.go decides what becomes of both connections.
package http1

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"weir/internal/accesslog"
	"weir/internal/hist"
	"weir/internal/sock"
	"weir/limiter"
	"weir/pool"
	"weir/proxy/fault"
	"weir/proxy/fault/overlimit"
	"weir/proxy/proxied"
)

// Backend is where requests go.
type Backend struct {
	Name           string
	Address        string     // for Host, where an HTTP/1.0 request has none
	Pool           *pool.Pool // with HolderLooks
	Retries        *limiter.RetryBudget
	ResponseHeader time.Duration   // the longest wait for the first byte and the head of a response
	BodyIdle       time.Duration   // the longest pause inside a body, either way
	Limit          overlimit.Limit // of requests from all listeners
	Guard          *limiter.Guard  // nil: none
	Static         *Static         // in place of weir's own text under overload; nil: none
}

// Route sends requests of one host and path prefix to a backend.
type Route struct {
	Rule
	Backend *Backend
	Strip   bool     // cut the prefix off the path
	Set     []Line   // fields to set in the request
	Remove  []string // fields to cut from the request
	Limit   overlimit.Limit
	Class   limiter.Class // 0: the listener's

	removeAll []string  // Remove, and what only trusted proxies may say
	counts    *outcomes // the Front's, for the backend
}

// Settings are what a Front can be changed to while it serves. They are
// immutable once given to it.
type Settings struct {
	Routes    []Route
	MaxHeader int
	MaxURI    int
	MaxBody   int64 // 0: no bound

	HeaderTimeout time.Duration
	BodyIdle      time.Duration
	SendTimeout   time.Duration
	IdleTimeout   time.Duration

	Graceful bool           // never answer a client's FIN with a reset
	Allow    []netip.Prefix // nil: everybody
	Trusted  []netip.Prefix // proxies whose X-Forwarded fields, and PROXY header, are believed
	// ProxyProtocol says that those in Trusted begin each connection with a PROXY
	// header. The client is the one that it names from then on: for Allow, for
	// Trusted where its X-Forwarded fields come, and in what is logged.
	ProxyProtocol bool

	XForwarded bool
	Forwarded  bool
	Via        string
	MakeID     bool // make X-Request-Id where a request has none
	ModeHeader bool // X-Weir-Mode in responses while their backend is not in normal

	Limit       overlimit.Limit
	Connections overlimit.Connections
	Class       limiter.Class
	ClassField  string // in which those in Trusted say a request's class; "": none

	Access *accesslog.Log // gets a line for each request that ends; nil: none

	router *Router
	via    []byte
}

// Front serves the clients of one listener.
type Front struct {
	name    string
	sweeper *sock.Sweeper
	budget  *Budget
	log     *slog.Logger
	ctx     context.Context
	cancel  context.CancelFunc

	set      atomic.Pointer[Settings]
	sessions sync.Pool

	stats stats
}

// NewFront makes a Front. Its listeners end before it does.
func NewFront(name string, set *Settings, sweeper *sock.Sweeper, budget *Budget, log *slog.Logger) (*Front, error) {
	f := &Front{name: name, sweeper: sweeper, budget: budget, log: log}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.sessions.New = func() any { return newSession(f) }
	f.stats.byBackend = map[string]*outcomes{}
	if err := f.Apply(set); err != nil {
		return nil, err
	}
	return f, nil
}

// Apply changes the settings for requests that begin from now on.
func (f *Front) Apply(set *Settings) error {
	rules := make([]Rule, len(set.Routes))
	for i := range set.Routes {
		rules[i] = set.Routes[i].Rule
	}
	router, err := NewRouter(rules)
	if err != nil {
		return fmt.Errorf("listener %q: %w", f.name, err)
	}
	set.router = router
	if set.Via != "" {
		set.via = []byte("1.1 " + set.Via)
	}
	for i := range set.Routes {
		r := &set.Routes[i]
		r.removeAll = r.Remove
		if set.ClassField != "" {
			r.removeAll = append(r.Remove[:len(r.Remove):len(r.Remove)], set.ClassField)
		}
		set.Routes[i].counts = f.stats.of(set.Routes[i].Backend.Name)
	}
	f.set.Store(set)
	return nil
}

// Interrupt makes requests that wait for a backend connection give up.
func (f *Front) Interrupt() { f.cancel() }

// A parked session leaves behind that its client has had no answer yet, or how
// many of the last ones were refusals. They are boxed once.
var (
	stateNew     any = overlimit.Patience(255)
	statesServed     = [overlimit.Spent + 1]any{overlimit.Patience(0), overlimit.Patience(1), overlimit.Patience(2), overlimit.Spent}
)

// pipelined is left behind by a client that is left unread and of whose next
// requests something was read already: patience is Spent. The buffer is of a size
// that counts in no Budget, so nobody has to give it back.
type pipelined struct{ in *buffer }

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
	peer := c.RemoteAddr().Addr()
	graceful := set.Graceful || contains(set.Trusted, peer)
	denied, served := state.(overlimit.Patience)
	served = served && state != stateNew
	ahead, more := state.(*pipelined)
	if more {
		denied, served = overlimit.Spent, true
	}
	switch w {
	case sock.WakeExpired, sock.WakeDraining:
		if more || w == sock.WakeExpired && denied == overlimit.Spent {
			break // it was left unread, and may send again
		}
		// A request that has just come is served: closing now would reset it,
		// and its client could not know whether it was carried out.
		if c.Look() != sock.Readable {
			set.Connections.Leave(c)
			f.sweeper.End(c, sock.EndOurs, graceful, l.Gone())
			return sock.Next{}
		}
	case sock.WakeFull, sock.WakeAccepted:
		k, wait := fault.None, time.Duration(0)
		if len(set.Allow) > 0 && peer.IsValid() && !behind && !contains(set.Allow, peer) {
			k = fault.NotAllowed
		} else if w == sock.WakeFull {
			k = fault.MaxClients
		} else {
			k, wait = set.Connections.Enter(c)
		}
		if k != fault.None {
			f.turnAway(l, c, w, k, wait, set, graceful)
			return sock.Next{}
		}
	}
	s := f.sessions.Get().(*session)
	s.begin(l, c, set, peer, graceful, served)
	if more {
		s.in.free(f.budget)
		s.in = ahead.in
	}
	if served {
		s.patience = denied.Rested()
	}
	next := s.run(w == sock.WakeReadable && !more)
	s.release()
	s.front = f // see serve
	f.sessions.Put(s)
	return next
}

// turnAway answers a client whose request is not read. wait, unless 0, is after how
// long it may come again.
func (f *Front) turnAway(l *sock.Listener, c sock.Conn, w sock.Wake, k fault.Kind, wait time.Duration, set *Settings, graceful bool) {
	f.stats.refused.count(k)
	ending, wrote, text := sock.EndRefused, 0, k.Response(true)
	if wait > 0 {
		text = k.Answer().Append(nil, fault.Close, appendRetryAfter(nil, wait))
	}
	gone, hold := l.Refuse(w)
	if hold {
		c.WriteWithin(time.Second)
		var err error
		if wrote, err = c.TryWrite(text); err != nil {
			ending = sock.EndLost
		} else {
			ending = sock.EndUnread
		}
	}
	f.logRefused(set, c, k, text, wrote)
	f.sweeper.End(c, ending, graceful, gone)
}

func contains(set []netip.Prefix, a netip.Addr) bool {
	for _, p := range set {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// stats are a Front's counters. The sessions add to them; Stats reads them.
type stats struct {
	requestSeconds hist.Hist // from the first byte of the head to the last of the response

	refused outcomes // before a route was known

	mu        sync.Mutex
	byBackend map[string]*outcomes
}

// classes of statuses that backends gave, 1xx to 5xx.
const classes = 6

// outcomes counts how requests ended: by the class of the backend's status, or
// by fault.
type outcomes struct {
	staleRetries atomic.Uint64 // requests that were sent a second time
	class        [classes]atomic.Uint64
	kind         [64]atomic.Uint64
}

func (o *outcomes) count(k fault.Kind) { o.kind[k].Add(1) }
func (o *outcomes) status(status int)  { o.class[status/100%classes].Add(1) }
func (s *stats) of(name string) *outcomes {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.byBackend[name]
	if o == nil {
		o = new(outcomes)
		s.byBackend[name] = o
	}
	return o
}

// Stats is a Front's state by value.
type Stats struct {
	Requests       map[string]map[string]uint64 // by backend ("" before one was chosen) and outcome
	RequestSeconds hist.Snapshot
	StaleRetries   map[string]uint64 // by backend
}

// Stats returns the counts so far.
func (f *Front) Stats() Stats {
	s := &f.stats
	st := Stats{
		Requests:       map[string]map[string]uint64{"": s.refused.snapshot()},
		RequestSeconds: s.requestSeconds.Snapshot(),
		StaleRetries:   map[string]uint64{},
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, o := range s.byBackend {
		st.Requests[name] = o.snapshot()
		st.StaleRetries[name] = o.staleRetries.Load()
	}
	return st
}

var classNames = [classes]string{1: "1xx", 2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx"}

func (o *outcomes) snapshot() map[string]uint64 {
	m := map[string]uint64{}
	for i, name := range classNames {
		if n := o.class[i].Load(); n > 0 {
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
