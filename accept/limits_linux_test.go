package accept

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/internal/testnet"
)

// limitedClient asks through HAProxy from an address of its own.
type limitedClient struct {
	net.Conn
	br *bufio.Reader
}

func dialLimited(t *testing.T, front, from string) *limitedClient {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 10 * time.Second}
	d.SetMultipathTCP(false)
	c, err := d.Dial("tcp", front)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(60 * time.Second))
	return &limitedClient{c, bufio.NewReader(c)}
}

const limitedRequest = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

// ask makes one request and returns its status and the reason of a refusal.
func (c *limitedClient) ask() (status int, reason string, err error) {
	if _, err := io.WriteString(c, limitedRequest); err != nil {
		return 0, "", err
	}
	return c.answer()
}

func (c *limitedClient) answer() (status int, reason string, err error) {
	resp, err := http.ReadResponse(c.br, nil)
	if err != nil {
		return 0, "", err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Header.Get("X-Weir-Reason"), err
}

// One client sends as much as it can and more than it may, over four connections,
// two of which do not wait for answers. The other is well within its rate. HAProxy
// has one address for both, and passes their bytes on over connections of its
// own.
func TestAcceptBehindHAProxyARateIsThatOfTheClient(t *testing.T) {
	const greedy, modest, rate, asks = "127.0.0.2", "127.0.0.3", 20, 60
	backend := testnet.NewBackend(t, testnet.Good)
	w := start(t, oneBackend(backend.Addr().String(),
		fmt.Sprintf("proxy_protocol: true, trusted_proxies: [127.0.0.1], limits: {per_rate: %d/s, per_burst: %d}", rate, rate), ""))
	front, _ := startTCPProxy(t, w.addr["web"]+" send-proxy-v2")

	// The modest one asks every 75 ms, two thirds of its rate, for as long as the
	// greedy one does and before.
	type result struct {
		refused int
		slowest time.Duration
	}
	modestly := func(n int) (r result) {
		c := dialLimited(t, front, modest)
		defer c.Close()
		for range n {
			began := time.Now()
			status, reason, err := c.ask()
			if err != nil || status != 200 {
				t.Logf("%s: %d %s, %v", modest, status, reason, err)
				r.refused++
			}
			if err != nil {
				return r
			}
			r.slowest = max(r.slowest, time.Since(began))
			testnet.Pace(nil, 75*time.Millisecond)
		}
		return r
	}
	modestly(2)

	stop := make(chan struct{})
	var conns []*limitedClient
	var all sync.WaitGroup
	var mu sync.Mutex
	got := map[string]int{}
	count := func(status int, reason string) {
		mu.Lock()
		defer mu.Unlock()
		got[strings.TrimSpace(fmt.Sprint(status, " ", reason))]++
	}
	began := time.Now()
	for i := range 4 {
		c := dialLimited(t, front, greedy)
		waits := i < 2
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if !waits {
					if _, err := io.WriteString(c, strings.Repeat(limitedRequest, 8)); err != nil {
						return // the test closes it
					}
					continue
				}
				status, reason, err := c.ask()
				if err != nil {
					return
				}
				count(status, reason)
			}
		})
		if !waits {
			all.Go(func() {
				for {
					status, reason, err := c.answer()
					if err != nil {
						return
					}
					count(status, reason)
					testnet.Pace(stop, 2*time.Millisecond) // it reads, and not fast
				}
			})
		}
		conns = append(conns, c)
	}
	end := sync.OnceFunc(func() {
		close(stop)
		for _, c := range conns {
			c.Close()
		}
		all.Wait()
	})
	defer end()
	testnet.WaitFor(t, 10*time.Second, "a client of the greedy one to be left unread", func() bool { return w.rungs().Listeners[0].Unread > 0 })
	beside := modestly(asks)
	unread := sumOf(w.metrics(), "weir_client_unread_total")
	end()
	took := time.Since(began)

	figure(t, "behind HAProxy: %s got %v in %.1f s, over 4 connections that were left unread %.0f times; %s was refused %d of %d times, and waited %v at most",
		greedy, got, took.Seconds(), unread, modest, beside.refused, asks, beside.slowest.Round(100*time.Microsecond))
	if beside.refused > 0 {
		t.Errorf("%s was refused %d times for what %s did", modest, beside.refused, greedy)
	}
	if beside.slowest > time.Second {
		t.Errorf("%s waited %v", modest, beside.slowest)
	}
	if most := rate + int(took.Seconds()*rate) + 1; got["200"] > most || got["200"] < rate {
		t.Errorf("%s got %d answers in %v, want at most %d: its burst and its rate", greedy, got["200"], took, most)
	}
	if got["429 limit_per_rate"] < 10 {
		t.Errorf("%s was refused %d times", greedy, got["429 limit_per_rate"])
	}
	for answer := range got {
		if answer != "200" && answer != "429 limit_per_rate" {
			t.Errorf("%s got %s", greedy, answer)
		}
	}
}

func TestAcceptBehindHAProxyConnectionsAreBoundedByClient(t *testing.T) {
	const greedy, modest, bound = "127.0.0.2", "127.0.0.3", 3
	m := testnet.StartMariaDB(t)
	w := start(t, fmt.Sprintf(`
listeners:
  - name: db
    protocol: mysql
    address: "127.0.0.1:0"
    backend: orders
    proxy_protocol: true
    trusted_proxies: [127.0.0.1]
    connections: {per_client: %d}
    limits: {per_rate: 1/m, per_burst: 5}
backends:
  - name: orders
    endpoints: ["%s"]
    pool: {max_open: 8}
    users: [{name: %s, password: %s}]
`, bound, m.Address(), testnet.UserApp, testnet.MariaDBPassword))
	testnet.WaitFor(t, 10*time.Second, "weir to know its database", func() bool { code, _ := w.page("/readyz"); return code == 200 })
	front, _ := startTCPProxy(t, w.addr["db"]+" send-proxy-v2")

	open := func(from string, n int) (clients []wireClient) {
		t.Helper()
		for range n {
			c, err := dialWire(front, from)
			if err != nil {
				t.Fatalf("%s: %v", from, err)
			}
			t.Cleanup(func() { c.Close() })
			clients = append(clients, c)
		}
		return clients
	}
	refused := func(err error) bool { return err != nil && strings.Contains(err.Error(), "error 1040") }

	of := open(greedy, bound)
	tooMany := func(from string) {
		t.Helper()
		if _, err := dialWire(front, from); !refused(err) { // the test ends soon if it was let in
			t.Fatalf("connection %d of %s: %v, want error 1040", bound+1, from, err)
		}
	}
	tooMany(greedy)
	other := open(modest, bound)
	tooMany(modest)

	// The rate of one is nothing to the other, and its session goes on.
	over := 0
	for i := range 8 {
		if _, err := of[i%bound].ask("SELECT 1"); refused(err) {
			over++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if over != 3 {
		t.Errorf("%d of 8 queries of %s were refused, want 3: its burst is 5", over, greedy)
	}
	for i := range 5 {
		if got, err := other[i%bound].ask("SELECT 1"); got != "1" || err != nil {
			t.Errorf("query %d of %s: %q, %v", i+1, modest, got, err)
		}
	}
	// One that leaves makes room for one of its own.
	of[0].Close()
	testnet.WaitFor(t, 10*time.Second, "a place to be free", func() bool {
		c, err := dialWire(front, greedy)
		if err == nil {
			t.Cleanup(func() { c.Close() })
		} else if !refused(err) && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		return err == nil
	})
	shed := w.metrics()
	figure(t, "behind HAProxy: MySQL refused %v connections over per_client: %d, and %v queries over per_rate",
		sumOf(shed, "weir_shed_total", `reason="client_connections"`), bound, sumOf(shed, "weir_shed_total", `reason="limit_per_rate"`))
}
