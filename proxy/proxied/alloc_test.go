//go:build !race

package proxied_test

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"weir/internal/sock"
	"weir/proxy/proxied"
)

// reader reads one header after another on one connection, as often as it is told.
type reader struct {
	sweep *sock.Sweeper
	turns chan chan proxied.Result
}

func (h *reader) Serve(l *sock.Listener, c sock.Conn, w sock.Wake, _ any) sock.Next {
	for turn := range h.turns {
		turn <- proxied.Identify(l, c, sock.WakeAccepted, 10*time.Second, "listeners[].timeouts.header")
	}
	h.sweep.End(c, sock.EndRefused, false, l.Gone())
	return sock.Next{}
}

func TestAClientIsIdentifiedWithoutAnAllocation(t *testing.T) {
	poller, err := sock.NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	h := &reader{sweep: sock.NewSweeper(), turns: make(chan chan proxied.Result)}
	l, err := sock.Listen(sock.ListenOptions{Address: "127.0.0.1:0", Handler: h, Poller: poller})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		l.Close()
		h.sweep.Close(context.Background())
		poller.Close()
	}()
	defer close(h.turns)
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	header := []byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x09\xc6\x33\x64\x01\xdc\x04\x0c\xea")
	done := make(chan proxied.Result)
	n := testing.AllocsPerRun(200, func() {
		if _, err := c.Write(header); err != nil {
			t.Fatal(err)
		}
		h.turns <- done
		if r := <-done; r.Step != proxied.Known {
			t.Fatal(r)
		}
	})
	if n > 0 {
		t.Errorf("%v allocations", n)
	}
	if !proxied.Expected([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, netip.MustParseAddr("127.0.0.1")) {
		t.Error("a peer in a network that is trusted need not send a header")
	}
}
