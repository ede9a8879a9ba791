package sock

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// plainConn is a Conn over a net.Conn: TCP, unix or TLS.
type plainConn struct {
	net.Conn
	rc   syscall.RawConn // nil where the bytes on the wire are not the caller's (TLS)
	tcp  bool
	peer netip.AddrPort
	self netip.AddrPort

	interrupted atomic.Bool
	readBy      deadline
	writeBy     deadline
	parked      atomic.Bool

	node node

	// The callbacks below are made once, for a closure per call would be an
	// allocation per request. Each has its own fields, because reading,
	// writing and looking may run at the same time.
	lookFn func(fd uintptr)
	sight  Sight

	tryFn func(fd uintptr) bool
	tryP  []byte
	tryN  int
	tryE  error

	x exchange

	one   [1]byte // the byte that waiting for a TLS client has consumed
	ahead bool
}

// Wrap makes a Conn of any stream net.Conn. The Conn owns c from then on.
func Wrap(c net.Conn) Conn { return wrap(c) }

func wrap(c net.Conn) *plainConn {
	p := &plainConn{Conn: c, self: addrPort(c.LocalAddr()), peer: addrPort(c.RemoteAddr())}
	if sc, ok := c.(syscall.Conn); ok {
		if rc, err := sc.SyscallConn(); err == nil {
			p.rc = rc
			_, p.tcp = c.(*net.TCPConn)
		}
	}
	p.lookFn = func(fd uintptr) { p.sight = peek(fd) }
	p.tryFn = func(fd uintptr) bool { p.tryN, p.tryE = writeOnce(fd, p.tryP); return true }
	p.x.init()
	return p
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}

func (c *plainConn) LocalAddr() netip.AddrPort  { return c.self }
func (c *plainConn) RemoteAddr() netip.AddrPort { return c.peer }

func (c *plainConn) Read(p []byte) (int, error) {
	if c.ahead && len(p) > 0 {
		c.ahead = false
		p[0] = c.one[0]
		return 1, nil
	}
	return c.Conn.Read(p)
}

// ReadSoon waits out the grace in any case: a plain connection keeps its
// goroutine when it is parked, so there is less to win.
func (c *plainConn) ReadSoon(p []byte) (int, error) {
	if c.Look() == PeerFIN {
		return 0, ErrFIN
	}
	c.ReadWithin(grace)
	n, err := c.Read(p)
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) && !c.interrupted.Load() {
		return 0, ErrIdle
	}
	return n, err
}

func (c *plainConn) WriteTwo(head, body []byte) (int, error) {
	bufs := net.Buffers{head, body}
	n, err := bufs.WriteTo(c.Conn)
	return int(n), err
}

func (c *plainConn) TryWrite(p []byte) (int, error) {
	if c.rc == nil {
		return c.Conn.Write(p)
	}
	if len(p) == 0 {
		return 0, nil
	}
	c.tryP = p
	err := c.rc.Write(c.tryFn)
	c.tryP = nil
	if err != nil {
		return 0, err
	}
	return c.tryN, c.tryE
}

func (c *plainConn) Exchange(req, resp []byte) (wrote, read int, err error) {
	if c.rc != nil && onePark && len(req) <= maxOnePark {
		return c.x.run(c, req, resp)
	}
	wrote, err = c.Conn.Write(req)
	if err != nil {
		return wrote, 0, err
	}
	read, err = c.Conn.Read(resp)
	return wrote, read, err
}

// SetReadDeadline does not undo an Interrupt.
func (c *plainConn) SetReadDeadline(t time.Time) error {
	c.readBy.set(t)
	err := c.Conn.SetReadDeadline(t)
	if c.interrupted.Load() {
		return c.Conn.SetReadDeadline(past)
	}
	return err
}

func (c *plainConn) SetWriteDeadline(t time.Time) error {
	c.writeBy.set(t)
	err := c.Conn.SetWriteDeadline(t)
	if c.interrupted.Load() {
		return c.Conn.SetWriteDeadline(past)
	}
	return err
}

func (c *plainConn) ReadWithin(d time.Duration) {
	if end, need := c.readBy.stretch(d); need {
		c.SetReadDeadline(end)
	}
}

func (c *plainConn) WriteWithin(d time.Duration) {
	if end, need := c.writeBy.stretch(d); need {
		c.SetWriteDeadline(end)
	}
}

var past = time.Unix(1, 0)

func (c *plainConn) Interrupt() {
	c.interrupted.Store(true)
	c.Conn.SetDeadline(past)
}

func (c *plainConn) Look() Sight {
	if c.ahead {
		return Readable
	}
	rc := c.rc
	if rc == nil {
		return c.lookBelow()
	}
	if rc.Control(c.lookFn) != nil {
		return Broken
	}
	return c.sight
}

// lookBelow looks at the transport under a TLS connection. Bytes there may be
// a record without data, but on a connection that ought to be silent any byte
// is a reason not to use it again.
func (c *plainConn) lookBelow() Sight {
	under, ok := c.Conn.(interface{ NetConn() net.Conn })
	if !ok {
		return Quiet
	}
	sc, ok := under.NetConn().(syscall.Conn)
	if !ok {
		return Quiet
	}
	rc, err := sc.SyscallConn()
	if err != nil || rc.Control(c.lookFn) != nil {
		return Broken
	}
	return c.sight
}

func (c *plainConn) Info() (info Info, ok bool) {
	if !c.tcp {
		return Info{}, false
	}
	err := c.rc.Control(func(fd uintptr) { info, ok = tcpInfo(fd) })
	return info, ok && err == nil
}

func (c *plainConn) CloseWrite() error {
	if h, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return errors.ErrUnsupported
}

func (c *plainConn) Abort() error {
	if t, ok := c.Conn.(*net.TCPConn); ok {
		// Set at the very end only: a descriptor with this option that dies
		// with its process truncates what the kernel still has to send.
		t.SetLinger(0)
	}
	return c.Conn.Close()
}

// await blocks until the connection can be read, has ended, or deadline passed
// (the error is os.ErrDeadlineExceeded then). Nothing is consumed.
func (c *plainConn) await(deadline time.Time) error {
	if err := c.SetReadDeadline(deadline); err != nil {
		return err
	}
	defer c.SetReadDeadline(time.Time{})
	if c.ahead {
		return nil
	}
	if c.rc == nil {
		_, err := io.ReadFull(c.Conn, c.one[:])
		if err == nil {
			c.ahead = true
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		return nil // an end or an error is found again by the next Read
	}
	return c.rc.Read(func(fd uintptr) bool { return peek(fd) != Quiet })
}
