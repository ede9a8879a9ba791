package accept

import (
	"bufio"
	"encoding/json"
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

// pooled is a backend that works on a few requests at a time, and answers none
// while it is stalled.
type pooled struct {
	*testnet.Backend
	stalled atomic.Bool
}

// startPooled starts a backend of so many workers, who take so long.
func startPooled(t *testing.T, workers int, service time.Duration) *pooled {
	t.Helper()
	p := &pooled{}
	free := make(chan struct{}, workers)
	p.Backend = testnet.NewBackend(t, func(c *testnet.BackendConn) {
		for {
			if _, err := c.ReadRequest(); err != nil {
				return
			}
			if p.stalled.Load() {
				io.Copy(io.Discard, c.R) // until weir gives it up
				return
			}
			free <- struct{}{}
			testnet.Pace(c.Stopped, service)
			<-free
			if c.Send(testnet.Response(200, testnet.Body)) != nil {
				return
			}
		}
	})
	return p
}

// rungs is what weir says of its degradation, and of what it holds.
type rungs struct {
	Listeners []struct{ Clients, Parked, Unread int }
	Backends  []struct {
		Open, Idle, Leased, Dialing, Waiting int
		Mode                                 struct {
			Now, Breaker string
			Entered      map[string]int
		}
	}
	Limits []struct {
		InFlight int `json:"in_flight"`
		Refused  map[string]int
	}
	Closing struct{ Held int }
	Buffers struct{ Bytes int }
}

func (w *weir) rungs() (r rungs) {
	w.t.Helper()
	_, text := w.page("/api/status")
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		w.t.Fatal(err)
	}
	return r
}

// goroutines are those of weir, by how many and in full.
func (w *weir) goroutines() (n int, all string) {
	w.t.Helper()
	code, text := w.page("/debug/pprof/goroutine?debug=1")
	if _, err := fmt.Sscanf(text, "goroutine profile: total %d", &n); err != nil || code != 200 {
		w.t.Fatalf("goroutines: %d %.100s", code, text)
	}
	return n, text
}

// quitters are clients that ask and leave before they are answered, one after
// the other, each after another time.
func quitters(t *testing.T, addr string, n int, stop chan struct{}) *sync.WaitGroup {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			for wait := time.Duration(i); testnet.Pace(stop, 5*time.Millisecond); wait = (wait + 7) % 40 {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					t.Error(err)
					return
				}
				io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
				testnet.Pace(stop, wait*time.Millisecond)
				c.Close()
			}
		})
	}
	return &all
}

// change is a line of the log about a mode or a breaker.
type change struct{ Msg, From, To, Cause string }

func (w *weir) changes(msg string) (list []change) {
	for line := range strings.Lines(w.logged()) {
		var c change
		if json.Unmarshal([]byte(line), &c) == nil && c.Msg == msg {
			list = append(list, c)
		}
	}
	return list
}

func TestAcceptNoRungLeavesAnythingBehind(t *testing.T) {
	const workers, service, clients, period = 4, 20 * time.Millisecond, 160, 60 * time.Millisecond // 200/s, and thirteen times that
	backend := startPooled(t, workers, service)
	w := start(t, fmt.Sprintf(`
listeners:
  - {name: web, protocol: http, address: "127.0.0.1:0", backend: api, limits: {in_flight: 1000, rate: 2000/s, burst: 50}}
backends:
  - name: api
    endpoints: ["%s"]
    pool: {max_open: %d}
    queue: {max: 64, timeout: 500ms, target: 5ms}
    timeouts: {response_header: 200ms}
    breaker: true
admin: {pprof: true}
`, backend.Addr(), workers))

	// All connections that there will be are there before: what comes with them
	// is no remainder of the storm.
	for round := range 3 {
		var all sync.WaitGroup
		for range workers {
			all.Go(func() {
				if code, _ := get(t, w.url("/")); code != 200 {
					t.Errorf("round %d: %d", round, code)
				}
			})
		}
		all.Wait()
	}
	quiet := func() bool {
		r := w.rungs()
		b := r.Backends[0]
		return r.Listeners[0].Clients+r.Listeners[0].Unread+r.Closing.Held+r.Buffers.Bytes+r.Limits[0].InFlight == 0 &&
			b.Leased+b.Dialing+b.Waiting == 0 && b.Open == b.Idle && b.Mode.Now == "normal" && b.Mode.Breaker == "closed"
	}
	testnet.WaitFor(t, 10*time.Second, "weir at rest", quiet)
	before, was := w.goroutines()
	files := w.openFiles() - w.rungs().Backends[0].Idle

	stop := make(chan struct{})
	left := quitters(t, w.addr["web"], 8, stop)
	t.Cleanup(left.Wait)
	leave := sync.OnceFunc(func() { close(stop) })
	t.Cleanup(leave)
	testnet.WaitFor(t, 20*time.Second, "5 clients that left the queue", func() bool { return w.status().ended("client_gone") >= 5 })
	load := startPacedLoad(t, nil, w.addr["web"], clients, period)
	reaches := func(mode string) {
		t.Helper()
		testnet.WaitFor(t, 20*time.Second, "mode "+mode, func() bool { return w.rungs().Backends[0].Mode.Now == mode })
	}
	reaches("refusing")
	backend.stalled.Store(true)
	reaches("open")
	backend.stalled.Store(false)
	testnet.WaitFor(t, 20*time.Second, "the breaker to close", func() bool { return w.rungs().Backends[0].Mode.Breaker == "closed" })
	reaches("refusing")
	load.end()
	leave()
	left.Wait()
	ended := time.Now()

	if !testnet.Poll(20*time.Second, quiet) {
		t.Errorf("20 s after the last client: %+v", w.rungs())
	}
	rested := time.Since(ended)
	now, is := 0, ""
	if !testnet.Poll(10*time.Second, func() bool { now, is = w.goroutines(); return now <= before }) {
		t.Errorf("%d goroutines were there before, and %d after:\n%s\n\nbefore:\n%s", before, now, is, was)
	}
	r := w.rungs()
	if n := w.openFiles() - r.Backends[0].Idle; n > files {
		t.Errorf("%d descriptors were open before beside idle connections, and %d after", files, n)
	}
	if n := backend.Open(); n != r.Backends[0].Open || n > workers {
		t.Errorf("the backend has %d connections open, and weir %d; max_open is %d", n, r.Backends[0].Open, workers)
	}
	refused := w.status().Listeners[0].Requests["api"]
	figure(t, "a storm through %v: at rest %v after its end, %d goroutines as before (%d); %v", r.Backends[0].Mode.Entered, rested.Round(time.Millisecond), now, before, refused)
	for _, outcome := range []string{"2xx", "shed", "queue_full", "breaker_open", "response_timeout", "limit_rate", "client_gone"} {
		if refused[outcome] == 0 {
			t.Errorf("the storm did not pass %s: %v", outcome, refused)
		}
	}
	for _, err := range load.errs {
		t.Errorf("a kept client's connection ended: %v", err)
		break
	}
	modes, breaker := w.changes("mode changed"), w.changes("breaker changed")
	oneLineEach(t, modes, "normal", r.Backends[0].Mode.Entered)
	oneLineEach(t, breaker, "closed", nil)
	for _, mode := range []string{"queueing", "shedding", "refusing", "open", "normal"} {
		if !slices.ContainsFunc(modes, func(c change) bool { return c.To == mode }) {
			t.Errorf("the log does not say that mode %s was entered", mode)
		}
	}

	// And it serves as before.
	c, err := net.Dial("tcp", w.addr["web"])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	br := bufio.NewReader(c)
	for range 2 * workers {
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		if io.Copy(io.Discard, resp.Body); resp.StatusCode != 200 {
			t.Errorf("after the storm: %s", resp.Status)
		}
	}
}

// oneLineEach sees that lines are of one way from a state back to it: each change
// is one line, in order and with its cause, and there are as many as were
// entered.
func oneLineEach(t *testing.T, lines []change, state string, entered map[string]int) {
	t.Helper()
	at, to := state, map[string]int{}
	for i, c := range lines {
		if c.From != at || c.To == c.From || c.Cause == "" {
			t.Errorf("line %d: %+v; it was %s", i, c, at)
		}
		at = c.To
		to[at]++
	}
	if at != state || len(lines) == 0 {
		t.Errorf("%d lines, and the last one is of %s; want %s", len(lines), at, state)
	}
	for mode, n := range entered {
		if to[mode] != n {
			t.Errorf("%s was entered %d times, and the log says %d", mode, n, to[mode])
		}
	}
}
