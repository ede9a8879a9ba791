package tcpstat

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
)

// PairTo is the pair that a dial to hostPort would have, if that is an address
// and no name: the source is what the kernel's routes say. It sends nothing: a
// datagram socket that is connected has only chosen its addresses.
func PairTo(hostPort string) (Pair, bool) {
	a, err := netip.ParseAddrPort(hostPort)
	if err != nil || a.Port() == 0 {
		return Pair{}, false
	}
	dest := netip.AddrPortFrom(plain(a.Addr()), a.Port())
	if dest.Addr().IsUnspecified() {
		return Pair{}, false
	}
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(a))
	if err != nil {
		return Pair{}, false // no route: no dial comes to a port either
	}
	defer c.Close()
	return Pair{plain(c.LocalAddr().(*net.UDPAddr).AddrPort().Addr()), dest}, true
}

// PairFrom is PairTo for connections that are bound to a source address. It asks
// nobody; ok is false for a name.
func PairFrom(source netip.Addr, hostPort string) (Pair, bool) {
	a, err := netip.ParseAddrPort(hostPort)
	if err != nil || a.Port() == 0 || !source.IsValid() {
		return Pair{}, false
	}
	return Pair{plain(source), netip.AddrPortFrom(plain(a.Addr()), a.Port())}, true
}

// Knows says whether the ledger has a pair with this destination.
func (l *Ledger) Knows(dest netip.AddrPort) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for p := range l.pairs {
		if p.Dest == dest {
			return true
		}
	}
	return false
}

func sortPairs(p []PairUse) {
	slices.SortFunc(p, func(a, b PairUse) int {
		return cmp.Or(a.Dest.Compare(b.Dest), a.Source.Compare(b.Source))
	})
}
