package sock

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// listenSockopts sets, before the bind, what accepted connections inherit: six
// system calls a listener in place of six a client.
func listenSockopts(rc syscall.RawConn, reusePort, deferAccept bool) error {
	var err error
	set := func(fd uintptr, level, name, value int) {
		if err == nil {
			err = unix.SetsockoptInt(int(fd), level, name, value)
		}
	}
	cerr := rc.Control(func(fd uintptr) {
		if reusePort {
			set(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		}
		if deferAccept {
			set(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 1)
		}
		set(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		set(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
		set(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(keepAlive.Idle/time.Second))
		set(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(keepAlive.Interval/time.Second))
		set(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAlive.Count)
		set(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout/time.Millisecond))
	})
	if cerr != nil {
		return cerr
	}
	return err
}

// userTimeout bounds how long written bytes may stay unacknowledged.
const userTimeout = 2 * time.Minute

// dialSockopts sets what net.Dialer has no field for. With a source address
// the port is chosen at connect, by destination, and not at bind, where one
// port would serve one connection whatever its destination.
func dialSockopts(rc syscall.RawConn, hasSource bool) error {
	var err error
	cerr := rc.Control(func(fd uintptr) {
		if hasSource {
			err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		}
		if err == nil {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout/time.Millisecond))
		}
	})
	if cerr != nil {
		return cerr
	}
	return err
}
