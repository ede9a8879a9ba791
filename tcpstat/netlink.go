package tcpstat

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"syscall"
	"time"
)

// The layouts below are those of include/uapi/linux/netlink.h and inet_diag.h.
// Numbers are in the machine's byte order but for ports and addresses, which
// are as on the wire. Attributes that follow a message are not looked at.
const (
	nlHeaderLen    = 16 // struct nlmsghdr
	diagMsgLen     = 72 // struct inet_diag_msg
	diagReqLen     = 56 // struct inet_diag_req_v2
	tcpdiagReqLen  = 60 // struct inet_diag_req
	nlError        = 2  // NLMSG_ERROR
	nlDone         = 3  // NLMSG_DONE
	nlOverrun      = 4  // NLMSG_OVERRUN
	nlFlagRequest  = 0x1
	nlFlagDump     = 0x300
	nlDumpIntr     = 0x10 // NLM_F_DUMP_INTR
	sockDiagByFam  = 20   // SOCK_DIAG_BY_FAMILY
	tcpdiagGetSock = 18   // TCPDIAG_GETSOCK
	familyAny      = 0
	familyINET     = 2
	familyINET6    = 10 // Linux
	protocolTCP    = 6
)

// batch is what one call of parseBatch found beside sockets.
type batch struct {
	done    bool // the list is complete, or err ended it
	changed bool
	stopped bool // the callback wants no more
}

// appendRequest writes a request to b. familyAny makes it one of the older kind,
// TCPDIAG_GETSOCK: it cannot name a family and so lists all of them in one walk
// through the kernel's table. The newer kind walks once for each, and the walk
// is most of the cost: the table has hundreds of thousands of buckets even where
// it has ten sockets.
func appendRequest(b []byte, family uint8, seq uint32, f Filter) []byte {
	ne := binary.NativeEndian
	size, kind := uint32(nlHeaderLen+diagReqLen), uint16(sockDiagByFam)
	if family == familyAny {
		size, kind = nlHeaderLen+tcpdiagReqLen, tcpdiagGetSock
	}
	b = ne.AppendUint32(b, size)
	b = ne.AppendUint16(b, kind)
	b = ne.AppendUint16(b, nlFlagRequest|nlFlagDump)
	b = ne.AppendUint32(b, seq)
	b = ne.AppendUint32(b, 0) // the kernel knows our port id

	// No extensions are asked for: with INET_DIAG_INFO each socket costs 408
	// bytes instead of 124, and nothing here reads it.
	if family == familyAny {
		b = append(b, 0, 0, 0, 0) // family and prefix lengths, which a dump ignores
		b = appendSockID(b, f)
		b = ne.AppendUint32(b, uint32(f.states()))
		return ne.AppendUint32(b, 0)
	}
	b = append(b, family, protocolTCP, 0, 0)
	b = ne.AppendUint32(b, uint32(f.states()))
	return appendSockID(b, f)
}

// appendSockID writes a struct inet_diag_sockid that leaves all but the ports open.
func appendSockID(b []byte, f Filter) []byte {
	b = binary.BigEndian.AppendUint16(b, f.LocalPort)
	b = binary.BigEndian.AppendUint16(b, f.RemotePort)
	b = append(b, make([]byte, 16+16+4)...) // addresses and interface
	return append(b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
}

// parseBatch goes through one datagram of answers to request seq. It calls fn,
// unless that is nil, for the sockets f chooses. Messages of other requests,
// left over from a list that was given up, are passed over.
func parseBatch(p []byte, seq uint32, f *Filter, s *Socket, fn func(*Socket) bool) (batch, error) {
	var out batch
	ne := binary.NativeEndian
	for len(p) > 0 {
		if len(p) < nlHeaderLen {
			return out, fmt.Errorf("tcpstat: sock_diag: %d bytes left, a message header has %d", len(p), nlHeaderLen)
		}
		size := uint64(ne.Uint32(p))
		if size < nlHeaderLen || size > uint64(len(p)) {
			return out, fmt.Errorf("tcpstat: sock_diag: a message of %d bytes in %d that were received", size, len(p))
		}
		kind, flags := ne.Uint16(p[4:]), ne.Uint16(p[6:])
		msg := p[nlHeaderLen:size]
		mine := ne.Uint32(p[8:]) == seq
		p = p[min((size+3)&^3, uint64(len(p))):] // messages start at multiples of four

		if !mine {
			continue
		}
		if flags&nlDumpIntr != 0 {
			out.changed = true
		}
		switch kind {
		case nlDone, nlError:
			out.done = true
			return out, answerError(kind, msg)
		case nlOverrun:
			return out, fmt.Errorf("tcpstat: sock_diag: the kernel lost part of its answer")
		case sockDiagByFam, tcpdiagGetSock:
			if len(msg) < diagMsgLen {
				return out, fmt.Errorf("tcpstat: sock_diag: a socket of %d bytes, the kernel's struct has %d", len(msg), diagMsgLen)
			}
			if out.stopped || fn == nil {
				continue
			}
			if parseDiag(msg, s) && f.match(s) && !fn(s) {
				out.stopped = true
			}
		}
	}
	return out, nil
}

// answerError reads the error number that ends a list: none in most.
func answerError(kind uint16, msg []byte) error {
	if len(msg) < 4 {
		if kind == nlDone {
			return nil // old kernels end with nothing
		}
		return fmt.Errorf("tcpstat: sock_diag: an error message of %d bytes", len(msg))
	}
	if errno := int32(binary.NativeEndian.Uint32(msg)); errno < 0 {
		return fmt.Errorf("tcpstat: sock_diag: %w", syscall.Errno(-errno))
	}
	return nil
}

// parseDiag reads one struct inet_diag_msg; msg is at least that long. It
// returns false for a family it does not know.
func parseDiag(msg []byte, s *Socket) bool {
	ne, be := binary.NativeEndian, binary.BigEndian
	sport, dport := be.Uint16(msg[4:]), be.Uint16(msg[6:])
	switch msg[0] {
	case familyINET:
		s.Local = netip.AddrPortFrom(netip.AddrFrom4([4]byte(msg[8:])), sport)
		s.Remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte(msg[24:])), dport)
	case familyINET6:
		s.Local = netip.AddrPortFrom(netip.AddrFrom16([16]byte(msg[8:])).Unmap(), sport)
		s.Remote = netip.AddrPortFrom(netip.AddrFrom16([16]byte(msg[24:])).Unmap(), dport)
	default:
		return false
	}
	s.State = listed(State(msg[1]))
	s.Timer = Timer(msg[2])
	s.Expires = time.Duration(ne.Uint32(msg[52:])) * time.Millisecond
	s.RecvQ = ne.Uint32(msg[56:])
	s.SendQ = ne.Uint32(msg[60:])
	s.UID = ne.Uint32(msg[64:])
	s.Inode = ne.Uint32(msg[68:])
	return true
}

// listed turns the kernel's state into ours. The kernel shows the sockets that
// are only bound as CLOSE; a socket truly in CLOSE is in none of its tables.
func listed(s State) State {
	switch {
	case s == newSynRecv:
		return SynRecv
	case s == Closed:
		return Bound
	case s >= states:
		return 0
	}
	return s
}
