package http1_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"weir/internal/testnet"
	"weir/proxy/http1"
)

const handshake = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

const switched = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nConnection: upgrade\r\n\r\n"

// tunnels answers a handshake and then does as then says; other requests it
// answers right.
func tunnels(then testnet.Script) testnet.Script {
	return func(c *testnet.BackendConn) {
		for {
			r, err := c.ReadRequest()
			switch {
			case err != nil:
				return
			case r.Get("Upgrade") == "websocket":
				c.Send(switched)
				then(c)
				return
			case c.Send(testnet.Response(200, r.Target)) != nil:
				return
			}
		}
	}
}

func echoAll(c *testnet.BackendConn) { c.R.WriteTo(c.Conn) }

func TestTunnelPassesBytesBothWaysAndHalfCloses(t *testing.T) {
	backend, tp := recording(t, tunnels(func(c *testnet.BackendConn) {
		c.R.WriteTo(c.Conn) // up to the client's FIN
		c.Send("goodbye")
	}))
	r := newRig(t, rigOptions{backend: backend.Addr().String(), settings: plain})
	c := r.client()
	c.send(handshake + "first") // a client that does not wait for the 101
	if a := c.answer("GET"); a.head != switched {
		t.Fatalf("got %q", a.head)
	}
	big := strings.Repeat("0123456789", 50_000)
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(c.Conn, big)
		c.CloseWrite()
		sent <- err
	}()
	all, err := io.ReadAll(c.br)
	if werr := <-sent; werr != nil || err != nil {
		t.Fatal(werr, err)
	}
	if want := "first" + big + "goodbye"; string(all) != want {
		t.Errorf("got %d bytes back, want %d", len(all), len(want))
	}
	want := "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nConnection: upgrade\r\n\r\n"
	if got := tp.all(); !strings.HasPrefix(got, want+"first0123") {
		t.Errorf("the backend got %.300q", got)
	}
	r.noLease()
	if got := r.closes(); got["upgraded"] != 1 || len(got) != 1 {
		t.Errorf("closed %v", got)
	}
}

func TestTunnelEndsWithTheBackend(t *testing.T) {
	for name, end := range map[string]testnet.Script{
		"FIN": func(c *testnet.BackendConn) { c.Send("last") },
		"RST": func(c *testnet.BackendConn) { c.Reset() },
	} {
		t.Run(name, func(t *testing.T) {
			backend := testnet.NewBackend(t, tunnels(end))
			r := newRig(t, rigOptions{backend: backend.Addr().String()})
			c := r.client()
			c.send(handshake)
			c.answer("GET")
			rest, err := io.ReadAll(c.br)
			if ne, ok := err.(net.Error); ok && ne.Timeout() || name == "FIN" && string(rest) != "last" {
				t.Errorf("got %q, %v", rest, err)
			}
			c.Close()
			r.noLease()
			testnet.WaitFor(t, testWait, "the client ended", func() bool { return r.l.Stats().Open == 0 })
			if got := r.closes(); got["upgraded"] != 1 || len(got) != 1 {
				t.Errorf("closed %v", got)
			}
		})
	}
}

func TestTunnelCountsInThePoolAndEndsWhenIdle(t *testing.T) {
	backend := testnet.NewBackend(t, tunnels(echoAll))
	r := newRig(t, rigOptions{backend: backend.Addr().String(), maxOpen: 1,
		settings: func(s *http1.Settings) { s.IdleTimeout = time.Second }})
	c := r.client()
	c.send(handshake)
	c.answer("GET")
	if s := r.pool.Stats(); s.Leased != 1 {
		t.Errorf("%d connections are leased", s.Leased)
	}
	// One way at a time keeps it alive.
	for range 4 {
		testnet.Pace(nil, 300*time.Millisecond)
		c.send("x")
		if b, err := c.br.ReadByte(); b != 'x' || err != nil {
			t.Fatal(b, err)
		}
	}
	began := time.Now()
	c.closed()
	if d := time.Since(began); d < 700*time.Millisecond {
		t.Errorf("the tunnel ended after %v of silence", d)
	}
	testnet.WaitFor(t, testWait, "the tunnel ends at the backend", func() bool { return backend.Open() == 0 })
	r.client().kept() // the place is free again
	if n := backend.MaxOpen(); n != 1 {
		t.Errorf("%d connections at once", n)
	}
}

func TestUpgradeThatIsRefusedIsAnOrdinaryResponse(t *testing.T) {
	backend := testnet.NewBackend(t, echoID)
	r := newRig(t, rigOptions{backend: backend.Addr().String()})
	c := r.client()
	for range 3 {
		c.send(handshake)
		if a := c.answer("GET"); a.status != 200 || a.body != "/ws" {
			t.Fatalf("got %q", a.head)
		}
	}
	c.kept()
	if n := r.opened(); n != 1 {
		t.Errorf("%d backend connections", n)
	}
}

// Only a whole handshake is passed on as one; what is cut from others cannot be
// granted, so a 101 to them is a fault.
func TestOnlyAValidHandshakeAsksForATunnel(t *testing.T) {
	backend, tp := recording(t, echoID)
	r := newRig(t, rigOptions{backend: backend.Addr().String()})
	c := r.client()
	for _, head := range []string{
		strings.Replace(handshake, "websocket", "h2c", 1),
		strings.Replace(handshake, "Connection: Upgrade\r\n", "", 1),
		strings.Replace(handshake, "==", "=", 1),
		strings.Replace(handshake, "Sec-WebSocket-Version: 13\r\n", "", 1),
		strings.Replace(handshake, "GET", "POST", 1),
		strings.Replace(handshake, "\r\n\r\n", "\r\nContent-Length: 1\r\n\r\nx", 1),
		strings.Replace(handshake, "Upgrade: websocket", "Upgrade: websocket\r\nUpgrade: websocket", 1),
	} {
		c.send(head)
		if a := c.answer("GET"); a.status != 200 {
			t.Errorf("%q: got %q", head, a.head)
		}
	}
	if got := tp.all(); strings.Contains(strings.ToLower(got), "\r\nupgrade:") {
		t.Errorf("the backend got %q", got)
	}
}

// A backend that switches to what was not asked for, or in HTTP/1.0, gets no tunnel.
func TestWrongSwitchIsABadResponse(t *testing.T) {
	for _, text := range []string{
		strings.Replace(switched, "websocket", "h2c", 1),
		strings.Replace(switched, "Upgrade: websocket\r\n", "", 1),
		strings.Replace(switched, "Connection: upgrade\r\n", "", 1),
		strings.Replace(switched, "HTTP/1.1", "HTTP/1.0", 1),
	} {
		backend := testnet.NewBackend(t, sends(text))
		r := newRig(t, rigOptions{backend: backend.Addr().String()})
		c := r.client()
		c.send(handshake)
		if a := c.answer("GET"); a.status != 502 || a.get("X-Weir-Reason") != "bad_response/bad_response_upgrade" {
			t.Errorf("%q: got %q", text, a.head)
		}
		r.noLease()
		if got := r.closes(); got["bad_response"] != 1 {
			t.Errorf("closed %v", got)
		}
	}
}
