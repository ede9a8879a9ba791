//go:build !weir_netconn

package sock

import (
	"io"
	"net/netip"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ReadPreface looks at what is there (MSG_PEEK), asks how much of it belongs to
// the preface, and takes that: two system calls, since a preface comes in one
// piece but for odd cases. A piece is taken as well, or what is still there
// would keep the socket readable and the wait for the rest would be a loop.
func (c *rawConn) ReadPreface(buf []byte, d time.Duration, length PrefaceLen) (int, error) {
	for have := 0; ; {
		n, err := peekInto(uintptr(c.fd), buf[have:])
		switch {
		case err == errAgain && have == 0 && !c.brisk:
			return 0, ErrIdle
		case err == errAgain:
			if have == 0 {
				c.ReadWithin(grace)
			}
			if err = c.awaitInput(); err == nil {
				continue
			}
		case err == nil && n == 0:
			err = io.EOF
		}
		if err != nil {
			return have, c.prefaceError(have, err)
		}
		whole, err := length(buf[:have+n])
		switch {
		case err != nil:
			return have, err
		case whole > len(buf):
			return have, io.ErrShortBuffer
		case have == 0 && n < whole:
			c.SetReadDeadline(time.Now().Add(d))
		}
		n, err = readOnce(uintptr(c.fd), buf[have:min(whole, have+n)])
		if err != nil && err != errAgain {
			return have, opError("read", err)
		}
		if have += n; have >= whole {
			return have, nil
		}
	}
}

// prefaceError makes a net.Error of what the function of this name leaves over.
func (c *rawConn) prefaceError(have int, err error) error {
	err = prefaceError(have, err, !c.interrupted.Load())
	if err == ErrIdle || err == io.EOF || err == io.ErrUnexpectedEOF {
		return err
	}
	return opError("read", err)
}

// awaitInput blocks until there is something to read, a FIN or an error among
// it, or the read deadline has passed.
func (c *rawConn) awaitInput() error {
	p := c.poll.Load()
	if p == nil {
		var err error
		if p, err = c.promote(); err != nil {
			return err
		}
	}
	return p.rc.Read(func(fd uintptr) bool { return peek(fd) != Quiet })
}

// peekInto reads once and leaves what it has read in the socket. An end of
// stream is 0, nil.
func peekInto(fd uintptr, p []byte) (int, error) {
	for {
		n, _, e := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)),
			unix.MSG_PEEK|unix.MSG_DONTWAIT, 0, 0)
		if e == unix.EINTR {
			continue
		}
		if e != 0 {
			return 0, errno(e)
		}
		return int(n), nil
	}
}

// SetRemoteAddr puts the client's address in the place of the proxy's, so that
// it costs nothing while the client is parked. The proxy's is asked of the
// kernel again when it is needed, once, at the end.
func (c *rawConn) SetRemoteAddr(a netip.AddrPort) { c.peer, c.proxied = a, true }

func (c *rawConn) carrier() (netip.Addr, bool) {
	if !c.proxied {
		return c.peer.Addr(), false
	}
	var sa unix.RawSockaddrAny
	size := uint32(unix.SizeofSockaddrAny)
	_, _, e := syscall.RawSyscall(syscall.SYS_GETPEERNAME, uintptr(c.fd), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)))
	if e != 0 {
		return netip.Addr{}, true // it has been reset
	}
	return sockaddr(&sa).Addr(), true
}
