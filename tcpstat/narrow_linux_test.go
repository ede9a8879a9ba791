package tcpstat

import (
	"net/netip"
	"testing"
	"time"

	"weir/internal/testnet"
)

// Sockets of the listener's, of ours and of a stranger's towards a backend, and of
// others, in IPv4 and IPv6: what the kernel shows of one port is what it shows of
// that port in a list of all.
func TestANarrowListOfTheKernelHasAllOfABackend(t *testing.T) {
	for _, fam := range families {
		s := newStage(t, fam.network, fam.listen, fam.dial)
		lg := NewLedger()
		s.pairs(20)
		leaveTimeWait(s)
		s.book(lg)
		s.pairs(5)
		other, err := s.ns.Listen(fam.network, fam.listen)
		s.must(err)
		defer other.Close()
		var ports *LocalPorts
		s.ns.Do(func() { ports, err = ReadLocalPorts() })
		s.must(err)
		for _, r := range s.readers {
			v := NewSurvey(r)
			ls := []ListenerPlan{{Name: "web", Addresses: []netip.AddrPort{netip.AddrPortFrom(netip.IPv6Unspecified(), s.addr.Port())}}}
			bs := []BackendPlan{{Name: "api", Ledger: lg, Endpoints: []Pair{{s.addr.Addr(), s.addr}}}}
			var all, one *Report
			same := testnet.Poll(3*time.Second, func() bool { // TIME-WAIT comes a moment after the close
				all = mustLook(t, v, All, ports, ls, bs)
				v.whole.sockets = 100 * narrowFrom
				narrow := v.narrow(All, ls)
				if narrow != (r.Source() == "sock_diag") {
					t.Fatalf("%s, %s: narrow is %v", fam.name, r.Source(), narrow)
				}
				v.whole.spent = 0
				one = mustLook(t, v, All, ports, ls, bs)
				a, b := all.Backends[0], one.Backends[0]
				return a.Count == b.Count && a.Count[Ours][TimeWait] == 1 && a.Count[Ours][Established] == 20 && a.Count[Other][Established] == 5 &&
					a.Pairs[0].InUse == b.Pairs[0].InUse && a.Pairs[0].Bound == 2 && b.Pairs[0].Bound == 2 && all.Listeners[0].Count == one.Listeners[0].Count
			})
			if !same {
				t.Errorf("%s, %s: all %+v and %+v, one port %+v and %+v", fam.name, r.Source(), all.Listeners, all.Backends, one.Listeners, one.Backends)
			}
		}
	}
}
