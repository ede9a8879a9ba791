package tcpstat

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// userTick is the unit of times in /proc, whatever the kernel's own tick:
// USER_HZ is 100 on every architecture Go runs Linux on.
const userTick = 10 * time.Millisecond

// parseProcLine reads one line of /proc/net/tcp or tcp6 (net/ipv4/tcp_ipv4.c,
// tcp4_seq_show; net/ipv6/tcp_ipv6.c, tcp6_seq_show). It returns false for the
// heading and for anything else that is no socket.
func parseProcLine(line []byte, s *Socket) bool {
	f := fields{line}
	if slot := f.next(' '); len(slot) == 0 || slot[len(slot)-1] != ':' {
		return false
	}
	var ok [10]bool
	s.Local, ok[0] = parseAddrPort(f.next(' '))
	s.Remote, ok[1] = parseAddrPort(f.next(' '))
	var st, tx, rx, timer, when, uid, inode uint64
	st, ok[2] = hex(f.next(' '))
	tx, ok[3] = hex(f.next(':'))
	rx, ok[4] = hex(f.next(' '))
	timer, ok[5] = hex(f.next(':'))
	when, ok[6] = hex(f.next(' '))
	_, ok[7] = hex(f.next(' ')) // retransmits
	uid, ok[8] = decimal(f.next(' '))
	f.next(' ') // probes
	inode, ok[9] = decimal(f.next(' '))
	for _, v := range ok {
		if !v {
			return false
		}
	}
	if st == 0 || st >= uint64(states) || timer > 0xff {
		return false
	}
	s.State = listed(State(st))
	s.Timer = Timer(timer)
	s.SendQ, s.RecvQ = uint32(tx), uint32(rx)
	s.UID, s.Inode = uint32(uid), uint32(inode)
	s.Expires = time.Duration(uint32(when)) * userTick
	return true
}

// parseAddrPort reads ADDRESS:PORT in hexadecimal. The address is printed in
// words of four bytes, each as a number of the machine's byte order.
func parseAddrPort(p []byte) (netip.AddrPort, bool) {
	f := fields{p}
	addr := f.next(':')
	port, ok := hex(f.rest)
	if !ok || port > 0xffff || len(addr) != 8 && len(addr) != 32 {
		return netip.AddrPort{}, false
	}
	var raw [16]byte
	for i := 0; i < len(addr); i += 8 {
		w, ok := hex(addr[i : i+8])
		if !ok {
			return netip.AddrPort{}, false
		}
		binary.NativeEndian.PutUint32(raw[i/2:], uint32(w))
	}
	if len(addr) == 8 {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(raw[:4])), uint16(port)), true
	}
	return netip.AddrPortFrom(netip.AddrFrom16(raw).Unmap(), uint16(port)), true
}

// fields cuts a line into words without copying.
type fields struct{ rest []byte }

// next skips spaces and returns the word up to sep, which it takes away.
func (f *fields) next(sep byte) []byte {
	p := f.rest
	for len(p) > 0 && p[0] == ' ' {
		p = p[1:]
	}
	for i, c := range p {
		if c == sep {
			f.rest = p[i+1:]
			return p[:i]
		}
	}
	f.rest = nil
	return p
}

func hex(p []byte) (uint64, bool) {
	if len(p) == 0 || len(p) > 16 {
		return 0, false
	}
	var v uint64
	for _, c := range p {
		switch {
		case c >= '0' && c <= '9':
			v = v<<4 | uint64(c-'0')
		case c >= 'A' && c <= 'F':
			v = v<<4 | uint64(c-'A'+10)
		default:
			return 0, false
		}
	}
	return v, true
}

func decimal(p []byte) (uint64, bool) {
	if len(p) == 0 || len(p) > 18 {
		return 0, false
	}
	var v uint64
	for _, c := range p {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + uint64(c-'0')
	}
	return v, true
}
