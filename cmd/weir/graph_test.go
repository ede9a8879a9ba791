package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weir/configs"
	"weir/internal/testnet"
	"weir/limiter"
	"weir/proxy"
)

func newTestGraph(t *testing.T) *graph {
	t.Helper()
	g, err := newGraph(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	t.Cleanup(func() {
		if g.draining.Load() {
			stopped = true // the test has stopped it itself
		}
		if !stopped {
			stopGraph(t, g, 10*time.Second)
		}
	})
	return g
}

// stopGraph stops g and says how long that took.
func stopGraph(t *testing.T, g *graph, patience time.Duration) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	g.draining.Store(true)
	began := time.Now()
	g.stop(ctx)
	return time.Since(began)
}

func configOf(t *testing.T, yaml string) *configs.Config {
	t.Helper()
	c, _, err := configs.Parse("weir.yaml", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mustApply(t *testing.T, g *graph, yaml string) {
	t.Helper()
	if err := g.apply(configOf(t, yaml)); err != nil {
		t.Fatal(err)
	}
}

// boundAddr returns the address that a listener is bound to.
func boundAddr(t *testing.T, g *graph, listener string) string {
	t.Helper()
	for _, s := range g.server.Stats() {
		if s.Name == listener && s.Accepting {
			return s.Address
		}
	}
	t.Fatalf("listener %s is not open", listener)
	return ""
}

// handedOut are the addresses that freeAddr has given, as nobody may listen yet.
var handedOut sync.Map

// freeAddr is below the ports that the kernel gives to clients, as some tests
// want it back after they have given it up.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000)))
		if err != nil {
			continue
		}
		l.Close()
		if _, twice := handedOut.LoadOrStore(l.Addr().String(), true); !twice {
			return l.Addr().String()
		}
	}
	t.Fatal("no free port was found")
	return ""
}

// named answers every request with name.
func named(t *testing.T, name string) *testnet.Backend {
	return testnet.NewBackend(t, func(c *testnet.BackendConn) {
		for {
			if _, err := c.ReadRequest(); err != nil {
				return
			}
			if c.Send(testnet.Response(200, name)) != nil {
				return
			}
		}
	})
}

// blocking answers "late" when release is closed.
func blocking(t *testing.T, release chan struct{}) *testnet.Backend {
	return testnet.NewBackend(t, func(c *testnet.BackendConn) {
		for {
			if _, err := c.ReadRequest(); err != nil {
				return
			}
			select {
			case <-release:
			case <-c.Stopped:
				return
			}
			if c.Send(testnet.Response(200, "late")) != nil {
				return
			}
		}
	})
}

// fetch makes one request on a connection of its own.
func fetch(addr string) (int, string, error) {
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	resp, err := c.Get("http://" + addr + "/")
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// keptClient is a client that keeps its connection.
type keptClient struct {
	c net.Conn
	r *bufio.Reader
}

func dialKept(t *testing.T, addr string) *keptClient {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(60 * time.Second))
	return &keptClient{c, bufio.NewReader(c)}
}

func (k *keptClient) get() (int, string, error) {
	if _, err := io.WriteString(k.c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		return 0, "", err
	}
	resp, err := http.ReadResponse(k.r, nil)
	if err != nil {
		return 0, "", err
	}
	b, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	return resp.StatusCode, string(b), err
}

const plainListener = `
listeners:
  - {name: web, protocol: http, address: "127.0.0.1:0", backend: api, max_clients: 500}
`

func oneBackend(addr any, more string) string {
	return plainListener + fmt.Sprintf("backends:\n  - {name: api, endpoints: [\"%v\"]%s}\n", addr, more)
}

func TestListenersOnPortZeroGetSocketsOfTheirOwn(t *testing.T) {
	g := newTestGraph(t)
	a, b := named(t, "a"), named(t, "b")
	yaml := fmt.Sprintf(`
listeners:
  - {name: one, protocol: http, address: ["127.0.0.1:0", "127.0.0.1:0"], backend: a, max_clients: 100}
  - {name: two, protocol: http, address: "127.0.0.1:0", backend: b, max_clients: 100}
backends:
  - {name: a, endpoints: ["%v"]}
  - {name: b, endpoints: ["%v"]}
`, a.Addr(), b.Addr())
	mustApply(t, g, yaml)
	before := g.server.Stats()
	if len(before) != 3 {
		t.Fatalf("%d addresses are open, want 3: %v", len(before), before)
	}
	for _, s := range before {
		want := map[string]string{"one": "a", "two": "b"}[s.Name]
		if code, body, err := fetch(s.Address); err != nil || code != 200 || body != want {
			t.Errorf("%s at %s: got %d %q, %v, want %q", s.Name, s.Address, code, body, err, want)
		}
	}
	mustApply(t, g, yaml)
	for i, s := range g.server.Stats() {
		if s.Address != before[i].Address || s.Name != before[i].Name {
			t.Errorf("after a reload of the same file %s is at %s, was at %s", s.Name, s.Address, before[i].Address)
		}
	}
}

func TestRequestsInTheQueueOfARemovedBackendAreServed(t *testing.T) {
	g := newTestGraph(t)
	release := make(chan struct{})
	old, next := blocking(t, release), named(t, "next")
	pool := ", pool: {max_open: 1}, queue: {timeout: 30s}"
	mustApply(t, g, oneBackend(old.Addr(), pool))
	addr := boundAddr(t, g, "web")

	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if code, body, err := fetch(addr); err != nil || code != 200 || body != "late" {
				t.Errorf("a request from before the reload: %d %q, %v", code, body, err)
			}
		})
	}
	api := g.backends["api"].pool
	testnet.WaitFor(t, 10*time.Second, "for one lease and two waiters", func() bool {
		st := api.Stats()
		return st.Waiting == 2 && st.Leased == 1
	})

	other := strings.ReplaceAll(oneBackend(next.Addr(), ""), "api", "other")
	mustApply(t, g, other)
	if code, body, err := fetch(addr); err != nil || code != 200 || body != "next" {
		t.Errorf("a request after the reload: %d %q, %v", code, body, err)
	}

	// The backend comes back while its old pool is in use: one bound for both.
	mustApply(t, g, oneBackend(old.Addr(), pool))
	if g.backends["api"].pool != api {
		t.Error("a backend that came back has a second pool")
	}
	close(release)
	wg.Wait()
	if code, body, err := fetch(addr); err != nil || code != 200 || body != "late" {
		t.Errorf("after the backend came back: %d %q, %v", code, body, err)
	}
	if n := old.MaxOpen(); n != 1 {
		t.Errorf("%d connections were open at once, max_open is 1", n)
	}
}

func TestPoolOfARemovedBackendIsClosedWhenNobodyUsesIt(t *testing.T) {
	g := newTestGraph(t)
	old, next := named(t, "old"), named(t, "next")
	mustApply(t, g, oneBackend(old.Addr(), ", pool: {min_idle: 3}")+"drain: {timeout: 50ms}\n")
	testnet.WaitFor(t, 10*time.Second, "for min_idle", func() bool { return old.Open() == 3 })
	api := g.backends["api"].pool
	mustApply(t, g, strings.ReplaceAll(oneBackend(next.Addr(), ""), "api", "other")+"drain: {timeout: 50ms}\n")
	testnet.WaitFor(t, 10*time.Second, "for the removed backend's connections to close", func() bool { return old.Open() == 0 })
	testnet.WaitFor(t, 10*time.Second, "for the removed backend's pool to close", func() bool {
		_, err := api.Acquire(t.Context(), "", limiter.ClassDefault)
		return err != nil && strings.Contains(err.Error(), "closed")
	})
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.retired) != 0 {
		t.Errorf("still retired: %v", g.retired)
	}
}

func TestAnAddressTakenFromAListenerDoesNotEndTheOthers(t *testing.T) {
	g := newTestGraph(t)
	release := make(chan struct{})
	defer close(release)
	slow, quick := blocking(t, release), named(t, "quick")
	first, second := freeAddr(t), freeAddr(t)
	yaml := func(addresses string) string {
		return fmt.Sprintf(`
listeners:
  - name: web
    protocol: http
    address: [%s]
    max_clients: 100
    routes: [{host: slow.test, backend: slow}, {backend: quick}]
backends:
  - {name: slow, endpoints: ["%v"], timeouts: {response_header: 500ms}}
  - {name: quick, endpoints: ["%v"]}
drain: {timeout: 20ms}
`, addresses, slow.Addr(), quick.Addr())
	}
	mustApply(t, g, yaml(first+", "+second))
	stuck := dialKept(t, second)
	io.WriteString(stuck.c, "GET / HTTP/1.1\r\nHost: slow.test\r\n\r\n")
	testnet.WaitFor(t, 10*time.Second, "for the slow request", func() bool { return slow.Requests() == 1 })

	mustApply(t, g, yaml(first))
	io.ReadAll(stuck.c) // it is cut off when drain.timeout is over
	testnet.WaitFor(t, 10*time.Second, "for the address to be gone", func() bool { return len(g.server.Stats()) == 2 })
	if code, body, err := fetch(first); err != nil || code != 200 || body != "quick" {
		t.Errorf("on the address that stays: %d %q, %v", code, body, err)
	}
	if _, err := net.Dial("tcp", second); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the address that was taken away: %v, want a refusal", err)
	}
}

func TestAMovedAddressServesItsNewListenerOnOpenConnectionsToo(t *testing.T) {
	g := newTestGraph(t)
	a, b := named(t, "a"), named(t, "b")
	moving := freeAddr(t)
	yaml := func(one, two string) string {
		return fmt.Sprintf(`
listeners:
  - {name: one, protocol: http, address: [%s], backend: a, max_clients: 100}
  - {name: two, protocol: http, address: [%s], backend: b, max_clients: 100}
backends:
  - {name: a, endpoints: ["%v"]}
  - {name: b, endpoints: ["%v"]}
`, one, two, a.Addr(), b.Addr())
	}
	mustApply(t, g, yaml(moving+`, "127.0.0.1:0"`, `"127.0.0.1:0"`))
	counts := func() (one, two uint64) {
		for _, l := range g.listenerStats() {
			if l.name == "one" {
				one = l.stats.Accepted
			} else {
				two = l.stats.Accepted
			}
		}
		return one, two
	}
	busy, parked := dialKept(t, moving), dialKept(t, moving)
	for _, k := range []*keptClient{busy, parked, busy, busy} {
		if code, body, err := k.get(); err != nil || code != 200 || body != "a" {
			t.Fatalf("got %d %q, %v", code, body, err)
		}
	}
	if one, two := counts(); one != 2 || two != 0 {
		t.Fatalf("accepted: one %d, two %d", one, two)
	}
	mustApply(t, g, yaml(`"127.0.0.1:0"`, `"127.0.0.1:0", `+moving))
	for _, k := range []*keptClient{busy, parked, dialKept(t, moving)} {
		for range 3 {
			if code, body, err := k.get(); err != nil || code != 200 || body != "b" {
				t.Errorf("after the move: got %d %q, %v, want b", code, body, err)
			}
		}
	}
	// Counters stay with the listener that counted, and do not fall.
	if one, two := counts(); one != 2 || two != 1 {
		t.Errorf("accepted: one %d, two %d, want 2 and 1", one, two)
	}
}

func TestCountersDoNotFallWhenAListenerLosesAnAddress(t *testing.T) {
	g := newTestGraph(t)
	a := named(t, "a")
	first, second := freeAddr(t), freeAddr(t)
	yaml := func(addresses string) string {
		return fmt.Sprintf(`
listeners: [{name: web, protocol: http, address: [%s], backend: a, max_clients: 100}]
backends: [{name: a, endpoints: ["%v"]}]
`, addresses, a.Addr())
	}
	mustApply(t, g, yaml(first+", "+second))
	for range 5 {
		fetch(first)
		fetch(second)
	}
	read := func() (accepted, closed uint64) {
		st := g.listenerStats()[0].stats
		for _, n := range st.Closed {
			closed += n
		}
		return st.Accepted, closed
	}
	testnet.WaitFor(t, 10*time.Second, "for ten closed clients", func() bool { _, c := read(); return c == 10 })
	mustApply(t, g, yaml(first))
	gone := func() bool { g.server.Stats(); _, err := net.Dial("tcp", second); return err != nil }
	testnet.WaitFor(t, 10*time.Second, "for the address to be gone", gone)
	for range 100 {
		if accepted, closed := read(); accepted < 10 || closed < 10 {
			t.Fatalf("counters fell to %d and %d, both were 10", accepted, closed)
		}
	}
	if st := g.listenerStats()[0]; !st.stats.Accepting || len(st.addresses) != 1 {
		t.Errorf("accepting %v on %v", st.stats.Accepting, st.addresses)
	}
}

func TestAReloadThatCannotBindChangesNothing(t *testing.T) {
	g := newTestGraph(t)
	a, b := named(t, "a"), named(t, "b")
	mustApply(t, g, oneBackend(a.Addr(), ""))
	addr := boundAddr(t, g, "web")
	was := g.config()

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	free := freeAddr(t)
	err = g.apply(configOf(t, fmt.Sprintf(`
listeners:
  - {name: web, protocol: http, address: "127.0.0.1:0", backend: other, max_clients: 100}
  - {name: more, protocol: http, address: ["%s", "%s"], backend: other, max_clients: 100}
backends:
  - {name: other, endpoints: ["%v"], pool: {min_idle: 2}}
`, free, l.Addr(), b.Addr())))
	if err == nil || !strings.Contains(err.Error(), "listeners[more].address") || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("got %v", err)
	}
	if code, body, err := fetch(addr); err != nil || code != 200 || body != "a" {
		t.Errorf("after the refused reload: %d %q, %v", code, body, err)
	}
	if g.config() != was || len(g.backends) != 1 || len(g.fronts) != 1 || len(g.retired) != 0 {
		t.Error("the refused reload left something behind")
	}
	if _, err := net.Dial("tcp", free); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the other new address: %v, want a refusal", err)
	}
	testnet.WaitFor(t, 10*time.Second, "for the refused backend's connections to close", func() bool { return b.Open() == 0 })
}

func TestAnOverlappingAddressIsCalledOurOwn(t *testing.T) {
	g := newTestGraph(t)
	a := named(t, "a")
	addr := freeAddr(t)
	yaml := func(address string) string {
		return strings.Replace(oneBackend(a.Addr(), ""), "127.0.0.1:0", address, 1)
	}
	mustApply(t, g, yaml(addr))
	_, port, _ := net.SplitHostPort(addr)
	err := g.apply(configOf(t, yaml("0.0.0.0:"+port)))
	if err == nil || !strings.Contains(err.Error(), addr+", where this weir listens already") || strings.Contains(err.Error(), "another process") {
		t.Errorf("got %v", err)
	}
	// The same port of another host is not ours.
	l, err := net.Listen("tcp", "127.0.0.2:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = g.apply(configOf(t, yaml(l.Addr().String())))
	if err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("got %v", err)
	}
}

func TestAStopDoesNotOutlastItsPatience(t *testing.T) {
	g := newTestGraph(t)
	release := make(chan struct{})
	defer close(release)
	slow := blocking(t, release)
	mustApply(t, g, oneBackend(slow.Addr(), ", pool: {max_open: 2}, queue: {timeout: 60s}, timeouts: {response_header: 60s}"))
	addr := boundAddr(t, g, "web")
	var wg sync.WaitGroup
	for range 4 { // two wait for the backend, two in the queue
		wg.Go(func() { fetch(addr) })
	}
	testnet.WaitFor(t, 10*time.Second, "for two waiters", func() bool { return g.backends["api"].pool.Stats().Waiting == 2 })
	if took := stopGraph(t, g, 100*time.Millisecond); took > 20*time.Second {
		t.Errorf("a stop with 100 ms of patience took %v: it waited for the backend's 60 s", took)
	}
	wg.Wait()
}

func TestReadinessWaitsForTheFirstConfigurationAlone(t *testing.T) {
	g := newTestGraph(t)
	if missing := g.notReady(); len(missing) != 1 || missing[0] != "no configuration is loaded" {
		t.Errorf("before a configuration: %q", missing)
	}
	a := named(t, "a")
	dead := freeAddr(t) // nothing listens there
	mustApply(t, g, oneBackend(dead, ", pool: {min_idle: 2}"))
	if missing := g.notReady(); len(missing) != 1 || missing[0] != "backend api: min_idle is not reached yet" {
		t.Errorf("cold: %q", missing)
	}
	mustApply(t, g, oneBackend(dead, ""))
	testnet.WaitFor(t, 10*time.Second, "for readiness after min_idle was taken back", func() bool { return len(g.notReady()) == 0 })

	// A backend that is new and dead does not take the others out of service.
	mustApply(t, g, oneBackend(a.Addr(), "")+fmt.Sprintf("  - {name: new, endpoints: [\"%s\"], pool: {min_idle: 2}}\n", dead))
	if missing := g.notReady(); len(missing) != 0 {
		t.Errorf("after a reload with a new dead backend: %q", missing)
	}
	g.draining.Store(true)
	if missing := g.notReady(); len(missing) != 1 || missing[0] != "draining" {
		t.Errorf("draining: %q", missing)
	}
	g.draining.Store(false)
}

func TestAReloadDuringADrainIsRefused(t *testing.T) {
	g := newTestGraph(t)
	a := named(t, "a")
	mustApply(t, g, oneBackend(a.Addr(), ""))
	stopGraph(t, g, 5*time.Second)
	if err := g.apply(configOf(t, oneBackend(a.Addr(), ""))); !errors.Is(err, proxy.ErrDraining) {
		t.Errorf("got %v", err)
	}
}

// Clients of all kinds while backends come and go, an address moves and bounds
// change: no request is lost.
func TestReloadsUnderLoadLoseNothing(t *testing.T) {
	g := newTestGraph(t)
	a, b := named(t, "a"), named(t, "b")
	addr := freeAddr(t)
	shapes := []string{
		`
listeners: [{name: web, protocol: http, address: "ADDR", backend: api, max_clients: 500}]
backends: [{name: api, endpoints: ["A"], pool: {max_open: 8}, queue: {timeout: 20s}}]`,
		`
listeners: [{name: web, protocol: http, address: "ADDR", backend: api, max_clients: 500, x_forwarded: false}]
backends: [{name: api, endpoints: ["A"], pool: {max_open: 2}, queue: {timeout: 20s}, retry_budget: 20%}]`,
		`
listeners: [{name: moved, protocol: http, address: "ADDR", backend: other, max_clients: 500}]
backends: [{name: other, endpoints: ["B"], pool: {max_open: 8, min_idle: 1}, queue: {timeout: 20s}}]`,
		`
listeners: [{name: web, protocol: http, address: ["ADDR", "127.0.0.1:0"], routes: [{path: /x, backend: other}, {backend: api}], max_clients: 500}]
backends: [{name: api, endpoints: ["B"], pool: {max_open: 8}, queue: {timeout: 20s}}, {name: other, endpoints: ["A"], queue: {timeout: 20s}}]`,
	}
	r := strings.NewReplacer("ADDR", addr, "A", a.Addr().String(), "B", b.Addr().String())
	mustApply(t, g, r.Replace(shapes[0]))

	var over atomic.Bool
	var wg sync.WaitGroup
	var n atomic.Int64
	good := func(code int, body string, err error) bool {
		n.Add(1)
		if err != nil || code != 200 || body != "a" && body != "b" {
			t.Errorf("got %d %q, %v", code, body, err)
			return false
		}
		return true
	}
	for range 4 {
		kept := dialKept(t, addr)
		wg.Go(func() {
			for !over.Load() && good(kept.get()) {
			}
		})
		wg.Go(func() {
			for !over.Load() && good(fetch(addr)) {
			}
		})
	}
	var watch sync.WaitGroup
	watch.Go(func() { // scrapes at the same time
		for !over.Load() {
			g.snapshot()
			g.notReady()
		}
	})
	for i := range 120 {
		mustApply(t, g, r.Replace(shapes[i%len(shapes)]))
	}
	over.Store(true)
	wg.Wait()
	watch.Wait()
	t.Logf("figure: %d requests during 120 reloads, none lost", n.Load())
	if n.Load() < 100 {
		t.Errorf("only %d requests were made", n.Load())
	}
}

func TestMaxClientsIsForAllAddressesOfAListener(t *testing.T) {
	g := newTestGraph(t)
	a := named(t, "a")
	mustApply(t, g, fmt.Sprintf(`
listeners: [{name: web, protocol: http, address: ["127.0.0.1:0", "127.0.0.1:0"], backend: a, max_clients: 2}]
backends: [{name: a, endpoints: ["%v"]}]
`, a.Addr()))
	st := g.server.Stats()
	for _, addr := range []string{st[0].Address, st[1].Address} {
		if code, _, err := dialKept(t, addr).get(); code != 200 {
			t.Fatalf("got %d, %v", code, err)
		}
	}
	for _, addr := range []string{st[0].Address, st[1].Address} {
		if code, _, err := fetch(addr); code != 503 {
			t.Errorf("a client beyond max_clients: %d, %v", code, err)
		}
	}
}
