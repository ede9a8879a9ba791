//go:build !weir_netconn

package sock

import (
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// rawPair is a rawConn and the client at its other end.
func rawPair(t *testing.T) (*rawConn, net.Conn) {
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
	defer server.Close()
	rc, err := server.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	c := new(rawConn)
	rc.Control(func(fd uintptr) {
		n, e := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
		c.fd, err = int32(n), e
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, client
}

// A process may stand for longer than the grace at any point, and then must not
// take the wait that it has not begun for one that has run out.
func TestATurnThatCouldNotBeginInTimeIsStillTaken(t *testing.T) {
	c, client := rawPair(t)
	c.Stay()
	p, err := c.promote()
	if err != nil {
		t.Fatal(err)
	}
	// The time has come, and Turn is where it has just found it far enough away.
	c.readBy.set(time.Now().Add(grace + grace/16))
	p.f.SetReadDeadline(past)
	into := make([]byte, 16)
	if n, _, err := c.Turn([]byte("answer"), into); n != len("answer") || !errors.Is(err, ErrIdle) {
		t.Errorf("Turn: %d bytes, %v", n, err)
	}
	got := make([]byte, 16)
	client.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := client.Read(got); string(got[:n]) != "answer" {
		t.Errorf("the client got %q, %v", got[:n], err)
	}
	// And what has come meanwhile is read.
	if _, err := client.Write([]byte("next")); err != nil {
		t.Fatal(err)
	}
	for c.Look() != Readable { // loopback: at once
	}
	c.Stay()
	c.readBy.set(time.Now().Add(grace + grace/16))
	p.f.SetReadDeadline(past)
	if w, r, err := c.Turn([]byte("answer"), into); w != len("answer") || string(into[:r]) != "next" || err != nil {
		t.Errorf("Turn: %d bytes, %q, %v", w, into[:r], err)
	}
	// An interrupt is no grace.
	c.Stay()
	c.Interrupt()
	if _, _, err := c.Turn([]byte("answer"), into); err == nil || errors.Is(err, ErrIdle) {
		t.Errorf("after an interrupt: %v", err)
	}
}
