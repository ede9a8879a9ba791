package accept

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weir/internal/testnet"
)

// statusFrom is status for a weir in a namespace.
func (w *weir) statusFrom(ns *testnet.Netns) (s status) {
	w.t.Helper()
	resp, err := clientIn(ns, "").Get("http://" + w.admin + "/api/status")
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// clientIn makes a client whose connections, one per request, come from a
// namespace and, if local is not empty, from an address of their own.
func clientIn(ns *testnet.Netns, local string) *http.Client {
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (c net.Conn, err error) {
			d := net.Dialer{Timeout: 10 * time.Second}
			if local != "" {
				if d.LocalAddr, err = net.ResolveTCPAddr("tcp", local); err != nil {
					return nil, err
				}
			}
			ns.Do(func() { c, err = d.Dial(network, address) })
			return c, err
		},
	}}
}

// logLines counts the lines of weir's log that say msg, of which there is to be
// one at least.
func (w *weir) logLines(msg string) int {
	w.says(strconv.Quote(msg))
	n := 0
	for line := range strings.Lines(w.logged()) {
		var l struct{ Msg string }
		if json.Unmarshal([]byte(line), &l) == nil && l.Msg == msg {
			n++
		}
	}
	return n
}

// A namespace with 20 local ports. First another program holds all of them
// towards the backend, then weir has them to itself and 64 clients ask at once.
func TestAcceptPortExhaustionIsNotTheBackendsFault(t *testing.T) {
	const ports, clients = 20, 64
	ns := testnet.NewNetns(t)
	l, err := ns.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var slow atomic.Bool
	backend := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if slow.Load() {
			testnet.Pace(r.Context().Done(), 100*time.Millisecond)
		}
		fmt.Fprint(w, "hello")
	})}
	go backend.Serve(l) // ends with Close
	t.Cleanup(func() { backend.Close() })

	prefix := ns.Command("x").Args
	w := start(t, oneBackend(l.Addr().String(), "", "pool: {max_open: 64}, dial: {rate: 1000/s}, queue: {timeout: 5s}"), prefix[:len(prefix)-1]...)
	// From now on, so that no listener has taken one of them.
	ns.Sysctl("net.ipv4.ip_local_port_range", "45000 45019")

	var hogs []net.Conn
	for {
		c, err := ns.Dial("tcp", l.Addr().String())
		if errors.Is(err, syscall.EADDRNOTAVAIL) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		hogs = append(hogs, c)
	}
	if len(hogs) != ports {
		t.Fatalf("%d ports were there to be taken, expected %d", len(hogs), ports)
	}

	// ask makes one request from each of n clients at a time, each from a port
	// that was not used before and lies outside of the range.
	var own atomic.Int64
	own.Store(20000)
	ask := func(n int) map[string]int {
		var mu sync.Mutex
		got := map[string]int{}
		var all sync.WaitGroup
		for range n {
			all.Go(func() {
				result := ""
				resp, err := clientIn(ns, fmt.Sprintf("127.0.1.1:%d", own.Add(1))).Get(w.url("/"))
				if err != nil {
					result = err.Error()
				} else {
					result = fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("X-Weir-Reason"))
					if resp.StatusCode == 503 && resp.Header.Get("Retry-After") == "" {
						result += " without Retry-After"
					}
					resp.Body.Close()
				}
				mu.Lock()
				got[result]++
				mu.Unlock()
			})
		}
		all.Wait()
		return got
	}

	refused := ask(clients)
	s := w.statusFrom(ns)
	figure(t, "no local port left: %d clients got %v after dials %v, last error %q", clients, refused, s.Backends[0].Dials, s.Backends[0].LastError)
	if refused["503 dial_local"] != clients {
		t.Errorf("got %v, want only 503 dial_local", refused)
	}
	if n := s.Backends[0].Dials["local"]; n == 0 || n > 10 {
		t.Errorf("%d dials failed locally: dials were not held down", n)
	}
	for _, msg := range []string{"dial failed", "no connection to the backend"} {
		if n := w.logLines(msg); n != 1 {
			t.Errorf("the log says %q %d times, want once", msg, n)
		}
	}
	for outcome, n := range s.Listeners[0].Requests["api"] {
		if outcome != "dial_local" {
			t.Errorf("%d requests ended as %s", n, outcome)
		}
	}

	for _, c := range hogs {
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
	began := time.Now()
	testnet.WaitFor(t, 10*time.Second, "service after the ports were free again", func() bool {
		return ask(1)["200 "] == 1
	})
	figure(t, "served %v after the ports were free again", time.Since(began).Round(time.Millisecond))

	slow.Store(true)
	served := map[string]int{}
	for range 3 {
		for result, n := range ask(clients) {
			served[result] += n
		}
	}
	s = w.statusFrom(ns)
	b := s.Backends[0]
	figure(t, "%d clients at once over %d ports: %v; most open %d, dials %v", clients, ports, served, b.MostOpen, b.Dials)
	if served["200 "] != 3*clients {
		t.Errorf("got %v, want %d times 200 over the connections that exist", served, 3*clients)
	}
	// A dial that is under way counts, though it will find no port.
	if b.MostOpen > ports+8 || b.Open > ports || b.Open < ports/2 {
		t.Errorf("%d connections are open, most were %d, with %d ports", b.Open, b.MostOpen, ports)
	}
	if n := b.Dials["local"]; n == 0 || n > 60 {
		t.Errorf("%d dials failed locally in all", n)
	}
	for outcome, n := range s.Listeners[0].Requests["api"] {
		if outcome != "2xx" && outcome != "dial_local" {
			t.Errorf("%d requests ended as %s: the backend is not to blame", n, outcome)
		}
	}
	for result, n := range b.Dials {
		if result != "ok" && result != "local" && n > 0 {
			t.Errorf("%d dials are booked as %s", n, result)
		}
	}
}
