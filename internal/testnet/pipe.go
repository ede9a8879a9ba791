package testnet

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// pipeBuffer is what one direction of a Pipe holds before Write waits.
const pipeBuffer = 64 << 10

// PipeConn is one end of a connection inside the process. It behaves as a TCP
// connection does where programs notice: it buffers, it has deadlines, each side
// closes its own direction, and closing with bytes unread resets the other side.
// Unlike a socket it may be waited for inside a synctest bubble. It is as safe
// for concurrent use as a net.Conn.
type PipeConn struct {
	in, out       *half
	local, remote *net.TCPAddr
}

// Pipe returns both ends of a new connection.
func Pipe() (*PipeConn, *PipeConn) {
	return pipeBetween(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 2})
}

func pipeBetween(a, b *net.TCPAddr) (*PipeConn, *PipeConn) {
	ab, ba := newHalf(), newHalf()
	return &PipeConn{in: ba, out: ab, local: a, remote: b}, &PipeConn{in: ab, out: ba, local: b, remote: a}
}

// half is one direction.
type half struct {
	mu       sync.Mutex // guards the rest
	changed  *sync.Cond
	buf      []byte
	fin      bool // the writer sends no more
	reset    bool
	readGone bool // the reader has closed
	read     deadline
	write    deadline
}

// deadline wakes those who wait on a half. It is guarded by the half's mutex.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func newHalf() *half {
	h := new(half)
	h.changed = sync.NewCond(&h.mu)
	return h
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

// setDeadline is called without mu.
func (h *half) setDeadline(d *deadline, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.at = at
	if !at.IsZero() {
		d.timer = time.AfterFunc(time.Until(at), func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.changed.Broadcast()
		})
	}
	h.changed.Broadcast()
}

func (c *PipeConn) Read(p []byte) (int, error) {
	h := c.in
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.readGone:
			return 0, c.fail("read", net.ErrClosed)
		case h.read.passed():
			return 0, c.fail("read", os.ErrDeadlineExceeded)
		case len(p) == 0:
			return 0, nil
		case len(h.buf) > 0:
			n := copy(p, h.buf)
			h.buf = h.buf[:copy(h.buf, h.buf[n:])]
			h.changed.Broadcast()
			return n, nil
		case h.reset:
			return 0, c.fail("read", syscall.ECONNRESET)
		case h.fin:
			return 0, io.EOF
		}
		h.changed.Wait()
	}
}

func (c *PipeConn) Write(p []byte) (n int, err error) {
	h := c.out
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.fin:
			return n, c.fail("write", net.ErrClosed)
		case h.write.passed():
			return n, c.fail("write", os.ErrDeadlineExceeded)
		case h.reset:
			return n, c.fail("write", syscall.ECONNRESET)
		case h.readGone:
			return n, c.fail("write", syscall.EPIPE)
		case len(p) == 0:
			return n, nil
		}
		if room := pipeBuffer - len(h.buf); room > 0 {
			m := min(room, len(p))
			h.buf = append(h.buf, p[:m]...)
			p = p[m:]
			n += m
			h.changed.Broadcast()
			continue
		}
		h.changed.Wait()
	}
}

// CloseWrite ends the writing side. The peer reads what was written and then EOF.
func (c *PipeConn) CloseWrite() error {
	if !c.out.end(false) {
		return c.fail("close", net.ErrClosed)
	}
	return nil
}

// Close ends both sides. Where received bytes are unread the peer gets a reset,
// as from a kernel.
func (c *PipeConn) Close() error {
	first, unread := c.in.leave()
	if !first {
		return c.fail("close", net.ErrClosed)
	}
	c.out.end(unread)
	return nil
}

// Reset ends both sides with a reset. The peer may still read what came before.
func (c *PipeConn) Reset() {
	c.in.leave()
	c.out.end(true)
}

// end closes the writing side and says whether it was open.
func (h *half) end(reset bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	was := !h.fin
	h.fin = true
	h.reset = h.reset || reset
	h.changed.Broadcast()
	return was
}

// leave closes the reading side, and says whether it was open and held bytes.
func (h *half) leave() (first, unread bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	first, unread = !h.readGone, len(h.buf) > 0
	h.readGone = true
	h.buf = nil
	h.changed.Broadcast()
	return first, unread
}

func (c *PipeConn) fail(op string, err error) error {
	if err != net.ErrClosed && err != os.ErrDeadlineExceeded {
		err = os.NewSyscallError(op, err)
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}

func (c *PipeConn) LocalAddr() net.Addr  { return c.local }
func (c *PipeConn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline, SetReadDeadline and SetWriteDeadline are as in net.Conn; the zero
// time means none.
func (c *PipeConn) SetDeadline(t time.Time) error {
	c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *PipeConn) SetReadDeadline(t time.Time) error {
	c.in.setDeadline(&c.in.read, t)
	return nil
}

func (c *PipeConn) SetWriteDeadline(t time.Time) error {
	c.out.setDeadline(&c.out.write, t)
	return nil
}

// abort closes a connection with a reset, if it is of a kind that can.
func abort(c net.Conn) {
	switch c := c.(type) {
	case interface{ Reset() }:
		c.Reset()
		return
	case interface{ SetLinger(int) error }:
		c.SetLinger(0)
	}
	c.Close()
}
