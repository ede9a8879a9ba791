package http1_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"weir/internal/testnet"
	"weir/proxy/http1"
)

// echoID answers with the request's target as the body.
func echoID(c *testnet.BackendConn) {
	for {
		r, err := c.ReadRequest()
		if err != nil || c.Send(testnet.Response(200, r.Target)) != nil {
			return
		}
	}
}

// misbehaving answers /bad as bad does, and everything else right. Whatever bad
// leaves behind on a connection would show in the answers to others.
func misbehaving(bad testnet.Script) testnet.Script {
	return func(c *testnet.BackendConn) {
		for {
			r, err := c.ReadRequest()
			switch {
			case err != nil:
				return
			case r.Target == "/bad":
				bad(c)
				return
			case c.Send(testnet.Response(200, r.Target)) != nil:
				return
			}
		}
	}
}

// raw sends bytes and leaves the connection open, or closes it.
func raw(text string, open bool) testnet.Script {
	return func(c *testnet.BackendConn) {
		c.Send(text)
		if open {
			// Answers whatever comes here, so that a connection that was
			// wrongly kept is caught by what its next user gets.
			for {
				if _, err := c.ReadRequest(); err != nil || c.Send(testnet.Response(200, "POISON")) != nil {
					return
				}
			}
		}
	}
}

func TestBadResponseHurtsNobodyElse(t *testing.T) {
	const both = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
	good := testnet.Response(200, "hello")
	for _, test := range []struct {
		name   string
		script testnet.Script
		status int    // what the client gets
		reason string // of weir's own answer
		body   string // where the response is the backend's
		cut    bool   // the response breaks off, visibly
		why    string // the backend's connection was closed for
	}{
		{"both framings", raw(both, true), 502, "bad_response/bad_response_framing", "", false, "bad_response"},
		{"length doubled", raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", true), 502, "bad_response/bad_response_framing", "", false, "bad_response"},
		{"coding unknown", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello", true), 502, "bad_response/bad_response_framing", "", false, "bad_response"},
		{"coding with HTTP/1.0", raw("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", true), 502, "bad_response/bad_response_framing", "", false, "bad_response"},
		{"garbage", raw("\x16\x03\x01\x02\x00 this is no HTTP\r\n\r\n", true), 502, "bad_response/bad_response_status_line", "", false, "bad_response"},
		{"HTTP/0.9", raw("<html>hello</html>", false), 502, "bad_response/bad_response_status_line", "", false, "bad_response"},
		{"HTTP/2", raw("HTTP/2.0 200 OK\r\n\r\n", true), 502, "bad_response/bad_response_status_line", "", false, "bad_response"},
		{"status 600", raw("HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n", true), 502, "bad_response/bad_response_status_line", "", false, "bad_response"},
		{"status 99", raw("HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n", true), 502, "bad_response/bad_response_status_line", "", false, "bad_response"},
		{"bare LF", raw("HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", true), 502, "bad_response/bad_response_status_line", "", false, "bad_response"},
		{"folded line", raw("HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: 0\r\n\r\n", true), 502, "bad_response/bad_response_field", "", false, "bad_response"},
		{"NUL in a value", raw("HTTP/1.1 200 OK\r\nX: \x00\r\nContent-Length: 0\r\n\r\n", true), 502, "bad_response/bad_response_field", "", false, "bad_response"},
		{"half a head", raw("HTTP/1.1 200 OK\r\nContent-Le", false), 502, "bad_response", "", false, "bad_response"},
		{"huge head", raw("HTTP/1.1 200 OK\r\n"+strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 100)+"\r\n", true), 502, "bad_response/bad_response_head_too_large", "", false, "bad_response"},
		{"too many fields", raw("HTTP/1.1 200 OK\r\n"+strings.Repeat("X:\r\n", 200)+"\r\n", true), 502, "bad_response/bad_response_too_many_fields", "", false, "bad_response"},
		{"endless interim responses", raw(strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 100), true), 502, "bad_response", "", false, "bad_response"},
		{"101 unasked", raw("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nPOISON", true), 502, "bad_response/bad_response_upgrade", "", false, "bad_response"},
		{"nothing", raw("", false), 502, "backend_closed", "", false, "backend_error"},
		{"reset", func(c *testnet.BackendConn) { c.Reset() }, 502, "backend_reset", "", false, "backend_error"},
		{"interim and then nothing", raw("HTTP/1.1 100 Continue\r\n\r\n", false), 502, "backend_closed", "", false, "backend_error"},
		{"extra bytes", raw(good+"extra", true), 200, "", "hello", false, "extra_bytes"},
		{"twice", raw(good+testnet.Response(200, "POISON"), true), 200, "", "hello", false, "extra_bytes"},
		{"chunked twice", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"+good, true), 200, "", "hello", false, "extra_bytes"},
		{"stray body behind 204", raw("HTTP/1.1 204 No Content\r\n\r\n"+good, true), 204, "", "", false, "extra_bytes"},
		{"truncated", raw(good[:len(good)-2], false), 200, "", "", true, "backend_error"},
		{"large and truncated", raw("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"+strings.Repeat("x", 50_000), false), 200, "", "", true, "backend_error"},
		{"chunks truncated", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n10\r\nonly", false), 200, "", "", true, "backend_error"},
		{"chunks without their end", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", false), 200, "", "", true, "backend_error"},
		{"chunk size malformed", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n", true), 502, "bad_response/bad_response_chunk", "", false, "bad_response"},
		{"trailer with framing", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n", true), 502, "bad_response/bad_response_trailer", "", false, "bad_response"},
		{"reset in mid body", func(c *testnet.BackendConn) { c.Send(good[:len(good)-2]); c.Pause(50 * time.Millisecond); c.Reset() }, 200, "", "", true, "backend_error"},
	} {
		t.Run(test.name, func(t *testing.T) {
			backend := testnet.NewBackend(t, misbehaving(test.script))
			r := newRig(t, rigOptions{backend: backend.Addr().String(), settings: func(s *http1.Settings) { s.MaxHeader = 16 << 10 }})
			warm := r.client()
			warm.ask("/1") // so that /bad travels on a kept connection, as it mostly does
			c := r.client()
			c.send("POST /bad HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
			a, err := c.tryAnswer("POST")
			fresh := a.get("X-Weir-Reason") != "stale_unsafe"
			switch {
			case !fresh && (test.reason == "backend_closed" || test.reason == "backend_reset"):
				test.why = "stale" // a kept connection that dies is called that
			case test.cut && a.status == 502:
				// The cut came before a byte went out: an honest answer.
			case test.cut:
				if a.status != test.status || err == nil {
					t.Errorf("got %q and %q, %v: the cut cannot be seen", a.head, a.body, err)
				}
			case err != nil || a.status != test.status || a.get("X-Weir-Reason") != test.reason && a.get("X-Weir-Reason") != test.reason+"/"+test.reason:
				t.Errorf("got %q, %v, want %d %s", a.head, err, test.status, test.reason)
			case test.reason == "" && a.body != test.body:
				t.Errorf("body %q, want %q", a.body, test.body)
			}
			r.noLease()
			// The next clients get what is theirs.
			for i := range 5 {
				d := r.client()
				want := fmt.Sprintf("/next%d", i)
				if b := d.ask(want); b.body != want {
					t.Fatalf("the next client got %q %q", b.head, b.body)
				}
				if test.status == 200 && !test.cut || a.status == 502 {
					if b := c.ask(want + "c"); b.body != want+"c" {
						t.Fatalf("the same client got %q %q", b.head, b.body)
					}
				}
			}
			if n := r.closes()[test.why]; n != 1 {
				t.Errorf("closed %v, want one for %s", r.closes(), test.why)
			}
		})
	}
}

func TestUnsolicitedBytesOnAnIdleConnectionReachNobody(t *testing.T) {
	idle, sent := make(chan struct{}), make(chan struct{})
	backend := testnet.NewBackend(t, func(c *testnet.BackendConn) {
		for {
			r, err := c.ReadRequest()
			if err != nil || c.Send(testnet.Response(200, r.Target)) != nil {
				return
			}
			if r.Target == "/first" {
				select {
				case <-idle:
				case <-c.Stopped:
					return
				}
				c.Send(testnet.Response(200, "POISON"))
				sent <- struct{}{}
			}
		}
	})
	r := newRig(t, rigOptions{backend: backend.Addr().String()})
	for i := range 5 {
		if a := r.client().ask("/first"); a.body != "/first" {
			t.Fatalf("round %d: got %q %q", i, a.head, a.body)
		}
		r.noLease()
		idle <- struct{}{}
		<-sent
		for j := range 3 {
			want := fmt.Sprintf("/next%d", j)
			if a := r.client().ask(want); a.body != want {
				t.Fatalf("round %d: got %q %q", i, a.head, a.body)
			}
		}
	}
	r.noLease()
	if n := r.closes()["unsolicited"]; n != 5 {
		t.Errorf("closed %v", r.closes())
	}
}

// impatient shortens what weir waits for a backend.
func impatient(d time.Duration) func(*http1.Settings) {
	return func(s *http1.Settings) {
		be := s.Routes[0].Backend
		be.ResponseHeader, be.BodyIdle = d, d
	}
}

// A body that is begun is cut when the backend goes silent, and a head that
// does not come is answered.
func TestSilentBackendIsCutOff(t *testing.T) {
	for _, test := range []struct {
		name   string
		script testnet.Script
		status int
		reason string
		cut    bool
	}{
		{"no head", testnet.StallBeforeHead, 504, "response_timeout", false},
		{"half a head", func(c *testnet.BackendConn) { c.ReadRequest(); c.Send("HTTP/1.1 200 OK\r\nX"); c.Stall() }, 504, "response_timeout", false},
		{"half a body", testnet.StallMidBody, 200, "", true},
		{"no body", func(c *testnet.BackendConn) {
			c.ReadRequest()
			c.Send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
			c.Stall()
		}, 200, "", true},
		{"half a chunk", func(c *testnet.BackendConn) {
			c.ReadRequest()
			c.Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe")
			c.Stall()
		}, 200, "", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			backend := testnet.NewBackend(t, test.script)
			r := newRig(t, rigOptions{backend: backend.Addr().String(), settings: impatient(300 * time.Millisecond)})
			c := r.client()
			c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			a, err := c.tryAnswer("GET")
			if a.status != test.status || a.get("X-Weir-Reason") != test.reason || (err != nil) != test.cut {
				t.Errorf("got %q and %q, %v", a.head, a.body, err)
			}
			r.noLease()
			if got := r.closes(); got["timeout"] != 1 || len(got) != 1 {
				t.Errorf("closed %v", got)
			}
			if n := backend.Requests(); n != 1 {
				t.Errorf("the backend saw %d requests: a timeout was retried", n)
			}
		})
	}
}

// A response head that trickles is bounded as a whole.
func TestHeadThatTricklesIsCutOff(t *testing.T) {
	backend := testnet.NewBackend(t, func(c *testnet.BackendConn) {
		c.ReadRequest()
		c.Send("HTTP/1.1 200 OK\r\nX: ")
		for range 100 {
			if !c.Pause(100*time.Millisecond) || c.Send("y") != nil {
				return
			}
		}
		c.Send("\r\nContent-Length: 0\r\n\r\n")
	})
	r := newRig(t, rigOptions{backend: backend.Addr().String(), settings: impatient(500 * time.Millisecond)})
	c := r.client()
	c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if a := c.answer("GET"); a.status != 504 {
		t.Errorf("got %q", a.head)
	}
}

// With one backend connection for all, clients that send or read a byte now and
// then do not keep it from others.
func TestSlowClientsDoNotOwnThePool(t *testing.T) {
	large := strings.Repeat("x", 200<<10)
	backend := testnet.NewBackend(t, func(c *testnet.BackendConn) {
		for {
			r, err := c.ReadRequest()
			if err != nil {
				return
			}
			body := r.Target
			if r.Target == "/large" {
				body = large
			}
			if c.Send(testnet.Response(200, body)) != nil {
				return
			}
		}
	})
	r := newRig(t, rigOptions{backend: backend.Addr().String(), maxOpen: 1, options: nil})
	reader := r.client()
	reader.Conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	reader.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
	if _, err := reader.br.Peek(1); err != nil {
		t.Fatal(err)
	}
	sender, chunky := r.client(), r.client()
	sender.send("POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n")
	chunky.send("POST /chunky HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
	for i := range 20 {
		sender.send("b")
		chunky.send("1\r\nc\r\n")
		reader.br.ReadByte()
		want := fmt.Sprintf("/%d", i)
		if a := r.client().ask(want); a.status != 200 || a.body != want {
			t.Fatalf("another client got %q while the slow ones were at work", a.head)
		}
	}
	if a := sender.answer("POST"); a.body != "/slow" {
		t.Errorf("the slow sender got %q", a.head)
	}
	chunky.send("0\r\n\r\n")
	if a := chunky.answer("POST"); a.body != "/chunky" {
		t.Errorf("the slow chunked sender got %q", a.head)
	}
	if n := backend.MaxOpen(); n != 1 {
		t.Errorf("%d backend connections", n)
	}
}

func TestStallingClientsAreCutOff(t *testing.T) {
	backend := testnet.NewBackend(t, func(c *testnet.BackendConn) {
		if _, err := c.ReadRequest(); err != nil {
			return
		}
		c.Send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
		c.Send(strings.Repeat("x", 100_000_000))
	})
	short := func(s *http1.Settings) {
		s.BodyIdle, s.SendTimeout = 300*time.Millisecond, 300*time.Millisecond
	}
	t.Run("body ahead", func(t *testing.T) {
		r := newRig(t, rigOptions{backend: backend.Addr().String(), settings: short})
		c := r.client()
		c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
		if a := c.answer("POST"); a.status != 408 || a.get("X-Weir-Reason") != "body_timeout" {
			t.Errorf("got %q", a.head)
		}
		c.CloseWrite()
		c.closed()
		if n := backend.Accepted(); n != 0 {
			t.Errorf("%d backend connections", n)
		}
	})
	t.Run("body of an upload", func(t *testing.T) {
		backend := testnet.NewBackend(t, testnet.Good)
		r := newRig(t, rigOptions{backend: backend.Addr().String(), settings: short})
		c := r.client()
		c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 100_000))
		if a := c.answer("POST"); a.status != 408 || a.get("X-Weir-Reason") != "body_timeout" {
			t.Errorf("got %q", a.head)
		}
		c.CloseWrite()
		c.closed()
		r.noLease()
		if got := r.closes(); got["client_gone"] != 1 || len(got) != 1 {
			t.Errorf("closed %v", got)
		}
	})
	t.Run("reading", func(t *testing.T) {
		r := newRig(t, rigOptions{backend: backend.Addr().String(), settings: short})
		c := r.client()
		c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if _, err := c.br.Peek(1); err != nil {
			t.Fatal(err)
		}
		r.noLease()
		testnet.WaitFor(t, testWait, "the client was ended", func() bool { return r.l.Stats().Open == 0 })
		if n, err := io.Copy(io.Discard, c.br); n >= 100_000_000 || err == nil && n == 0 {
			t.Errorf("read %d bytes, %v", n, err)
		}
	})
}
