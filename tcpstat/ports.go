package tcpstat

import (
	"bytes"
	"fmt"
	"math/bits"
	"time"
)

// LocalPorts says which local ports the kernel may choose for a dial, and when
// one that is in TIME-WAIT may be chosen again. Ranges of single sockets
// (IP_LOCAL_PORT_RANGE) are not in it: weir sets none.
type LocalPorts struct {
	Low, High uint16 // net.ipv4.ip_local_port_range, of IPv6 too
	Count     int    // of the range, less net.ipv4.ip_local_reserved_ports

	Reuse      int           // net.ipv4.tcp_tw_reuse: 0 never, 1 always, 2 on loopback
	ReuseDelay time.Duration // net.ipv4.tcp_tw_reuse_delay; a second before Linux 6.14
	Timestamps bool          // net.ipv4.tcp_timestamps: without them nothing is used again

	set portSet
}

// portSet has a bit for each port.
type portSet [1 << 16 / 64]uint64

func (p *portSet) add(port uint16)      { p[port/64] |= 1 << (port % 64) }
func (p *portSet) has(port uint16) bool { return p[port/64]&(1<<(port%64)) != 0 }

func (p *portSet) len() (n int) {
	for _, w := range p {
		n += bits.OnesCount64(w)
	}
	return n
}

// Has says whether the kernel may choose port.
func (p *LocalPorts) Has(port uint16) bool { return p.set.has(port) }

// Blocked says for how long a TIME-WAIT of a pair that has left to go still keeps
// its port from a new dial; none if it is not positive.
func (p *LocalPorts) Blocked(pair Pair, left time.Duration) time.Duration {
	return left - (timeWait - p.hold(pair))
}

// hold is how long a TIME-WAIT of a pair keeps its port from a new dial, from its
// beginning; see tcp_twsk_unique in net/ipv4/tcp_ipv4.c. That its connection had
// timestamps cannot be seen from outside, and is taken for granted.
func (p *LocalPorts) hold(pair Pair) time.Duration {
	loopback := pair.Source.IsLoopback() || pair.Dest.Addr().IsLoopback()
	if p.Timestamps && (p.Reuse == 1 || p.Reuse == 2 && loopback) {
		return min(p.ReuseDelay, timeWait)
	}
	return timeWait
}

// SetRange takes the text of net.ipv4.ip_local_port_range, and that of
// net.ipv4.ip_local_reserved_ports, which may be empty. After an error p is not to
// be used.
func (p *LocalPorts) SetRange(span, reserved []byte) error {
	f := fields{bytes.ReplaceAll(bytes.TrimSpace(span), []byte{'\t'}, []byte{' '})}
	low, ok := decimal(f.next(' '))
	high, ok2 := decimal(bytes.TrimSpace(f.rest))
	if !ok || !ok2 || low < 1 || low > high || high > 65535 {
		return fmt.Errorf("net.ipv4.ip_local_port_range: %.40q is no range", span)
	}
	p.Low, p.High, p.set = uint16(low), uint16(high), portSet{}
	for port := low; port <= high; port++ {
		p.set.add(uint16(port))
	}
	for part := range bytes.SplitSeq(bytes.TrimSpace(reserved), []byte{','}) {
		if len(part) == 0 {
			continue
		}
		from, to, isSpan := bytes.Cut(part, []byte{'-'})
		a, ok := decimal(from)
		b := a
		if isSpan {
			var ok2 bool
			b, ok2 = decimal(to)
			ok = ok && ok2
		}
		if !ok || a > b || b > 65535 {
			return fmt.Errorf("net.ipv4.ip_local_reserved_ports: %.40q is no port and no range", part)
		}
		for port := a; port <= b; port++ {
			p.set[port/64] &^= 1 << (port % 64)
		}
	}
	p.Count = p.set.len()
	return nil
}
