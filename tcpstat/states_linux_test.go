package tcpstat

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"weir/internal/testnet"
)

// families are the loopback addresses every test of a state goes through. The
// third is an IPv6 listener that gets an IPv4 client.
var families = []struct{ name, network, listen, dial string }{
	{"IPv4", "tcp4", "127.0.0.1:0", "127.0.0.1"},
	{"IPv6", "tcp6", "[::1]:0", "::1"},
	{"mapped", "tcp", "[::]:0", "127.0.0.1"},
}

// stage is a network namespace with one listener and the connections made to
// it. What earlier tests left in TIME_WAIT is not in it.
type stage struct {
	t       *testing.T
	ns      *testnet.Netns
	l       *net.TCPListener
	addr    netip.AddrPort // where clients dial
	conn    []net.Conn
	readers []*Reader // see openAll
}

func newStage(t *testing.T, network, listen, dial string) *stage {
	t.Helper()
	s := &stage{t: t, ns: testnet.NewNetns(t)}
	l, err := s.ns.Listen(network, listen)
	s.must(err)
	s.l = l.(*net.TCPListener)
	s.addr = netip.AddrPortFrom(netip.MustParseAddr(dial), l.Addr().(*net.TCPAddr).AddrPort().Port())
	s.ns.Do(func() { s.readers = openAll(t) })
	t.Cleanup(func() {
		l.Close()
		for _, c := range s.conn {
			c.Close()
		}
	})
	return s
}

// pair returns both ends of a new connection.
func (s *stage) pair() (client, server *net.TCPConn) {
	s.t.Helper()
	s.pairs(1)
	return s.conn[len(s.conn)-2].(*net.TCPConn), s.conn[len(s.conn)-1].(*net.TCPConn)
}

// pairs makes n connections.
func (s *stage) pairs(n int) {
	s.t.Helper()
	s.ns.Do(func() {
		for range n {
			c, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(s.addr))
			s.must(err)
			a, err := s.l.AcceptTCP()
			s.must(err)
			s.conn = append(s.conn, c, a)
		}
	})
}

// stuff writes until the peer, who does not read, takes no more.
func (s *stage) stuff(c *net.TCPConn) {
	s.t.Helper()
	c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	for {
		if _, err := c.Write(make([]byte, 64<<10)); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				s.t.Fatal(err)
			}
			return
		}
	}
}

func (s *stage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// openAll returns a Reader for each way to list: sock_diag with one request for
// all families, /proc, and sock_diag with one request for each family.
func openAll(t *testing.T) []*Reader {
	t.Helper()
	r, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	if r.Source() != "sock_diag" {
		t.Fatalf("source is %s, want sock_diag on this machine", r.Source())
	}
	p, err := openProc()
	if err != nil {
		t.Fatal(err)
	}
	if got := r.src.(*diag).families; len(got) != 1 {
		t.Fatalf("%d requests per list, want 1 on this machine", len(got))
	}
	d, err := openDiag()
	if err != nil {
		t.Fatal(err)
	}
	d.families = []uint8{familyINET, familyINET6}
	out := []*Reader{r, {src: p}, {src: d}}
	t.Cleanup(func() {
		for _, r := range out {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return out
}

// want is the number of sockets per state at each end of the stage.
type want struct{ local, remote map[State]int }

// stateCases make each state on purpose and say what both ends must then show.
var stateCases = []struct {
	name string
	make func(s *stage)
	want want
}{
	{"AListenerIsInListen", func(s *stage) {},
		want{local: map[State]int{Listen: 1}}},

	{"AnOpenConnectionIsEstabAtBothEnds", func(s *stage) { s.pair() },
		want{map[State]int{Listen: 1, Established: 1}, map[State]int{Established: 1}}},

	{"TheSideThatWasLeftIsInCloseWait", func(s *stage) {
		c, _ := s.pair()
		s.must(c.CloseWrite())
	}, want{map[State]int{Listen: 1, CloseWait: 1}, map[State]int{FinWait2: 1}}},

	{"AnOrphanThatWaitsForAFinIsInFinWait2", func(s *stage) {
		c, _ := s.pair()
		s.must(c.Close())
	}, want{map[State]int{Listen: 1, CloseWait: 1}, map[State]int{FinWait2: 1}}},

	{"TheSideThatClosedFirstIsInTimeWait", leaveTimeWait, want{map[State]int{Listen: 1}, map[State]int{TimeWait: 1}}},

	{"AServerThatClosedFirstIsInTimeWait", func(s *stage) {
		c, a := s.pair()
		s.must(a.Close())
		if _, err := c.Read(make([]byte, 1)); err == nil {
			s.t.Fatal("read bytes nobody sent")
		}
		s.must(c.Close())
	}, want{map[State]int{Listen: 1, TimeWait: 1}, nil}},

	{"AFinBehindUnsentDataIsInFinWait1", func(s *stage) {
		c, _ := s.pair()
		s.stuff(c)
		s.must(c.CloseWrite())
	}, want{map[State]int{Listen: 1, Established: 1}, map[State]int{FinWait1: 1}}},

	{"TwoFinsThatCrossAreInClosing", func(s *stage) {
		c, a := s.pair()
		s.stuff(c)
		s.must(c.CloseWrite())
		s.must(a.CloseWrite())
	}, want{map[State]int{Listen: 1, FinWait2: 1}, map[State]int{Closing: 1}}},

	{"TheSecondFinBehindUnsentDataIsInLastAck", func(s *stage) {
		c, a := s.pair()
		s.stuff(c)
		s.must(a.CloseWrite())
		s.must(c.CloseWrite())
	}, want{map[State]int{Listen: 1, FinWait2: 1}, map[State]int{LastAck: 1}}},

	{"AConnectionToAFullListenerIsInSynSent", func(s *stage) {
		raw, err := s.l.SyscallConn()
		s.must(err)
		s.must(raw.Control(func(fd uintptr) { err = unix.Listen(int(fd), 0) }))
		s.must(err)
		// A backlog of 0 holds one connection; the SYNs after it are dropped.
		for range 2 {
			s.startConnect()
		}
	}, want{map[State]int{Listen: 1, Established: 1}, map[State]int{Established: 1, SynSent: 1}}},

	{"AConnectionThatIsNotYetAcceptableIsInSynRecv", func(s *stage) {
		raw, err := s.l.SyscallConn()
		s.must(err)
		// With defer_accept the last packet of the handshake is not enough.
		s.must(raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 30)
		}))
		s.must(err)
		s.startConnect()
	}, want{map[State]int{Listen: 1, SynRecv: 1}, map[State]int{Established: 1}}},
}

// leaveTimeWait makes one connection that the client closes first.
func leaveTimeWait(s *stage) {
	c, a := s.pair()
	s.must(c.Close())
	if _, err := a.Read(make([]byte, 1)); err == nil {
		s.t.Fatal("read bytes nobody sent")
	}
	s.must(a.Close())
}

// startConnect begins a connection and does not wait for it.
func (s *stage) startConnect() {
	s.t.Helper()
	family, sa := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: int(s.addr.Port()), Addr: addr4(s.addr)})
	if s.addr.Addr().Is6() {
		family, sa = unix.AF_INET6, &unix.SockaddrInet6{Port: int(s.addr.Port()), Addr: s.addr.Addr().As16()}
	}
	var fd int
	var err error
	s.ns.Do(func() { fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0) })
	s.must(err)
	s.t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Connect(fd, sa); err != nil && err != unix.EINPROGRESS {
		s.t.Fatal(err)
	}
}

func addr4(a netip.AddrPort) (out [4]byte) {
	if a.Addr().Is4() {
		out = a.Addr().As4()
	}
	return out
}

func TestEveryStateIsSeenAndAsSSShowsIt(t *testing.T) {
	for _, fam := range families {
		for _, tc := range stateCases {
			t.Run(fam.name+"/"+tc.name, func(t *testing.T) {
				s := newStage(t, fam.network, fam.listen, fam.dial)
				tc.make(s)
				for _, r := range s.readers {
					tl := new(Tally)
					local := tl.Watch(Local, netip.AddrPortFrom(netip.Addr{}, s.addr.Port()))
					remote := tl.Watch(Remote, s.addr)
					ok := testnet.Poll(3*time.Second, func() bool {
						s.must(r.Count(Filter{}, tl))
						return same(tl.Counts(local), tc.want.local) && same(tl.Counts(remote), tc.want.remote)
					})
					if !ok {
						t.Errorf("%s: local %v, want %v; remote %v, want %v", r.Source(),
							spell(tl.Counts(local)), tc.want.local, spell(tl.Counts(remote)), tc.want.remote)
					}
					var got, want []string
					if !testnet.Poll(3*time.Second, func() bool {
						got, want = list(t, r, Filter{}), ss(t, s.ns)
						return len(want) > 0 && slices.Equal(got, want)
					}) {
						t.Errorf("%s has %q, ss %q", r.Source(), got, want)
					}
				}
			})
		}
	}
}

func same(c Counts, want map[State]int) bool {
	for s, n := range c {
		if n != want[State(s)] {
			return false
		}
	}
	return true
}

func spell(c Counts) map[State]int {
	m := map[State]int{}
	for s, n := range c {
		if n != 0 {
			m[State(s)] = n
		}
	}
	return m
}
