package sock

import (
	"io"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls here work on non-blocking descriptors, so none of them waits, and
// the scheduler is not told about them (RawSyscall). Those that it is told about
// wake its monitor thread whenever weir was idle, which then looks every 20 us
// whether a call has become a long one: a seventh of all CPU time of keepalive
// requests. They go without the sockaddr that the library's versions allocate.

// quickWrite is up to how many bytes a write is over at once: the kernel copies
// them, and on loopback it also does the receiver's part.
const quickWrite = 16 << 10

// peek looks at what a socket holds: recv with MSG_PEEK and MSG_DONTWAIT.
func peek(fd uintptr) Sight {
	var b [1]byte
	for {
		n, _, e := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b[0])), 1,
			unix.MSG_PEEK|unix.MSG_DONTWAIT, 0, 0)
		switch {
		case e == unix.EINTR:
			continue
		case e == unix.EAGAIN:
			return Quiet
		case e != 0:
			return Broken
		case n == 0:
			return PeerFIN
		}
		return Readable
	}
}

// readOnce reads once. An end of stream is 0, nil.
func readOnce(fd uintptr, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, _, e := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)),
			unix.MSG_DONTWAIT, 0, 0)
		if e == unix.EINTR {
			continue
		}
		if e != 0 {
			return 0, errno(e)
		}
		return int(n), nil
	}
}

// writeOnce writes once. A full socket is 0, nil.
func writeOnce(fd uintptr, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		var n uintptr
		var e syscall.Errno
		if len(p) <= quickWrite {
			n, _, e = syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)),
				unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		} else {
			n, _, e = syscall.Syscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)),
				unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		}
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

// errno keeps the commonest errors from allocating.
func errno(e syscall.Errno) error {
	switch e {
	case unix.EAGAIN:
		return errAgain
	case unix.ECONNRESET:
		return errReset
	case unix.EPIPE:
		return errPipe
	}
	return e
}

var (
	errAgain error = unix.EAGAIN
	errReset error = unix.ECONNRESET
	errPipe  error = unix.EPIPE
)

func eof(n int, p []byte) error {
	if n == 0 && len(p) > 0 {
		return io.EOF
	}
	return nil
}

// closeFD closes a socket that the poller does not know. It waits for nothing:
// no socket here has a linger time.
func closeFD(fd int32) error {
	if _, _, e := syscall.RawSyscall(syscall.SYS_CLOSE, uintptr(fd), 0, 0); e != 0 {
		return e
	}
	return nil
}

// lingerZero makes the close that follows a reset.
func lingerZero(fd uintptr) {
	l := unix.Linger{Onoff: 1}
	syscall.RawSyscall6(syscall.SYS_SETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_LINGER,
		uintptr(unsafe.Pointer(&l)), unsafe.Sizeof(l), 0)
}

// optTimestamps is TCPI_OPT_TIMESTAMPS of include/uapi/linux/tcp.h.
const optTimestamps = 1

func tcpInfo(fd uintptr) (Info, bool) {
	var ti unix.TCPInfo
	size := uint32(unsafe.Sizeof(ti))
	_, _, e := syscall.RawSyscall6(syscall.SYS_GETSOCKOPT, fd, unix.IPPROTO_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(&ti)), uintptr(unsafe.Pointer(&size)), 0)
	if e != 0 {
		return Info{}, false
	}
	return Info{
		State:      State(ti.State),
		Timestamps: ti.Options&optTimestamps != 0,
		Unacked:    ti.Unacked,
		NotSent:    ti.Notsent_bytes,
		RTT:        time.Duration(ti.Rtt) * time.Microsecond,
		SinceData:  time.Duration(ti.Last_data_recv) * time.Millisecond,
		SinceACK:   time.Duration(ti.Last_ack_recv) * time.Millisecond,
		Received:   ti.Bytes_received,
		FINAcked:   ti.Bytes_acked > ti.Bytes_sent-ti.Bytes_retrans, // the FIN counts in the first alone
	}, true
}
