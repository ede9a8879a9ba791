package http1_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weir/internal/sock"
	"weir/limiter"
	"weir/pool"
	"weir/proxy/http1"
)

// rig is a front before one backend, on real sockets.
type rig struct {
	t       *testing.T
	front   *http1.Front
	l       *sock.Listener
	sweeper *sock.Sweeper
	pool    *pool.Pool
	set     *http1.Settings
	be      *http1.Backend
	access  accessLog // of every request
}

type rigOptions struct {
	backend  string // address
	maxOpen  int
	settings func(*http1.Settings)
	options  func(*pool.Options)
	wrap     func(net.Conn) net.Conn
	listen   string
	retry    int // percent; 0 for 100
	noAccess bool
}

func newRig(t *testing.T, o rigOptions) *rig {
	t.Helper()
	po := pool.Options{
		Name: "api", Address: o.backend, MaxOpen: 8, Reserved: 2,
		IdleTimeout: 50 * time.Second, MaxLifetime: 30 * time.Minute,
		DialTimeout: time.Second, DialRate: 1000, DialConcurrent: 8,
		HolderLooks: true, QueueMax: 256, QueueTimeout: 5 * time.Second,
		Connect: func(ctx context.Context, _ string) (sock.Conn, any, error) {
			c, err := sock.Dial(ctx, o.backend, netip.Addr{})
			return c, nil, err
		},
	}
	if o.maxOpen > 0 {
		po.MaxOpen = o.maxOpen
	}
	if o.options != nil {
		o.options(&po)
	}
	p, err := pool.New(po)
	if err != nil {
		t.Fatal(err)
	}
	percent := 100
	if o.retry > 0 {
		percent = o.retry
	}
	budget, err := limiter.NewRetryBudget(percent, 100)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, pool: p, sweeper: sock.NewSweeper()}
	r.be = &http1.Backend{Name: "api", Address: o.backend, Pool: p, Retries: budget,
		ResponseHeader: 5 * time.Second, BodyIdle: 5 * time.Second}
	r.set = &http1.Settings{
		Routes:    []http1.Route{{Backend: r.be}},
		MaxHeader: 32 << 10, MaxURI: 8 << 10,
		HeaderTimeout: 5 * time.Second, BodyIdle: 5 * time.Second, SendTimeout: 5 * time.Second, IdleTimeout: time.Minute,
		XForwarded: true,
	}
	if o.settings != nil {
		o.settings(r.set)
	}
	if !o.noAccess {
		r.set.Access = r.access.open()
	}
	r.front, err = http1.NewFront("web", r.set, r.sweeper, http1.NewBudget(64<<20), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	poller, err := sock.NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	if o.listen == "" {
		o.listen = "127.0.0.1:0"
	}
	r.l, err = sock.Listen(sock.ListenOptions{Address: o.listen, Handler: r.front, Poller: poller, MaxClients: 10000, Wrap: o.wrap})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.front.Interrupt()
		r.l.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		r.sweeper.Close(ctx)
		if err := p.Close(ctx); err != nil {
			t.Errorf("pool: %v", err)
		}
		poller.Close()
		if n := r.l.Stats().Open; n != 0 {
			t.Errorf("%d clients are counted as open after the end", n)
		}
		r.access.check(t, r.front)
	})
	return r
}

func (r *rig) url(path string) string { return "http://" + r.l.Addr().String() + path }

func (r *rig) dial() net.Conn {
	r.t.Helper()
	c, err := net.Dial(r.l.Addr().Network(), r.l.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// exchange sends raw bytes and returns all that comes until the close.
func (r *rig) exchange(raw string) string {
	r.t.Helper()
	c := r.dial()
	io.WriteString(c, raw)
	all, _ := io.ReadAll(c)
	return string(all)
}

func httpBackend(t *testing.T, h http.HandlerFunc) string {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func TestRequestsOfShortClientsShareBackendConnections(t *testing.T) {
	addr := httpBackend(t, func(w http.ResponseWriter, req *http.Request) {
		fmt.Fprintf(w, "%s %s %s", req.Method, req.URL, req.Header.Get("X-Forwarded-For"))
	})
	r := newRig(t, rigOptions{backend: addr})
	for i := range 100 {
		got := r.exchange(fmt.Sprintf("GET /%d?q=%%20 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", i))
		if want := fmt.Sprintf("\r\n\r\nGET /%d?q=%%20 127.0.0.1", i); !strings.HasSuffix(got, want) {
			t.Fatalf("got %q, want it to end in %q", got, want)
		}
	}
	if n := r.opened(); n != 1 {
		t.Errorf("%d backend connections were opened for 100 clients one after another", n)
	}
}

func TestKeepaliveClientSendsManyRequests(t *testing.T) {
	addr := httpBackend(t, func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		fmt.Fprintf(w, "%s %d", req.URL, len(body))
	})
	r := newRig(t, rigOptions{backend: addr})
	for i := range 50 {
		for _, size := range []int{0, 10, 5000, 70000, 300000} {
			body := io.Reader(strings.NewReader(strings.Repeat("x", size)))
			if i%2 == 1 {
				body = struct{ io.Reader }{body} // chunked
			}
			resp, err := http.Post(r.url(fmt.Sprintf("/%d", i)), "text/plain", body)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if want := fmt.Sprintf("/%d %d", i, size); err != nil || string(got) != want {
				t.Fatalf("got %q, %v, want %q", got, err, want)
			}
		}
	}
}

func TestLargeResponsesArriveWhole(t *testing.T) {
	addr := httpBackend(t, func(w http.ResponseWriter, req *http.Request) {
		chunk := strings.Repeat("0123456789abcdef", 1024)
		for range 200 {
			io.WriteString(w, chunk)
			if req.URL.Path == "/flush" {
				w.(http.Flusher).Flush()
			}
		}
	})
	r := newRig(t, rigOptions{backend: addr})
	for _, path := range []string{"/", "/flush"} {
		resp, err := http.Get(r.url(path))
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if n != 200*16*1024 || err != nil {
			t.Errorf("%s: %d bytes, %v", path, n, err)
		}
	}
}

func TestEventsArriveAsTheyAreSent(t *testing.T) {
	next := make(chan struct{})
	addr := httpBackend(t, func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 5 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
			<-next
		}
	})
	r := newRig(t, rigOptions{backend: addr})
	resp, err := http.Get(r.url("/"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	br := bufio.NewReader(resp.Body)
	for i := range 5 {
		line, err := br.ReadString('\n')
		if want := fmt.Sprintf("data: %d\n", i); err != nil || line != want {
			t.Fatalf("got %q, %v", line, err)
		}
		br.ReadString('\n')
		next <- struct{}{}
	}
}

// opened counts the backend connections that were dialled.
func (r *rig) opened() (n uint64) {
	for _, c := range r.pool.Stats().Opens {
		n += c
	}
	return n
}
