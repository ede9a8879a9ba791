//go:build !weir_netconn

package sock

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawConn is an accepted TCP connection on its bare descriptor. A call works
// on the descriptor directly; only one that would block meets the runtime's
// poller, through an os.File made then (promote) and kept. A short client that
// has sent its request by the time it is accepted never gets there.
//
//	bare --would block--> polled --parked--> bare
//
// An idle keepalive client is this struct and a descriptor, nothing else, so
// its size is what such a client costs.
type rawConn struct {
	fd   int32
	poll atomic.Pointer[polled] // nil while bare

	readBy  deadline // they bind once polled
	writeBy deadline

	peer netip.AddrPort
	tag  uint64
	node node
	slot slot // its place while parked

	interrupted atomic.Bool
	brisk       bool // its last request came within the grace: wait for the next in the goroutine
	proxied     bool // peer is not who is connected: SetRemoteAddr
}

// polled is a connection's place in the runtime poller.
type polled struct {
	f  *os.File // its finalizer closes the descriptor: reachable for as long as we use it
	rc syscall.RawConn
	turn
}

// turn is a response written and the next request awaited with one visit to
// the poller, as exchange does it on the other side.
type turn struct {
	out, in     []byte
	wrote, read int
	sent        bool
	err         error
	step        func(fd uintptr) bool
}

// try reports whether the turn is over: something was read, or failed, or the
// socket is full.
func (t *turn) try(fd uintptr) bool {
	n, err := readOnce(fd, t.in)
	waiting := err == errAgain
	switch {
	case waiting:
	case err != nil:
		t.err = opError("read", err)
	case n == 0 && !t.sent:
		t.err = ErrFIN
	case n == 0:
		t.err = io.EOF
	default:
		t.read = n
	}
	if t.sent {
		return !waiting
	}
	t.sent = true
	if t.wrote, err = writeOnce(fd, t.out); err != nil {
		t.err = opError("write", err)
	}
	return !waiting || err != nil || t.wrote < len(t.out)
}

// promoting keeps a reader and a writer that block at the same time from both
// promoting their connection: a second os.File would close the descriptor under
// the first. A few locks serve all, since a promotion takes microseconds.
var promoting [16]sync.Mutex

// promote puts the descriptor into the runtime's poller.
func (c *rawConn) promote() (*polled, error) {
	mu := &promoting[c.fd%int32(len(promoting))]
	mu.Lock()
	defer mu.Unlock()
	if p := c.poll.Load(); p != nil {
		return p, nil
	}
	f := os.NewFile(uintptr(c.fd), "tcp")
	rc, err := f.SyscallConn()
	if err != nil {
		return nil, opError("poll", err)
	}
	p := &polled{f: f, rc: rc}
	p.step = p.try
	c.poll.Store(p)
	// Whoever sets a deadline, or interrupts, stores it and then looks for
	// the file; we store the file and then look. One of the two sees the other.
	c.readBy.bind(f.SetReadDeadline)
	c.writeBy.bind(f.SetWriteDeadline)
	if c.interrupted.Load() {
		f.SetDeadline(past)
	}
	return p, nil
}

// demote takes the descriptor out of the runtime's poller again. The poller
// lets go only of a descriptor that it closes, so the socket moves to a new
// number.
func (c *rawConn) demote() error {
	p := c.poll.Load()
	if p == nil {
		return nil
	}
	fd, err := unix.FcntlInt(uintptr(c.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	c.poll.Store(nil)
	c.fd = int32(fd)
	return p.f.Close()
}

func (c *rawConn) Read(b []byte) (int, error) {
	p := c.poll.Load()
	if p == nil {
		n, err := readOnce(uintptr(c.fd), b)
		if err == nil {
			return n, eof(n, b)
		}
		if err != errAgain {
			return 0, opError("read", err)
		}
		if p, err = c.promote(); err != nil {
			return 0, err
		}
	}
	n, err := p.f.Read(b)
	if err != nil && err != io.EOF {
		err = opError("read", err)
	}
	return n, err
}

func (c *rawConn) Stay() { c.brisk = true }

func (c *rawConn) ReadSoon(b []byte) (int, error) {
	n, err := readOnce(uintptr(c.fd), b)
	switch {
	case err == nil && n == 0 && len(b) > 0:
		return 0, ErrFIN
	case err == nil:
		return n, nil
	case err != errAgain:
		return 0, opError("read", err)
	case !c.brisk:
		return 0, ErrIdle
	}
	c.ReadWithin(grace)
	n, err = c.Read(b)
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) && !c.interrupted.Load() {
		c.brisk = false
		return 0, ErrIdle
	}
	return n, err
}

// Turn reads before it writes. In the poller's callback that is a must, since
// what came before the poller was cleared makes no new edge; and it tells a
// client that has half-closed from one that closes when it has its response.
func (c *rawConn) Turn(b, into []byte) (wrote, read int, err error) {
	p := c.poll.Load()
	if p == nil && c.brisk && len(into) > 0 {
		// It will wait: so the one visit, and not a look at what cannot be there.
		if p, err = c.promote(); err != nil {
			return 0, 0, err
		}
	}
	if !c.brisk || len(into) == 0 {
		var t turn
		t.out, t.in = b, into
		done := t.try(uintptr(c.fd))
		if (t.err == nil || t.err == ErrFIN) && t.wrote < len(b) {
			return c.finish(&t, done)
		}
		if t.err == nil && !done {
			if c.brisk { // its first wait in the poller
				read, err = c.ReadSoon(into)
				return t.wrote, read, err
			}
			return t.wrote, 0, ErrIdle
		}
		return t.wrote, t.read, t.err
	}
	c.ReadWithin(grace)
	p.out, p.in, p.wrote, p.read, p.sent, p.err = b, into, 0, 0, false, nil
	err = p.rc.Read(p.step)
	p.out, p.in = nil, nil
	switch {
	case err != nil && errors.Is(err, os.ErrDeadlineExceeded) && p.sent && p.wrote == len(b) && !c.interrupted.Load():
		c.brisk = false
		return p.wrote, 0, ErrIdle
	case err != nil && errors.Is(err, os.ErrDeadlineExceeded) && !p.sent && !c.interrupted.Load():
		// This goroutine stood for longer than the grace before anything was
		// tried, as where the kernel takes the CPU away for a while.
		c.brisk = false
		return c.Turn(b, into)
	case err != nil:
		return p.wrote, p.read, opError("read", err)
	case p.wrote < len(b) && (p.err == nil || p.err == ErrFIN):
		p.out = b
		wrote, read, err = c.finish(&p.turn, p.read > 0)
		p.out = nil
		return wrote, read, err
	}
	return p.wrote, p.read, p.err
}

// finish writes what the socket did not take at once, and then reads if
// nothing was read before.
func (c *rawConn) finish(t *turn, done bool) (wrote, read int, err error) {
	n, err := c.Write(t.out[t.wrote:])
	wrote = t.wrote + n
	switch {
	case err != nil:
		return wrote, t.read, err
	case t.err != nil || t.read > 0:
		return wrote, t.read, t.err
	}
	read, err = c.ReadSoon(t.in)
	return wrote, read, err
}

func (c *rawConn) Write(b []byte) (int, error) {
	if c.interrupted.Load() {
		return 0, opError("write", os.ErrDeadlineExceeded)
	}
	done := 0
	p := c.poll.Load()
	if p == nil {
		for done < len(b) {
			n, err := writeOnce(uintptr(c.fd), b[done:])
			if err != nil {
				return done, opError("write", err)
			}
			if n == 0 {
				break
			}
			done += n
		}
		if done == len(b) {
			return done, nil
		}
		var err error
		if p, err = c.promote(); err != nil {
			return done, err
		}
	}
	n, err := p.f.Write(b[done:])
	if err != nil {
		err = opError("write", err)
	}
	return done + n, err
}

func (c *rawConn) WriteTwo(head, body []byte) (int, error) {
	n, err := c.tryTwo(head, body)
	if err != nil {
		return n, opError("write", err)
	}
	if n < len(head) {
		m, err := c.Write(head[n:])
		if err != nil {
			return n + m, err
		}
		n += m
	}
	if n < len(head)+len(body) {
		m, err := c.Write(body[n-len(head):])
		return n + m, err
	}
	return n, nil
}

// tryTwo is one sendmsg of both parts.
func (c *rawConn) tryTwo(head, body []byte) (int, error) {
	if len(head) == 0 || len(body) == 0 {
		return writeOnce(uintptr(c.fd), append2(head, body))
	}
	iov := [2]unix.Iovec{{Base: &head[0]}, {Base: &body[0]}}
	iov[0].SetLen(len(head))
	iov[1].SetLen(len(body))
	msg := unix.Msghdr{Iov: &iov[0]}
	msg.SetIovlen(2)
	for {
		n, _, e := syscall.Syscall(syscall.SYS_SENDMSG, uintptr(c.fd), uintptr(unsafe.Pointer(&msg)),
			unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		switch {
		case e == unix.EINTR:
			continue
		case e == unix.EAGAIN:
			return 0, nil
		case e != 0:
			return 0, errno(e)
		}
		return int(n), nil
	}
}

// append2 returns the one of the two that is not empty.
func append2(a, b []byte) []byte {
	if len(a) == 0 {
		return b
	}
	return a
}

func (c *rawConn) TryWrite(b []byte) (int, error) {
	n, err := writeOnce(uintptr(c.fd), b)
	if err != nil {
		err = opError("write", err)
	}
	return n, err
}

// Exchange is for backends; a client's connection has no use for more than
// this.
func (c *rawConn) Exchange(req, resp []byte) (wrote, read int, err error) {
	if err = c.Look().Unfit(); err != nil {
		return 0, 0, err
	}
	if wrote, err = c.Write(req); err != nil {
		return wrote, 0, err
	}
	read, err = c.Read(resp)
	return wrote, read, err
}

func (c *rawConn) SetReadDeadline(t time.Time) error {
	c.readBy.set(t)
	return c.bind((*os.File).SetReadDeadline, t)
}

func (c *rawConn) SetWriteDeadline(t time.Time) error {
	c.writeBy.set(t)
	return c.bind((*os.File).SetWriteDeadline, t)
}

// bind gives a deadline to the poller, if the connection is there. It does not
// undo an Interrupt.
func (c *rawConn) bind(set func(*os.File, time.Time) error, t time.Time) error {
	p := c.poll.Load()
	if p == nil {
		return nil
	}
	err := set(p.f, t)
	if c.interrupted.Load() {
		p.f.SetDeadline(past)
	}
	return err
}

func (c *rawConn) ReadWithin(d time.Duration) {
	if end, need := c.readBy.stretch(d); need {
		c.SetReadDeadline(end)
	}
}

func (c *rawConn) WriteWithin(d time.Duration) {
	if end, need := c.writeBy.stretch(d); need {
		c.SetWriteDeadline(end)
	}
}

func (c *rawConn) Interrupt() {
	c.interrupted.Store(true)
	if p := c.poll.Load(); p != nil {
		p.f.SetDeadline(past) // safe against a close at the same time: the File counts its users
	}
}

func (c *rawConn) Look() Sight { return peek(uintptr(c.fd)) }

func (c *rawConn) Info() (Info, bool) { return tcpInfo(uintptr(c.fd)) }

func (c *rawConn) CloseWrite() error {
	return unix.Shutdown(int(c.fd), unix.SHUT_WR)
}

func (c *rawConn) Close() error {
	if p := c.poll.Load(); p != nil {
		return p.f.Close()
	}
	fd := c.fd
	c.fd = -1
	return closeFD(fd)
}

func (c *rawConn) Abort() error {
	lingerZero(uintptr(c.fd))
	return c.Close()
}

func (c *rawConn) LocalAddr() netip.AddrPort {
	sa, err := unix.Getsockname(int(c.fd))
	if err != nil {
		return netip.AddrPort{}
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

func (c *rawConn) Tag() uint64       { return c.tag }
func (c *rawConn) SetTag(tag uint64) { c.tag = tag }

func (c *rawConn) RemoteAddr() netip.AddrPort { return c.peer }

// netError makes a net.Error of what os.File and the kernel say, which
// crypto/tls and callers that look for timeouts rely on.
type netError struct {
	op  string
	err error
}

func opError(op string, err error) error { return &netError{op, err} }

func (e *netError) Error() string   { return "tcp " + e.op + ": " + e.err.Error() }
func (e *netError) Unwrap() error   { return e.err }
func (e *netError) Temporary() bool { return e.Timeout() }
func (e *netError) Timeout() bool {
	t, ok := e.err.(interface{ Timeout() bool })
	return ok && t.Timeout()
}
