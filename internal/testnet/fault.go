package testnet

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// FaultKind is how a connection fails.
type FaultKind uint8

const (
	NoFault    FaultKind = iota
	FaultReset           // an RST came: ECONNRESET, and the peer gets a reset
	FaultClose           // the peer closed: EOF for a read, EPIPE for a write
	FaultStall           // nothing moves any more until the deadline or Close
)

func (k FaultKind) String() string {
	return [...]string{"none", "reset", "close", "stall"}[k&3]
}

// Fault is what goes wrong in one direction. The zero value is nothing.
type Fault struct {
	Kind  FaultKind
	After int64 // bytes that pass before Kind strikes; 0 means at once

	Slice   int           // at most this many bytes per call below, if not 0
	Latency time.Duration // waited before each call below
}

// FaultConn is a connection that fails on purpose. One goroutine may read while
// another writes; a fault of one direction ends both where it is a reset or a
// close. Times are those of the synctest bubble it is used in.
type FaultConn struct {
	net.Conn
	read, write faultSide
	closed      chan struct{}
	once        sync.Once
}

type faultSide struct {
	mu     sync.Mutex // guards Fault, passed, at and moved
	Fault  Fault
	passed int64
	at     time.Time     // deadline, zero for none
	moved  chan struct{} // closed when the deadline is set anew
}

// NewFaultConn wraps c.
func NewFaultConn(c net.Conn, read, write Fault) *FaultConn {
	return &FaultConn{
		Conn: c, closed: make(chan struct{}),
		read:  faultSide{Fault: read, moved: make(chan struct{})},
		write: faultSide{Fault: write, moved: make(chan struct{})},
	}
}

// SetRead and SetWrite change what goes wrong from the next call on. Bytes count
// from here.
func (c *FaultConn) SetRead(f Fault)  { c.read.set(f) }
func (c *FaultConn) SetWrite(f Fault) { c.write.set(f) }

func (s *faultSide) set(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Fault, s.passed = f, 0
}

// next says how many of n bytes may pass in one call; struck means that the
// fault's time has come and none may.
func (s *faultSide) next(n int) (allowed int, f Fault, struck bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, allowed = s.Fault, n
	if f.Slice > 0 {
		allowed = min(allowed, f.Slice)
	}
	if f.Kind != NoFault {
		left := f.After - s.passed
		if left <= 0 {
			return 0, f, true
		}
		allowed = int(min(int64(allowed), left))
	}
	return allowed, f, false
}

func (s *faultSide) pass(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passed += int64(n)
}

func (c *FaultConn) Read(p []byte) (int, error) {
	n, f, struck := c.read.next(len(p))
	if f.Latency > 0 {
		if err := c.wait(&c.read, time.Now().Add(f.Latency)); err != nil {
			return 0, c.fail("read", err)
		}
	}
	if struck {
		return 0, c.strike("read", f.Kind, &c.read)
	}
	n, err := c.Conn.Read(p[:n])
	c.read.pass(n)
	return n, err
}

func (c *FaultConn) Write(p []byte) (done int, err error) {
	for {
		n, f, struck := c.write.next(len(p) - done)
		if f.Latency > 0 {
			if err := c.wait(&c.write, time.Now().Add(f.Latency)); err != nil {
				return done, c.fail("write", err)
			}
		}
		if struck {
			return done, c.strike("write", f.Kind, &c.write)
		}
		n, err = c.Conn.Write(p[done : done+n])
		c.write.pass(n)
		done += n
		if err != nil || done == len(p) {
			return done, err
		}
	}
}

// strike does what kind says and returns the error of the call.
func (c *FaultConn) strike(op string, kind FaultKind, s *faultSide) error {
	switch kind {
	case FaultReset:
		c.end(func() { abort(c.Conn) })
		return c.fail(op, syscall.ECONNRESET)
	case FaultClose:
		c.end(func() { c.Conn.Close() })
		if op == "read" {
			return io.EOF
		}
		return c.fail(op, syscall.EPIPE)
	}
	return c.fail(op, c.wait(s, time.Time{}))
}

// wait lets time pass until end, or for ever if that is zero. It ends earlier
// with an error when the deadline of the side passes, wherever that is moved
// meanwhile, or when the connection is closed.
func (c *FaultConn) wait(s *faultSide, end time.Time) error {
	for {
		s.mu.Lock()
		at, moved := s.at, s.moved
		s.mu.Unlock()
		until, late := end, error(nil)
		if !at.IsZero() && (end.IsZero() || at.Before(end)) {
			until, late = at, os.ErrDeadlineExceeded
		}
		var passed <-chan time.Time
		stop := func() bool { return true }
		if !until.IsZero() {
			timer := time.NewTimer(time.Until(until))
			passed, stop = timer.C, timer.Stop
		}
		select {
		case <-passed:
			return late
		case <-moved:
			stop()
		case <-c.closed:
			stop()
			return net.ErrClosed
		}
	}
}

func (c *FaultConn) fail(op string, err error) error {
	if e, ok := err.(syscall.Errno); ok {
		err = os.NewSyscallError(op, e)
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// end closes the connection below in the given way, once.
func (c *FaultConn) end(how func()) {
	c.once.Do(func() {
		close(c.closed)
		how()
	})
}

// Close closes the connection below. After a fault that did so it does nothing.
func (c *FaultConn) Close() (err error) {
	c.end(func() { err = c.Conn.Close() })
	return err
}

// CloseWrite sends a FIN, if the connection below can.
func (c *FaultConn) CloseWrite() error {
	if h, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return c.fail("close", syscall.EOPNOTSUPP)
}

func (s *faultSide) deadline(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = t
	close(s.moved)
	s.moved = make(chan struct{})
}

// SetDeadline, SetReadDeadline and SetWriteDeadline hold for injected waits and
// for the connection below.
func (c *FaultConn) SetDeadline(t time.Time) error {
	c.read.deadline(t)
	c.write.deadline(t)
	return c.Conn.SetDeadline(t)
}

func (c *FaultConn) SetReadDeadline(t time.Time) error {
	c.read.deadline(t)
	return c.Conn.SetReadDeadline(t)
}

func (c *FaultConn) SetWriteDeadline(t time.Time) error {
	c.write.deadline(t)
	return c.Conn.SetWriteDeadline(t)
}
