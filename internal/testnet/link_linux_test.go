package testnet_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"weir/internal/testnet"
	"weir/tcpstat"
)

// connect makes a connection from A to B and returns both ends.
func connect(t *testing.T, l *testnet.Link, to netip.Addr) (a, b *net.TCPConn) {
	t.Helper()
	ln, err := l.B.Listen("tcp", netip.AddrPortFrom(to, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := l.A.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

// transfer sends n bytes from one end to the other and checks every one.
func transfer(t *testing.T, from, to *net.TCPConn, n int) {
	t.Helper()
	want := make([]byte, n)
	for i := range want {
		want[i] = byte(i * 7 >> 3)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := from.Write(want); err != nil {
			t.Error(err)
		}
		if err := from.CloseWrite(); err != nil {
			t.Error(err)
		}
	})
	to.SetReadDeadline(time.Now().Add(60 * time.Second))
	got, err := io.ReadAll(to)
	wg.Wait()
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d of %d bytes arrived, %v", len(got), n, err)
	}
}

func TestAPerfectLinkLosesNothing(t *testing.T) {
	for _, six := range []bool{false, true} {
		l := testnet.NewLink(t, testnet.LinkOptions{})
		to := l.AddrB
		if six {
			if to = l.Addr6B; !to.IsValid() {
				t.Fatal("no IPv6 in the namespaces of this machine")
			}
		}
		a, b := connect(t, l, to)
		transfer(t, a, b, 16<<20)
		for _, d := range []testnet.Direction{testnet.AtoB, testnet.BtoA} {
			tr := l.Traffic(d)
			if tr.Lost+tr.Hooked+tr.Overflow+tr.Unroutable != 0 || l.DeviceDrops(t, d) != 0 {
				t.Errorf("direction %d: %+v, %d dropped by the device", d, tr, l.DeviceDrops(t, d))
			}
		}
		if tr := l.Traffic(testnet.AtoB); tr.SYN == 0 || tr.FIN == 0 || tr.RST != 0 || tr.Bytes < 16<<20 || tr.Data < 16<<20/1500 {
			t.Errorf("A to B: %+v", tr)
		}
		if tr := l.Traffic(testnet.BtoA); tr.SYN == 0 || tr.FIN != 0 {
			t.Errorf("B to A: %+v", tr)
		}
	}
}

func TestShortConnectionsLeaveTheirTimeWaitAtTheEndThatClosedFirst(t *testing.T) {
	const n, at = 2000, 32
	l := testnet.NewLink(t, testnet.LinkOptions{})
	// On a busy machine a FIN is sent again before its ACK is in; it finds A
	// closed, and A's RST would end the TIME_WAIT at B.
	l.B.Sysctl("net.ipv4.tcp_rfc1337", "1")
	b := testnet.NewBackendAt(t, l.B.Listen, netip.AddrPortFrom(l.AddrB, 0).String(), testnet.CloseAfter(1))
	// A keeps no TIME_WAIT, so on a busy machine it may choose a port again;
	// the new connection then takes the place of the old one's TIME_WAIT at B.
	var mu sync.Mutex
	ports := map[string]bool{}
	var wg sync.WaitGroup
	for range at {
		wg.Go(func() {
			l.A.Do(func() {
				for range n / at {
					c, err := net.Dial("tcp4", b.Addr().String())
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					ports[c.LocalAddr().String()] = true
					mu.Unlock()
					io.WriteString(c, getRequest)
					if got, err := io.ReadAll(c); err != nil || !bytes.HasSuffix(got, []byte(testnet.Body)) {
						t.Errorf("%q, %v", got, err)
					}
					c.Close()
				}
			})
		})
	}
	wg.Wait()
	for _, end := range []struct {
		ns   *testnet.Netns
		side tcpstat.Side
		want int
	}{{l.A, tcpstat.Remote, 0}, {l.B, tcpstat.Local, len(ports)}} {
		var r *tcpstat.Reader
		var err error
		end.ns.Do(func() { r, err = tcpstat.Open() })
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		var tl tcpstat.Tally
		g := tl.Watch(end.side, b.Addr())
		var c tcpstat.Counts
		if !testnet.Poll(10*time.Second, func() bool {
			if err := r.Count(tcpstat.Filter{}, &tl); err != nil {
				t.Fatal(err)
			}
			c = tl.Counts(g)
			return c[tcpstat.TimeWait] == end.want && c.Of(tcpstat.FinWait1, tcpstat.FinWait2, tcpstat.LastAck, tcpstat.CloseWait) == 0
		}) {
			t.Errorf("%s: %v, want %d in TIME_WAIT and none that is still closing; A to B %+v, B to A %+v",
				end.side, c, end.want, l.Traffic(testnet.AtoB), l.Traffic(testnet.BtoA))
		}
	}
	for _, d := range []testnet.Direction{testnet.AtoB, testnet.BtoA} {
		if drops := l.DeviceDrops(t, d); drops != 0 {
			t.Errorf("direction %d: the device dropped %d packets", d, drops)
		}
	}
	if tr := l.Traffic(testnet.BtoA); tr.RST != 0 || tr.FIN < n/at*at {
		t.Errorf("B to A: %+v, want a FIN for each connection and no RST", tr)
	}
}

func TestTheRoundTripTakesAtLeastTheDelays(t *testing.T) {
	l := testnet.NewLink(t, testnet.LinkOptions{
		AtoB: testnet.Impairment{Delay: 30 * time.Millisecond},
		BtoA: testnet.Impairment{Delay: 10 * time.Millisecond, Jitter: 5 * time.Millisecond},
	})
	a, b := connect(t, l, l.AddrB)
	for range 5 {
		start := time.Now()
		if _, err := a.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(b, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		half := time.Since(start)
		if _, err := b.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(a, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if whole := time.Since(start); half < 30*time.Millisecond || whole < 40*time.Millisecond {
			t.Errorf("there %s, there and back %s, want at least 30ms and 40ms", half, whole)
		}
	}
}

func TestTCPGetsThroughLossAndReordering(t *testing.T) {
	bad := testnet.Impairment{Delay: time.Millisecond, Jitter: time.Millisecond, Loss: 0.02, Reorder: 0.05, ReorderBy: 3 * time.Millisecond}
	l := testnet.NewLink(t, testnet.LinkOptions{AtoB: bad, BtoA: bad, Seed: 42})
	a, b := connect(t, l, l.AddrB)
	transfer(t, a, b, 1<<20)
	if tr := l.Traffic(testnet.AtoB); tr.Lost == 0 {
		t.Errorf("nothing was lost: %+v", tr)
	}
}

func TestAHookMayHoldBackOnlyTheFIN(t *testing.T) {
	var fins atomic.Int64
	l := testnet.NewLink(t, testnet.LinkOptions{AtoB: testnet.Impairment{Hook: func(p *testnet.Packet) {
		if p.Flags.Has(testnet.FIN) && fins.Add(1) <= 2 {
			p.Drop = true
		}
	}}})
	var r *tcpstat.Reader
	var err error
	l.A.Do(func() { r, err = tcpstat.Open() })
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	a, b := connect(t, l, l.AddrB)
	if err := a.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	state := func(want tcpstat.State) func() bool {
		return func() bool {
			c, err := r.Counts(tcpstat.Filter{RemotePort: b.LocalAddr().(*net.TCPAddr).AddrPort().Port()})
			if err != nil {
				t.Fatal(err)
			}
			return c[want] == 1
		}
	}
	testnet.WaitFor(t, time.Second, "A in FIN-WAIT-1", state(tcpstat.FinWait1))
	b.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := b.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("read %v, want EOF from the third FIN", err)
	}
	testnet.WaitFor(t, time.Second, "A in FIN-WAIT-2", state(tcpstat.FinWait2))
	if tr := l.Traffic(testnet.AtoB); tr.Hooked != 2 || tr.FIN < 3 {
		t.Errorf("%+v, want two FINs dropped and a third", tr)
	}
}

func TestAHookMayRewriteAPacket(t *testing.T) {
	for _, six := range []bool{false, true} {
		l := testnet.NewLink(t, testnet.LinkOptions{AtoB: testnet.Impairment{Hook: func(p *testnet.Packet) {
			if p.Payload > 0 {
				d := p.TCP()
				copy(d[len(d)-p.Payload:], "HELLO")
				p.FixChecksum()
			}
		}}})
		to := l.AddrB
		if six {
			to = l.Addr6B
		}
		a, b := connect(t, l, to)
		if _, err := a.Write([]byte("hello you")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 9)
		b.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.ReadFull(b, got); err != nil || string(got) != "HELLO you" {
			t.Errorf("%q, %v, want the rewritten text", got, err)
		}
	}
}

func TestALinkMayBeCutAndMendedWhileInUse(t *testing.T) {
	l := testnet.NewLink(t, testnet.LinkOptions{})
	a, b := connect(t, l, l.AddrB)
	l.Set(testnet.AtoB, testnet.Impairment{Loss: 1})
	if _, err := a.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	// One of them may be the last of the handshake, the other is the byte.
	testnet.WaitFor(t, 10*time.Second, "two packets are lost", func() bool { return l.Traffic(testnet.AtoB).Lost >= 2 })
	raw, err := b.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { _, _, err = unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT) })
	if err != unix.EAGAIN {
		t.Fatalf("a byte came over a cut link, or %v", err)
	}
	l.Set(testnet.AtoB, testnet.Impairment{})
	b.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := b.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

func TestTimestampsMayBeTurnedOffAtOneEnd(t *testing.T) {
	for _, value := range []string{"1", "0"} {
		l := testnet.NewLink(t, testnet.LinkOptions{})
		l.B.Sysctl("net.ipv4.tcp_timestamps", value)
		a, _ := connect(t, l, l.AddrB)
		raw, err := a.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var info *unix.TCPInfo
		if cerr := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); cerr != nil || err != nil {
			t.Fatal(cerr, err)
		}
		const optTimestamps = 1 // TCPI_OPT_TIMESTAMPS
		if got := info.Options&optTimestamps != 0; got != (value == "1") {
			t.Errorf("tcp_timestamps=%s at B: timestamps %t", value, got)
		}
	}
}

func TestCloseOfALinkEndsItsGoroutines(t *testing.T) {
	l := testnet.NewLink(t, testnet.LinkOptions{AtoB: testnet.Impairment{Delay: time.Hour}})
	if _, err := l.A.Dial("udp", netip.AddrPortFrom(l.AddrB, 9).String()); err != nil {
		t.Fatal(err)
	}
	l.Close() // waits for them; the test's deadline is the check
	l.Close()
}
