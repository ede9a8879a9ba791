package sock_test

import (
	"net"
	"testing"
	"time"

	"weir/internal/sock"
	"weir/internal/testnet"
)

func TestAFINWellAfterTheDataIsOneOfLeaving(t *testing.T) {
	for name, tc := range map[string]struct {
		pause time.Duration
		end   func(c *net.TCPConn)
		want  bool
	}{
		"half-closed with its data": {0, func(c *net.TCPConn) { c.CloseWrite() }, false},
		"closed with its data":      {0, func(c *net.TCPConn) { c.Close() }, false},
		"closed later":              {100 * time.Millisecond, func(c *net.TCPConn) { c.Close() }, true},
		"half-closed later":         {100 * time.Millisecond, func(c *net.TCPConn) { c.CloseWrite() }, true},
		"reset":                     {0, func(c *net.TCPConn) { c.SetLinger(0); c.Close() }, true},
	} {
		client, c := accepted(t)
		client.Write([]byte("GET"))
		var buf [8]byte
		if n, err := c.Read(buf[:]); n != 3 || err != nil {
			t.Fatal(n, err)
		}
		if sock.Left(c) {
			t.Errorf("%s: it has left before its end", name)
		}
		testnet.Pace(nil, tc.pause)
		tc.end(client)
		testnet.WaitFor(t, 10*time.Second, name+": the end is here", func() bool {
			info, ok := c.Info() // a look would use up the error of a reset
			return ok && info.State != sock.Established
		})
		if got := sock.Left(c); got != tc.want {
			info, _ := c.Info()
			t.Errorf("%s: left %v; data %v ago, ack %v ago", name, got, info.SinceData, info.SinceACK)
		}
		c.Close()
	}
}

// accepted is a client and the Conn of who has accepted it.
func accepted(t *testing.T) (*net.TCPConn, sock.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return client.(*net.TCPConn), sock.Wrap(server)
}
