package tcpstat

import (
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/internal/testnet"
)

// book enters every client end of the stage in l, as who dialled it would have.
func (s *stage) book(l *Ledger) {
	for i := 0; i < len(s.conn); i += 2 {
		c := s.conn[i].(*net.TCPConn)
		e := l.Opened(c.LocalAddr().(*net.TCPAddr).AddrPort(), c.RemoteAddr().(*net.TCPAddr).AddrPort())
		raw, err := c.SyscallConn()
		s.must(err)
		if raw.Control(func(uintptr) {}) != nil { // closed, and in each case before the peer
			e.Closed(EndFirst)
		}
	}
}

// Every state that can be made, by us and by a stranger at the same address and
// at the same time; what is counted is held against ss.
func TestOursAndOthersAreKeptApartInEveryState(t *testing.T) {
	for _, fam := range families {
		for _, tc := range stateCases {
			t.Run(fam.name+"/"+tc.name, func(t *testing.T) {
				s := newStage(t, fam.network, fam.listen, fam.dial)
				lg, dials := NewLedger(), 0
				tc.make(s)
				s.book(lg) // these are ours
				if len(s.conn) == 0 {
					// These are dials under way, and no ledger has them.
					dials = tc.want.remote[Established] + tc.want.remote[SynSent]
				} else {
					tc.make(s) // and these a stranger's
				}
				for _, r := range s.readers {
					v := NewSurvey(r)
					listen := []ListenerPlan{{Name: "web", Addresses: []netip.AddrPort{netip.AddrPortFrom(netip.IPv6Unspecified(), s.addr.Port())}}}
					pair := Pair{s.addr.Addr(), s.addr}
					plan := []BackendPlan{{Name: "api", Ledger: lg, Endpoints: []Pair{pair}, Dialing: func() int { return dials }}}
					var rep *Report
					ok := testnet.Poll(3*time.Second, func() bool {
						rep = mustLook(t, v, All, nil, listen, plan)
						web, api := rep.Listeners[0].Count, rep.Backends[0].Count
						mine, strange := tc.want.remote, tc.want.remote
						if len(s.conn) == 0 {
							mine, strange = nil, nil
							if !same(api[Unknown], tc.want.remote) {
								return false
							}
						}
						return same(api[Ours], mine) && same(api[Other], strange) &&
							same(web[Ours], ssCounts(t, s.ns, "sport", s.addr.Port())) && same(api.All(), ssCounts(t, s.ns, "dport", s.addr.Port()))
					})
					if !ok {
						api := rep.Backends[0].Count
						t.Errorf("%s: ours %v, others %v, unknown %v; want %v each. Listener %v, ss has %v there and %v dialled", r.Source(),
							spell(api[Ours]), spell(api[Other]), spell(api[Unknown]), tc.want.remote, spell(rep.Listeners[0].Count[Ours]),
							ssCounts(t, s.ns, "sport", s.addr.Port()), ssCounts(t, s.ns, "dport", s.addr.Port()))
					}
				}
			})
		}
	}
}

// ssCounts are the sockets with a port at one end, by state, as ss has them.
func ssCounts(t *testing.T, ns *testnet.Netns, end string, port uint16) map[State]int {
	t.Helper()
	words := map[string]State{}
	for _, st := range States() {
		words[st.String()] = st
	}
	out := map[State]int{}
	for _, line := range ss(t, ns) {
		f := strings.Fields(line)
		at := f[1]
		if end == "dport" {
			at = f[2]
		}
		if netip.MustParseAddrPort(at).Port() == port {
			out[words[f[0]]]++
		}
	}
	return out
}

// A socket that is bound and does nothing else is in one more table of the
// kernel's, which is asked for with Bound.
func TestABoundSocketIsCountedAtItsListenersAddress(t *testing.T) {
	s := newStage(t, "tcp4", "127.0.0.1:0", "127.0.0.1")
	var fd int
	s.ns.Do(func() {
		var err error
		fd, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		s.must(err)
		s.must(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	})
	defer syscall.Close(fd)
	sa, err := syscall.Getsockname(fd)
	s.must(err)
	bound := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(sa.(*syscall.SockaddrInet4).Port))
	v := NewSurvey(s.readers[0])
	var ports *LocalPorts
	s.ns.Do(func() { ports, err = ReadLocalPorts() })
	s.must(err)
	web := []ListenerPlan{{Name: "web", Addresses: []netip.AddrPort{bound}}}
	api := []BackendPlan{{Name: "api", Ledger: NewLedger(), Endpoints: []Pair{{s.addr.Addr(), s.addr}}}}
	var r *Report
	for _, mask := range []Mask{All | MaskOf(Bound), All} { // what was seen stays until the next list with it
		r = mustLook(t, v, mask, ports, web, api)
		if got := spell(r.Listeners[0].Count[Ours]); len(got) != 1 || got[Bound] != 1 {
			t.Errorf("%v, want one in BOUND", got)
		}
	}
	if p := r.Backends[0].Pairs[0]; p.Bound != 2 || p.Free != p.Ports-2 { // the stage's listener has port 0's too
		t.Errorf("%+v, want two ports that no dial can have", p)
	}
}

func TestTheKernelsTotalsAndSettingsAreOfTheNamespace(t *testing.T) {
	s := newStage(t, "tcp4", "127.0.0.1:0", "127.0.0.1")
	s.ns.Sysctl("net.ipv4.ip_local_port_range", "45000 45399")
	s.ns.Sysctl("net.ipv4.ip_local_reserved_ports", "45100-45109")
	s.ns.Sysctl("net.ipv4.tcp_tw_reuse", "1")
	for range 3 {
		leaveTimeWait(s)
	}
	s.pairs(2)
	s.ns.Do(func() {
		if c, err := net.Dial("tcp4", "127.0.0.1:1"); err == nil {
			c.Close()
			t.Error("somebody listens on port 1")
		}
	})
	var tot Totals
	var ports *LocalPorts
	s.ns.Do(func() {
		var err, perr error
		tot, err = ReadTotals()
		ports, perr = ReadLocalPorts()
		s.must(err)
		s.must(perr)
	})
	// The sockets that TIME-WAIT came from are gone; a listener and two ends each of two connections are left.
	if tot.InUse != 5 || tot.TimeWait != 3 || tot.AttemptFails != 1 {
		t.Errorf("%+v, want 5 in use, 3 in TIME-WAIT, and one attempt that failed", tot)
	}
	if ports.Low != 45000 || ports.High != 45399 || ports.Count != 390 || ports.Reuse != 1 || !ports.Timestamps {
		t.Errorf("%d to %d, %d ports, reuse %d", ports.Low, ports.High, ports.Count, ports.Reuse)
	}
}

func TestThePairOfABoundDialIsKnownWithoutTheKernel(t *testing.T) {
	for _, tc := range []struct {
		source, to string
		want       Pair
	}{
		{"127.0.0.5", "127.0.0.1:80", Pair{netip.MustParseAddr("127.0.0.5"), ap("127.0.0.1:80")}},
		{"192.0.2.5", "[::ffff:192.0.2.1]:80", Pair{netip.MustParseAddr("192.0.2.5"), ap("192.0.2.1:80")}},
		{"2001:db8::5", "[2001:db8::1]:80", Pair{netip.MustParseAddr("2001:db8::5"), ap("[2001:db8::1]:80")}},
		{"127.0.0.5", "db.example:80", Pair{}}, {"127.0.0.5", "unix:/x", Pair{}}, {"127.0.0.5", "127.0.0.1:0", Pair{}},
	} {
		p, ok := PairFrom(netip.MustParseAddr(tc.source), tc.to)
		if p != tc.want || ok != (tc.want != Pair{}) {
			t.Errorf("from %s to %s: %v, %v, want %v", tc.source, tc.to, p, ok, tc.want)
		}
	}
	if p, ok := PairFrom(netip.Addr{}, "127.0.0.1:80"); ok {
		t.Errorf("without a source: %v", p)
	}
}

func TestThePairOfADialIsTheKernelsChoice(t *testing.T) {
	for _, tc := range []struct {
		to, source string
		ok         bool
	}{
		{"127.0.0.1:80", "127.0.0.1", true}, {"127.0.0.9:80", "127.0.0.1", true}, {"[::1]:80", "::1", true},
		{"db.example:80", "", false}, {"unix:/x", "", false}, {"0.0.0.0:80", "", false}, {"127.0.0.1:0", "", false},
	} {
		p, ok := PairTo(tc.to)
		if ok != tc.ok || ok && (p.Source.String() != tc.source || p.Dest.String() != tc.to) {
			t.Errorf("%s: %v, %v, want a source of %q", tc.to, p, ok, tc.source)
		}
	}
}
