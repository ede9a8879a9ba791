package admin

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// dials opens a connection that lasts until the test ends, and says something.
func dials(t *testing.T, address, says string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, says); err != nil {
		t.Fatal(err)
	}
	return c
}

// answer reads the first of an answer, "" if the connection is closed before it.
func answer(t *testing.T, c net.Conn) string {
	t.Helper()
	b := make([]byte, 12)
	n, err := io.ReadFull(c, b)
	if e, ok := err.(net.Error); ok && e.Timeout() {
		t.Fatalf("neither an answer nor the end after %q", b[:n])
	}
	return string(b[:n])
}

const ok = "HTTP/1.1 200"

// listens binds an address for clients with a token.
func listens(t *testing.T, address string, opt Options) string {
	t.Helper()
	opt.Log, opt.Access.Token = quiet(), NewToken(secretToken)
	s := New(opt)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		s.Close(ctx)
	})
	addr, err := s.Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint("127.0.0.1:", addr.(*net.TCPAddr).Port)
}

func TestStrangersWhoStayDoNotKeepAProbeFromItsAnswer(t *testing.T) {
	for name, head := range map[string]string{
		"probes":       "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
		"readers":      "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
		"proxies":      "GET /healthz HTTP/1.1\r\nHost: x\r\nVia: x\r\n\r\n",
		"wrong tokens": "GET /healthz HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\n\r\n",
	} {
		at := listens(t, "127.0.0.1:0", Options{})
		for range maxConns {
			if got := answer(t, dials(t, at, head)); len(got) != len(ok) {
				t.Fatalf("%s: %q", name, got)
			}
		}
		if got := answer(t, dials(t, at, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")); got != ok {
			t.Errorf("after %d %s: %q", maxConns, name, got)
		}
	}
}

// addressed is a connection of somebody.
type addressed struct {
	net.Conn
	from, to net.Addr
	on       func()
}

func (a addressed) RemoteAddr() net.Addr { return a.from }
func (a addressed) LocalAddr() net.Addr  { return a.to }
func (a addressed) Close() error         { a.on(); return nil }

func TestAnIPv6NetworkIsOnePeer(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "::ffff:192.0.2.7": "192.0.2.7", "2001:db8::1:2": "2001:db8::", "2001:db8:0:1::9": "2001:db8:0:1::",
	} {
		if got := peer(addressed{from: &net.TCPAddr{IP: net.ParseIP(text)}}); got.String() != want {
			t.Errorf("%s counts as %s, want %s", text, got, want)
		}
	}
}

func TestNewAccessHoldsNoLockWhileConnectionsAreClosed(t *testing.T) {
	s := New(Options{Log: quiet(), Access: Access{Token: NewToken(secretToken)}})
	if _, err := s.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	closed, free := false, false
	d := s.doors[0]
	if _, err := d.open.hold(&heldConn{l: d.open, Conn: addressed{on: func() {
		closed = true
		if free = s.mu.TryLock(); free {
			s.mu.Unlock()
		}
	}}}); err != nil {
		t.Fatal(err)
	}
	if err := s.SetAccess(Access{Token: NewToken("another")}); err != nil || !closed || !free {
		t.Errorf("closed %v, lock free %v, %v", closed, free, err)
	}
	d.open.cut()
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
