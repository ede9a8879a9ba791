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

// noise is what a busy machine may add to a p99 without weir having a part in
// it: a few time slices of other processes on the same cores.
const noise = 10 * time.Millisecond

// within compares p99 with that of the same run without the burden.
func within(t *testing.T, what string, before, p99 time.Duration) {
	t.Helper()
	figure(t, "p99 of others with %s: %v, %v before (%.2f x)", what, p99.Round(10*time.Microsecond),
		before.Round(10*time.Microsecond), float64(p99)/float64(before))
	if p99 > 2*before+noise {
		t.Errorf("p99 went from %v to %v", before, p99)
	}
}

const perClient = 4000 // requests: 16,000 in all, so that 160 lie beyond the p99

func TestAcceptSlowClientsDoNotSlowOthersDown(t *testing.T) {
	backend := testnet.NewBackend(t, slowBackend)
	w := start(t, oneBackend(backend.Addr().String(), "", "pool: {max_open: 8}"))
	latencies(t, w.addr["web"], 500)
	_, before := latencies(t, w.addr["web"], perClient)

	stop := make(chan struct{})
	var wg sync.WaitGroup
	var alive, ended atomic.Int64
	for i := range 200 {
		wg.Go(func() {
			c, err := net.Dial("tcp", w.addr["web"])
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			c.(*net.TCPConn).SetReadBuffer(4 << 10)
			reads := i%2 == 0
			if reads {
				io.WriteString(c, "GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
			} else {
				io.WriteString(c, "POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
			}
			alive.Add(1)
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			one := make([]byte, 1)
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
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
		})
	}
	testnet.WaitFor(t, 30*time.Second, "200 slow clients", func() bool { return alive.Load() == 200 })
	_, p99 := latencies(t, w.addr["web"], perClient)
	within(t, "200 slow clients and max_open 8", before, p99)
	s := w.status().Backends[0]
	figure(t, "leases while 200 slow clients are at work: %d, buffers %d KiB", s.Leased, w.status().Buffers.Bytes>>10)
	if n := s.Leased; n > 0 {
		t.Errorf("slow clients hold %d leases", n)
	}
	if n := ended.Load(); n > 0 {
		t.Errorf("%d slow clients were ended, though they sent and read", n)
	}
	close(stop)
	wg.Wait()
}

func TestAcceptSlowHeadersAreCutAndDoNotSlowOthersDown(t *testing.T) {
	const clients = 5000
	backend := testnet.NewBackend(t, slowBackend)
	w := start(t, oneBackend(backend.Addr().String(), "timeouts: {header: 4s}", "pool: {max_open: 8}"))
	latencies(t, w.addr["web"], 500)
	_, before := latencies(t, w.addr["web"], perClient)

	type slow struct {
		c     net.Conn
		began time.Time
	}
	all := make([]slow, clients)
	var wg sync.WaitGroup
	for k := range 8 {
		wg.Go(func() {
			for i := k; i < clients; i += 8 {
				c, err := net.Dial("tcp", w.addr["web"])
				if err != nil {
					t.Error(err)
					return
				}
				io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ")
				all[i] = slow{c, time.Now()}
			}
		})
	}
	wg.Wait()
	defer func() {
		for _, s := range all {
			if s.c != nil {
				s.c.Close()
			}
		}
	}()
	if t.Failed() {
		return
	}
	opened := w.status().Listeners[0].Clients
	// A byte a second each does not move the deadline. They come spread out, as
	// those of independent clients do: in bunches they would measure how this
	// process shares the cores with weir.
	stop := make(chan struct{})
	wg.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i = (i + clients/1000) % clients {
			for _, s := range all[i : i+clients/1000] {
				io.WriteString(s.c, "x")
			}
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	})
	_, p99 := latencies(t, w.addr["web"], perClient)
	within(t, fmt.Sprintf("%d slow heads (%d open)", clients, opened), before, p99)

	var least, most time.Duration
	answered := 0
	for i, s := range all {
		s.c.SetReadDeadline(time.Now().Add(60 * time.Second))
		resp, err := http.ReadResponse(bufio.NewReader(s.c), nil)
		took := time.Since(s.began)
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
		answered++
	}
	close(stop)
	wg.Wait()
	figure(t, "%d slow heads got 408 after %v to %v (read one after the other) with a header timeout of 4s", answered, least.Round(10*time.Millisecond), most.Round(10*time.Millisecond))
	if least < 3*time.Second || most > 30*time.Second {
		t.Errorf("cut after %v to %v", least, most)
	}
	if n := w.status().Backends[0].MostOpen; n > 8 {
		t.Errorf("%d backend connections", n)
	}
}
