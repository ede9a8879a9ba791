package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"weir/configs"
	"weir/internal/sock"
	"weir/tcpstat"
)

// The kernel's sockets are listed by one goroutine of the graph, so often that
// it costs less than half a percent of one processor, and its own counts are read
// once a second. Nobody who serves a request takes part.

// socketTick is how often to see whether it is time for a list.
const socketTick = time.Second

// boundEvery is in which of the lists the sockets are that are only bound. The
// kernel walks one more table for them, as large as that of the connections.
const boundEvery = 8

// socketWatch is what weir knows of the sockets of its listeners and backends.
type socketWatch struct {
	log *slog.Logger

	mu      sync.Mutex // of ledgers; never held over a system call or while a connection is booked
	ledgers map[string]*tcpstat.Ledger

	// These belong to the goroutine that lists.
	reader *tcpstat.Reader // nil where there is no way to list
	survey *tcpstat.Survey
	budget tcpstat.Budget
	lists  int
	warned map[string]bool // backends of which the log says that their ports run out
	full   map[string]bool // and that they have too many addresses

	found  atomic.Pointer[finding]
	totals atomic.Pointer[tcpstat.Totals]
}

// finding is what the last list has shown, and what the lists cost. It is not
// changed any more.
type finding struct {
	report   *tcpstat.Report // nil until the first list succeeds
	source   string
	err      error // why the last list failed
	interval time.Duration
	cost     float64
	spent    time.Duration
}

func newSocketWatch(log *slog.Logger) *socketWatch {
	w := &socketWatch{log: log, ledgers: map[string]*tcpstat.Ledger{}, warned: map[string]bool{}, full: map[string]bool{}}
	f := &finding{source: "none"}
	if w.reader, f.err = tcpstat.Open(); f.err == nil {
		w.survey, f.source = tcpstat.NewSurvey(w.reader), w.reader.Source()
	}
	w.found.Store(f)
	w.totals.Store(new(tcpstat.Totals))
	return w
}

// close is called when the goroutine that lists has ended.
func (w *socketWatch) close() {
	if w.reader != nil {
		w.reader.Close()
	}
}

// ledger is the backend's, made with its first use.
func (w *socketWatch) ledger(backend string) *tcpstat.Ledger {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.ledgers[backend]
	if l == nil {
		l = tcpstat.NewLedger()
		w.ledgers[backend] = l
	}
	return l
}

// book books a connection to a backend that was just dialled.
func (w *socketWatch) book(backend string, local, remote netip.AddrPort) tcpstat.Entry {
	for {
		if e, ok := w.bookIn(w.ledger(backend), backend, local, remote); ok {
			return e
		}
	}
}

// bookIn is false if keep has dropped the ledger before it saw the connection.
func (w *socketWatch) bookIn(l *tcpstat.Ledger, backend string, local, remote netip.AddrPort) (e tcpstat.Entry, ok bool) {
	e = l.Opened(local, remote)
	if w.ledger(backend) != l {
		e.Closed(tcpstat.EndGone)
		return tcpstat.Entry{}, false
	}
	return e, true
}

// ends says what each close leaves in the kernel.
var ends = map[sock.How]tcpstat.End{
	sock.HowQuiet:      tcpstat.EndGone,
	sock.HowPeerFirst:  tcpstat.EndAnswered,
	sock.HowActive:     tcpstat.EndFirst,
	sock.HowLinger:     tcpstat.EndFirst,
	sock.HowAbort:      tcpstat.EndGone,
	sock.HowReset:      tcpstat.EndGone,
	sock.HowHalfClosed: tcpstat.EndAnswered, // clients alone do it
}

// keep forgets what is long ago, and the ledgers of backends that are gone. One
// that is so new that it is in no plan may have connections already.
func (w *socketWatch) keep(now time.Time, plans []tcpstat.BackendPlan) {
	w.mu.Lock()
	ledgers := maps.Clone(w.ledgers)
	w.mu.Unlock()
	for name, l := range ledgers {
		l.Prune(now)
		w.tellFull(name, l.Overflow())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, l := range w.ledgers {
		if l.Open() == 0 && !slices.ContainsFunc(plans, func(p tcpstat.BackendPlan) bool { return p.Name == name }) {
			delete(w.ledgers, name)
			delete(w.warned, name)
			delete(w.full, name)
		}
	}
}

// tellFull logs once that a backend has more addresses than are told apart.
func (w *socketWatch) tellFull(backend string, overflow uint64) {
	if overflow == 0 || w.full[backend] {
		return
	}
	w.full[backend] = true
	w.log.Warn("the backend's name leads to more addresses than are told apart: connections to the rest are shown as another process's",
		"backend", backend, "connections", overflow, "limit", tcpstat.MaxPairs, "hint", "give the addresses to several backends")
}

// lookSockets is called once every socketTick, by one goroutine.
func (g *graph) lookSockets(now time.Time) {
	w := g.seen
	w.budget.Spend(tcpstat.CPUTime(func() {
		if t, err := tcpstat.ReadTotals(); err == nil || t != (tcpstat.Totals{}) {
			w.totals.Store(&t)
		}
	}))
	if !w.budget.Due(now) {
		return
	}
	last := w.found.Load()
	f := &finding{source: last.source}
	cost := tcpstat.CPUTime(func() {
		listeners, backends := g.socketPlans()
		w.keep(now, backends) // whether they can be listed or not
		if w.survey == nil {
			return
		}
		ports, err := tcpstat.ReadLocalPorts()
		if err != nil {
			level := slog.LevelWarn
			if errors.Is(err, fs.ErrNotExist) { // a container without /proc: nobody can mend that from here
				level = slog.LevelInfo
			}
			w.log.Log(context.Background(), level, "the range of local ports is not known", "fold", "local_ports", "err", err)
		}
		mask := tcpstat.All
		if w.lists++; w.lists%boundEvery == 1 {
			mask |= tcpstat.MaskOf(tcpstat.Bound)
		}
		f.report, f.err = w.survey.Look(now, mask, ports, listeners, backends)
	})
	w.budget.Listed(time.Now(), cost)
	if w.survey == nil {
		return
	}
	f.interval, f.cost, f.spent = w.budget.Interval(), w.budget.Share(), w.budget.Spent()
	if f.err != nil {
		w.log.Warn("the kernel's sockets could not be listed", "fold", "socket_list", "source", f.source, "err", f.err)
		f.report = last.report
	}
	w.found.Store(f)
	g.judgePorts(f)
}

// socketPlans says what to look for.
func (g *graph) socketPlans() (listeners []tcpstat.ListenerPlan, backends []tcpstat.BackendPlan) {
	g.mu.Lock()
	for _, a := range g.server.Stats() {
		address, err := netip.ParseAddrPort(a.Address)
		if err != nil || g.fronts[a.Name] == nil {
			continue // a unix socket, or a listener that is gone
		}
		if n := len(listeners); n == 0 || listeners[n-1].Name != a.Name {
			listeners = append(listeners, tcpstat.ListenerPlan{Name: a.Name})
		}
		l := &listeners[len(listeners)-1]
		l.Addresses = append(l.Addresses, address)
	}
	var configured []configs.Backend // of each of backends
	plan := func(b *backend, hidden bool) {
		backends = append(backends, tcpstat.BackendPlan{
			Name: b.cfg.Name, Ledger: g.seen.ledger(b.cfg.Name), Hidden: hidden, Dialing: func() int { return b.pool.Load().Dialing },
		})
		configured = append(configured, b.cfg)
	}
	for _, name := range slices.Sorted(maps.Keys(g.backends)) {
		plan(g.backends[name], false)
	}
	for _, r := range g.retired {
		plan(r.backend, true)
	}
	g.mu.Unlock()

	for i := range configured {
		address := string(configured[i].Endpoints[0].Address)
		if source := configured[i].SourceAddr(); source.IsValid() {
			if pair, ok := tcpstat.PairFrom(source, address); ok {
				backends[i].Endpoints = append(backends[i].Endpoints, pair)
			}
			continue
		}
		dest, err := netip.ParseAddrPort(address)
		if err != nil || backends[i].Ledger.Knows(dest) {
			continue // a name: only a dial shows where it leads
		}
		if pair, ok := tcpstat.PairTo(address); ok {
			backends[i].Endpoints = append(backends[i].Endpoints, pair)
		}
	}
	return listeners, backends
}

// judgePorts tells each backend's ladder how many of its ports are in use, and
// the log when they are about to run out.
func (g *graph) judgePorts(f *finding) {
	if f.report == nil {
		return
	}
	for _, name := range g.paceByPorts(f) {
		g.seen.tellPorts(name, group(f.report.Backends, name).Pairs)
	}
}

// paceByPorts returns the backends that there are.
func (g *graph) paceByPorts(f *finding) (there []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range f.report.Backends {
		b := &f.report.Backends[i]
		at := g.backends[b.Name]
		if at == nil {
			continue // a reload took it away meanwhile
		}
		there = append(there, b.Name)
		worst := tightest(b.Pairs)
		if f.err != nil || worst == nil {
			at.governor.ports.Store(0) // what was true a while ago must not bend anything
			continue
		}
		at.governor.ports.Store(math.Float64bits(worst.Used()))
	}
	return there
}

// tightest is the pair with the smallest part of its ports free.
func tightest(pairs []tcpstat.PairUse) *tcpstat.PairUse {
	var worst *tcpstat.PairUse
	for i := range pairs {
		if p := &pairs[i]; worst == nil || p.Used() > worst.Used() {
			worst = p
		}
	}
	return worst
}

// tellPorts logs when an alarm begins and when the last one of a backend ends. It
// belongs to the goroutine that lists.
func (w *socketWatch) tellPorts(backend string, pairs []tcpstat.PairUse) {
	i := slices.IndexFunc(pairs, func(p tcpstat.PairUse) bool { return p.Alarm })
	switch {
	case i >= 0 && !w.warned[backend]:
		p := &pairs[i]
		left := slog.String("seconds_left", "unknown")
		if !math.IsInf(p.SecondsLeft, 1) {
			left = slog.Int("seconds_left", int(p.SecondsLeft))
		}
		w.log.Warn("the local ports towards the backend run out", "backend", backend, "endpoint", p.Dest, "source", p.Source,
			left, "free", p.Free, "of", p.Ports, "in_use", p.InUse, "time_wait_ours", p.TimeWaitOurs, "time_wait_other", p.TimeWaitOther,
			"hint", portsHint(p))
	case i < 0 && w.warned[backend]:
		w.log.Info("the local ports towards the backend are enough again", "backend", backend)
	}
	if i >= 0 {
		w.warned[backend] = true
	} else {
		delete(w.warned, backend)
	}
}

// portsHint says what to do about it.
func portsHint(p *tcpstat.PairUse) string {
	if p.TimeWaitOther > p.InUse+p.TimeWaitOurs {
		return "another process of this machine opens and closes connections to the same address: let it keep them, or send it through weir; " +
			"net.ipv4.tcp_tw_reuse=1 lends their ports, net.ipv4.ip_local_port_range has the range"
	}
	return "widen net.ipv4.ip_local_port_range, lower pool.max_open, or see who else dials this address: ss -tanp dst " + p.Dest.String()
}
