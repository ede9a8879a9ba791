package tcpstat

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"weir/internal/testnet"
)

// list returns one line per socket, sorted.
func list(t *testing.T, r *Reader, f Filter) []string {
	t.Helper()
	var out []string
	err := r.Each(f, func(s *Socket) bool {
		out = append(out, fmt.Sprintf("%s %s %s", s.State, s.Local, s.Remote))
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

func TestSockDiagProcAndSSAgree(t *testing.T) {
	for _, fam := range families {
		s := newStage(t, fam.network, fam.listen, fam.dial)
		s.pairs(20)
		for i, c := range s.conn {
			if i%3 == 0 {
				s.must(c.(*net.TCPConn).CloseWrite())
			}
		}
		testnet.WaitFor(t, 3*time.Second, "sock_diag, /proc and ss show the same", func() bool {
			want := ss(t, s.ns)
			for _, r := range s.readers {
				if !slices.Equal(list(t, r, Filter{}), want) {
					return false
				}
			}
			return len(want) == 41
		})
	}
}

func ss(t *testing.T, ns *testnet.Netns) []string {
	t.Helper()
	text, err := ns.Command(testnet.NeedProgram(t, "ss"), "-Htan").Output()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		out = append(out, fmt.Sprintf("%s %s %s", f[0], ssAddr(t, f[3]), ssAddr(t, f[4])))
	}
	slices.Sort(out)
	return out
}

// ssAddr reads an address as ss writes it: * for any, and port * for none.
func ssAddr(t *testing.T, s string) netip.AddrPort {
	t.Helper()
	i := strings.LastIndexByte(s, ':')
	host, port := strings.Trim(s[:i], "[]"), s[i+1:]
	if host == "*" {
		host = "::"
	}
	if port == "*" {
		port = "0"
	}
	a, err := netip.ParseAddrPort(net.JoinHostPort(host, port))
	if err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

func TestAFilterLetsOnlyItsStatesAndPortsThrough(t *testing.T) {
	s := newStage(t, "tcp4", "127.0.0.1:0", "127.0.0.1")
	c, _ := s.pair()
	s.pair()
	mine := c.LocalAddr().(*net.TCPAddr).AddrPort().Port()
	for _, r := range s.readers {
		for _, tc := range []struct {
			f    Filter
			want int
		}{
			{Filter{States: MaskOf(Listen), LocalPort: s.addr.Port()}, 1},
			{Filter{States: MaskOf(Established), LocalPort: s.addr.Port()}, 2},
			{Filter{LocalPort: s.addr.Port()}, 3},
			{Filter{RemotePort: s.addr.Port()}, 2},
			{Filter{RemotePort: mine}, 1},
			{Filter{LocalPort: mine, RemotePort: s.addr.Port()}, 1},
			{Filter{LocalPort: mine, RemotePort: mine}, 0},
			{Filter{}, 5},
			{Filter{States: MaskOf(TimeWait), LocalPort: s.addr.Port()}, 0},
		} {
			if got := list(t, r, tc.f); len(got) != tc.want {
				t.Errorf("%s: %+v: %q, want %d sockets", r.Source(), tc.f, got, tc.want)
			}
		}
	}
}

func TestAListenerShowsItsAcceptQueue(t *testing.T) {
	s := newStage(t, "tcp4", "127.0.0.1:0", "127.0.0.1")
	raw, err := s.l.SyscallConn()
	s.must(err)
	s.must(raw.Control(func(fd uintptr) { err = unix.Listen(int(fd), 7) }))
	s.must(err)
	for range 3 {
		s.startConnect()
	}
	for _, r := range s.readers {
		limit := uint32(7)
		if r.Source() == "proc" {
			limit = 0
		}
		testnet.WaitFor(t, time.Second, r.Source()+" shows 3 in the accept queue", func() bool {
			var k Socket
			s.must(r.Each(Filter{States: MaskOf(Listen), LocalPort: s.addr.Port()}, func(l *Socket) bool {
				k = *l
				return true
			}))
			return k.RecvQ == 3 && k.SendQ == limit
		})
	}
}

func TestTimeWaitTellsItsAgeAndBelongsToNobody(t *testing.T) {
	s := newStage(t, "tcp4", "127.0.0.1:0", "127.0.0.1")
	leaveTimeWait(s)
	for _, r := range s.readers {
		seen := 0
		testnet.WaitFor(t, time.Second, "a TIME_WAIT socket", func() bool {
			s.must(r.Each(Filter{States: MaskOf(TimeWait), RemotePort: s.addr.Port()}, func(k *Socket) bool {
				seen++
				if k.Timer != TimerTimeWait || k.Expires < 50*time.Second || k.Expires > 61*time.Second {
					t.Errorf("%s: timer %s, expires in %s, want timewait and about 60s", r.Source(), k.Timer, k.Expires)
				}
				if k.Inode != 0 {
					t.Errorf("%s: inode %d, want 0", r.Source(), k.Inode)
				}
				return true
			}))
			return seen > 0
		})
	}
}

func TestUnreadBytesAndOwnerAreShown(t *testing.T) {
	s := newStage(t, "tcp4", "127.0.0.1:0", "127.0.0.1")
	c, a := s.pair()
	if _, err := c.Write(make([]byte, 1234)); err != nil {
		t.Fatal(err)
	}
	raw, err := a.SyscallConn()
	s.must(err)
	var st unix.Stat_t
	s.must(raw.Control(func(fd uintptr) { err = unix.Fstat(int(fd), &st) }))
	s.must(err)
	for _, r := range s.readers {
		testnet.WaitFor(t, time.Second, "1234 bytes in the receive queue", func() bool {
			var got Socket
			s.must(r.Each(Filter{States: MaskOf(Established), LocalPort: s.addr.Port()}, func(k *Socket) bool {
				got = *k
				return true
			}))
			if got.UID != uint32(os.Getuid()) || got.Inode != uint32(st.Ino) {
				t.Fatalf("%s: uid %d, inode %d, want %d and %d", r.Source(), got.UID, got.Inode, os.Getuid(), st.Ino)
			}
			return got.RecvQ == 1234
		})
	}
}

func TestABoundSocketIsSeenOnlyWhenAskedFor(t *testing.T) {
	var r *Reader
	var fd int
	var err error
	testnet.NewNetns(t).Do(func() { // elsewhere the port may be that of a TIME-WAIT, too
		r = openAll(t)[0]
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(sa.(*unix.SockaddrInet4).Port)
	if got := list(t, r, Filter{LocalPort: port}); len(got) != 0 {
		t.Errorf("%q, want none: All leaves Bound out", got)
	}
	want := fmt.Sprintf("BOUND 127.0.0.1:%d 0.0.0.0:0", port)
	for _, m := range []Mask{MaskOf(Bound), All | MaskOf(Bound)} {
		if got := list(t, r, Filter{States: m, LocalPort: port}); !slices.Equal(got, []string{want}) {
			t.Errorf("states %#x: %q, want %q", m, got, want)
		}
	}
}

func TestAListThatIsStoppedEarlyLeavesTheReaderUsable(t *testing.T) {
	s := newStage(t, "tcp6", "[::1]:0", "::1")
	s.pairs(50)
	for _, r := range s.readers {
		calls := 0
		s.must(r.Each(Filter{}, func(*Socket) bool { calls++; return calls < 3 }))
		if calls != 3 {
			t.Errorf("%s: %d calls, want 3", r.Source(), calls)
		}
		if got := list(t, r, Filter{LocalPort: s.addr.Port()}); len(got) != 51 {
			t.Errorf("%s: %d sockets after an early stop, want 51", r.Source(), len(got))
		}
	}
}

func TestAListOfThousandsSpansManyDatagramsAndLosesNone(t *testing.T) {
	const n = 3000
	s := newStage(t, "tcp4", "127.0.0.1:0", "127.0.0.1")
	s.pairs(n)
	for _, r := range s.readers {
		seen := map[netip.AddrPort]int{}
		s.must(r.Each(Filter{States: MaskOf(Established), RemotePort: s.addr.Port()}, func(k *Socket) bool {
			seen[k.Local]++
			return true
		}))
		if len(seen) != n {
			t.Errorf("%s: %d sockets, want %d", r.Source(), len(seen), n)
		}
	}
}

func TestAnAnswerLeftUnreadIsPassedOver(t *testing.T) {
	s := newStage(t, "tcp4", "127.0.0.1:0", "127.0.0.1")
	s.pairs(2000)
	r := s.readers[0]
	d := r.src.(*diag)
	// As after a read that failed: a request was sent, its answer not read.
	d.seq++
	d.busy = true
	if _, err := unix.Write(d.fd, appendRequest(nil, familyINET, d.seq, Filter{})); err != nil {
		t.Fatal(err)
	}
	if got := list(t, r, Filter{States: MaskOf(Listen), LocalPort: s.addr.Port()}); len(got) != 1 {
		t.Errorf("%q, want the one listener", got)
	}
}

func TestACutAnswerIsAnErrorAndTheNextListIsWhole(t *testing.T) {
	s := newStage(t, "tcp4", "127.0.0.1:0", "127.0.0.1")
	s.pairs(200)
	r := s.readers[0]
	d := r.src.(*diag)
	whole := d.buf
	d.buf = make([]byte, 600) // the kernel sends more than this at once
	err := r.Each(Filter{}, func(*Socket) bool { return true })
	if err == nil || !strings.Contains(err.Error(), "buffer of 600 bytes") {
		t.Errorf("%v, want the buffer of 600 bytes named", err)
	}
	d.buf = whole
	if got := list(t, r, Filter{}); len(got) != 401 {
		t.Errorf("%d sockets after a cut answer, want 401", len(got))
	}
}

func TestAReaderStaysInTheNamespaceItWasOpenedIn(t *testing.T) {
	ns := testnet.NewNetns(t)
	for _, name := range []string{"sock_diag", "proc"} {
		var r *Reader
		var addr netip.AddrPort
		ns.Do(func() {
			l, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			addr = l.Addr().(*net.TCPAddr).AddrPort()
			if name == "proc" {
				p, perr := openProc()
				r, err = &Reader{src: p}, perr
			} else {
				r, err = Open()
			}
			if err != nil {
				t.Fatal(err)
			}
		})
		want := fmt.Sprintf("LISTEN %s 0.0.0.0:0", addr)
		if got := list(t, r, Filter{}); !slices.Contains(got, want) {
			t.Errorf("%s: %q, want %q in it", name, got, want)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		outer, err := Open()
		if err != nil {
			t.Fatal(err)
		}
		if got := list(t, outer, Filter{States: MaskOf(Listen), LocalPort: addr.Port()}); slices.Contains(got, want) {
			t.Errorf("%s: the outer namespace shows %q", name, want)
		}
		outer.Close()
	}
}

func TestAClosedReaderFails(t *testing.T) {
	r, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r.src.(*diag).fd = -1 // the number may be someone else's by now
	if err := r.Each(Filter{}, func(*Socket) bool { return true }); !errors.Is(err, unix.EBADF) {
		t.Errorf("got %v, want EBADF", err)
	}
}

func TestWithoutSockDiagProcIsRead(t *testing.T) {
	refused := func() (source, error) { return nil, unix.EPROTONOSUPPORT }
	missing := func() (source, error) { return nil, os.ErrNotExist }
	r, err := openFirst(refused, procSource)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if r.Source() != "proc" {
		t.Errorf("source is %s, want proc", r.Source())
	}
	if err := r.Each(Filter{}, func(*Socket) bool { return true }); err != nil {
		t.Error(err)
	}
	if _, err := openFirst(refused, missing); !errors.Is(err, unix.EPROTONOSUPPORT) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v, want both reasons", err)
	}
}

// asNobody, when set, makes this test binary list sockets and print their number.
const asNobody = "WEIR_TCPSTAT_AS_NOBODY"

func TestNoPrivilegeIsNeeded(t *testing.T) {
	if port := os.Getenv(asNobody); port != "" {
		printAsNobody(t, port)
		return
	}
	s := newStage(t, "tcp4", "127.0.0.1:0", "127.0.0.1")
	leaveTimeWait(s)
	s.pair()

	cmd := exec.CommandContext(t.Context(), runnableByAll(t), "-test.run=^TestNoPrivilegeIsNeeded$", "-test.v")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", asNobody, s.addr.Port()))
	cmd.Dir = "/"
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	var out []byte
	var err error
	s.ns.Do(func() { out, err = cmd.CombinedOutput() })
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if want := "sock_diag LISTEN=1 ESTAB=2 TIME-WAIT=1"; !strings.Contains(string(out), want) {
		t.Errorf("got\n%s\nwant %q in it", out, want)
	}
}

func printAsNobody(t *testing.T, port string) {
	if os.Getuid() == 0 {
		t.Fatal("still root")
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(status), "CapEff:\t0000000000000000") {
		t.Fatal("still has capabilities")
	}
	r, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	addr := netip.MustParseAddrPort("127.0.0.1:" + port)
	var tl Tally
	l, m := tl.Watch(Local, addr), tl.Watch(Remote, addr)
	if err := r.Count(Filter{}, &tl); err != nil {
		t.Fatal(err)
	}
	lc, rc := tl.Counts(l), tl.Counts(m)
	fmt.Printf("%s LISTEN=%d ESTAB=%d TIME-WAIT=%d\n", r.Source(), lc[Listen], lc[Established]+rc[Established], rc[TimeWait])
}

// runnableByAll copies this test binary to where other users may run it: the
// go command builds it into a directory that is its own.
func runnableByAll(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tcpstat")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	name := filepath.Join(dir, "test")
	out, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, self); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}
