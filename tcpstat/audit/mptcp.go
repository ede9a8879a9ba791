package audit

import (
	"fmt"

	"weir/tcpstat"
)

// From here on MPTCP hides too much of what close_wait is to see: as many as it
// warns of itself.
const (
	someMPTCP      = someCloseWait
	someMPTCPShare = 10 // percent of what is established
)

// mptcp says whether programs of this machine may have MPTCP. It never fails:
// weir's listeners for clients and its dials are told to do without
// (SetMultipathTCP(false) in internal/sock), whatever Go's default or GODEBUG is,
// and a SYN that asks for MPTCP is then answered with plain TCP (RFC 8684, 3.7).
func mptcp(m *Machine, _ *Plan) result {
	const key = "net.mptcp.enabled" // Documentation/networking/mptcp-sysctl.rst
	n, err := m.number(key)
	if m.lacks(err) {
		return result{verdict: Pass, found: "not of this kernel: every connection is plain TCP", wanted: "0 or 1"}
	}
	if err != nil {
		return unknown(err)
	}
	r := result{verdict: Pass, found: fmt.Sprintf("net.mptcp.enabled = %d", n), wanted: fmt.Sprintf("0 or 1; fewer than %d MPTCP sockets, or less than %d %% of what is established", someMPTCP, someMPTCPShare),
		do: "ss -Manp lists them with their own states, and whose they are; where nobody wants MPTCP, GODEBUG=multipathtcp=0 keeps a Go program's listeners from it, and sysctl -w net.mptcp.enabled=0 every new socket of this network namespace"}
	if n == 0 {
		r.found += ": no program here gets it"
	} else {
		r.found += ": for programs that ask, as Go's listeners do since 1.24; not weir's own"
	}
	open := m.openMPTCP()
	if open == 0 {
		return r
	}
	r.found += fmt.Sprintf("; %s MPTCP sockets now", many(open))
	if m.Sockets == nil {
		return r
	}
	if established := int64(m.Sockets.States[tcpstat.Established]); open >= someMPTCP && open*100 >= established*someMPTCPShare {
		r.verdict = Warn
		r.found += fmt.Sprintf(", beside %s TCP sockets that are established: close_wait cannot see which of them wait for their program", many(established))
	}
	return r
}

// openMPTCP is how many MPTCP sockets of this network namespace are established
// or in CLOSE-WAIT, where the kernel counts them: MPTCP_MIB_CURRESTAB of
// net/mptcp/mib.c.
func (m *Machine) openMPTCP() int64 {
	n, err := m.counter("MPTcpExt", "MPCurrEstab")
	if err != nil || int64(n) < 0 { // a gauge: more were closed than the kernel has seen
		return 0
	}
	return int64(n)
}
