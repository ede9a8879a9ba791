package sock

import "golang.org/x/sys/unix"

// Backlog says how many clients wait in the kernel's queue to be accepted, and how
// many may; beyond that SYNs are dropped. It is the sum over the listener's
// sockets, and zero for unix sockets and where the kernel does not say. For a
// socket that listens TCP_INFO has the two numbers in fields of other names
// (tcp_get_info in net/ipv4/tcp.c).
func (l *Listener) Backlog() (waiting, most int) {
	for i := range l.shards {
		rc, err := l.shards[i].socket().SyscallConn()
		if err != nil {
			continue
		}
		rc.Control(func(fd uintptr) {
			if ti, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
				waiting += int(ti.Unacked)
				most += int(ti.Sacked)
			}
		})
	}
	return waiting, most
}
