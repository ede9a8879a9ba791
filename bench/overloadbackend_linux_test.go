//go:build bench

package bench

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The backend of the overload runs: so many workers, so long a request, first in
// first out, and so a capacity that is known. It knows nothing of deadlines, and
// a client that has left is served like any other: a pool of threads does not
// look at its sockets while it works.
const (
	workers   = 10
	service   = 10 * time.Millisecond
	waiting   = 1024 // requests that wait for a worker; one more: the connection is closed
	backendFD = 1 << 15
)

// backendCommand makes a process of the test binary the backend, at the address
// that follows. It ends with a signal.
const backendCommand = "overload-backend"

// Before TestMain, which builds weir.
func init() {
	if len(os.Args) != 3 || os.Args[1] != backendCommand {
		return
	}
	err := serveOverload(os.Args[2])
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// backend is one thread. Its workers only wait, so they need not exist: what
// takes as long for everyone ends in the order in which it began, and a ring of
// times is all that there is.
type backend struct {
	poll   *poller
	began  time.Time
	conns  [backendFD]backendConn // by descriptor
	queue  ring[int32]            // descriptors whose requests wait
	served ring[serving]          // as many as there are busy workers
}

// backendConn is a connection with a request at a time.
type backendConn struct {
	open    bool
	busy    bool   // its request waits or is served: it is not read, and not closed
	unread  bool   // something came meanwhile
	pending []byte // the beginning of a request
}

type serving struct {
	fd  int32
	end time.Duration
}

const listenerKey = -2

func serveOverload(address string) error {
	addr, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	poll, err := newPoller()
	if err != nil {
		return err
	}
	l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	if err := unix.SetsockoptInt(l, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return fmt.Errorf("SO_REUSEADDR: %w", err)
	}
	if err := unix.Bind(l, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}); err != nil {
		return fmt.Errorf("bind %s: %w", addr, err)
	}
	if err := unix.Listen(l, 4096); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if err := poll.add(l, unix.EPOLLIN, listenerKey); err != nil {
		return err
	}
	b := &backend{poll: poll, began: time.Now(), queue: newRing[int32](waiting), served: newRing[serving](workers)}
	return b.loop(l)
}

func (b *backend) loop(listener int) error {
	in := make([]byte, 4096)
	for {
		d := time.Hour
		if b.served.n > 0 {
			d = b.served.first().end - time.Since(b.began)
		}
		events, err := b.poll.wait(d)
		if err != nil {
			return err
		}
		for _, e := range events {
			switch e.Fd {
			case timerKey:
			case listenerKey:
				if err := b.accept(listener); err != nil {
					return err
				}
			default:
				b.read(e.Fd, in)
			}
		}
		b.finish(in)
	}
}

func (b *backend) accept(listener int) error {
	for {
		fd, _, err := unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch {
		case err == unix.EAGAIN:
			return nil
		case err == unix.ECONNABORTED || err == unix.EINTR:
			continue
		case err != nil:
			return fmt.Errorf("accept4: %w", err)
		case fd >= len(b.conns):
			unix.Close(fd)
			continue
		}
		if err := b.poll.add(fd, unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLET, int32(fd)); err != nil {
			return err
		}
		b.conns[fd] = backendConn{open: true, pending: b.conns[fd].pending[:0]}
	}
}

// read takes what has come on a connection. One that is busy is left alone.
func (b *backend) read(fd int32, in []byte) {
	c := &b.conns[fd]
	c.unread = c.open && c.busy
	for c.open && !c.busy {
		n, err := unix.Read(int(fd), in)
		if err == unix.EAGAIN {
			return
		}
		if n <= 0 || len(c.pending)+n > cap(in) {
			b.close(fd)
			return
		}
		c.pending = append(c.pending, in[:n]...)
		b.begin(fd)
		if c.unread = c.open && n == len(in); !c.unread {
			return // that was all; what comes from now on is an event
		}
	}
}

// begin takes a request from what was read, if it is whole. It has no body.
func (b *backend) begin(fd int32) {
	c := &b.conns[fd]
	i := bytes.Index(c.pending, []byte("\r\n\r\n"))
	if i < 0 {
		return
	}
	c.pending = c.pending[:copy(c.pending, c.pending[i+4:])]
	c.busy = true
	switch {
	case b.served.n < workers:
		b.served.push(serving{fd, time.Since(b.began) + service})
	case b.queue.n < waiting:
		b.queue.push(fd)
	default:
		b.close(fd)
	}
}

var overloadAnswer = fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)

// finish answers what is done. A worker takes its next request when the last one
// should have ended, not when this thread got to it: so the capacity is exact.
func (b *backend) finish(in []byte) {
	for b.served.n > 0 && b.served.first().end <= time.Since(b.began) {
		s := b.served.pop()
		if b.queue.n > 0 {
			b.served.push(serving{b.queue.pop(), s.end + service})
		}
		c := &b.conns[s.fd]
		c.busy = false
		if n, _ := unix.Write(int(s.fd), overloadAnswer); n != len(overloadAnswer) {
			b.close(s.fd)
			continue
		}
		b.begin(s.fd)
		if c.unread {
			b.read(s.fd, in)
		}
	}
}

func (b *backend) close(fd int32) {
	b.conns[fd] = backendConn{pending: b.conns[fd].pending[:0]}
	unix.Close(int(fd))
}

// What the runs compare with is this: if it had one worker more, or took the last
// one first, every row would be wrong alike.
func TestTheBackendHasItsWorkersAndIsFirstInFirstOut(t *testing.T) {
	l := newOverloadLab(t)
	const n = 2*workers + 5
	arrivals, results, _ := crowdOf(l.lab, httpProtocol{}, l.addr, n, make([]time.Duration, n)...)
	if results[200] != n {
		t.Fatalf("%d requests at once became %v, want as many answers", n, results)
	}
	if !slices.IsSortedFunc(arrivals, func(a, b arrival) int { return int(a.done - b.done) }) {
		t.Error("a later request was answered before an earlier one")
	}
	for i, a := range arrivals {
		if least := time.Duration(i/workers+1) * service; a.done < least {
			t.Errorf("request %d was answered after %v, want %v at least: %d at a time, %v each", i, a.done, least, workers, service)
		}
	}
}
