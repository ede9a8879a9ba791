//go:build linux && !weir_netconn

package sock

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawPath says whether this build has the raw path.
const rawPath = true

func parkable(c Conn) (*rawConn, bool) {
	r, ok := c.(*rawConn)
	return r, ok
}

// shard is one listening socket.
type shard struct {
	ln net.Listener
	f  *os.File // the same socket, for the raw path; nil where the plain one is taken
}

// open readies the shard. The net package lets nobody but itself wait for a
// listener, so the raw path waits on a descriptor of its own for the socket.
func (s *shard) open(l *Listener) error {
	t, ok := s.ln.(*net.TCPListener)
	if !ok || l.opt.Wrap != nil {
		return nil
	}
	f, err := t.File()
	if err != nil {
		return err
	}
	s.f = f
	return t.Close()
}

func (s *shard) close() {
	if s.f != nil {
		s.f.Close()
	}
}

// socket is what the shard's acceptor waits on.
func (s *shard) socket() acceptSocket {
	if s.f == nil {
		return s.ln.(acceptSocket)
	}
	return s.f
}

// setDeferAccept changes TCP_DEFER_ACCEPT for connections that come from now on.
func (s *shard) setDeferAccept(on bool) {
	if s.f == nil {
		return
	}
	if rc, err := s.f.SyscallConn(); err == nil {
		rc.Control(func(fd uintptr) {
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, map[bool]int{true: 1}[on])
		})
	}
}

// stop makes the acceptor return: when the last handshakes are over, or at once.
func (s *shard) stop(patient bool) {
	if s.f == nil {
		stopPlain(s.ln, patient)
		return
	}
	end := past
	if rc, err := s.f.SyscallConn(); err == nil && patient && noNewClients(rc) == nil {
		end = time.Now().Add(lastHandshakes)
	}
	s.f.SetReadDeadline(end)
}

// acceptLoop accepts until the listener stops. Each shard has one.
func (l *Listener) acceptLoop(s shard) {
	if s.f == nil {
		l.acceptLoopPlain(s.ln)
		return
	}
	defer s.f.Close()
	rc, err := s.f.SyscallConn()
	if err != nil {
		l.opt.Log.Error("accept loop did not start", "listener", l.opt.Address, "err", err)
		return
	}
	var failed error
	wait := minAcceptWait
	// The poller is edge-triggered: a batch goes on until the queue is empty,
	// else the rest would wait for the next client.
	batch := func(fd uintptr) bool {
		before := l.accepted.Load()
		failed = l.acceptAll(fd)
		if l.accepted.Load() != before {
			wait = minAcceptWait
		}
		return failed != nil
	}
	for {
		l.held.pass()
		if errors.Is(rc.Read(batch), os.ErrDeadlineExceeded) { // stop's
			break
		}
		if failed == errHeld {
			continue
		}
		if !l.acceptError(failed, wait) {
			break
		}
		wait = min(2*wait, maxAcceptWait)
	}
	// No new client gets into the queue; those in it are served.
	rc.Control(func(fd uintptr) {
		unix.Listen(int(fd), 0)
		l.acceptAll(fd)
	})
}

// acceptAll accepts until the queue is empty (nil), an error, or errHeld.
func (l *Listener) acceptAll(fd uintptr) error {
	var sa unix.RawSockaddrAny
	for {
		if l.held.shut() {
			return errHeld
		}
		size := uint32(unix.SizeofSockaddrAny)
		n, _, e := syscall.RawSyscall6(syscall.SYS_ACCEPT4, fd, uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)),
			unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		switch e {
		case 0:
		case unix.EINTR, unix.ECONNABORTED:
			continue
		case unix.EAGAIN:
			return nil
		default:
			return e
		}
		c := &rawConn{fd: int32(n), peer: sockaddr(&sa)}
		l.admit(c, &c.node)
	}
}

func sockaddr(sa *unix.RawSockaddrAny) netip.AddrPort {
	switch sa.Addr.Family {
	case unix.AF_INET:
		p := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(p.Addr), port(p.Port))
	case unix.AF_INET6:
		p := (*unix.RawSockaddrInet6)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom16(p.Addr).Unmap(), port(p.Port))
	}
	return netip.AddrPort{}
}

// port turns a port in network byte order around.
func port(p uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(&p))
	return uint16(b[0])<<8 | uint16(b[1])
}
