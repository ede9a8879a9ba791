package sock

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// noNewClients makes a listening socket deaf to SYNs. A handshake that is under
// way goes on, which to the client may be long over: with TCP_DEFER_ACCEPT its
// request is. Closing the socket at once would reset it. A client whose SYN is
// dropped sends it again after a second (RFC 6298, section 2.1), and is refused
// then, or is served by whoever listens by that time: it has sent nothing that
// could have been lost.
func noNewClients(rc syscall.RawConn) error {
	const flags, syn, ack = 13, 0x02, 0x10 // RFC 9293, section 3.1
	code := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: flags},
		{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: syn | ack},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: syn, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: 1<<32 - 1},
	}
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	var err error
	cerr := rc.Control(func(fd uintptr) {
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog)
	})
	if cerr != nil {
		return cerr
	}
	return err
}
