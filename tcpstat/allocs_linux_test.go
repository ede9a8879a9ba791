//go:build !race

package tcpstat

import (
	"net"
	"net/netip"
	"testing"

	"weir/internal/testnet"
)

func TestAListAllocatesNothingPerSocket(t *testing.T) {
	s := newStage(t, "tcp", "[::]:0", "127.0.0.1")
	s.pairs(500)
	s.addr = netip.AddrPortFrom(netip.IPv6Loopback(), s.addr.Port())
	s.pairs(500)
	for _, r := range s.readers {
		tl := new(Tally)
		tl.Watch(Local, s.addr)
		tl.Watch(Remote, s.addr)
		n := 0
		count := func(k *Socket) bool {
			tl.Add(k)
			n++
			return true
		}
		got := testing.AllocsPerRun(10, func() {
			if err := r.Each(Filter{}, count); err != nil {
				t.Fatal(err)
			}
		})
		if n < 11*2000 {
			t.Fatalf("%s: %d sockets in 11 lists, want 2000 in each", r.Source(), n)
		}
		if got > 4 {
			t.Errorf("%s: %.0f allocations for a list of 2000 sockets, want at most 4", r.Source(), got)
		}
	}
}

// A look makes a report; what it allocates for that does not grow with the
// sockets.
func TestALookAllocatesNothingPerSocket(t *testing.T) {
	few, many := lookAllocs(t, 100), lookAllocs(t, 50_000)
	if many > few+2 {
		t.Errorf("%.0f allocations for 50,000 sockets, %.0f for 100", many, few)
	}
	if few > 100 {
		t.Errorf("%.0f allocations for a look at one listener and one backend", few)
	}
}

func lookAllocs(t *testing.T, n int) float64 {
	lg, k := NewLedger(), &table{}
	for i := range n {
		client := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 12), byte(i >> 4)}), uint16(i))
		k.sockets = append(k.sockets, Socket{State: Established, Local: ap("127.0.0.1:8080"), Remote: client})
		mine := Socket{State: Established, Local: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(1+i)), Remote: ap("127.0.0.1:9001")}
		if i%2 == 0 {
			lg.Opened(mine.Local, mine.Remote)
		} else {
			mine.State, mine.Expires = TimeWait, timeWait
		}
		k.sockets = append(k.sockets, mine)
	}
	v, ports := newSurvey(k), testPorts(t, "1 65535", "")
	listen := []ListenerPlan{{Name: "web", Addresses: []netip.AddrPort{ap("0.0.0.0:8080")}}}
	plan := []BackendPlan{{Name: "api", Ledger: lg}}
	return testing.AllocsPerRun(5, func() { mustLook(t, v, All, ports, listen, plan) })
}

func TestADialAndACloseInTheLedgerAllocateNothing(t *testing.T) {
	lg := NewLedger()
	a, b := ap("127.0.0.1:50001"), ap("127.0.0.1:9001")
	lg.Opened(a, b).Closed(EndFirst)
	if n := testing.AllocsPerRun(100, func() { lg.Opened(a, b).Closed(EndFirst) }); n != 0 {
		t.Errorf("%.1f allocations", n)
	}
}

func BenchmarkLedger(b *testing.B) {
	lg := NewLedger()
	local, remote := ap("127.0.0.1:50001"), ap("127.0.0.1:9001")
	b.ReportAllocs()
	for b.Loop() {
		lg.Opened(local, remote).Closed(EndGone)
	}
}

func BenchmarkEach(b *testing.B) {
	for _, f := range []struct {
		name string
		f    Filter
	}{{"Listen", Filter{States: MaskOf(Listen)}}, {"All", Filter{}}, {"None", Filter{LocalPort: 1}}, {"Bound", Filter{States: MaskOf(Bound)}}} {
		b.Run(f.name, func(b *testing.B) {
			r, err := Open()
			if err != nil {
				b.Fatal(err)
			}
			defer r.Close()
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				if err := r.Each(f.f, func(*Socket) bool { n++; return true }); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)/float64(b.N), "sockets/op")
		})
	}
}

// BenchmarkEachOf10000TimeWait is the list that a busy proxy's operator asks for.
func BenchmarkEachOf10000TimeWait(b *testing.B) {
	const n = 10_000 // fewer than half the ports, or connect grows slow
	ns := testnet.NewNetns(b)
	ns.Sysctl("net.ipv4.tcp_max_tw_buckets", "65536")
	ns.Sysctl("net.ipv4.tcp_tw_reuse", "0")
	var r *Reader
	var addr *net.TCPAddr
	ns.Do(func() {
		l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			b.Fatal(err)
		}
		defer l.Close()
		addr = l.Addr().(*net.TCPAddr)
		for range n {
			c, err := net.DialTCP("tcp4", nil, addr)
			if err != nil {
				b.Fatal(err)
			}
			a, err := l.AcceptTCP()
			if err != nil {
				b.Fatal(err)
			}
			c.Close()
			a.Close()
		}
		if r, err = Open(); err != nil {
			b.Fatal(err)
		}
	})
	defer r.Close()
	var tl Tally
	g := tl.Watch(Remote, addr.AddrPort())
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Count(Filter{}, &tl); err != nil {
			b.Fatal(err)
		}
	}
	c := tl.Counts(g)
	if c[TimeWait] < n*9/10 {
		b.Fatalf("%d TIME_WAIT, want about %d", c[TimeWait], n)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(c[TimeWait]), "ns/socket")
}
