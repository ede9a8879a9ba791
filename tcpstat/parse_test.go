package tcpstat

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"
)

// message builds one netlink message.
func message(kind, flags uint16, seq uint32, body []byte) []byte {
	ne := binary.NativeEndian
	b := ne.AppendUint32(nil, uint32(nlHeaderLen+len(body)))
	b = ne.AppendUint16(b, kind)
	b = ne.AppendUint16(b, flags)
	b = ne.AppendUint32(b, seq)
	b = ne.AppendUint32(b, 0)
	b = append(b, body...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// diagBody builds a struct inet_diag_msg.
func diagBody(family, state, timer uint8, local, remote netip.AddrPort, expires, rq, wq, uid, inode uint32) []byte {
	ne := binary.NativeEndian
	b := []byte{family, state, timer, 0}
	b = binary.BigEndian.AppendUint16(b, local.Port())
	b = binary.BigEndian.AppendUint16(b, remote.Port())
	for _, a := range []netip.Addr{local.Addr(), remote.Addr()} {
		b = append(b, a.AsSlice()...)
		b = append(b, make([]byte, 16-len(a.AsSlice()))...)
	}
	b = append(b, make([]byte, 12)...) // interface and cookie
	for _, v := range []uint32{expires, rq, wq, uid, inode} {
		b = ne.AppendUint32(b, v)
	}
	return b
}

var (
	v4a = netip.MustParseAddrPort("10.1.2.3:4567")
	v4b = netip.MustParseAddrPort("192.0.2.9:80")
	v6a = netip.MustParseAddrPort("[2001:db8::1]:4567")
	v6b = netip.MustParseAddrPort("[::ffff:192.0.2.9]:80")
)

func errnoBody(e syscall.Errno) []byte {
	return binary.NativeEndian.AppendUint32(nil, uint32(-int32(e)))
}

func TestADatagramIsReadSocketBySocket(t *testing.T) {
	p := message(sockDiagByFam, 2, 7, diagBody(familyINET, 6, 3, v4a, v4b, 59_000, 1, 2, 3, 4))
	p = append(p, message(sockDiagByFam, 2, 7, append(diagBody(familyINET6, 1, 0, v6a, v6b, 0, 5, 6, 7, 8), 1, 2, 3, 4, 5))...)
	p = append(p, message(tcpdiagGetSock, 2, 7, diagBody(familyINET, 12, 0, v4a, v4b, 0, 0, 0, 0, 0))...)
	p = append(p, message(nlDone, 2, 7, make([]byte, 4))...)
	var got []Socket
	var s Socket
	b, err := parseBatch(p, 7, &Filter{}, &s, func(s *Socket) bool { got = append(got, *s); return true })
	if err != nil || !b.done || b.changed || b.stopped {
		t.Fatalf("%+v, %v, want done", b, err)
	}
	want := []Socket{
		{State: TimeWait, Timer: TimerTimeWait, Local: v4a, Remote: v4b, RecvQ: 1, SendQ: 2, UID: 3, Inode: 4, Expires: 59 * time.Second},
		{State: Established, Local: v6a, Remote: v4b, RecvQ: 5, SendQ: 6, UID: 7, Inode: 8},
		{State: SynRecv, Local: v4a, Remote: v4b},
	}
	if len(got) != len(want) {
		t.Fatalf("%d sockets, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("socket %d: %+v, want %+v", i, got[i], want[i])
		}
	}
}

func TestABadDatagramIsAnErrorThatSaysWhy(t *testing.T) {
	sock := message(sockDiagByFam, 2, 7, diagBody(familyINET, 1, 0, v4a, v4b, 0, 0, 0, 0, 0))
	for _, tc := range []struct {
		name string
		p    []byte
		want string
	}{
		{"cut in a header", sock[:10], "10 bytes left"},
		{"cut in a socket", sock[:40], "a message of 88 bytes in 40"},
		{"a length of zero", append(make([]byte, 4), sock[4:]...), "a message of 0 bytes"},
		{"a short socket", message(sockDiagByFam, 2, 7, make([]byte, 40)), "a socket of 40 bytes"},
		{"a short error", message(nlError, 0, 7, nil), "an error message of 0 bytes"},
		{"an overrun", message(nlOverrun, 0, 7, nil), "lost part"},
		{"refused", message(nlError, 0, 7, errnoBody(syscall.EPERM)), "operation not permitted"},
		{"failed at the end", message(nlDone, 0, 7, errnoBody(syscall.ENOMEM)), "cannot allocate memory"},
	} {
		_, err := parseBatch(tc.p, 7, &Filter{}, new(Socket), func(*Socket) bool { return true })
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q in it", tc.name, err, tc.want)
		}
	}
}

func TestAnErrorNumberCanBeAskedFor(t *testing.T) {
	_, err := parseBatch(message(nlError, 0, 7, errnoBody(syscall.ENOENT)), 7, &Filter{}, new(Socket), nil)
	if !errors.Is(err, syscall.ENOENT) {
		t.Errorf("%v, want ENOENT", err)
	}
}

func TestAnInterruptedDumpIsNoticed(t *testing.T) {
	p := message(sockDiagByFam, nlDumpIntr, 7, diagBody(familyINET, 1, 0, v4a, v4b, 0, 0, 0, 0, 0))
	n := 0
	b, err := parseBatch(p, 7, &Filter{}, new(Socket), func(*Socket) bool { n++; return true })
	if err != nil || !b.changed || n != 1 {
		t.Errorf("%+v, %v, %d sockets, want changed and 1", b, err, n)
	}
}

// shifting is a source whose first lists are reported as changed.
type shifting struct{ left, lists int }

func (f *shifting) each(_ Filter, s *Socket, fn func(*Socket) bool) error {
	f.lists++
	*s = Socket{State: Established, Local: v4a, Remote: v4b}
	fn(s)
	if f.left > 0 {
		f.left--
		return ErrChanged
	}
	return nil
}
func (f *shifting) close() error { return nil }
func (f *shifting) name() string { return "shifting" }

func TestACountStartsOverAfterAChangeAndOnlySoOften(t *testing.T) {
	for _, tc := range []struct {
		left, lists int
		err         error
	}{{0, 1, nil}, {2, 3, nil}, {maxRepeats, maxRepeats + 1, nil}, {99, maxRepeats + 1, ErrChanged}} {
		src := &shifting{left: tc.left}
		r := &Reader{src: src}
		c, err := r.Counts(Filter{})
		if !errors.Is(err, tc.err) || src.lists != tc.lists || c.Total() != 1 {
			t.Errorf("%d changes: %v after %d lists, %d sockets, want %v after %d, 1", tc.left, err, src.lists, c.Total(), tc.err, tc.lists)
		}
		src.left, src.lists = tc.left, 0
		var tl Tally
		g := tl.Watch(Local, v4a)
		err = r.Count(Filter{}, &tl)
		if got := tl.Counts(g); !errors.Is(err, tc.err) || src.lists != tc.lists || got.Total() != 1 {
			t.Errorf("%d changes: tally %v after %d lists, %d sockets, want %v after %d, 1", tc.left, err, src.lists, got.Total(), tc.err, tc.lists)
		}
	}
}

func TestATallyPrefersTheExactAddress(t *testing.T) {
	var tl Tally
	exact := tl.Watch(Local, netip.MustParseAddrPort("10.0.0.1:80"))
	twin := tl.Watch(Local, netip.MustParseAddrPort("[::ffff:10.0.0.1]:80"))
	any4 := tl.Watch(Local, netip.MustParseAddrPort("0.0.0.0:80"))
	dialled := tl.Watch(Remote, netip.MustParseAddrPort("10.0.0.1:80"))
	at := func(local, remote string, s State) *Socket {
		return &Socket{State: s, Local: netip.MustParseAddrPort(local), Remote: netip.MustParseAddrPort(remote)}
	}
	for _, s := range []*Socket{
		at("10.0.0.1:80", "10.9.9.9:1", Established),
		at("10.0.0.2:80", "10.9.9.9:2", CloseWait),
		at("10.9.9.9:1", "10.0.0.1:80", TimeWait),
	} {
		if !tl.Add(s) {
			t.Errorf("%+v belongs to no group", *s)
		}
	}
	if tl.Add(at("10.0.0.1:81", "10.0.0.2:80", Established)) {
		t.Error("a socket of other ports was counted")
	}
	for _, tc := range []struct {
		name  string
		group int
		want  Counts
	}{
		{"exact", exact, Counts{Established: 1}}, {"the same, written as IPv6", twin, Counts{Established: 1}},
		{"any address", any4, Counts{CloseWait: 1}}, {"remote", dialled, Counts{TimeWait: 1}},
	} {
		if got := tl.Counts(tc.group); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
	if c := (Counts{Established: 1, TimeWait: 2, Listen: 4}); c.Of(TimeWait, Listen) != 6 || c.Total() != 7 {
		t.Errorf("%v: Of %d, Total %d", c, c.Of(TimeWait, Listen), c.Total())
	}
	tl.Reset()
	if got := tl.Counts(exact); got.Total() != 0 {
		t.Errorf("after Reset: %v", got)
	}
}

func TestStatesHaveDistinctNamesAndLabels(t *testing.T) {
	names, labels := map[string]bool{}, map[string]bool{}
	for _, s := range States() {
		if names[s.String()] || labels[s.Label()] || s.String() == "UNKNOWN" {
			t.Errorf("state %d: %s, %s", s, s, s.Label())
		}
		names[s.String()], labels[s.Label()] = true, true
	}
	if State(200).String() != "UNKNOWN" || State(200).Label() != "unknown" || Timer(200).String() != "unknown" {
		t.Error("a number that is no state has no name of its own")
	}
}

const (
	procHeading = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
	procListen  = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000003 00:00000000 00000000  1000        0 12345 1 0000000000000000 100 0 0 10 0"
	procTW      = "  12: 0100007F:A1B2 0100007F:1F90 06 00000000:00000000 03:00001760 00000000     0        0 0 3 0000000000000000"
	procV6      = " 999: 00000000000000000000000001000000:1F90 0000000000000000FFFF00000100007F:0050 08 0000000A:00000001 00:00000000 00000000 65534        0 99 1 0000000000000000"
)

func TestProcLinesAreRead(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Fatal("the samples are from a little-endian machine")
	}
	lo := func(port uint16) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
	}
	for _, tc := range []struct {
		line string
		want Socket
	}{
		{procListen, Socket{State: Listen, Local: lo(8080), Remote: netip.MustParseAddrPort("0.0.0.0:0"), RecvQ: 3, UID: 1000, Inode: 12345}},
		{procTW, Socket{State: TimeWait, Timer: TimerTimeWait, Local: lo(41394), Remote: lo(8080), Expires: 59840 * time.Millisecond}},
		{procV6, Socket{State: CloseWait, Local: netip.MustParseAddrPort("[::1]:8080"), Remote: lo(80), SendQ: 10, RecvQ: 1, UID: 65534, Inode: 99}},
	} {
		var s Socket
		if !parseProcLine([]byte(tc.line), &s) || s != tc.want {
			t.Errorf("%s\n got %+v\nwant %+v", tc.line, s, tc.want)
		}
	}
	for _, line := range []string{"", procHeading, strings.Replace(procListen, "0A", "GG", 1), strings.Replace(procListen, "0A", "0F", 1),
		procListen[:40], strings.Replace(procListen, "0100007F", "0100007", 1), strings.Replace(procListen, "12345", "x", 1)} {
		if parseProcLine([]byte(line), new(Socket)) {
			t.Errorf("%q was read as a socket", line)
		}
	}
}

func FuzzProcLine(f *testing.F) {
	for _, line := range []string{procHeading, procListen, procTW, procV6} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		var s Socket
		if !parseProcLine(line, &s) {
			return
		}
		if s.State == 0 || s.State == Closed || s.State >= states {
			t.Errorf("state %d from %q", s.State, line)
		}
		if !s.Local.IsValid() || !s.Remote.IsValid() || s.Expires < 0 {
			t.Errorf("%+v from %q", s, line)
		}
	})
}

func FuzzNetlink(f *testing.F) {
	sock := message(sockDiagByFam, 2, 7, diagBody(familyINET, 6, 3, v4a, v4b, 59_000, 1, 2, 3, 4))
	sock6 := message(tcpdiagGetSock, nlDumpIntr, 7, diagBody(familyINET6, 1, 0, v6a, v6b, 0, 5, 6, 7, 8))
	done := message(nlDone, 2, 7, make([]byte, 4))
	f.Add(append(append(sock, sock6...), done...), uint32(0))
	f.Add(message(nlError, 0, 7, errnoBody(syscall.EPERM)), uint32(1<<TimeWait))
	f.Add(sock[:50], uint32(1<<Bound))
	f.Add(message(sockDiagByFam, 2, 8, sock), uint32(0))
	f.Fuzz(func(t *testing.T, p []byte, states uint32) {
		filter := Filter{States: Mask(states)}
		calls := 0
		var s Socket
		b, err := parseBatch(p, 7, &filter, &s, func(s *Socket) bool {
			calls++
			if !filter.match(s) {
				t.Errorf("%+v does not pass %+v", *s, filter)
			}
			if s.Local.Addr().Is4In6() || s.Expires < 0 {
				t.Errorf("%+v", *s)
			}
			return calls < 3
		})
		if calls > len(p)/(nlHeaderLen+diagMsgLen) || calls > 3 {
			t.Errorf("%d sockets in %d bytes", calls, len(p))
		}
		if b.stopped != (calls == 3) {
			t.Errorf("%d calls, stopped %t", calls, b.stopped)
		}
		if err != nil && calls == 0 && !strings.HasPrefix(err.Error(), "tcpstat: ") {
			t.Errorf("an error without its package: %v", err)
		}
	})
}
