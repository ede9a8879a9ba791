package accept

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/testnet"
)

// slowBackend answers /large with 200 KiB and the rest with its target.
func slowBackend(c *testnet.BackendConn) {
	large := testnet.Response(200, strings.Repeat("x", 200<<10))
	for {
		r, err := c.ReadRequest()
		if err != nil {
			return
		}
		text := large
		if r.Target != "/large" {
			text = testnet.Response(200, r.Target)
		}
		if c.Send(text) != nil {
			return
		}
	}
}

// latencies has four keepalive clients make n requests each and returns the
// median and the p99 of what they waited.
func latencies(t *testing.T, addr string, n int) (median, p99 time.Duration) {
	t.Helper()
	const clients = 4
	all := make([][]time.Duration, clients)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			br := bufio.NewReader(c)
			for j := range n {
				c.SetDeadline(time.Now().Add(20 * time.Second))
				id := fmt.Sprintf("/%d-%d", i, j)
				began := time.Now()
				fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", id)
				resp, err := http.ReadResponse(br, nil)
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				if err != nil || string(body) != id {
					t.Errorf("%s: %d %q, %v", id, resp.StatusCode, body, err)
					return
				}
				all[i] = append(all[i], time.Since(began))
			}
		})
	}
	wg.Wait()
	sorted := slices.Sorted(slices.Values(slices.Concat(all...)))
	if len(sorted) == 0 {
		t.Fatal("no request was answered")
	}
	return sorted[len(sorted)/2], sorted[len(sorted)*99/100]
}

// within compares the p99 of others beside a burden with theirs without it: not
// more than twice that is promised. What else the machine does may fall on one
// half of a round only, so where the promise is held the best of three counts.
// Every round measures both halves afresh.
func within(t *testing.T, what string, round func() (before, beside time.Duration)) {
	t.Helper()
	met := false
	var all []string
	for range 3 {
		before, beside := round()
		all = append(all, fmt.Sprintf("%.2f x (%v, %v before)", float64(beside)/float64(before),
			beside.Round(10*time.Microsecond), before.Round(10*time.Microsecond)))
		if met = beside <= 2*before; met || !*hold || t.Failed() {
			break
		}
	}
	speed(t, met, "p99 of others beside %s, at most 2 x: %s", what, strings.Join(all, ", "))
}

// left waits until the clients of the round before are gone.
func (w *weir) left() {
	w.t.Helper()
	testnet.WaitFor(w.t, 30*time.Second, "the end of all clients", func() bool { return w.status().Listeners[0].Clients == 0 })
}

const perClient = 4000 // requests: 16,000 in all, so that 160 lie beyond the p99

func TestAcceptSlowClientsDoNotSlowOthersDown(t *testing.T) {
	const clients = 200
	backend := testnet.NewBackend(t, slowBackend)
	w := start(t, oneBackend(backend.Addr().String(), "", "pool: {max_open: 8}"))
	latencies(t, w.addr["web"], 500)
	within(t, fmt.Sprintf("%d slow clients and max_open 8", clients), func() (before, beside time.Duration) {
		w.left()
		_, before = latencies(t, w.addr["web"], perClient)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		var alive, ended atomic.Int64
		for i := range clients {
			wg.Go(func() { slowClient(t, w.addr["web"], i%2 == 0, stop, &alive, &ended) })
		}
		defer wg.Wait()
		defer close(stop)
		testnet.WaitFor(t, 30*time.Second, "the slow clients", func() bool { return alive.Load() == clients })
		_, beside = latencies(t, w.addr["web"], perClient)
		s := w.status()
		figure(t, "leases while %d slow clients are at work: %d, buffers %d KiB", clients, s.Backends[0].Leased, s.Buffers.Bytes>>10)
		if n := s.Backends[0].Leased; n > 0 {
			t.Errorf("slow clients hold %d leases", n)
		}
		if n := ended.Load(); n > 0 {
			t.Errorf("%d slow clients were ended, though they sent and read", n)
		}
		return before, beside
	})
}

// slowClient reads a byte of a response, or sends one of a request's body, each
// second until stop. It counts itself in alive, and in ended if it is cut.
func slowClient(t *testing.T, addr string, reads bool, stop chan struct{}, alive, ended *atomic.Int64) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	c.(*net.TCPConn).SetReadBuffer(4 << 10)
	if reads {
		io.WriteString(c, "GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
	} else {
		io.WriteString(c, "POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
	}
	alive.Add(1)
	one := make([]byte, 1)
	for testnet.Pace(stop, time.Second) {
		if reads {
			_, err = c.Read(one)
		} else {
			_, err = c.Write(one)
		}
		if err != nil {
			ended.Add(1)
			return
		}
	}
}

func TestAcceptSlowHeadersAreCutAndDoNotSlowOthersDown(t *testing.T) {
	const clients = 5000
	backend := testnet.NewBackend(t, slowBackend)
	w := start(t, oneBackend(backend.Addr().String(), "timeouts: {header: 4s}", "pool: {max_open: 8}"))
	latencies(t, w.addr["web"], 500)
	within(t, fmt.Sprintf("%d slow heads", clients), func() (before, beside time.Duration) {
		w.left()
		_, before = latencies(t, w.addr["web"], perClient)
		heads := openHeads(t, w.addr["web"], clients)
		defer func() {
			for _, h := range heads {
				h.c.Close()
			}
		}()
		stop := make(chan struct{})
		var wg sync.WaitGroup
		defer wg.Wait()
		defer close(stop)
		wg.Go(func() { trickle(heads, stop) })
		_, beside = latencies(t, w.addr["web"], perClient)
		least, most := cutAfter(t, heads)
		figure(t, "%d slow heads got 408 after %v to %v (read one after the other) with a header timeout of 4s", clients,
			least.Round(10*time.Millisecond), most.Round(10*time.Millisecond))
		if least < 3*time.Second || most > 30*time.Second {
			t.Errorf("cut after %v to %v", least, most)
		}
		return before, beside
	})
	if n := w.status().Backends[0].MostOpen; n > 8 {
		t.Errorf("%d backend connections", n)
	}
}

// head is a request whose head never ends.
type head struct {
	c     net.Conn
	began time.Time
}

// openHeads begins n of them, on a connection each.
func openHeads(t *testing.T, addr string, n int) []head {
	t.Helper()
	all := make([]head, n)
	var wg sync.WaitGroup
	for k := range 8 {
		wg.Go(func() {
			for i := k; i < n; i += 8 {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					t.Error(err)
					return
				}
				t.Cleanup(func() { c.Close() })
				io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ")
				all[i] = head{c, time.Now()}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return all
}

// trickle sends a byte a second of each head until stop, which does not move the
// deadline. They come spread out, as those of independent clients do: in bunches
// they would measure how this process shares the cores with weir.
func trickle(heads []head, stop chan struct{}) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	step := len(heads) / 1000
	for i := 0; ; i = (i + step) % len(heads) {
		for _, h := range heads[i : i+step] {
			io.WriteString(h.c, "x")
		}
		select {
		case <-stop:
			return
		case <-tick.C:
		}
	}
}

// cutAfter reads the answers to heads that are cut for their slowness, and
// returns when the first and the last came.
func cutAfter(t *testing.T, heads []head) (least, most time.Duration) {
	t.Helper()
	for i, h := range heads {
		h.c.SetReadDeadline(time.Now().Add(60 * time.Second))
		resp, err := http.ReadResponse(bufio.NewReader(h.c), nil)
		took := time.Since(h.began)
		if i == 0 || took < least {
			least = took
		}
		most = max(most, took)
		switch {
		case err != nil:
			t.Fatalf("a slow client got %v after %v", err, took)
		case resp.StatusCode != 408 || resp.Header.Get("X-Weir-Reason") != "header_timeout":
			t.Fatalf("a slow client got %s", resp.Status)
		}
	}
	return least, most
}
