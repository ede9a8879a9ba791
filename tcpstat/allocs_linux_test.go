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
