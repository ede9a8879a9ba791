package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"weir/admin"
	"weir/configs"
	"weir/internal/hist"
	"weir/internal/reason"
	"weir/internal/sock"
	"weir/pool"
	"weir/proxy"
	"weir/proxy/fault"
	"weir/proxy/http1"
	"weir/proxy/mysql"
)

func (g *graph) config() *configs.Config {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.cfg
}

func (g *graph) countReload(err error) {
	if err != nil {
		g.reloadsBad.Add(1)
		return
	}
	g.reloadsOK.Add(1)
}

// adminOptions wires the admin server to what it shows and does.
func (d *daemon) adminOptions(cfg *configs.Config) admin.Options {
	g := d.graph
	return admin.Options{
		Version:  versionText(),
		Snapshot: g.snapshot,
		Ready:    g.notReady,
		Status:   func() any { return d.statusPage() },
		Live:     d.live(),
		Pprof:    cfg.Admin.Pprof,
		Log:      d.log.Logger,
		Actions: map[string]admin.Action{
			"reload": func(ctx context.Context, _ func(string) string) error {
				answer := make(chan error, 1)
				select {
				case d.reload <- answer:
					err := <-answer
					if err == nil || errors.Is(err, proxy.ErrDraining) {
						return err
					}
					return &admin.Refusal{Err: err} // tryReload has logged it
				case <-ctx.Done():
					return ctx.Err()
				}
			},
			"mode": g.modeAction,
			"drain": func(context.Context, func(string) string) error {
				select {
				case d.drain <- struct{}{}:
				default: // told already
				}
				return nil
			},
		},
	}
}

// notReady lists what is missing until traffic may come.
func (g *graph) notReady() []string {
	if g.draining.Load() {
		return []string{"draining"}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	var missing []string
	if g.cfg == nil {
		missing = append(missing, "no configuration is loaded")
	}
	for name, err := range g.cold {
		missing = append(missing, fmt.Sprintf("backend %s: %v", name, err))
	}
	missing = append(missing, g.unreached()...)
	// A balancer sends its clients elsewhere, where they need not wait.
	missing = append(missing, g.pressed.short()...)
	slices.Sort(missing)
	return missing
}

// snapshot fills what /metrics shows.
func (g *graph) snapshot() admin.Snapshot {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := admin.Snapshot{
		Reloads:          []admin.Count{{Label: "ok", N: g.reloadsOK.Load()}, {Label: "refused", N: g.reloadsBad.Load()}},
		AccessLogDropped: g.access.Stats().Dropped,
		SlowLogDropped:   g.slow.Stats().Dropped,
		Pressure:         g.pressed.shares(),
		Sockets:          g.socketsSnapshot(time.Now()),
	}
	queues := g.server.Backlogs()
	stale := map[string]uint64{}
	for _, l := range g.listenerStats() {
		f := g.frontStats(l.name)
		ls := admin.ListenerSnapshot{
			Name: l.name, Accepting: l.stats.Accepting, Queued: queues[l.name].Waiting, Clients: int(l.stats.Open), ClientsTotal: l.stats.Accepted,
			Unread: int(l.stats.Unread), UnreadTotal: l.stats.LeftUnread,
			RequestTime: f.RequestSeconds, MySQL: f.protocol == configs.ProtocolMySQL, Logins: int(f.logins),
		}
		for _, h := range sock.Hows() {
			ls.Closed = append(ls.Closed, admin.Count{Label: h.String(), N: l.stats.Closed[h]})
		}
		shed := map[string]uint64{}
		for _, b := range slices.Sorted(maps.Keys(f.Requests)) {
			for _, outcome := range outcomes(f.protocol, b, f.Requests[b]) {
				n := f.Requests[b][outcome]
				ls.Requests = append(ls.Requests, admin.RequestCount{Backend: b, Outcome: outcome, N: n})
				shed[outcome] += n
			}
		}
		// Of a flood most are closed without a word, and no front sees them.
		shed[fault.MaxClients.String()] = l.stats.Full
		for _, k := range fault.Kinds() {
			if k.Side() == fault.Weir && k != fault.Internal && spoken(f.protocol, k) {
				ls.Shed = append(ls.Shed, admin.Count{Label: k.String(), N: shed[k.String()]})
			}
		}
		for name, n := range f.StaleRetries {
			stale[name] += n
		}
		s.Listeners = append(s.Listeners, ls)
	}
	databases := g.databaseStats()
	for _, name := range slices.Sorted(maps.Keys(g.backends)) {
		st := g.backends[name].pool.Stats()
		bs := admin.BackendSnapshot{
			Name: name, Idle: st.Idle, Leased: st.Leased, Dialing: st.Dialing,
			StaleRetries: stale[name], AcquireWait: st.Waits,
		}
		for _, r := range pool.DialResults() {
			bs.Dials = append(bs.Dials, admin.Count{Label: r.String(), N: st.Dials[r]})
		}
		for _, r := range reason.Closes() {
			bs.Closed = append(bs.Closed, admin.Count{Label: r.String(), N: st.Closes[r]})
		}
		g.backends[name].governor.fill(&bs)
		if b := g.backends[name]; b.database != nil {
			bs.MySQL = b.mysqlSnapshot(databases[name], st.Groups)
		}
		s.Backends = append(s.Backends, bs)
	}
	return s
}

// requests is what fronts of all protocols count.
type requests struct {
	Requests       map[string]map[string]uint64 // by backend ("" before one was chosen) and outcome
	RequestSeconds hist.Snapshot
	StaleRetries   map[string]uint64 // by backend
}

// front is what is shown of a front.
type front struct {
	requests
	protocol string
	logins   int64 // MySQL alone
}

// frontStats is called with mu held.
func (g *graph) frontStats(listener string) front {
	switch f := g.fronts[listener].(type) {
	case *http1.Front:
		return front{requests: requests(f.Stats()), protocol: configs.ProtocolHTTP}
	case *mysql.Front:
		st := f.Stats()
		if b := g.backendOf(listener); st.Requests[b] == nil {
			st.Requests[b] = map[string]uint64{} // nobody has logged in yet
		}
		return front{requests{Requests: st.Requests, RequestSeconds: st.RequestSeconds}, configs.ProtocolMySQL, st.Logins}
	}
	return front{}
}

// spoken says whether a fault can be answered in a protocol.
func spoken(protocol string, k fault.Kind) bool {
	if protocol == configs.ProtocolMySQL {
		return k.Row().Errno != 0
	}
	return k.Row().Status != 0
}

// usual are the outcomes, by protocol, that are shown before they happen, so that
// the first one is seen as a rise.
var usual = func() map[string][]string {
	out := map[string][]string{
		configs.ProtocolHTTP:  {"2xx", "3xx", "4xx", "5xx"},
		configs.ProtocolMySQL: {"ok", "error"},
	}
	for protocol := range out {
		for _, k := range fault.Kinds() {
			switch {
			case k.Side() == fault.Client || !spoken(protocol, k):
			case k == fault.MaxClients || k == fault.LoginFlood || k == fault.ServerUnknown: // no backend was chosen
			default:
				out[protocol] = append(out[protocol], k.String())
			}
		}
	}
	return out
}()

// outcomes lists the outcomes to show of a backend's requests.
func outcomes(protocol, backend string, seen map[string]uint64) []string {
	out := slices.Collect(maps.Keys(seen))
	if backend != "" {
		out = append(out, usual[protocol]...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// listener is a listener of the configuration, its addresses added up.
type listener struct {
	name      string
	addresses []string
	stats     sock.ListenerStats
}

func (g *graph) listenerStats() []listener {
	var out []listener
	for _, a := range g.server.Stats() {
		f := g.fronts[a.Name]
		if f == nil || a.Front != nil && a.Front != f {
			continue // taken away, and perhaps another one has its name now
		}
		if n := len(out); n == 0 || out[n-1].name != a.Name {
			out = append(out, listener{name: a.Name})
		}
		l := &out[len(out)-1]
		if a.Accepting || a.Held {
			l.addresses = append(l.addresses, a.Address)
		}
		l.stats.Open += a.Open
		l.stats.Parked += a.Parked
		l.stats.Unread += a.Unread
		l.stats.LeftUnread += a.LeftUnread
		l.stats.Accepted += a.Accepted
		l.stats.Full += a.Full
		l.stats.AcceptErrors += a.AcceptErrors
		l.stats.Accepting = l.stats.Accepting || a.Accepting
		for i := range a.Closed {
			l.stats.Closed[i] += a.Closed[i]
		}
	}
	return out
}
