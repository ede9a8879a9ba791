package http1_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weir/internal/sock"
	"weir/internal/testnet"
	"weir/limiter"
	"weir/pool"
	"weir/proxy/http1"
)

// dying is a backend connection whose next exchange after arm fails as told.
type dying struct {
	sock.Conn
	armed *atomic.Bool
	wrote int // bytes that go out before the failure; -1: all
	err   error
}

func (d *dying) Exchange(req, resp []byte) (int, int, error) {
	if !d.armed.CompareAndSwap(true, false) {
		return d.Conn.Exchange(req, resp)
	}
	if d.wrote >= 0 {
		return d.wrote, 0, d.err
	}
	n, err := d.Conn.Write(req)
	if err == nil {
		err = d.err
	}
	return n, 0, err
}

// Every condition of the one safe retry, broken one at a time.
func TestRequestIsSentAgainOnlyWhereThatIsSafe(t *testing.T) {
	reset := &netError{syscall.ECONNRESET}
	pipe := &netError{syscall.EPIPE}
	for _, test := range []struct {
		name   string
		method string
		reused bool
		wrote  int // -1: all
		err    error
		budget int // percent
		status int
		reason string
	}{
		{"GET, reused, EOF", "GET", true, -1, io.EOF, 100, 200, ""},
		{"GET, reused, reset", "GET", true, -1, reset, 100, 200, ""},
		{"GET, reused, broken pipe", "GET", true, 0, pipe, 100, 200, ""},
		{"GET, reused, half written", "GET", true, 10, reset, 100, 200, ""},
		{"HEAD, reused", "HEAD", true, -1, io.EOF, 100, 200, ""},
		{"PUT, reused", "PUT", true, -1, io.EOF, 100, 200, ""},
		{"DELETE, reused", "DELETE", true, -1, io.EOF, 100, 200, ""},
		{"OPTIONS, reused", "OPTIONS", true, -1, io.EOF, 100, 200, ""},
		{"POST, reused, nothing written", "POST", true, 0, pipe, 100, 200, ""},
		{"PATCH, reused, nothing written", "PATCH", true, 0, reset, 100, 200, ""},
		{"POST, reused, written", "POST", true, -1, io.EOF, 100, 502, "stale_unsafe"},
		{"POST, reused, a byte written", "POST", true, 1, reset, 100, 502, "stale_unsafe"},
		{"PATCH, reused, written", "PATCH", true, -1, reset, 100, 502, "stale_unsafe"},
		{"own method, reused, written", "BREW", true, -1, io.EOF, 100, 502, "stale_unsafe"},
		{"method in lower case, written", "get", true, -1, io.EOF, 100, 502, "stale_unsafe"},
		{"GET, fresh, EOF", "GET", false, -1, io.EOF, 100, 502, "backend_closed"},
		{"GET, fresh, reset", "GET", false, -1, reset, 100, 502, "backend_reset"},
		{"POST, fresh, nothing written", "POST", false, 0, pipe, 100, 502, "backend_reset"},
		{"GET, reused, timeout", "GET", true, -1, &netError{os.ErrDeadlineExceeded}, 100, 504, "response_timeout"},
		{"GET, reused, timeout, nothing written", "GET", true, 0, &netError{os.ErrDeadlineExceeded}, 100, 504, "response_timeout"},
		{"GET, reused, other error", "GET", true, -1, errors.New("strange"), 100, 502, "backend_reset"},
		{"GET, reused, no budget", "GET", true, -1, io.EOF, 0, 502, "stale_unsafe"},
		{"POST, reused, nothing written, no budget", "POST", true, 0, pipe, 0, 502, "stale_unsafe"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var seen atomic.Int64
			backend := testnet.NewBackend(t, func(c *testnet.BackendConn) {
				for {
					r, err := c.ReadRequest()
					if err != nil {
						return
					}
					if r.Target == "/it" {
						seen.Add(1)
					}
					text := testnet.Response(200, r.Target)
					if r.Method == "HEAD" {
						text = strings.TrimSuffix(text, r.Target)
					}
					if c.Send(text) != nil {
						return
					}
				}
			})
			var armed atomic.Bool
			retries, err := limiter.NewRetryBudget(test.budget, 0)
			if err != nil {
				t.Fatal(err)
			}
			budget := func(s *http1.Settings) { s.Routes[0].Backend.Retries = retries }
			r := newRig(t, rigOptions{backend: backend.Addr().String(), settings: budget, options: func(o *pool.Options) {
				o.Connect = func(ctx context.Context, _ string) (sock.Conn, any, error) {
					c, err := sock.Dial(ctx, backend.Addr().String(), netip.Addr{})
					return &dying{c, &armed, test.wrote, test.err}, nil, err
				}
			}})
			c := r.client()
			if test.reused {
				c.ask("/warm")
			}
			armed.Store(true)
			c.send(test.method + " /it HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
			a := c.answer(test.method)
			if a.status != test.status || a.get("X-Weir-Reason") != test.reason {
				t.Errorf("got %q, want %d %s", a.head, test.status, test.reason)
			}
			r.noLease()
			opens := uint64(1)
			if test.status == 200 {
				opens = 2
			}
			if n := r.opened(); n != opens {
				t.Errorf("%d connections were opened, want %d", n, opens)
			}
			if n := r.front.Stats().StaleRetries["api"]; n != opens-1 {
				t.Errorf("%d retries are counted", n)
			}
			if n := seen.Load(); n > 2 || n > 1 && (test.method == "POST" || test.method == "PATCH") {
				t.Errorf("the backend saw the request %d times", n)
			}
			c.kept()
		})
	}
}

type netError struct{ error }

func (e *netError) Unwrap() error { return e.error }

// bodies of all framings that are read ahead whole, so that they can be sent again.
var replayed = map[string]string{
	"none":          "\r\n",
	"length":        "Content-Length: 5\r\n\r\nhello",
	"chunked":       "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
	"large length":  "Content-Length: 40000\r\n\r\n" + strings.Repeat("x", 40000),
	"large chunked": "Transfer-Encoding: chunked\r\n\r\n9c40\r\n" + strings.Repeat("x", 40000) + "\r\n0\r\n\r\n",
}

// The same on real sockets: a backend that closes its kept connection without
// an answer, once the request is there.
func TestReplayedRequestArrivesWhole(t *testing.T) {
	for name, body := range replayed {
		t.Run(name, func(t *testing.T) {
			backend := testnet.NewBackend(t, testnet.Phases(1, testnet.CloseBeforeAnswer(1), testnet.Echo))
			r := newRig(t, rigOptions{backend: backend.Addr().String()})
			c := r.client()
			c.ask("/warm")
			c.send("PUT /it HTTP/1.1\r\nHost: a\r\n" + body)
			a := c.answer("PUT")
			if a.status != 200 || a.get("X-Connection") != "2" || len(a.body) != map[byte]int{'n': 0, 'l': 40000, 'c': 5}[name[0]] && name != "length" {
				t.Fatalf("got %q and %d bytes", a.head, len(a.body))
			}
			c.kept()
			if n := backend.Requests(); n != 4 {
				t.Errorf("the backend saw %d requests", n)
			}
		})
	}
}

// What asked to be told before it sends a body has sent none, so its head may
// go out again; POST never twice.
func TestExpectingRequestIsReplayed(t *testing.T) {
	for method, status := range map[string]int{"PUT": 100, "POST": 502} {
		backend := testnet.NewBackend(t, testnet.Phases(1, func(c *testnet.BackendConn) {
			if r, err := c.ReadRequest(); err == nil {
				c.Send(testnet.Response(200, r.Target))
				c.ReadHead()
			}
		}, func(c *testnet.BackendConn) {
			for {
				r, err := c.ReadHead()
				if err != nil {
					return
				}
				if r.Get("Expect") != "" {
					c.Send("HTTP/1.1 100 Continue\r\n\r\n")
				}
				if c.ReadBody(r) != nil || c.Send(testnet.Response(200, fmt.Sprint(len(r.Body)))) != nil {
					return
				}
			}
		}))
		r := newRig(t, rigOptions{backend: backend.Addr().String()})
		c := r.client()
		c.ask("/warm")
		c.send(strings.Replace(expect(100_000), "POST", method, 1))
		a := c.answer(method)
		if a.status != status {
			t.Fatalf("%s: got %q", method, a.head)
		}
		if a.status == 100 {
			c.send(strings.Repeat("x", 100_000))
			if a := c.answer(method); a.status != 200 || a.body != "100000" {
				t.Errorf("%s: got %q %q", method, a.head, a.body)
			}
		}
	}
}

// A backend that closes its idle connections just as they are used: whatever
// the timing, no POST runs twice and every GET succeeds.
func TestStaleConnectionsUnderFire(t *testing.T) {
	var counts [2000]atomic.Int32
	backend := testnet.NewBackend(t, func(c *testnet.BackendConn) {
		for {
			if c.Served > 0 {
				c.SetReadDeadline(time.Now().Add(time.Duration(c.ID%3+1) * time.Millisecond))
			}
			if _, err := c.R.Peek(1); err != nil {
				return
			}
			c.SetReadDeadline(time.Time{})
			r, err := c.ReadRequest()
			if err != nil {
				return
			}
			var n int
			fmt.Sscanf(r.Target, "/%d", &n)
			counts[n].Add(1)
			if c.Send(testnet.Response(200, r.Target)) != nil {
				return
			}
		}
	})
	r := newRig(t, rigOptions{backend: backend.Addr().String()})
	clients := []*client{r.client(), r.client(), r.client(), r.client()}
	bad := make(chan string, len(clients))
	for id, c := range clients {
		go func() {
			for i := range 500 {
				n := id*500 + i
				method := []string{"GET", "POST"}[n%2]
				io.WriteString(c.Conn, fmt.Sprintf("%s /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", method, n))
				a, err := c.tryAnswer(method)
				switch want := fmt.Sprintf("/%d", n); {
				case err != nil:
					bad <- err.Error()
					return
				case a.status == 200 && a.body != want:
					bad <- want + " got the answer " + a.body
					return
				case a.status != 200 && (method == "GET" || a.get("X-Weir-Reason") != "stale_unsafe"):
					bad <- want + " got " + a.head
					return
				}
				if i%3 == 0 {
					testnet.Pace(nil, time.Duration(n%4)*time.Millisecond)
				}
			}
			bad <- ""
		}()
	}
	for range clients {
		if s := <-bad; s != "" {
			t.Error(s)
		}
	}
	for n := range counts {
		if got := counts[n].Load(); n%2 == 1 && got > 1 {
			t.Errorf("POST /%d ran %d times", n, got)
		}
	}
	st := r.front.Stats()
	t.Logf("%d connections for 2000 requests, %d retries, %d unsafe; closed %v", r.opened(), st.StaleRetries["api"],
		st.Requests["api"]["stale_unsafe"], r.closes())
}

// An upload whose last bytes the backend did not take in time has left half a
// request on the connection, so an answer that comes later does not save it.
func TestConnectionWithHalfARequestIsNotReused(t *testing.T) {
	half := make(chan struct{})
	backend := testnet.NewBackend(t, func(c *testnet.BackendConn) {
		for {
			r, err := c.ReadHead()
			if err != nil {
				return
			}
			text := testnet.Response(200, r.Target)
			if r.Target == "/half" {
				select {
				case <-half:
				case <-c.Stopped:
				}
			} else {
				err = c.ReadBody(r)
			}
			if err != nil || c.Send(text) != nil {
				return
			}
		}
	})
	r := newRig(t, rigOptions{backend: backend.Addr().String(), options: func(o *pool.Options) {
		o.Connect = func(ctx context.Context, _ string) (sock.Conn, any, error) {
			c, err := sock.Dial(ctx, backend.Addr().String(), netip.Addr{})
			return &halfWriter{Conn: c, late: sync.OnceFunc(func() { close(half) })}, nil, err
		}
	}})
	c := r.client()
	c.send("POST /half HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + strings.Repeat("x", 300_000))
	if a := c.answer("POST"); a.status != 200 {
		t.Fatalf("got %q", a.head)
	}
	r.noLease()
	if s := r.pool.Stats(); s.Idle != 0 {
		t.Errorf("%d connections are idle after half a request; closed %v", s.Idle, r.closes())
	}
	if a := r.client().ask("/next"); a.body != "/next" {
		t.Errorf("the next client got %q %q", a.head, a.body)
	}
}

// halfWriter runs into its deadline with the last bytes of a body of 300,000.
type halfWriter struct {
	sock.Conn
	taken int
	late  func() // called when it did
}

func (h *halfWriter) WriteTwo(head, body []byte) (int, error) {
	if h.taken += len(head) + len(body); h.taken > 300_000 {
		h.late()
		return 0, &netError{os.ErrDeadlineExceeded}
	}
	return h.Conn.WriteTwo(head, body)
}

// A backend that answers early and closes breaks the write of the rest; its
// answer is passed on all the same, and the connection is not kept.
func TestAnswerIsReadThoughTheRequestCouldNotBeWritten(t *testing.T) {
	backend := testnet.NewBackend(t, testnet.Early(413))
	r := newRig(t, rigOptions{backend: backend.Addr().String(), options: func(o *pool.Options) {
		o.Connect = func(ctx context.Context, _ string) (sock.Conn, any, error) {
			c, err := sock.Dial(ctx, backend.Addr().String(), netip.Addr{})
			return &breaking{c}, nil, err
		}
	}})
	c := r.client()
	c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40000\r\n\r\n" + strings.Repeat("x", 40_000))
	if a := c.answer("POST"); a.status != 413 || a.body != testnet.Body {
		t.Errorf("got %q", a.head)
	}
	r.noLease()
	if got := r.closes(); got["early_response"] != 1 || len(got) != 1 {
		t.Errorf("closed %v", got)
	}
}

// breaking takes half of what WriteTwo is given.
type breaking struct{ sock.Conn }

func (b *breaking) WriteTwo(head, body []byte) (int, error) {
	n, err := b.Conn.Write(head)
	if err == nil {
		var m int
		m, err = b.Conn.Write(body[:len(body)/2])
		n += m
	}
	if err == nil {
		err = &netError{syscall.EPIPE}
	}
	return n, err
}

// What went wrong with one client's body is not told to the next client.
func TestRefusalOfABodyIsForgotten(t *testing.T) {
	backend := testnet.NewBackend(t, func(c *testnet.BackendConn) {
		if r, err := c.ReadHead(); err == nil && r.Target == "/upload" {
			c.ReadBody(r)
		}
	})
	r := newRig(t, rigOptions{backend: backend.Addr().String()})
	for range 10 {
		c := r.client()
		c.send("POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n20000\r\n" + strings.Repeat("x", 0x20000) + "bad")
		if a := c.answer("POST"); a.get("X-Weir-Reason") != "bad_request/chunk" {
			t.Fatalf("got %q", a.head)
		}
		c.Close()
		d := r.client()
		d.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if a := d.answer("GET"); a.status != 502 || a.get("X-Weir-Reason") != "backend_closed" {
			t.Fatalf("the next client got %q", a.head)
		}
	}
}
