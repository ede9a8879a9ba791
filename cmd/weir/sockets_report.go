package main

import (
	"maps"
	"math"
	"net/netip"
	"slices"
	"time"

	"weir/admin"
	"weir/internal/reason"
	"weir/internal/sock"
	"weir/pool"
	"weir/tcpstat"
)

// sides of weir_tcp_sockets.
const (
	sideListener = "listener"
	sideBackend  = "backend"
)

// closeCounts is how many connections ended in which way, by sock.How.
type closeCounts func(sock.How) uint64

// firstUs and firstPeer say who ended the connection first. A reset of the
// peer's is its end, as a FIN is.
func (n closeCounts) firstUs() uint64 {
	return n(sock.HowActive) + n(sock.HowLinger) + n(sock.HowAbort)
}

func (n closeCounts) firstPeer() uint64 {
	return n.answered() + n(sock.HowQuiet) + n(sock.HowReset)
}

// answered is how often a FIN of the peer's was answered with one.
func (n closeCounts) answered() uint64 { return n(sock.HowPeerFirst) + n(sock.HowHalfClosed) }

func (n closeCounts) status() map[string]uint64 {
	return map[string]uint64{
		"us": n.firstUs(), "peer": n.firstPeer(), "quiet": n(sock.HowQuiet), "reset": n(sock.HowReset),
		"lingering": n(sock.HowLinger), "aborted": n(sock.HowAbort), "half_closed": n(sock.HowHalfClosed),
	}
}

// avoided is how many closes left no TIME_WAIT that an ordinary proxy's would
// have left, with one of the two sides: it sends a FIN where weir has answered
// the peer's with a reset, and where weir has dropped a connection to a backend
// that it wanted no more. An abort at a listener is there to show a client that
// its response was cut; it saves nothing that others would not.
func (n closeCounts) avoided(side string) uint64 {
	if side == sideBackend {
		return n(sock.HowQuiet) + n(sock.HowAbort)
	}
	return n(sock.HowQuiet)
}

// edges are the edges of RFC 9293's state diagram (figure 5) that the closes
// took. The kernel does not count them: a close is taken to have gone the usual
// way, without CLOSING. The end of TIME-WAIT is due a minute after the close, and
// shown with it.
func (n closeCounts) edges(m map[string]uint64) {
	second := n.answered() + n(sock.HowQuiet)
	first := n(sock.HowActive) + n(sock.HowLinger)
	for _, e := range [...]struct {
		edge string
		n    uint64
	}{
		{"established>close_wait", second},
		{"close_wait>last_ack", n.answered()},
		{"last_ack>closed", n.answered()},
		{"close_wait>closed", n(sock.HowQuiet)},
		{"established>fin_wait1", first},
		{"fin_wait1>fin_wait2", first},
		{"fin_wait2>time_wait", first},
		{"time_wait>closed", first},
		{"established>closed", n(sock.HowAbort) + n(sock.HowReset)},
	} {
		m[e.edge] = e.n
	}
}

func listenerCloses(st *sock.ListenerStats) closeCounts {
	return func(h sock.How) uint64 { return st.Closed[h] }
}

func backendCloses(st *pool.Stats) closeCounts {
	return func(h sock.How) uint64 { return st.Hows[h] }
}

// group finds a listener or a backend in what was found; it is empty where
// nothing was.
func group(of []tcpstat.Group, name string) *tcpstat.Group {
	for i := range of {
		if of[i].Name == name {
			return &of[i]
		}
	}
	return &tcpstat.Group{Name: name}
}

func (f *finding) groups() (listeners, backends []tcpstat.Group) {
	if f.report == nil {
		return nil, nil
	}
	return f.report.Listeners, f.report.Backends
}

// socketsStatus is called with mu held.
func (g *graph) socketsStatus(now time.Time) SocketsStatus {
	f := g.seen.found.Load()
	st := SocketsStatus{
		Source: f.source, IntervalSeconds: f.interval.Seconds(), Cost: f.cost, Kernel: kernelStatus(g.seen.totals.Load()),
		Listeners: []SocketGroup{}, Backends: []SocketGroup{},
	}
	if f.err != nil {
		st.Error = f.err.Error()
	}
	if f.report != nil {
		st.AgeSeconds, st.Listed = now.Sub(f.report.At).Seconds(), f.report.Sockets
	}
	listeners, backends := f.groups()
	for _, l := range g.listenerStats() {
		n, found := listenerCloses(&l.stats), group(listeners, l.name)
		sg := socketGroup(found, n, sideListener)
		sg.Edges["listen>syn_recv"], sg.Edges["syn_recv>established"] = l.stats.Accepted, l.stats.Accepted
		for _, c := range found.Top {
			sg.TopClients = append(sg.TopClients, TopClient{clientText(c), c.Sockets})
		}
		st.Listeners = append(st.Listeners, sg)
	}
	for _, name := range slices.Sorted(maps.Keys(g.backends)) {
		p, found := g.backends[name].pool.Stats(), group(backends, name)
		if f.report == nil { // no list yet, or never: of its own weir knows without
			found.Count[tcpstat.Ours] = g.seen.ledger(name).Counts(now)
		}
		sg := socketGroup(found, backendCloses(&p), sideBackend)
		dialEdges(sg.Edges, &p)
		for i := range found.Pairs {
			sg.Ports = append(sg.Ports, portsStatus(&found.Pairs[i], g.backends[name].cfg.SourceAddr()))
		}
		st.Backends = append(st.Backends, sg)
	}
	return st
}

// dialEdges: a dial whose login failed was connected, and its close is booked as
// that. Some denials were no dial at all.
func dialEdges(m map[string]uint64, p *pool.Stats) {
	var begun, ended uint64
	for _, n := range p.Opens {
		begun += n
	}
	for _, n := range p.Dials {
		ended += n
	}
	connected := p.Dials[pool.DialOK] + p.Closes[reason.CloseConnect]
	m["closed>syn_sent"], m["syn_sent>established"], m["syn_sent>closed"] = begun, connected, ended-min(connected, ended)
}

func socketGroup(found *tcpstat.Group, n closeCounts, side string) SocketGroup {
	sg := SocketGroup{
		Name: found.Name, States: map[string]map[string]int{}, Edges: map[string]uint64{}, Closes: n.status(), TimeWaitAvoided: n.avoided(side),
	}
	n.edges(sg.Edges)
	for _, s := range tcpstat.States() {
		for _, o := range tcpstat.Owners() {
			k := found.Count[o][s]
			if k == 0 {
				continue
			}
			if sg.States[s.Label()] == nil {
				sg.States[s.Label()] = map[string]int{}
			}
			sg.States[s.Label()][o.Label()] = k
		}
	}
	return sg
}

func clientText(c tcpstat.Client) string {
	if c.Addr.Is6() {
		return c.Addr.String() + "/64"
	}
	return c.Addr.String()
}

// portsStatus is of a backend whose connections are bound to source, if that is
// valid.
func portsStatus(p *tcpstat.PairUse, source netip.Addr) PortsStatus {
	ps := PortsStatus{
		SourceAddress: p.Source.String(), Endpoint: p.Dest.String(), Ports: p.Ports, Bound: p.Bound, InUse: p.InUse,
		TimeWaitOurs: p.TimeWaitOurs, TimeWaitOther: p.TimeWaitOther, Free: p.Free, Headroom: 1 - p.Used(), Warned: p.Alarm,
	}
	if p.Source == source {
		ps.Source = source.String()
	}
	if left := p.SecondsLeft; !math.IsInf(left, 1) {
		ps.SecondsLeft = &left
	}
	return ps
}

func kernelStatus(t *tcpstat.Totals) KernelStatus {
	return KernelStatus{
		InUse: t.InUse, Orphans: t.Orphans, TimeWait: t.TimeWait, MemoryPages: t.Pages,
		TimeWaitOver: t.TimeWaitOverflow, ListenOverflows: t.ListenOverflows, ListenDrops: t.ListenDrops, Syncookies: t.SyncookiesSent,
		Recycled: t.TimeWaitRecycled, ConnectFailures: t.AttemptFails, Resets: t.EstabResets,
	}
}

// socketsSnapshot is called with mu held.
func (g *graph) socketsSnapshot(now time.Time) admin.SocketsSnapshot {
	f := g.seen.found.Load()
	s := admin.SocketsSnapshot{ListSeconds: f.spent.Seconds()}
	if f.report != nil {
		s.Listed, s.AgeSeconds = true, now.Sub(f.report.At).Seconds()
	}
	listeners, backends := f.groups()
	for _, l := range g.listenerStats() {
		s.Groups = append(s.Groups, socketSnapshot(group(listeners, l.name), listenerCloses(&l.stats), sideListener, s.Listed))
	}
	for _, name := range slices.Sorted(maps.Keys(g.backends)) {
		p, found := g.backends[name].pool.Stats(), group(backends, name)
		s.Groups = append(s.Groups, socketSnapshot(found, backendCloses(&p), sideBackend, s.Listed))
		if worst := tightest(found.Pairs); worst != nil {
			s.Ports = append(s.Ports, admin.PortsSnapshot{Backend: name, Headroom: 1 - worst.Used(), SecondsLeft: soonest(found.Pairs)})
		}
	}
	return s
}

// soonest is when the first of the pairs has no port left.
func soonest(pairs []tcpstat.PairUse) float64 {
	left := math.Inf(1)
	for i := range pairs {
		left = min(left, pairs[i].SecondsLeft)
	}
	return left
}

// socketSnapshot shows every state and owner, also those that have no socket: a
// series that comes and goes is no line in a chart.
func socketSnapshot(found *tcpstat.Group, n closeCounts, side string, listed bool) admin.SocketGroup {
	sg := admin.SocketGroup{
		Side: side, Name: found.Name, TimeWaitAvoided: n.avoided(side),
		ClosedFirst: []admin.Count{{Label: "us", N: n.firstUs()}, {Label: "peer", N: n.firstPeer()}},
	}
	for _, o := range tcpstat.Owners() {
		if !listed || side == sideListener && o != tcpstat.Ours {
			continue // what is at a listener's address is the listener's
		}
		for _, st := range tcpstat.States() {
			sg.Sockets = append(sg.Sockets, admin.SocketCount{State: st.Label(), Owner: o.Label(), N: found.Count[o][st]})
		}
	}
	return sg
}
