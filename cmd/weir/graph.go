package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"weir/configs"
	"weir/internal/accesslog"
	"weir/internal/reason"
	"weir/internal/sock"
	"weir/limiter"
	"weir/pool"
	"weir/proxy"
	"weir/proxy/fault/overlimit"
	"weir/proxy/http1"
	"weir/proxy/mysql"
)

// graph is a running weir: the parts, and how a configuration is made of them.
type graph struct {
	log     *slog.Logger
	access  *accesslog.Log // nil: there is none, whatever log.access says
	slow    *accesslog.Log // of log.slow_query; nil as access
	poller  *sock.Poller
	sweeper *sock.Sweeper
	server  *proxy.Server
	budget  *http1.Budget
	pressed *pressed

	mu       sync.Mutex // held by apply and stop
	cfg      *configs.Config
	backends map[string]*backend
	fronts   map[string]proxy.Front // *http1.Front or *mysql.Front
	gates    *gates                 // of the limits blocks
	sessions *mysql.Sessions
	retired  map[string]*retirement // backends that a reload took away and requests may still use
	cold     map[string]error       // backends that readiness waits for
	unknown  map[string]struct{}    // those whose server readiness waits for
	attached map[string]*attached   // MySQL backends, as lookAttached has seen them

	quit    chan struct{}  // closed by stop
	removed sync.WaitGroup // those who wait to close what is retired
	watch   sync.WaitGroup // those who look every now and then
	warm    sync.WaitGroup // those who wait for min_idle
	sockets sockets        // to backends
	seen    *socketWatch   // what the kernel holds

	draining              atomic.Bool
	reloadsOK, reloadsBad atomic.Uint64
}

// backend is a pool and what it was made from.
type backend struct {
	cfg     configs.Backend
	pool    *pool.Pool
	retries *limiter.RetryBudget // nil for MySQL: a statement is never sent twice
	*governor
	*database // nil for HTTP
}

func newGraph(log *slog.Logger) (*graph, error) { return newGraphUnder(log, onThisMachine()) }

// newGraphUnder is newGraph for tests that bring their own pressure.
func newGraphUnder(log *slog.Logger, p *pressed) (*graph, error) {
	poller, err := sock.NewPoller()
	if err != nil {
		p.close()
		return nil, fmt.Errorf("poller: %w", err)
	}
	g := &graph{
		log: log, poller: poller, sweeper: sock.NewSweeper(),
		budget: http1.NewBudget(0), pressed: p, seen: newSocketWatch(log),
		backends: map[string]*backend{}, fronts: map[string]proxy.Front{}, sessions: mysql.NewSessions(),
		retired: map[string]*retirement{}, cold: map[string]error{}, unknown: map[string]struct{}{}, attached: map[string]*attached{}, quit: make(chan struct{}),
	}
	g.server = proxy.NewServer(poller, log)
	g.watch.Go(func() { every(attachedTick, g.quit, g.lookAttached) })
	g.watch.Go(func() { every(limiter.ModeTick, g.quit, g.govern) })
	g.lookPressure(time.Now())
	g.watch.Go(func() { every(pressureTick, g.quit, g.lookPressure) })
	g.watch.Go(func() { every(socketTick, g.quit, g.lookSockets) })
	return g, nil
}

// apply makes cfg the running configuration, or changes nothing and says why.
// Whatever can fail comes first; what is left cannot.
func (g *graph) apply(cfg *configs.Config) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := cfg.CheckLimits(openFiles()); err != nil {
		return err
	}
	first := g.cfg == nil
	if first { // the listeners serve before this returns
		g.budget.SetLimit(int64(cfg.Memory.Buffers))
	}
	backends := map[string]*backend{}
	var fresh []*backend
	abandon := func() {
		for _, b := range fresh {
			g.closePool(b)
		}
	}
	for _, bc := range cfg.Backends {
		b, err := g.backend(bc)
		if err != nil {
			abandon()
			return err
		}
		backends[bc.Name] = b
		if g.running(bc.Name) == nil {
			fresh = append(fresh, b)
		}
	}
	fronts, gates := map[string]proxy.Front{}, newGates(g.gates)
	specs := make([]proxy.Listener, len(cfg.Listeners))
	adopt := make([]func() error, len(cfg.Listeners)) // gives a front that serves already its new settings
	for i := range cfg.Listeners {
		lc := &cfg.Listeners[i]
		f, apply, err := g.front(lc, cfg, backends, gates)
		if err != nil {
			abandon()
			return err
		}
		fronts[lc.Name], adopt[i] = f, apply
		specs[i] = proxy.Listener{Name: lc.Name, MaxClients: lc.MaxClients, DeferAccept: lc.DeferAccept, Front: f}
		for _, a := range lc.Address {
			specs[i].Addresses = append(specs[i].Addresses, string(a))
		}
	}
	opened, err := g.server.Open(specs)
	if err != nil {
		abandon()
		return err
	}

	// From here on nothing fails: configs has checked what Apply checks.
	for _, bc := range cfg.Backends {
		b := backends[bc.Name]
		b.cfg = bc
		if b.database != nil {
			b.server.Apply(b.next)
			b.opt = b.next
		}
		if err := b.pool.Apply(g.poolOptions(bc, b.database)); err != nil {
			g.log.Error("BUG: a checked configuration was refused", "backend", bc.Name, "err", err)
		}
		b.governor.apply(&bc)
	}
	for i, lc := range cfg.Listeners {
		if g.fronts[lc.Name] == nil {
			continue // it was made with them, and may serve already
		}
		if err := adopt[i](); err != nil {
			g.log.Error("BUG: a checked configuration was refused", "listener", lc.Name, "err", err)
		}
	}
	for _, b := range fresh {
		if b.database != nil {
			g.learn(b)
		}
	}
	gates.commit()
	g.budget.SetLimit(int64(cfg.Memory.Buffers))
	opened.Commit(cfg.Drain.Timeout)
	g.server.HearAll() // the limits that held them back may be gone
	for name, b := range g.backends {
		if backends[name] == nil {
			g.retire(b, cfg.Drain.Timeout)
		}
	}
	for name := range backends {
		delete(g.retired, name) // it is back, with its pool
	}
	if first { // later a backend that is new must not take away the readiness of the others
		for _, b := range fresh {
			g.warmUp(b)
		}
	}
	g.cfg, g.backends, g.fronts, g.gates = cfg, backends, fronts, gates
	return nil
}

// running finds the backend of that name whose pool works, retired ones
// included: two pools for one backend would have two bounds.
func (g *graph) running(name string) *backend {
	if b := g.backends[name]; b != nil {
		return b
	}
	if r := g.retired[name]; r != nil {
		return r.backend
	}
	return nil
}

// backend finds the running backend of that name, or makes one.
func (g *graph) backend(bc configs.Backend) (*backend, error) {
	old := g.running(bc.Name)
	if old != nil && old.cfg.Protocol != bc.Protocol {
		return nil, fmt.Errorf("backends[%s]: a backend of this name that speaks %s was taken away and is still in use; "+
			"reload again later, or use another name", bc.Name, old.cfg.Protocol)
	}
	if bc.Protocol == configs.ProtocolMySQL {
		return g.mysqlBackend(bc, old)
	}
	percent := int(math.Round(bc.RetryBudget.Fraction() * 100))
	if old != nil && old.cfg.RetryBudget == bc.RetryBudget {
		return old, nil
	}
	perSecond := minRetries
	if percent == 0 {
		perSecond = 0
	}
	retries, err := limiter.NewRetryBudget(percent, perSecond)
	if err != nil {
		return nil, fmt.Errorf("backends[%s].retry_budget: %w", bc.Name, err)
	}
	if old != nil {
		return &backend{cfg: bc, pool: old.pool, retries: retries, governor: old.governor}, nil
	}
	p, err := pool.New(g.poolOptions(bc, nil))
	if err != nil {
		return nil, err
	}
	return &backend{cfg: bc, pool: p, retries: retries, governor: newGovernor(bc.Name, p, g.log)}, nil
}

// minRetries a second are allowed whatever the share: with few requests a
// percentage of them is none.
const minRetries = 3

func (g *graph) poolOptions(bc configs.Backend, d *database) pool.Options {
	address, source := string(bc.Endpoints[0].Address), bc.SourceAddr()
	o := pool.Options{
		Name: bc.Name, Address: address, Stamp: bc.Source,
		MaxOpen: bc.Pool.MaxOpen, Reserved: bc.Pool.Reserved, MinIdle: bc.Pool.MinIdle,
		IdleTimeout: bc.Pool.IdleTimeout, MaxLifetime: bc.Pool.MaxLifetime,
		DialTimeout: bc.Dial.Timeout, DialRate: max(1, int(bc.Dial.Rate.PerSecond())), DialConcurrent: bc.Dial.Concurrent,
		HolderLooks: true, // the fronts do
		QueueMax:    bc.Queue.Max, QueueTimeout: bc.Queue.Timeout,
		Connect: func(ctx context.Context, _ string) (sock.Conn, any, error) {
			c, err := sock.Dial(ctx, address, source)
			return c, nil, err
		},
		OnOpen: func(c sock.Conn, _ reason.Open) {
			g.sockets.opened(c, g.seen.book(bc.Name, c.LocalAddr(), c.RemoteAddr()))
		},
		OnClose: func(c sock.Conn, _ reason.Close, how sock.How) { g.sockets.closed(c).Closed(ends[how]) },
		Log:     g.log,
	}
	if d != nil {
		g.mysqlOptions(&o, &bc, d)
	}
	return o
}

// front finds the running front of a listener, or makes one. apply gives a
// running one its new settings.
func (g *graph) front(lc *configs.Listener, cfg *configs.Config, backends map[string]*backend, gates *gates) (f proxy.Front, apply func() error, err error) {
	old := g.fronts[lc.Name]
	if lc.Protocol == configs.ProtocolMySQL {
		set, err := g.mysqlSettings(lc, cfg.Backend(lc.Backend), backends[lc.Backend], gates)
		if err != nil {
			return nil, nil, err
		}
		f, ok := old.(*mysql.Front)
		if !ok {
			f = mysql.NewFront(lc.Name, set, g.sweeper, g.sessions, g.log)
		}
		return f, func() error { f.Apply(set); return nil }, nil
	}
	set, err := listenerSettings(*lc, cfg, backends, gates)
	if err != nil {
		return nil, nil, err
	}
	if cfg.Log.Access != configs.AccessNone {
		set.Access = g.access
	}
	h, ok := old.(*http1.Front)
	if !ok {
		h, err = http1.NewFront(lc.Name, set, g.sweeper, g.budget, g.log)
	} else {
		_, err = http1.NewRouter(rules(set)) // all that Front.Apply can refuse
	}
	if err != nil {
		return nil, nil, err
	}
	return h, func() error { return h.Apply(set) }, nil
}

func listenerSettings(lc configs.Listener, cfg *configs.Config, backends map[string]*backend, gates *gates) (*http1.Settings, error) {
	var errs []error
	limit := func(path string, l *configs.Limits, bounded bool) overlimit.Limit {
		x, err := gates.limit(path, l, bounded)
		errs = append(errs, err)
		return x
	}
	known := map[string]*http1.Backend{}
	to := func(name string) *http1.Backend {
		if be := known[name]; be != nil { // that of another route
			return be
		}
		b := backends[name]
		bc := cfg.Backend(name)
		be := &http1.Backend{
			Limit: limit("backends["+name+"]", &bc.Limits, false), Guard: b.Guard,
			Name: name, Address: bc.Endpoints[0].Address.Target(), Pool: b.pool, Retries: b.retries,
			ResponseHeader: bc.Timeouts.ResponseHeader, BodyIdle: bc.Timeouts.BodyIdle,
		}
		if o := &bc.Overload; o.Body() != nil {
			be.Static = http1.NewStatic(o.OK(), o.Type(), o.Body())
		}
		known[name] = be
		return be
	}
	set := &http1.Settings{
		MaxHeader: int(lc.MaxHeader), MaxURI: int(lc.MaxURI), MaxBody: int64(lc.MaxBody),
		HeaderTimeout: lc.Timeouts.Header, BodyIdle: lc.Timeouts.BodyIdle,
		SendTimeout: lc.Timeouts.Send, IdleTimeout: lc.Timeouts.Idle,
		Graceful: lc.Close == "graceful", Allow: lc.Allow, Class: limiter.Class(lc.Priority), ClassField: lc.PriorityHeader, Trusted: lc.TrustedProxies, ProxyProtocol: lc.ProxyProtocol,
		XForwarded: lc.XForwarded, Forwarded: lc.Forwarded, Via: lc.Via, MakeID: lc.RequestID == "make", ModeHeader: lc.ModeHeader,
	}
	path := "listeners[" + lc.Name + "]"
	set.Limit = limit(path, &lc.Limits, true)
	var err error
	set.Connections, err = gates.connections(&lc)
	errs = append(errs, err)
	if len(lc.Routes) == 0 {
		set.Routes = []http1.Route{{Backend: to(lc.Backend)}}
	}
	for _, rc := range lc.Routes {
		r := http1.Route{Rule: http1.Rule{Host: rc.Host, Path: rc.Path}, Backend: to(rc.Backend), Strip: rc.Strip, Remove: rc.RemoveHeader,
			Class: limiter.Class(rc.Priority),
			Limit: limit(path+".routes["+rc.Host+rc.Path+"]", &rc.Limits, true)}
		for _, name := range slices.Sorted(maps.Keys(rc.SetHeader)) {
			value := rc.SetHeader[name]
			r.Set = append(r.Set, http1.Line{Name: name, Line: []byte(name + ": " + value + "\r\n")})
		}
		set.Routes = append(set.Routes, r)
	}
	return set, errors.Join(errs...)
}

func rules(set *http1.Settings) []http1.Rule {
	out := make([]http1.Rule, len(set.Routes))
	for i := range set.Routes {
		out[i] = set.Routes[i].Rule
	}
	return out
}

// warmUp waits for a backend's min_idle, and for its server to be known, for
// readiness.
func (g *graph) warmUp(b *backend) {
	if b.database != nil {
		g.unknown[b.cfg.Name] = struct{}{}
	}
	if b.cfg.Pool.MinIdle == 0 {
		return
	}
	name := b.cfg.Name
	g.cold[name] = errors.New("min_idle is not reached yet")
	g.warm.Go(func() {
		err := b.pool.Warm(context.Background()) // ends with the pool
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.cold, name)
		if err != nil && !g.draining.Load() {
			g.log.Warn("backend was not warmed up", "backend", name, "err", err)
		}
	})
}

// stop drains everything; ctx bounds it.
func (g *graph) stop(ctx context.Context) {
	// A session that waits for its backend's answer ends only by this.
	defer context.AfterFunc(ctx, g.sockets.cut)()
	g.server.Drain(ctx)
	close(g.quit)
	g.removed.Wait()
	g.watch.Wait()
	g.seen.close()
	g.pressed.close()
	g.mu.Lock()
	all := slices.Collect(maps.Values(g.backends))
	for _, r := range g.retired {
		all = append(all, r.backend)
	}
	g.mu.Unlock()
	var wg sync.WaitGroup
	for _, b := range all {
		b.database.end()
		wg.Go(func() { b.pool.Close(ctx) })
	}
	wg.Wait()
	g.warm.Wait()
	g.sweeper.Close(ctx)
	g.poller.Close()
}
