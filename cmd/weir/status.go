package main

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"weir/internal/accesslog"
	"weir/internal/hist"
	"weir/internal/sock"
)

// Status is what /api/status shows. Its names are part of the interface.
type Status struct {
	Version       string                    `json:"version"`
	UptimeSeconds int64                     `json:"uptime_seconds"`
	Config        string                    `json:"config"`
	Draining      bool                      `json:"draining"`
	NotAccepting  []string                  `json:"not_accepting"` // why
	Pressure      map[string]PressureStatus `json:"pressure"`      // by resource
	Listeners     []ListenerStatus          `json:"listeners"`
	Backends      []BackendStatus           `json:"backends"`
	Limits        []LimitStatus             `json:"limits"`
	Closing       ClosingStatus             `json:"closing"`
	Buffers       BufferStatus              `json:"buffers"`
	AccessLog     LineLogStatus             `json:"access_log"`
	SlowQueryLog  LineLogStatus             `json:"slow_query_log"`
	Sockets       SocketsStatus             `json:"sockets"`
}

// ListenerStatus is one listener.
type ListenerStatus struct {
	Name          string                       `json:"name"`
	Protocol      string                       `json:"protocol"`
	Addresses     []string                     `json:"addresses"`
	Accepting     bool                         `json:"accepting"`
	Queued        int                          `json:"queued"` // connected and not accepted yet, in the kernel's queue
	QueueMax      int                          `json:"queue_max"`
	Clients       int64                        `json:"clients"`
	Parked        int64                        `json:"parked"`
	Unread        int64                        `json:"unread"` // of parked
	LeftUnread    uint64                       `json:"left_unread"`
	Accepted      uint64                       `json:"accepted"`
	RefusedFull   uint64                       `json:"refused_full"`
	AcceptErrors  uint64                       `json:"accept_errors"`
	Closed        map[string]uint64            `json:"closed"`
	Requests      map[string]map[string]uint64 `json:"requests"`
	P50Seconds    float64                      `json:"p50_seconds"`
	P99Seconds    float64                      `json:"p99_seconds"`
	RequestsTotal uint64                       `json:"requests_total"`
	Logins        int64                        `json:"logins"` // under way; mysql
}

// BackendStatus is one backend.
type BackendStatus struct {
	Name        string            `json:"name"`
	Protocol    string            `json:"protocol"`
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
	Served      uint64            `json:"served"` // requests that got a connection
	QueueFull   uint64            `json:"queue_full"`
	QueueTime   uint64            `json:"queue_timeout"`
	WaitP99     float64           `json:"wait_p99_seconds"`
	InFlightMax int               `json:"in_flight_max"`
	Shed        map[int]uint64    `json:"shed"` // by priority
	Mode        ModeStatus        `json:"mode"`
	LearnedIdle string            `json:"learned_idle,omitempty"`
	HoldDown    string            `json:"hold_down,omitempty"`
	LastError   string            `json:"last_error,omitempty"`
	ErrorAge    float64           `json:"last_error_seconds,omitempty"` // of LastError
	MySQL       *MySQLStatus      `json:"mysql,omitempty"`
}

// LimitStatus is one limits block.
type LimitStatus struct {
	Of       string            `json:"of"` // the path of what has the block
	InFlight int               `json:"in_flight"`
	Refused  map[string]uint64 `json:"refused"` // by limit
	Keys     int               `json:"keys"`    // of per_rate that are short of their burst
	Evicted  uint64            `json:"evicted"` // of them, forgotten before their time: per_keys is small
}

// ModeStatus is how weir degrades before a backend.
type ModeStatus struct {
	Now        string            `json:"now"`
	Seconds    float64           `json:"seconds"` // in it
	Cause      string            `json:"cause,omitempty"`
	ByHand     bool              `json:"by_hand"`
	Signs      string            `json:"signs"`   // what it would be without a hand
	Entered    map[string]uint64 `json:"entered"` // times, by mode
	Breaker    string            `json:"breaker,omitempty"`
	BreakerFor float64           `json:"breaker_retry_seconds,omitempty"`
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

// LineLogStatus tells of the access log, or of the slow-query log, in lines.
type LineLogStatus struct {
	To        string `json:"to"` // log.access, log.slow_query
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
	st.AccessLog = lineLogStatus(g.cfg.Log.Access, g.access)
	st.SlowQueryLog = lineLogStatus(g.cfg.Log.SlowQuery, g.slow)
	st.NotAccepting, st.Pressure = append([]string{}, g.pressed.short()...), g.pressed.status(time.Now())
	if st.Draining {
		st.NotAccepting = append(st.NotAccepting, "draining")
	}
	queues := g.server.Backlogs()
	for _, l := range g.listenerStats() {
		f, queue := g.frontStats(l.name), queues[l.name]
		ls := ListenerStatus{
			Name: l.name, Protocol: f.protocol, Logins: f.logins, Addresses: l.addresses, Accepting: l.stats.Accepting, Queued: queue.Waiting, QueueMax: queue.Most, Clients: l.stats.Open, Parked: l.stats.Parked,
			Unread: l.stats.Unread, LeftUnread: l.stats.LeftUnread,
			Accepted: l.stats.Accepted, RefusedFull: l.stats.Full, AcceptErrors: l.stats.AcceptErrors,
			Closed: map[string]uint64{}, Requests: f.Requests, RequestsTotal: f.RequestSeconds.Count(),
			P50Seconds: quantile(f.RequestSeconds, 0.5), P99Seconds: quantile(f.RequestSeconds, 0.99),
		}
		for _, h := range sock.Hows() {
			ls.Closed[h.String()] = l.stats.Closed[h]
		}
		st.Listeners = append(st.Listeners, ls)
	}
	st.Limits = g.gates.status()
	databases := g.databaseStats()
	for _, name := range slices.Sorted(maps.Keys(g.backends)) {
		bs := backendStatus(g.backends[name], databases[name])
		for _, l := range st.Listeners {
			bs.Served += served(l.Requests[name])
		}
		st.Backends = append(st.Backends, bs)
	}
	st.Sockets = g.socketsStatus(time.Now())
	return st
}

func lineLogStatus(to string, log *accesslog.Log) LineLogStatus {
	lines := log.Stats()
	st := LineLogStatus{To: to, Written: lines.Written, Dropped: lines.Dropped}
	if lines.Err != nil {
		st.LastError = lines.Err.Error()
	}
	return st
}

func quantile(s hist.Snapshot, q float64) float64 { return s.Quantile(q).Seconds() }

func backendStatus(b *backend, db *databaseStats) BackendStatus {
	p := b.pool.Stats()
	bs := BackendStatus{
		Name: b.cfg.Name, Protocol: b.cfg.Protocol, Address: string(b.cfg.Endpoints[0].Address), MaxOpen: p.MaxOpen, Open: p.Open, MostOpen: p.MostOpen,
		Idle: p.Idle, Leased: p.Leased, Dialing: p.Dialing, Waiting: p.Waiting,
		Opened: words(p.Opens), Dials: words(p.Dials), Closed: words(p.Closes),
		HandOvers: p.HandOvers, QueueFull: p.QueueFull, QueueTime: p.QueueTimeout, WaitP99: quantile(p.Waits, 0.99),
	}
	bs.InFlightMax, bs.Shed, bs.Mode = b.governor.status()
	if p.LearnedIdle > 0 {
		bs.LearnedIdle = p.LearnedIdle.String()
	}
	if p.HoldDown > 0 {
		bs.HoldDown = p.HoldDown.String()
	}
	if p.LastError != nil {
		bs.LastError, bs.ErrorAge = p.LastError.Kept(), p.LastErrorAge.Seconds()
	}
	if b.database != nil {
		bs.MySQL = b.mysqlStatus(db, p.Groups)
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
