package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/internal/sock"
	"weir/internal/testnet"
	"weir/limiter"
	"weir/pool"
	"weir/tcpstat"
)

// A source address has the whole range for each destination: the port is chosen
// at connect, where the destination is known, and counted so.
func TestASourceAddressUsesTheRangeOnceForEachDestination(t *testing.T) {
	const ports = 10
	for _, fam := range []struct{ name, source, to string }{{"IPv4", "127.0.0.5", "127.0.0.1:0"}, {"IPv6", "::1", "[::1]:0"}} {
		t.Run(fam.name, func(t *testing.T) {
			ns, w := testnet.NewNetns(t), (*socketWatch)(nil)
			a, b := mustListen(t, ns, fam.to), mustListen(t, ns, fam.to)
			ns.Do(func() { w = newSocketWatch(slog.New(slog.DiscardHandler)) })
			defer w.close()
			ns.Sysctl("net.ipv4.ip_local_port_range", fmt.Sprintf("45000 %d", 45000+ports-1))
			source := netip.MustParseAddr(fam.source)
			for _, dest := range []string{a, b} {
				for i := range ports + 1 {
					var c sock.Conn
					var err error
					ns.Do(func() { c, err = sock.Dial(t.Context(), dest, source) })
					if i == ports {
						if !errors.Is(err, syscall.EADDRNOTAVAIL) && !errors.Is(err, syscall.EADDRINUSE) {
							t.Errorf("the %dth connection to %s: %v, want no port", i+1, dest, err)
						}
						continue
					}
					if err != nil {
						t.Fatalf("connection %d to %s: %v", i+1, dest, err)
					}
					w.book("api", c.LocalAddr(), c.RemoteAddr())
					defer c.Abort()
				}
			}
			var found *tcpstat.Report
			ns.Do(func() {
				p, err := tcpstat.ReadLocalPorts()
				if err == nil {
					found, err = w.survey.Look(time.Now(), tcpstat.All, p, nil, []tcpstat.BackendPlan{{Name: "api", Ledger: w.ledger("api")}})
				}
				if err != nil {
					t.Fatal(err)
				}
			})
			g := found.Backends[0]
			if g.Count[tcpstat.Ours][tcpstat.Established] != 2*ports || len(g.Pairs) != 2 {
				t.Fatalf("%v over %d pairs, want %d of ours over two", g.Count, len(g.Pairs), 2*ports)
			}
			for _, p := range g.Pairs {
				if p.Source != source || p.InUse != ports || p.Ports != ports || p.Free != 0 || p.SecondsLeft != 0 {
					t.Errorf("%+v, want all %d ports of %s in use", p, ports, source)
				}
			}
		})
	}
}

func mustListen(t *testing.T, ns *testnet.Netns, address string) string {
	t.Helper()
	l, err := ns.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// What a list finds reaches the ladder, and the log once for each time that it
// begins and ends.
func TestPortsThatRunOutPaceDialsAndAreLoggedOnce(t *testing.T) {
	var log bytes.Buffer
	g := newTestGraph(t)
	mustApply(t, g, twoProtocols(freeAddr(t), ""))
	stopGraph(t, g, 10*time.Second) // it lists no more; the rest works on
	g.seen.log = slog.New(slog.NewTextHandler(&log, nil))
	api := g.backends["api"].governor
	find := func(free int, left float64, alarm bool) {
		pair := tcpstat.PairUse{Pair: tcpstat.Pair{Source: netip.MustParseAddr("10.0.0.1"), Dest: netip.MustParseAddrPort("10.0.0.2:80")},
			Ports: 400, Free: free, TimeWaitOther: 390 - free, InUse: 10, SecondsLeft: left, Alarm: alarm}
		ample := tcpstat.PairUse{Pair: pair.Pair, Ports: 400, Free: 400, SecondsLeft: math.Inf(1)}
		g.judgePorts(&finding{report: &tcpstat.Report{Backends: []tcpstat.Group{{Name: "api", Pairs: []tcpstat.PairUse{ample, pair}}, {Name: "gone"}}}})
	}
	tick := func(n int) limiter.Mode {
		g.mu.Lock()
		defer g.mu.Unlock()
		for range n {
			api.tick(limiter.Nanos(time.Now()))
		}
		return api.Ladder.Effect().Mode
	}
	find(240, math.Inf(1), false)
	if m := tick(20); m != limiter.ModeNormal {
		t.Errorf("%v with 40 %% of the ports in use, want normal", m)
	}
	for range 3 {
		find(100, 41.7, true)
	}
	if m := tick(20); m != limiter.ModePaced {
		t.Errorf("%v with 75 %% of the ports in use, want paced", m)
	}
	find(380, math.Inf(1), false)
	if m := tick(20); m != limiter.ModeNormal {
		t.Errorf("%v after the ports were free again, want normal", m)
	}
	find(390, math.Inf(1), false)
	text := log.String()
	for word, n := range map[string]int{"run out": 1, "enough again": 1, "seconds_left=41": 1, "another process of this machine": 1, "backend=api": 2} {
		if got := strings.Count(text, word); got != n {
			t.Errorf("the log has %q %d times, want %d:\n%s", word, got, n, text)
		}
	}
	g.judgePorts(&finding{report: &tcpstat.Report{Backends: []tcpstat.Group{{Name: "api", Pairs: []tcpstat.PairUse{{Ports: 400}}}}}, err: errors.New("no list")})
	if p := math.Float64frombits(api.ports.Load()); p != 0 {
		t.Errorf("the ladder believes in %v of the ports although the list failed", p)
	}
}

// Each way in which a connection can end is on the books once: by who was first,
// by what it leaves, and on the edges of the diagram.
func TestEveryEndOfAConnectionIsCountedByWhoWasFirst(t *testing.T) {
	for _, tc := range []struct {
		how                         sock.How
		first                       string
		end                         tcpstat.End
		avoidedThere, avoidedBehind uint64
		edges                       string
	}{
		{sock.HowQuiet, "peer", tcpstat.EndGone, 1, 1, "established>close_wait close_wait>closed"},
		{sock.HowPeerFirst, "peer", tcpstat.EndAnswered, 0, 0, "established>close_wait close_wait>last_ack last_ack>closed"},
		{sock.HowActive, "us", tcpstat.EndFirst, 0, 0, "established>fin_wait1 fin_wait1>fin_wait2 fin_wait2>time_wait time_wait>closed"},
		{sock.HowLinger, "us", tcpstat.EndFirst, 0, 0, "established>fin_wait1 fin_wait1>fin_wait2 fin_wait2>time_wait time_wait>closed"},
		{sock.HowAbort, "us", tcpstat.EndGone, 0, 1, "established>closed"},
		{sock.HowReset, "peer", tcpstat.EndGone, 0, 0, "established>closed"},
		{sock.HowHalfClosed, "peer", tcpstat.EndAnswered, 0, 0, "established>close_wait close_wait>last_ack last_ack>closed"},
	} {
		one := closeCounts(func(h sock.How) uint64 {
			if h == tc.how {
				return 1
			}
			return 0
		})
		st, edges, n := one.status(), map[string]uint64{}, 0
		one.edges(edges)
		for _, e := range strings.Fields(tc.edges) {
			n++
			if edges[e] != 1 {
				t.Errorf("%v: the edge %s is not counted", tc.how, e)
			}
		}
		for _, v := range edges {
			n -= int(v)
		}
		if n != 0 || st[tc.first] != 1 || st["us"]+st["peer"] != 1 || ends[tc.how] != tc.end {
			t.Errorf("%v: %v, leaves %d, edges %v", tc.how, st, ends[tc.how], edges)
		}
		if one.avoided(sideListener) != tc.avoidedThere || one.avoided(sideBackend) != tc.avoidedBehind {
			t.Errorf("%v: %d avoided at a listener, %d at a backend; want %d and %d", tc.how,
				one.avoided(sideListener), one.avoided(sideBackend), tc.avoidedThere, tc.avoidedBehind)
		}
	}
	if len(ends) != len(sock.Hows()) {
		t.Errorf("%d of %d ends are known", len(ends), len(sock.Hows()))
	}
}

// A backend's ledger is as long there as it has connections: a reload makes pools,
// which dial, before the next list knows of them.
func TestALedgerIsKeptWhileItHasConnections(t *testing.T) {
	w := newSocketWatch(slog.New(slog.DiscardHandler))
	defer w.close()
	now := time.Now()
	local, remote := netip.MustParseAddrPort("10.0.0.1:50000"), netip.MustParseAddrPort("10.0.0.2:80")
	e := w.book("new", local, remote)
	w.ledger("gone")
	w.keep(now, nil)
	if len(w.ledgers) != 1 || w.ledger("new").Open() != 1 {
		t.Errorf("%d ledgers, want that of the open connection", len(w.ledgers))
	}
	e.Closed(tcpstat.EndGone)
	if w.keep(now, nil); len(w.ledgers) != 0 {
		t.Errorf("%d ledgers are left, want none", len(w.ledgers))
	}

	// One that is dropped between its lookup and its use gets no connection.
	l := w.ledger("new")
	w.keep(now, nil)
	if _, ok := w.bookIn(l, "new", local, remote); ok || l.Open() != 0 {
		t.Errorf("booked %v in a ledger that is dropped, %d are open in it", ok, l.Open())
	}
	e = w.book("new", local, remote)
	if w.keep(now, nil); w.ledger("new").Open() != 1 {
		t.Error("the connection is in no ledger")
	}
	e.Closed(tcpstat.EndGone)
}

// What belongs to the past goes, also where the kernel shows no sockets at all and
// where a list fails.
func TestLedgersForgetWhetherSocketsCanBeListedOrNot(t *testing.T) {
	for name, cannot := range map[string]func(*socketWatch){
		"none":   func(w *socketWatch) { w.survey = nil },
		"failed": func(w *socketWatch) {}, // the graph has stopped, and the reader is closed
	} {
		g := newTestGraph(t)
		mustApply(t, g, twoProtocols(freeAddr(t), ""))
		stopGraph(t, g, 10*time.Second)
		cannot(g.seen)
		dest := netip.MustParseAddrPort("10.0.0.2:80")
		for _, backend := range []string{"api", "gone"} {
			g.seen.book(backend, netip.MustParseAddrPort("10.0.0.1:50000"), dest).Closed(tcpstat.EndFirst)
		}
		was := g.seen.found.Load()
		g.lookSockets(time.Now().Add(time.Hour))
		if g.seen.ledgers["gone"] != nil || g.seen.ledger("api").Knows(dest) {
			t.Errorf("%s: after an hour there are %d ledgers, the one that stays knows the address: %v", name, len(g.seen.ledgers), g.seen.ledger("api").Knows(dest))
		}
		if now := g.seen.found.Load(); name == "none" && now != was || name == "failed" && now.err == nil {
			t.Errorf("%s: found %+v", name, now)
		}
	}
}

// What is booked nowhere is said once, and what else it may be.
func TestTheLogSaysOnceThatABackendHasTooManyAddresses(t *testing.T) {
	var log bytes.Buffer
	w := newSocketWatch(slog.New(slog.NewTextHandler(&log, nil)))
	defer w.close()
	for i := range tcpstat.MaxPairs + 3 {
		if i == tcpstat.MaxPairs {
			w.keep(time.Now(), nil)
			if log.Len() > 0 {
				t.Errorf("with %d addresses: %s", i, &log)
			}
		}
		w.book("many", netip.MustParseAddrPort("10.0.0.1:50000"), netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, 0, byte(i)}), 80))
	}
	w.keep(time.Now(), nil)
	w.keep(time.Now(), nil)
	if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "backend=many connections=3 limit=64") {
		t.Errorf("the log has %q, want one line of 3 connections", text)
	}
}

// A connection whose login failed has come about, and has ended once.
func TestTheEdgesOfAFailedLoginAreThoseOfAConnection(t *testing.T) {
	at := mustListen(t, nil, "127.0.0.1:0")
	refused := errors.New("1040 Too many connections")
	p, err := pool.New(pool.Options{
		Name: "db", Address: at, MaxOpen: 2, QueueMax: 5, QueueTimeout: time.Second, DialTimeout: time.Second, DialRate: 100, DialConcurrent: 1,
		Connect: func(ctx context.Context, key string) (sock.Conn, any, error) {
			if key == "denied" { // without a dial
				return nil, nil, &pool.KeyError{Err: refused}
			}
			c, err := sock.Dial(ctx, at, netip.Addr{})
			if err != nil {
				return nil, nil, err
			}
			pool.Dialled(ctx, c)(sock.EndBackend(c))
			return nil, nil, refused
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(t.Context())
	for _, key := range []string{"denied", "app"} {
		if _, err := p.Acquire(t.Context(), key, limiter.ClassDefault); err == nil {
			t.Fatal("the login did not fail")
		}
	}
	st := p.Stats()
	m := socketGroup(&tcpstat.Group{}, backendCloses(&st), sideBackend).Edges
	dialEdges(m, &st)
	var out uint64
	for edge, n := range m {
		if strings.HasPrefix(edge, "established>") {
			out += n
		}
	}
	if m["closed>syn_sent"] != 2 || m["syn_sent>closed"] != 1 || m["syn_sent>established"] != 1 || out != 1 {
		t.Errorf("two dials, of which one was connected, made %v", m)
	}
}

// Where nothing can be listed weir still knows what it has itself.
func TestWithoutAnyListTheLedgerIsShown(t *testing.T) {
	g := newTestGraph(t)
	mustApply(t, g, twoProtocols(freeAddr(t), ""))
	stopGraph(t, g, 10*time.Second)
	g.seen.found.Store(&finding{source: "none", err: errors.ErrUnsupported})
	l := mustListen(t, nil, "127.0.0.1:0")
	for i := range 5 {
		c, err := sock.Dial(t.Context(), l, netip.Addr{})
		if err != nil {
			t.Fatal(err)
		}
		e := g.seen.book("api", c.LocalAddr(), c.RemoteAddr())
		if i < 3 {
			defer c.Abort()
			continue
		}
		c.Close()
		e.Closed(tcpstat.EndFirst)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	st := g.socketsStatus(time.Now())
	if s := st.Backends[0].States; st.Source != "none" || st.Error == "" || len(s) != 2 || s["established"]["ours"] != 3 || s["time_wait"]["ours"] != 2 {
		t.Errorf("%+v, want 3 open and 2 in TIME-WAIT", st)
	}
	if m := g.socketsSnapshot(time.Now()); m.Listed || len(m.Ports) != 0 || len(m.Groups) != 5 {
		t.Errorf("%+v, want the counters alone", m)
	}
}

// A list that fails leaves what the last one has shown, and its age says how much
// it is worth.
func TestAListThatFailsKeepsTheLastOneAndSaysWhy(t *testing.T) {
	g := newTestGraph(t)
	mustApply(t, g, twoProtocols(freeAddr(t), ""))
	testnet.WaitFor(t, 30*time.Second, "a first list", func() bool { return g.seen.found.Load().report != nil })
	stopGraph(t, g, 10*time.Second)
	later := time.Now().Add(time.Hour)
	g.lookSockets(later) // the reader is closed
	g.mu.Lock()
	st, m := g.socketsStatus(later), g.socketsSnapshot(later)
	g.mu.Unlock()
	if st.Error == "" || st.Source != "sock_diag" || st.AgeSeconds < 3600 || st.Listed == 0 || m.AgeSeconds < 3600 || !m.Listed {
		t.Errorf("%+v, want an error and a list that is an hour old", st)
	}
	for _, b := range st.Backends {
		if len(b.Ports) != 1 || b.Ports[0].Free == 0 {
			t.Errorf("%s: ports %+v, want those of the last list", b.Name, b.Ports)
		}
	}
	if len(m.Ports) != 2 || !math.IsInf(m.Ports[0].SecondsLeft, 1) || m.Ports[0].Headroom < 0.5 {
		t.Errorf("%+v, want two backends with ports and no end in sight", m.Ports)
	}
	// Per listener one owner, per backend three, each in every state.
	n := 0
	for _, sg := range m.Groups {
		n += len(sg.Sockets)
	}
	if want := (3 + 2*3) * len(tcpstat.States()); n != want {
		t.Errorf("%d series of sockets, want %d", n, want)
	}
}
