package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"weir/configs"
	"weir/internal/accesslog"
	"weir/internal/reason"
	"weir/internal/sock"
	"weir/limiter"
	"weir/pool"
	"weir/proxy"
	"weir/proxy/http1"
)

// graph is a running weir: the parts, and how a configuration is made of them.
type graph struct {
	log     *slog.Logger
	access  *accesslog.Log // nil: there is none, whatever log.access says
	poller  *sock.Poller
	sweeper *sock.Sweeper
	server  *proxy.Server
	budget  *http1.Budget

	mu       sync.Mutex // held by apply and stop
	cfg      *configs.Config
	backends map[string]*backend
	fronts   map[string]*http1.Front
	retired  map[string]*retirement // backends that a reload took away and requests may still use
	cold     map[string]error       // backends that readiness waits for

	quit    chan struct{}  // closed by stop
	removed sync.WaitGroup // those who wait to close what is retired
	warm    sync.WaitGroup // those who wait for min_idle
	sockets sockets        // to backends

	draining              atomic.Bool
	reloadsOK, reloadsBad atomic.Uint64
}

// backend is a pool and what it was made from.
type backend struct {
	cfg     configs.Backend
	pool    *pool.Pool
	retries *limiter.RetryBudget
}

func newGraph(log *slog.Logger) (*graph, error) {
	poller, err := sock.NewPoller()
	if err != nil {
		return nil, fmt.Errorf("poller: %w", err)
	}
	g := &graph{
		log: log, poller: poller, sweeper: sock.NewSweeper(),
		budget:   http1.NewBudget(0),
		backends: map[string]*backend{}, fronts: map[string]*http1.Front{},
		retired: map[string]*retirement{}, cold: map[string]error{}, quit: make(chan struct{}),
	}
	g.server = proxy.NewServer(poller, log)
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
	fronts := map[string]*http1.Front{}
	specs := make([]proxy.Listener, len(cfg.Listeners))
	settings := make([]*http1.Settings, len(cfg.Listeners))
	for i, lc := range cfg.Listeners {
		settings[i] = listenerSettings(lc, cfg, backends)
		if cfg.Log.Access != configs.AccessNone {
			settings[i].Access = g.access
		}
		f := g.fronts[lc.Name]
		var err error
		if f == nil {
			f, err = http1.NewFront(lc.Name, settings[i], g.sweeper, g.budget, g.log)
		} else {
			_, err = http1.NewRouter(rules(settings[i])) // all that Front.Apply can refuse
		}
		if err != nil {
			abandon()
			return err
		}
		fronts[lc.Name] = f
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
		if err := b.pool.Apply(g.poolOptions(bc)); err != nil {
			g.log.Error("BUG: a checked configuration was refused", "backend", bc.Name, "err", err)
		}
	}
	for i, lc := range cfg.Listeners {
		if g.fronts[lc.Name] == nil {
			continue // it was made with them, and may serve already
		}
		if err := fronts[lc.Name].Apply(settings[i]); err != nil {
			g.log.Error("BUG: a checked configuration was refused", "listener", lc.Name, "err", err)
		}
	}
	g.budget.SetLimit(int64(cfg.Memory.Buffers))
	opened.Commit(cfg.Drain.Timeout)
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
	g.cfg, g.backends, g.fronts = cfg, backends, fronts
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
	percent := int(math.Round(bc.RetryBudget.Fraction() * 100))
	old := g.running(bc.Name)
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
		return &backend{cfg: bc, pool: old.pool, retries: retries}, nil
	}
	p, err := pool.New(g.poolOptions(bc))
	if err != nil {
		return nil, err
	}
	return &backend{cfg: bc, pool: p, retries: retries}, nil
}

// minRetries a second are allowed whatever the share: with few requests a
// percentage of them is none.
const minRetries = 3

func (g *graph) poolOptions(bc configs.Backend) pool.Options {
	address := string(bc.Endpoints[0].Address)
	return pool.Options{
		Name: bc.Name, Address: address,
		MaxOpen: bc.Pool.MaxOpen, Reserved: bc.Pool.Reserved, MinIdle: bc.Pool.MinIdle,
		IdleTimeout: bc.Pool.IdleTimeout, MaxLifetime: bc.Pool.MaxLifetime,
		DialTimeout: bc.Dial.Timeout, DialRate: max(1, int(bc.Dial.Rate.PerSecond())), DialConcurrent: bc.Dial.Concurrent,
		HolderLooks: true, // http1 does
		QueueMax:    bc.Queue.Max, QueueTimeout: bc.Queue.Timeout,
		Connect: func(ctx context.Context, _ string) (sock.Conn, any, error) {
			c, err := sock.Dial(ctx, address, netip.Addr{})
			return c, nil, err
		},
		OnOpen:  func(c sock.Conn, _ reason.Open) { g.sockets.opened(c) },
		OnClose: func(c sock.Conn, _ reason.Close, _ sock.How) { g.sockets.closed(c) },
		Log:     g.log,
	}
}

func listenerSettings(lc configs.Listener, cfg *configs.Config, backends map[string]*backend) *http1.Settings {
	to := func(name string) *http1.Backend {
		b := backends[name]
		bc := cfg.Backend(name)
		return &http1.Backend{
			Name: name, Address: bc.Endpoints[0].Address.Target(), Pool: b.pool, Retries: b.retries,
			ResponseHeader: bc.Timeouts.ResponseHeader, BodyIdle: bc.Timeouts.BodyIdle,
		}
	}
	set := &http1.Settings{
		MaxHeader: int(lc.MaxHeader), MaxURI: int(lc.MaxURI), MaxBody: int64(lc.MaxBody),
		HeaderTimeout: lc.Timeouts.Header, BodyIdle: lc.Timeouts.BodyIdle,
		SendTimeout: lc.Timeouts.Send, IdleTimeout: lc.Timeouts.Idle,
		Graceful: lc.Close == "graceful", Allow: lc.Allow, Trusted: lc.TrustedProxies,
		XForwarded: lc.XForwarded, Forwarded: lc.Forwarded, Via: lc.Via, MakeID: lc.RequestID == "make",
	}
	if len(lc.Routes) == 0 {
		set.Routes = []http1.Route{{Backend: to(lc.Backend)}}
	}
	for _, rc := range lc.Routes {
		r := http1.Route{Rule: http1.Rule{Host: rc.Host, Path: rc.Path}, Backend: to(rc.Backend), Strip: rc.Strip, Remove: rc.RemoveHeader}
		for _, name := range slices.Sorted(maps.Keys(rc.SetHeader)) {
			value := rc.SetHeader[name]
			r.Set = append(r.Set, http1.Line{Name: name, Line: []byte(name + ": " + value + "\r\n")})
		}
		set.Routes = append(set.Routes, r)
	}
	return set
}

func rules(set *http1.Settings) []http1.Rule {
	out := make([]http1.Rule, len(set.Routes))
	for i := range set.Routes {
		out[i] = set.Routes[i].Rule
	}
	return out
}

// warmUp waits for a backend's min_idle, for readiness.
func (g *graph) warmUp(b *backend) {
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
	g.mu.Lock()
	all := slices.Collect(maps.Values(g.backends))
	for _, r := range g.retired {
		all = append(all, r.backend)
	}
	g.mu.Unlock()
	var wg sync.WaitGroup
	for _, b := range all {
		wg.Go(func() { b.pool.Close(ctx) })
	}
	wg.Wait()
	g.warm.Wait()
	g.sweeper.Close(ctx)
	g.poller.Close()
}
