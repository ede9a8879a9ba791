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
		Status:   func() any { return d.status() },
		Pprof:    cfg.Admin.Pprof,
		Log:      d.log.Logger,
		Actions: map[string]func(context.Context) error{
			"reload": func(ctx context.Context) error {
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
			"drain": func(context.Context) error {
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
	}
	stale := map[string]uint64{}
	for _, l := range g.listenerStats() {
		f := g.fronts[l.name].Stats()
		ls := admin.ListenerSnapshot{
			Name: l.name, Accepting: l.stats.Accepting, Clients: int(l.stats.Open), ClientsTotal: l.stats.Accepted,
			RequestTime: f.RequestSeconds,
		}
		for _, h := range sock.Hows() {
			ls.Closed = append(ls.Closed, admin.Count{Label: h.String(), N: l.stats.Closed[h]})
		}
		shed := map[string]uint64{}
		for _, b := range slices.Sorted(maps.Keys(f.Requests)) {
			for _, outcome := range outcomes(b, f.Requests[b]) {
				n := f.Requests[b][outcome]
				ls.Requests = append(ls.Requests, admin.RequestCount{Backend: b, Outcome: outcome, N: n})
				shed[outcome] += n
			}
		}
		// Of a flood most are closed without a word, and no front sees them.
		shed[fault.MaxClients.String()] = l.stats.Full
		for _, k := range fault.Kinds() {
			if k.Side() == fault.Weir && k != fault.Internal {
				ls.Shed = append(ls.Shed, admin.Count{Label: k.String(), N: shed[k.String()]})
			}
		}
		for name, n := range f.StaleRetries {
			stale[name] += n
		}
		s.Listeners = append(s.Listeners, ls)
	}
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
		s.Backends = append(s.Backends, bs)
	}
	return s
}

// usual are the outcomes that are shown before they happen, so that the first
// one is seen as a rise.
var usual = func() []string {
	out := []string{"2xx", "3xx", "4xx", "5xx"}
	for _, k := range fault.Kinds() {
		if k.Side() != fault.Client && k != fault.MaxClients {
			out = append(out, k.String())
		}
	}
	return out
}()

// outcomes lists the outcomes to show of a backend's requests.
func outcomes(backend string, seen map[string]uint64) []string {
	out := slices.Collect(maps.Keys(seen))
	if backend != "" {
		out = append(out, usual...)
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
		if f == nil || a.Front != nil && a.Front != proxy.Front(f) {
			continue // taken away, and perhaps another one has its name now
		}
		if n := len(out); n == 0 || out[n-1].name != a.Name {
			out = append(out, listener{name: a.Name})
		}
		l := &out[len(out)-1]
		if a.Accepting {
			l.addresses = append(l.addresses, a.Address)
		}
		l.stats.Open += a.Open
		l.stats.Parked += a.Parked
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

// Status is what /api/status shows. Its names are part of the interface.
type Status struct {
	Version       string           `json:"version"`
	UptimeSeconds int64            `json:"uptime_seconds"`
	Config        string           `json:"config"`
	Draining      bool             `json:"draining"`
	Listeners     []ListenerStatus `json:"listeners"`
	Backends      []BackendStatus  `json:"backends"`
	Closing       ClosingStatus    `json:"closing"`
	Buffers       BufferStatus     `json:"buffers"`
	AccessLog     AccessLogStatus  `json:"access_log"`
}

// ListenerStatus is one listener.
type ListenerStatus struct {
	Name          string                       `json:"name"`
	Addresses     []string                     `json:"addresses"`
	Accepting     bool                         `json:"accepting"`
	Clients       int64                        `json:"clients"`
	Parked        int64                        `json:"parked"`
	Accepted      uint64                       `json:"accepted"`
	RefusedFull   uint64                       `json:"refused_full"`
	AcceptErrors  uint64                       `json:"accept_errors"`
	Closed        map[string]uint64            `json:"closed"`
	Requests      map[string]map[string]uint64 `json:"requests"`
	P50Seconds    float64                      `json:"p50_seconds"`
	P99Seconds    float64                      `json:"p99_seconds"`
	RequestsTotal uint64                       `json:"requests_total"`
}

// BackendStatus is one backend.
type BackendStatus struct {
	Name        string            `json:"name"`
	Address     string            `json:"address"`
	MaxOpen     int               `json:"max_open"`
	Open        int               `json:"open"`
	MostOpen    int               `json:"most_open"`
	Idle        int               `json:"idle"`
	Leased      int               `json:"leased"`
	Dialing     int               `json:"dialing"`
	Waiting     int               `json:"waiting"`
	Opened      map[string]uint64 `json:"opened"`
	Dials       map[string]uint64 `json:"dials"`
	Closed      map[string]uint64 `json:"closed"`
	HandOvers   uint64            `json:"hand_overs"`
	QueueFull   uint64            `json:"queue_full"`
	QueueTime   uint64            `json:"queue_timeout"`
	WaitP99     float64           `json:"wait_p99_seconds"`
	LearnedIdle string            `json:"learned_idle,omitempty"`
	HoldDown    string            `json:"hold_down,omitempty"`
	LastError   string            `json:"last_error,omitempty"`
}

// ClosingStatus tells of client connections that wait for their end.
type ClosingStatus struct {
	Held         int64  `json:"held"`
	NoTimestamps uint64 `json:"no_timestamps"`
	InFlight     uint64 `json:"in_flight"`
}

// BufferStatus tells of memory.buffers.
type BufferStatus struct {
	Bytes   int64  `json:"bytes"`
	Refused uint64 `json:"refused"`
}

// AccessLogStatus tells of the access log, in lines.
type AccessLogStatus struct {
	To        string `json:"to"` // log.access
	Written   uint64 `json:"written"`
	Dropped   uint64 `json:"dropped"`
	LastError string `json:"last_error,omitempty"` // while it cannot be written
}

func (d *daemon) status() Status {
	g := d.graph
	g.mu.Lock()
	defer g.mu.Unlock()
	sweep := g.sweeper.Stats()
	st := Status{
		Version: versionText(), UptimeSeconds: int64(time.Since(d.started).Seconds()), Config: d.path, Draining: g.draining.Load(),
		Closing: ClosingStatus{Held: sweep.Held, NoTimestamps: sweep.NoTimestamps, InFlight: sweep.InFlight},
	}
	st.Buffers.Bytes, st.Buffers.Refused = g.budget.Used()
	lines := g.access.Stats()
	st.AccessLog = AccessLogStatus{To: g.cfg.Log.Access, Written: lines.Written, Dropped: lines.Dropped}
	if lines.Err != nil {
		st.AccessLog.LastError = lines.Err.Error()
	}
	for _, l := range g.listenerStats() {
		f := g.fronts[l.name].Stats()
		ls := ListenerStatus{
			Name: l.name, Addresses: l.addresses, Accepting: l.stats.Accepting, Clients: l.stats.Open, Parked: l.stats.Parked,
			Accepted: l.stats.Accepted, RefusedFull: l.stats.Full, AcceptErrors: l.stats.AcceptErrors,
			Closed: map[string]uint64{}, Requests: f.Requests, RequestsTotal: f.RequestSeconds.Count(),
			P50Seconds: quantile(f.RequestSeconds, 0.5), P99Seconds: quantile(f.RequestSeconds, 0.99),
		}
		for _, h := range sock.Hows() {
			ls.Closed[h.String()] = l.stats.Closed[h]
		}
		st.Listeners = append(st.Listeners, ls)
	}
	for _, name := range slices.Sorted(maps.Keys(g.backends)) {
		st.Backends = append(st.Backends, backendStatus(g.backends[name]))
	}
	return st
}

func quantile(s hist.Snapshot, q float64) float64 { return s.Quantile(q).Seconds() }

func backendStatus(b *backend) BackendStatus {
	p := b.pool.Stats()
	bs := BackendStatus{
		Name: b.cfg.Name, Address: string(b.cfg.Endpoints[0].Address), MaxOpen: p.MaxOpen, Open: p.Open, MostOpen: p.MostOpen,
		Idle: p.Idle, Leased: p.Leased, Dialing: p.Dialing, Waiting: p.Waiting,
		Opened: words(p.Opens), Dials: words(p.Dials), Closed: words(p.Closes),
		HandOvers: p.HandOvers, QueueFull: p.QueueFull, QueueTime: p.QueueTimeout, WaitP99: quantile(p.Waits, 0.99),
	}
	if p.LearnedIdle > 0 {
		bs.LearnedIdle = p.LearnedIdle.String()
	}
	if p.HoldDown > 0 {
		bs.HoldDown = p.HoldDown.String()
	}
	if p.LastError != nil {
		bs.LastError = p.LastError.Error()
	}
	return bs
}

// words turns counts by kind into counts by name, leaving out what never was.
func words[K interface {
	comparable
	fmt.Stringer
}](m map[K]uint64) map[string]uint64 {
	out := map[string]uint64{}
	for k, n := range m {
		if n > 0 {
			out[k.String()] = n
		}
	}
	return out
}
