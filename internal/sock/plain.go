package sock

import (
	"context"
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
	tag  uint64

	interrupted atomic.Bool
	readBy      deadline
	writeBy     deadline
	parked      bool // guarded by the Listener's mu
	proxied     bool // peer is not who is connected: SetRemoteAddr
	shaken      bool // a TLS handshake was made, or there is none to make

	node node

	// The callbacks below are made once, for a closure per call would be an
	// allocation per request. Each has its own fields, because reading,
	// writing and looking may run at the same time.
	lookFn func(fd uintptr)
	sight  Sight

	two  [2][]byte // of WriteTwo, for the same reason
	bufs net.Buffers

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
	_, p.shaken = c.(handshaker)
	p.shaken = !p.shaken
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

func (c *plainConn) Tag() uint64       { return c.tag }
func (c *plainConn) SetTag(tag uint64) { c.tag = tag }

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

// Stay has nothing to change: see ReadSoon.
func (c *plainConn) Stay() {}

// ReadSoon waits out the grace in any case: a plain connection keeps its
// goroutine when it is parked, so there is less to win.
func (c *plainConn) ReadSoon(p []byte) (int, error) {
	if err := c.shake(); err != nil {
		return 0, err
	}
	// Under TLS, bytes that came before the FIN may be decrypted already.
	if c.rc != nil && c.Look() == PeerFIN {
		return 0, ErrFIN
	}
	return c.readSoon(p)
}

func (c *plainConn) readSoon(p []byte) (int, error) {
	c.ReadWithin(grace)
	n, err := c.Read(p)
	switch {
	case err != nil && errors.Is(err, os.ErrDeadlineExceeded) && !c.interrupted.Load():
		return 0, ErrIdle
	case err == io.ErrUnexpectedEOF && c.lookBelow() == PeerFIN:
		return n, io.EOF // a FIN without the alert that TLS wants before it
	}
	return n, err
}

func (c *plainConn) Turn(p, into []byte) (wrote, read int, err error) {
	fin := c.rc != nil && c.Look() == PeerFIN
	if wrote, err = c.Write(p); err != nil {
		return wrote, 0, err
	}
	if fin {
		return wrote, 0, ErrFIN
	}
	read, err = c.readSoon(into)
	return wrote, read, err
}

// handshaker is what a TLS connection is and others are not.
type handshaker interface{ HandshakeContext(context.Context) error }

// shake makes the handshake of a TLS connection, once, in a time of its own:
// one that a deadline has cut short cannot be taken up again, and the grace of
// ReadSoon is shorter than the round trips to a far client.
func (c *plainConn) shake() error {
	if c.shaken {
		return nil
	}
	end := time.Now().Add(handshakeTime)
	c.SetReadDeadline(end)
	c.SetWriteDeadline(end)
	if err := c.Conn.(handshaker).HandshakeContext(context.Background()); err != nil {
		return err
	}
	c.shaken = true
	return nil
}

// handshakeTime is the default time for a request's head, which has the same
// reason.
const handshakeTime = 10 * time.Second

func (c *plainConn) WriteTwo(head, body []byte) (int, error) {
	c.two = [2][]byte{head, body}
	c.bufs = c.two[:]
	n, err := c.bufs.WriteTo(c.Conn)
	c.two, c.bufs = [2][]byte{}, nil
	return int(n), err
}

func (c *plainConn) TryWrite(p []byte) (int, error) {
	if c.rc == nil {
		if err := c.shake(); err != nil {
			return 0, err
		}
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
	if err = c.Look().Unfit(); err != nil {
		return 0, 0, err
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

// below returns the transport under a TLS connection, else the connection.
func (c *plainConn) below() net.Conn {
	if t, ok := c.Conn.(interface{ NetConn() net.Conn }); ok {
		return t.NetConn()
	}
	return c.Conn
}

// lookBelow looks at the transport under a TLS connection. Bytes there may be
// a record without data, but on a connection that ought to be silent any byte
// is a reason not to use it again.
func (c *plainConn) lookBelow() Sight {
	if u, ok := c.below().(under); ok {
		return u.Look()
	}
	sc, ok := c.below().(syscall.Conn)
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

// Abort goes past TLS, whose Close would tell the peer that all was sent.
func (c *plainConn) Abort() error {
	below := c.below()
	if u, ok := below.(under); ok {
		return u.Abort()
	}
	if t, ok := below.(*net.TCPConn); ok {
		// Set at the very end only: a descriptor with this option that dies
		// with its process truncates what the kernel still has to send.
		t.SetLinger(0)
	}
	return below.Close()
}

// await blocks until the connection can be read, has ended, or the read
// deadline passed (the error is os.ErrDeadlineExceeded then). Nothing is
// consumed.
func (c *plainConn) await() error {
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
