package http1_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/testnet"
	"weir/proxy/http1"
)

func TestChunkedRequestPassesWithItsTrailer(t *testing.T) {
	backend, tp := recording(t, sends(ok))
	r := newRig(t, rigOptions{backend: backend.Addr().String(), settings: plain})
	c := r.client()
	head := "POST / HTTP/1.1\r\nHost: a\r\nTrailer: X-Sum\r\n"
	c.send(head + "Transfer-Encoding: chunked\r\n\r\n5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\nx-other:2\r\n\r\n")
	c.answer("POST")
	want := head + "Transfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\nX-Sum: 1\r\nx-other:2\r\n\r\n"
	if diff := cmp.Diff(want, tp.all()); diff != "" {
		t.Error(diff)
	}
	c.kept()
}

// Sizes around every border inside: what is read at once, ahead, in one write.
func TestBodiesOfAllSizesPassBothWays(t *testing.T) {
	backend := testnet.NewBackend(t, testnet.Echo)
	r := newRig(t, rigOptions{backend: backend.Addr().String()})
	c := r.client()
	for _, size := range []int{0, 1, 4000, 4096, 16<<10 - 1, 16 << 10, 16<<10 + 1, 20_000, 64<<10 - 1, 64 << 10, 64<<10 + 1, 256 << 10, 300_000, 2 << 20} {
		body := strings.Repeat("0123456789abcdef", size/16+1)[:size]
		for _, chunk := range []int{0, 1000, 70_000} {
			raw := fmt.Sprintf("Content-Length: %d\r\n\r\n%s", size, body)
			if chunk > 0 {
				var b strings.Builder
				b.WriteString("Transfer-Encoding: chunked\r\n\r\n")
				for rest := body; rest != ""; {
					n := min(chunk, len(rest))
					fmt.Fprintf(&b, "%x\r\n%s\r\n", n, rest[:n])
					rest = rest[n:]
				}
				raw = b.String() + "0\r\n\r\n"
			}
			sent := make(chan error, 1)
			go func() {
				_, err := io.WriteString(c.Conn, "POST / HTTP/1.1\r\nHost: a\r\n"+raw)
				sent <- err
			}()
			a := c.answer("POST")
			if err := <-sent; err != nil || a.status != 200 || a.body != body {
				t.Fatalf("size %d, chunks of %d: %v, status %d, %d bytes back", size, chunk, err, a.status, len(a.body))
			}
		}
	}
	if n := r.opened(); n != 1 {
		t.Errorf("%d backend connections", n)
	}
}

func TestResponseBodies(t *testing.T) {
	big := strings.Repeat("x", 40_000)
	const h11, h10 = "HTTP/1.1", "HTTP/1.0"
	for _, test := range []struct {
		name, method, version string
		script                testnet.Script
		head, raw             string // what the head holds, and the body as it comes
		kept                  bool
		reused                bool // the backend's connection
	}{
		{"chunked as it is", "GET", h11, sends("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), "Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n", true, true},
		{"extensions are cut, trailers pass", "GET", h11, testnet.Chunked(20), "Trailer: X-Sum", "14\r\nthe quick brown fox \r\n14\r\njumps over the lazy \r\n3\r\ndog\r\n0\r\nX-Sum: 1\r\n\r\n", true, true},
		{"large with trailer", "GET", h11, sends("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9c40\r\n" + big + "\r\n0\r\nA: b\r\n\r\n"), "Transfer-Encoding: chunked", "*" + big, true, true},
		{"up to the close becomes chunked", "GET", h11, testnet.UntilClose, "Transfer-Encoding: chunked", "*" + testnet.Body, true, false},
		{"up to the close with HTTP/1.1", "GET", h11, sendsOnce("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"), "Transfer-Encoding: chunked", "*hello", true, false},
		{"up to the close to HTTP/1.0", "GET", h10, testnet.UntilClose, "Connection: close", testnet.Body, false, false},
		{"chunked to HTTP/1.0", "GET", h10, testnet.Chunked(7), "Connection: close", testnet.Body, false, true},
		{"length to HTTP/1.0", "GET", h10, testnet.Good, "Connection: close", testnet.Body, false, true},
		{"length from HTTP/1.0", "GET", h11, sends("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello"), "HTTP/1.1 200 OK", "hello", true, true},
		{"HTTP/1.0 without keep-alive is not kept", "GET", h11, sends("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"), "HTTP/1.1 200 OK", "hello", true, false},
		{"backend says close", "GET", h11, sends("HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 5\r\n\r\nhello"), "HTTP/1.1 200 OK", "hello", true, false},
		{"HEAD", "HEAD", h11, sends("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), "Content-Length: 5", "", true, true},
		{"HEAD with a chunked promise", "HEAD", h11, sends("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), "Transfer-Encoding: chunked", "", true, true},
		{"HEAD with a stray body", "HEAD", h11, sends("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), "Content-Length: 5", "", true, false},
		{"204", "GET", h11, sends("HTTP/1.1 204 No Content\r\n\r\n"), "204", "", true, true},
		{"204 with a stray body", "GET", h11, sends("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"), "204", "", true, false},
		{"304 with a length", "GET", h11, sends("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"), "Content-Length: 5", "", true, true},
		{"304 with a stray body", "GET", h11, sends("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello"), "304", "", true, false},
		{"103 to a client of HTTP/1.0 is dropped", "GET", h10, testnet.Interim, "HTTP/1.1 200", testnet.Body, false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			backend := testnet.NewBackend(t, test.script)
			r := newRig(t, rigOptions{backend: backend.Addr().String()})
			c := r.client()
			req := test.method + " / " + test.version + "\r\nHost: a\r\n\r\n"
			c.send(req)
			a := c.answer(test.method)
			got := a.raw
			want, data := strings.CutPrefix(test.raw, "*")
			if data {
				got = a.body
			}
			if !strings.Contains(a.head, test.head) || got != want {
				t.Errorf("got %q with the body %.100q, want %q and %.100q", a.head, got, test.head, want)
			}
			if test.kept {
				c.send(req)
				if b := c.answer(test.method); b.status != a.status || b.body != a.body {
					t.Errorf("the second response is %q", b.head)
				}
			} else {
				c.closed()
			}
			r.noLease()
			before := backend.Accepted()
			d := r.client()
			d.send(req)
			d.answer(test.method)
			if reused := backend.Accepted() == before; reused != test.reused {
				t.Errorf("the backend's connection was reused: %v; closed %v", reused, r.closes())
			}
		})
	}
}

func TestHTTP10ClientKeepsItsConnectionOnlyWhenItAsks(t *testing.T) {
	backend := testnet.NewBackend(t, testnet.Good)
	r := newRig(t, rigOptions{backend: backend.Addr().String()})
	c := r.client()
	for range 3 {
		c.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
		if a := c.answer("GET"); a.get("Connection") != "keep-alive" || a.body != testnet.Body {
			t.Fatalf("got %q", a.head)
		}
	}
	c.send("GET / HTTP/1.0\r\n\r\n")
	if a := c.answer("GET"); a.get("Connection") != "close" {
		t.Errorf("got %q", a.head)
	}
	c.closed()
}

func TestInterimResponsesPass(t *testing.T) {
	backend := testnet.NewBackend(t, testnet.Interim)
	r := newRig(t, rigOptions{backend: backend.Addr().String()})
	c := r.client()
	for range 2 {
		c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if a := c.answer("GET"); a.head != "HTTP/1.1 103 Early Hints\r\nLink: </s.css>; rel=preload\r\n\r\n" {
			t.Fatalf("got %q", a.head)
		}
		if a := c.answer("GET"); a.status != 200 || a.body != testnet.Body {
			t.Fatalf("got %q", a.head)
		}
	}
	if n := r.opened(); n != 1 {
		t.Errorf("%d backend connections", n)
	}
}

// expect is a request with a body that waits to be asked for.
func expect(size int) string {
	return fmt.Sprintf("POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", size)
}

func TestSmallBodyIsAskedForByWeir(t *testing.T) {
	backend, tp := recording(t, testnet.Echo)
	r := newRig(t, rigOptions{backend: backend.Addr().String()})
	c := r.client()
	for range 2 {
		c.send(expect(5))
		if a := c.answer("POST"); a.head != "HTTP/1.1 100 Continue\r\n\r\n" {
			t.Fatalf("got %q", a.head)
		}
		if backend.Accepted() > 0 && r.pool.Stats().Leased > 0 {
			t.Error("a connection is leased before the body is here")
		}
		c.send("hello")
		if a := c.answer("POST"); a.status != 200 || a.body != "hello" {
			t.Fatalf("got %q %q", a.head, a.body)
		}
	}
	// A client that does not wait is not told.
	c.send(expect(5) + "hello")
	if a := c.answer("POST"); a.status != 200 || a.body != "hello" {
		t.Fatalf("got %q %q", a.head, a.body)
	}
	if strings.Contains(tp.all(), "Expect") {
		t.Errorf("the backend got %q", tp.all())
	}
}

func TestLargeBodyIsAskedForByTheBackend(t *testing.T) {
	const size = 200_000
	body := strings.Repeat("y", size)
	backend := testnet.NewBackend(t, func(c *testnet.BackendConn) {
		for {
			r, err := c.ReadHead()
			if err != nil {
				return
			}
			if r.Get("Expect") != "" && c.R.Buffered() == 0 {
				c.Send("HTTP/1.1 100 Continue\r\n\r\n")
			}
			if c.ReadBody(r) != nil || c.Send(testnet.Response(200, fmt.Sprint(len(r.Body)))) != nil {
				return
			}
		}
	})
	r := newRig(t, rigOptions{backend: backend.Addr().String()})
	c := r.client()
	for range 2 {
		c.send(expect(size))
		if a := c.answer("POST"); a.status != 100 {
			t.Fatalf("got %q", a.head)
		}
		c.send(body)
		if a := c.answer("POST"); a.status != 200 || a.body != fmt.Sprint(size) || a.get("Connection") != "" {
			t.Fatalf("got %q %q", a.head, a.body)
		}
	}
	c.kept()
	if n := r.opened(); n != 1 {
		t.Errorf("%d backend connections", n)
	}
}

// A backend's final answer to an expectation comes instead of the 100, and the
// body is never sent. Go had proxies poisoned by this: the connection to the
// backend would take the next request for the body.
func TestBackendMayRefuseAnExpectation(t *testing.T) {
	for _, status := range []string{"417 Expectation Failed", "401 Unauthorized", "200 OK"} {
		backend := testnet.NewBackend(t, func(c *testnet.BackendConn) {
			for {
				r, err := c.ReadHead()
				if err != nil {
					return
				}
				answer := "HTTP/1.1 " + status + "\r\nContent-Length: 2\r\n\r\nno"
				if r.Get("Expect") == "" {
					answer = testnet.Response(200, testnet.Body)
				}
				if c.Send(answer) != nil {
					return
				}
			}
		})
		r := newRig(t, rigOptions{backend: backend.Addr().String()})
		for range 3 {
			c := r.client()
			c.send(expect(200_000))
			if a := c.answer("POST"); !strings.HasPrefix(a.head, "HTTP/1.1 "+status) || a.get("Connection") != "close" || a.body != "no" {
				t.Fatalf("%s: got %q %q", status, a.head, a.body)
			}
			c.CloseWrite()
			c.closed()
			d := r.client()
			if a := d.ask("/"); a.body != testnet.Body {
				t.Fatalf("%s: the next client got %q %q", status, a.head, a.body)
			}
		}
		r.noLease() // a close is counted when it is done
		if n := r.closes()["early_response"]; n != 3 {
			t.Errorf("%s: closed %v", status, r.closes())
		}
	}
}

func TestBackendThatNeverSays100GetsTheBodyAllTheSame(t *testing.T) {
	backend := testnet.NewBackend(t, testnet.Echo)
	r := newRig(t, rigOptions{backend: backend.Addr().String()})
	c := r.client()
	body := strings.Repeat("z", 100_000)
	c.send(expect(len(body)))
	if a := c.answer("POST"); a.status != 100 {
		t.Fatalf("got %q", a.head)
	}
	c.send(body)
	if a := c.answer("POST"); a.status != 200 || a.body != body {
		t.Fatalf("got %q and %d bytes", a.head, len(a.body))
	}
	c.kept()
}

// An answer that comes before the request is whole goes to the client at once,
// and the connection it came on is not used again.
func TestEarlyResponseReachesAClientThatIsUploading(t *testing.T) {
	for name, script := range map[string]testnet.Script{"kept": testnet.Early(413), "closed": testnet.EarlyClose(413)} {
		t.Run(name, func(t *testing.T) {
			backend := testnet.NewBackend(t, script)
			r := newRig(t, rigOptions{backend: backend.Addr().String()})
			c := r.client()
			c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 100_000))
			if a := c.answer("POST"); a.status != 413 || a.body != testnet.Body || a.get("Connection") != "close" {
				t.Fatalf("got %q", a.head)
			}
			c.CloseWrite()
			c.closed()
			r.noLease()
			if s := r.pool.Stats(); s.Idle != 0 {
				t.Errorf("%d connections are idle; closed %v", s.Idle, r.closes())
			}
		})
	}
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	backend := testnet.NewBackend(t, testnet.Echo)
	r := newRig(t, rigOptions{backend: backend.Addr().String()})
	c := r.client()
	var all strings.Builder
	for i := range 10 {
		if i%2 == 0 {
			fmt.Fprintf(&all, "POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nbody %d", i, i)
		} else {
			fmt.Fprintf(&all, "POST /%d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nbody %d\r\n0\r\n\r\n", i, i)
		}
	}
	for _, pieces := range []int{1 << 20, 7, 1} {
		for rest := all.String(); rest != ""; {
			n := min(pieces, len(rest))
			c.send(rest[:n])
			rest = rest[n:]
		}
		for i := range 10 {
			if a := c.answer("POST"); a.get("X-Target") != fmt.Sprintf("/%d", i) || a.body != fmt.Sprintf("body %d", i) {
				t.Fatalf("answer %d is %q %q", i, a.head, a.body)
			}
		}
	}
	if n := backend.Requests(); n != 30 {
		t.Errorf("the backend saw %d requests", n)
	}
}

// A reply without the backend does not eat or run what stands behind an unread body.
func TestRefusalWithUnreadBodyEndsThePipeline(t *testing.T) {
	for _, body := range []string{
		"Content-Length: 100000\r\n\r\n",
		"Transfer-Encoding: chunked\r\n\r\n186a0\r\n",
	} {
		r := newRig(t, rigOptions{backend: "127.0.0.1:1"}) // nobody listens
		c := r.client()
		c.send("POST / HTTP/1.1\r\nHost: a\r\n" + body + strings.Repeat("x", 70_000))
		a := c.answer("POST")
		if a.status != 502 || a.get("X-Weir-Reason") != "dial_refused" || a.get("Connection") != "close" {
			t.Errorf("got %q", a.head)
		}
		c.send(smuggled)
		c.CloseWrite()
		c.closed()
	}
}

// A refusal whose request was read whole keeps the connection.
func TestRefusalKeepsTheConnection(t *testing.T) {
	r := newRig(t, rigOptions{backend: "127.0.0.1:1"})
	c := r.client()
	for range 3 {
		c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
		if a := c.answer("POST"); a.status != 502 || a.get("X-Weir-Reason") != "dial_refused" || a.get("Connection") != "" {
			t.Fatalf("got %q", a.head)
		}
		c.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
		if a := c.answer("HEAD"); a.status != 502 || a.get("Content-Length") == "0" {
			t.Fatalf("got %q", a.head)
		}
	}
}

// Events may be further apart than the send timeout: that is about what a
// client does not take, not about what the backend does not send.
func TestEventsMayBeFurtherApartThanTheSendTimeout(t *testing.T) {
	next := make(chan bool)
	backend := testnet.NewBackend(t, func(c *testnet.BackendConn) {
		if _, err := c.ReadRequest(); err != nil {
			return
		}
		c.Send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
		for <-next {
			if c.Send("6\r\nevent\n\r\n") != nil {
				return
			}
		}
		c.Send("0\r\n\r\n")
	})
	for name, listen := range map[string]string{"tcp": "127.0.0.1:0", "unix": "unix:" + t.TempDir() + "/s"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigOptions{backend: backend.Addr().String(), listen: listen, settings: func(s *http1.Settings) {
				s.SendTimeout = 100 * time.Millisecond
			}})
			c := r.client()
			c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			for i := range 4 {
				next <- true
				for line := ""; line != "event\n"; {
					var err error
					if line, err = c.br.ReadString('\n'); err != nil {
						t.Fatalf("event %d: %v", i, err)
					}
				}
				testnet.Pace(nil, 150*time.Millisecond)
			}
			next <- false
			if rest, err := c.br.Peek(7); string(rest) != "\r\n0\r\n\r\n" {
				t.Errorf("the end is %q, %v", rest, err)
			}
		})
	}
}

func TestClientGoneDuringItsUploadEndsTheExchange(t *testing.T) {
	ended := make(chan error, 1)
	backend := testnet.NewBackend(t, func(c *testnet.BackendConn) {
		r, err := c.ReadHead()
		if err == nil {
			err = c.ReadBody(r)
		}
		ended <- err
	})
	for name, leave := range map[string]func(net.Conn){
		"FIN": func(c net.Conn) { c.(*net.TCPConn).CloseWrite() },
		"RST": func(c net.Conn) { c.(*net.TCPConn).SetLinger(0); c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigOptions{backend: backend.Addr().String()})
			c := r.client()
			before := backend.Requests()
			c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 100_000))
			testnet.WaitFor(t, testWait, "the backend has the head", func() bool { return backend.Requests() > before })
			leave(c.Conn)
			if err := <-ended; err == nil {
				t.Error("the backend got a complete body")
			}
			r.noLease()
			testnet.WaitFor(t, testWait, "the client ended", func() bool { return r.l.Stats().Open == 0 })
			if got := r.closes(); got["client_gone"] != 1 || len(got) != 1 {
				t.Errorf("closed %v", got)
			}
		})
	}
}

func TestClientGoneDuringItsDownloadEndsTheExchange(t *testing.T) {
	backend := testnet.NewBackend(t, func(c *testnet.BackendConn) {
		if _, err := c.ReadRequest(); err != nil {
			return
		}
		c.Send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
		block := bytes.Repeat([]byte("x"), 64<<10)
		for {
			if _, err := c.Conn.Write(block); err != nil {
				return
			}
		}
	})
	r := newRig(t, rigOptions{backend: backend.Addr().String()})
	c := r.client()
	c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if _, err := io.CopyN(io.Discard, c.br, 100_000); err != nil {
		t.Fatal(err)
	}
	c.Conn.(*net.TCPConn).SetLinger(0)
	c.Close()
	r.noLease()
	testnet.WaitFor(t, testWait, "the backend's connection ended", func() bool { return backend.Open() == 0 })
	if got := r.closes(); got["client_gone"] != 1 || len(got) != 1 {
		t.Errorf("closed %v", got)
	}
}
