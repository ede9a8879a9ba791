package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"weir/configs"
	"weir/internal/sock"
	"weir/limiter"
	"weir/pool"
	"weir/proxy"
	"weir/proxy/http1"
)

// graph is a running weir: the parts, and how a configuration is made of them.
type graph struct {
	log     *slog.Logger
	poller  *sock.Poller
	sweeper *sock.Sweeper
	server  *proxy.Server
	budget  *http1.Budget

	mu       sync.Mutex // held by apply and stop
	cfg      *configs.Config
	backends map[string]*backend
	fronts   map[string]*http1.Front

	removed sync.WaitGroup // pools of backends that a reload took away, while they close
	warm    sync.WaitGroup // waiting for min_idle
	cold    map[string]error

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
		backends: map[string]*backend{}, fronts: map[string]*http1.Front{}, cold: map[string]error{},
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
	if g.budget == nil {
		g.budget = http1.NewBudget(int64(cfg.Memory.Buffers))
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
		if g.backends[bc.Name] == nil {
			fresh = append(fresh, b)
		}
	}
	fronts := map[string]*http1.Front{}
	specs := make([]proxy.Listener, len(cfg.Listeners))
	settings := make([]*http1.Settings, len(cfg.Listeners))
	for i, lc := range cfg.Listeners {
		settings[i] = listenerSettings(lc, cfg, backends)
		f := g.fronts[lc.Name]
		if f == nil {
			var err error
			if f, err = http1.NewFront(lc.Name, settings[i], g.sweeper, g.budget, g.log); err != nil {
				abandon()
				return err
			}
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
		if err := b.pool.Apply(poolOptions(bc, g.log)); err != nil {
			g.log.Error("BUG: a checked configuration was refused", "backend", bc.Name, "err", err)
		}
	}
	for i, lc := range cfg.Listeners {
		if err := fronts[lc.Name].Apply(settings[i]); err != nil {
			g.log.Error("BUG: a checked configuration was refused", "listener", lc.Name, "err", err)
		}
	}
	g.budget.SetLimit(int64(cfg.Memory.Buffers))
	opened.Commit(cfg.Drain.Timeout)
	for name, b := range g.backends {
		if backends[name] == nil {
			g.removed.Go(func() { g.closePool(b) })
		}
	}
	for _, b := range fresh {
		g.warmUp(b)
	}
	g.cfg, g.backends, g.fronts = cfg, backends, fronts
	return nil
}

// backend finds the running backend of that name, or makes one.
func (g *graph) backend(bc configs.Backend) (*backend, error) {
	percent := int(math.Round(bc.RetryBudget.Fraction() * 100))
	old := g.backends[bc.Name]
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
	p, err := pool.New(poolOptions(bc, g.log))
	if err != nil {
		return nil, err
	}
	return &backend{cfg: bc, pool: p, retries: retries}, nil
}

// minRetries a second are allowed whatever the share: with few requests a
// percentage of them is none.
const minRetries = 3

func poolOptions(bc configs.Backend, log *slog.Logger) pool.Options {
	address := string(bc.Endpoints[0].Address)
	return pool.Options{
		Name: bc.Name, Address: address,
		MaxOpen: bc.Pool.MaxOpen, Reserved: bc.Pool.Reserved, MinIdle: bc.Pool.MinIdle,
		IdleTimeout: bc.Pool.IdleTimeout, MaxLifetime: bc.Pool.MaxLifetime,
		DialTimeout: bc.Dial.Timeout, DialRate: max(1, int(bc.Dial.Rate.PerSecond())), DialConcurrent: bc.Dial.Concurrent,
		QueueMax: bc.Queue.Max, QueueTimeout: bc.Queue.Timeout,
		Connect: func(ctx context.Context, _ string) (sock.Conn, any, error) {
			c, err := sock.Dial(ctx, address, netip.Addr{})
			return c, nil, err
		},
		Log: log,
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
		for name, value := range rc.SetHeader {
			r.Set = append(r.Set, http1.Line{Name: name, Line: []byte(name + ": " + value + "\r\n")})
		}
		set.Routes = append(set.Routes, r)
	}
	return set
}

// warmUp waits for a new backend's min_idle, for readiness.
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
		if err != nil {
			g.log.Warn("backend was not warmed up", "backend", name, "err", err)
		}
	})
}

// closePool closes a pool; leases that outlast the drain timeout are left to
// their sessions, which are cut off at the same time.
func (g *graph) closePool(b *backend) {
	patience := 30 * time.Second
	if g.cfg != nil {
		patience = g.cfg.Drain.Timeout
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := b.pool.Close(ctx); err != nil {
		g.log.Warn("backend was closed while in use", "backend", b.cfg.Name, "err", err)
	}
}

// stop drains everything; ctx bounds it.
func (g *graph) stop(ctx context.Context) {
	g.server.Drain(ctx)
	g.mu.Lock()
	backends := g.backends
	g.mu.Unlock()
	var wg sync.WaitGroup
	for _, b := range backends {
		wg.Go(func() { b.pool.Close(ctx) })
	}
	wg.Wait()
	g.removed.Wait()
	g.warm.Wait()
	g.sweeper.Close(ctx)
	g.poller.Close()
}
