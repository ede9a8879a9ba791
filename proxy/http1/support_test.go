package http1_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/internal/sock"
	"weir/internal/testnet"
	"weir/limiter"
	"weir/pool"
	"weir/proxy/http1"
)

// client is one raw client. It parses nothing but what tells one response from
// the next, so that a test sees the bytes as they came.
type client struct {
	net.Conn
	t  *testing.T
	br *bufio.Reader
}

// reply is one response as it came.
type reply struct {
	status int
	head   string // with the empty line
	body   string // without chunk framing
	raw    string // the body as it came
	ended  bool   // the body ended with the connection
}

// get returns the value of a field, "" without one.
func (a reply) get(name string) string {
	for line := range strings.SplitSeq(a.head, "\r\n") {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(k, name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func (r *rig) client() *client { return newClient(r.t, r.dial()) }

func newClient(t *testing.T, c net.Conn) *client {
	return &client{Conn: c, t: t, br: bufio.NewReader(c)}
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, text); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

// answer reads one response to a request with that method.
func (c *client) answer(method string) reply {
	c.t.Helper()
	a, err := c.tryAnswer(method)
	if err != nil {
		c.t.Fatalf("after %q and %d bytes of body: %v", a.head, len(a.raw), err)
	}
	return a
}

// ask sends a GET and reads the response.
func (c *client) ask(path string) reply {
	c.t.Helper()
	c.send("GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n")
	return c.answer("GET")
}

func (c *client) tryAnswer(method string) (a reply, err error) {
	for {
		line, err := c.br.ReadString('\n')
		a.head += line
		if err != nil {
			return a, err
		}
		if line == "\r\n" {
			break
		}
	}
	if len(a.head) < 12 {
		return a, fmt.Errorf("no status line")
	}
	if a.status, err = strconv.Atoi(a.head[9:12]); err != nil {
		return a, err
	}
	var raw bytes.Buffer
	br := bufio.NewReader(io.TeeReader(oneByte{c.br}, &raw)) // the tee must not read ahead
	defer func() { a.raw = raw.String() }()
	switch {
	case method == "HEAD" || a.status < 200 || a.status == 204 || a.status == 304:
	case strings.EqualFold(a.get("Transfer-Encoding"), "chunked"):
		var body strings.Builder
		for {
			line, err := br.ReadString('\n')
			if err != nil {
				return a, unexpected(err)
			}
			n, err := strconv.ParseUint(strings.TrimSuffix(line, "\r\n"), 16, 31)
			if err != nil {
				return a, fmt.Errorf("chunk size %q", line)
			}
			if n == 0 {
				break
			}
			if _, err := io.CopyN(&body, br, int64(n)); err != nil {
				return a, unexpected(err)
			}
			if line, err := br.ReadString('\n'); line != "\r\n" {
				return a, fmt.Errorf("%q after a chunk: %w", line, unexpected(err))
			}
			a.body = body.String()
		}
		a.body = body.String()
		for {
			line, err := br.ReadString('\n')
			if err != nil {
				return a, unexpected(err)
			}
			if line == "\r\n" {
				break
			}
		}
	case a.get("Content-Length") != "":
		n, err := strconv.Atoi(a.get("Content-Length"))
		if err != nil {
			return a, err
		}
		b := make([]byte, n)
		m, err := io.ReadFull(br, b)
		a.body = string(b[:m])
		if err != nil {
			return a, unexpected(err)
		}
	default:
		b, err := io.ReadAll(br)
		a.body, a.ended = string(b), true
		if err != nil {
			return a, err
		}
	}
	return a, nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// oneByte keeps a reader behind it from taking more than it uses.
type oneByte struct{ r *bufio.Reader }

func (o oneByte) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b, err := o.r.ReadByte()
	if err != nil {
		return 0, err
	}
	p[0] = b
	return 1, nil
}

// closed expects the end of the connection, and nothing before it.
func (c *client) closed() {
	c.t.Helper()
	rest, err := io.ReadAll(c.br)
	if len(rest) > 0 {
		c.t.Errorf("%q came behind the last response", rest)
	}
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		c.t.Error("the connection was not closed")
	}
}

// kept expects the connection to serve another request.
func (c *client) kept() {
	c.t.Helper()
	if a := c.ask("/kept"); a.status != 200 {
		c.t.Errorf("the connection was not kept: %q", a.head)
	}
}

// tape records what a backend received, per connection.
type tape struct {
	mu  sync.Mutex
	got map[int]*bytes.Buffer
}

// record makes c.R note all that it reads.
func (tp *tape) record(c *testnet.BackendConn) {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	if tp.got == nil {
		tp.got = map[int]*bytes.Buffer{}
	}
	tp.got[c.ID] = new(bytes.Buffer)
	c.R = bufio.NewReader(io.TeeReader(c.Conn, tapeWriter{tp, c.ID}))
}

type tapeWriter struct {
	tp *tape
	id int
}

func (w tapeWriter) Write(p []byte) (int, error) {
	w.tp.mu.Lock()
	defer w.tp.mu.Unlock()
	return w.tp.got[w.id].Write(p)
}

// all is what came over all connections, in order of the connections.
func (tp *tape) all() string {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	s := ""
	for id := 1; id <= len(tp.got); id++ {
		s += tp.got[id].String()
	}
	return s
}

// recording runs script on a backend whose input is recorded.
func recording(t *testing.T, script testnet.Script) (*testnet.Backend, *tape) {
	tp := new(tape)
	return testnet.NewBackend(t, func(c *testnet.BackendConn) {
		tp.record(c)
		script(c)
	}), tp
}

// sends answers every request, once it was read whole, with raw bytes.
func sends(raw string) testnet.Script {
	return func(c *testnet.BackendConn) {
		for {
			if _, err := c.ReadRequest(); err != nil || c.Send(raw) != nil {
				return
			}
		}
	}
}

// sendsOnce answers one request with raw bytes and closes.
func sendsOnce(raw string) testnet.Script {
	return func(c *testnet.BackendConn) {
		if _, err := c.ReadRequest(); err == nil {
			c.Send(raw)
		}
	}
}

// newBackend makes a further backend for a rig's routes.
func newBackend(t *testing.T, name, address string) *http1.Backend {
	t.Helper()
	p, err := pool.New(pool.Options{
		Name: name, Address: address, MaxOpen: 8, IdleTimeout: time.Minute, MaxLifetime: time.Hour,
		DialTimeout: time.Second, DialRate: 1000, DialConcurrent: 8, QueueMax: 256, QueueTimeout: 5 * time.Second,
		Connect: func(ctx context.Context, _ string) (sock.Conn, any, error) {
			c, err := sock.Dial(ctx, address, netip.Addr{})
			return c, nil, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	budget, err := limiter.NewRetryBudget(100, 100)
	if err != nil {
		t.Fatal(err)
	}
	return &http1.Backend{Name: name, Address: address, Pool: p, Retries: budget,
		ResponseHeader: 5 * time.Second, BodyIdle: 5 * time.Second}
}

// noLease waits until no lease is held and what had to be closed is.
func (r *rig) noLease() {
	r.t.Helper()
	testnet.WaitFor(r.t, testWait, "all leases ended", func() bool {
		s := r.pool.Stats()
		return s.Leased == 0 && s.Closing == 0
	})
}

// closes counts the backend connections that were closed, by reason.
func (r *rig) closes() map[string]uint64 {
	m := map[string]uint64{}
	for why, n := range r.pool.Stats().Closes {
		if n > 0 {
			m[why.String()] = n
		}
	}
	return m
}

// testWait is the patience of tests with what should take no time.
const testWait = 15 * time.Second
