package testnet

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Flags are those of a TCP header (RFC 9293, section 3.1).
type Flags uint8

const (
	FIN Flags = 1 << iota
	SYN
	RST
	PSH
	ACK
)

// Has says whether all flags of other are set.
func (f Flags) Has(other Flags) bool { return f&other == other }

// Packet is one IP packet on its way over a Link. A hook may read it, change
// Data in place, drop it, delay it or have it delivered more than once. The
// packet and its Data are good during the hook only.
type Packet struct {
	Data   []byte        // from the IP header on
	Drop   bool          // set: never delivered
	Delay  time.Duration // added to the link's own; other packets overtake it
	Copies int           // further deliveries of the same packet

	// Of TCP packets, else zero.
	Flags    Flags
	Src, Dst netip.AddrPort
	Payload  int // bytes after the TCP header
	tcp      int // where the TCP header starts in Data, 0 if there is none
}

const protocolTCP = 6

// parse fills the fields that describe a TCP packet. IPv6 packets with extension
// headers and IPv4 fragments count as no TCP: the kernel sends neither here.
func (p *Packet) parse() {
	d := p.Data
	var src, dst netip.Addr
	var end int
	switch {
	case len(d) >= 20 && d[0]>>4 == 4:
		head := int(d[0]&15) * 4
		end = int(binary.BigEndian.Uint16(d[2:]))
		if d[9] != protocolTCP || head < 20 || end > len(d) || end < head+20 || binary.BigEndian.Uint16(d[6:])&0x3fff != 0 {
			return
		}
		src, dst = netip.AddrFrom4([4]byte(d[12:])), netip.AddrFrom4([4]byte(d[16:]))
		p.tcp = head
	case len(d) >= 60 && d[0]>>4 == 6:
		end = 40 + int(binary.BigEndian.Uint16(d[4:]))
		if d[6] != protocolTCP || end > len(d) || end < 60 {
			return
		}
		src, dst = netip.AddrFrom16([16]byte(d[8:])), netip.AddrFrom16([16]byte(d[24:]))
		p.tcp = 40
	default:
		return
	}
	t := d[p.tcp:end]
	head := int(t[12]>>4) * 4
	if head < 20 || head > len(t) {
		p.tcp = 0
		return
	}
	p.Flags = Flags(t[13])
	p.Payload = len(t) - head
	p.Src = netip.AddrPortFrom(src, binary.BigEndian.Uint16(t))
	p.Dst = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(t[2:]))
}

// IsTCP says whether the packet is TCP.
func (p *Packet) IsTCP() bool { return p.tcp != 0 }

// TCP returns the TCP header and what follows it, or nil. After a change there
// the hook calls FixChecksum.
func (p *Packet) TCP() []byte {
	if p.tcp == 0 {
		return nil
	}
	return p.Data[p.tcp:]
}

// FixChecksum computes the TCP checksum anew (RFC 9293, section 3.1).
func (p *Packet) FixChecksum() {
	if p.tcp == 0 {
		return
	}
	t := p.Data[p.tcp:]
	sum := uint32(protocolTCP) + uint32(len(t))
	if p.Data[0]>>4 == 4 {
		t = p.Data[p.tcp:binary.BigEndian.Uint16(p.Data[2:])]
		sum = uint32(protocolTCP) + uint32(len(t))
		sum += sum16(p.Data[12:20])
	} else {
		sum += sum16(p.Data[8:40])
	}
	t[16], t[17] = 0, 0
	sum += sum16(t)
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(t[16:], ^uint16(sum))
}

// sum16 adds big-endian words, an odd last byte as the high half of one.
func sum16(p []byte) uint32 {
	var sum uint32
	for len(p) >= 2 {
		sum += uint32(p[0])<<8 | uint32(p[1])
		p = p[2:]
	}
	if len(p) == 1 {
		sum += uint32(p[0]) << 8
	}
	return sum
}
