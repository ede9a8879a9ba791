package audit

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/internal/testnet"
	"weir/tcpstat"
)

// Ports are used up by the dialled ends alone, and CLOSE-WAIT is named by the end
// that does not close.
func TestSocketsAreCountedByWhoUsesAPort(t *testing.T) {
	ns := testnet.NewNetns(t)
	l, err := ns.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr := netip.MustParseAddrPort(l.Addr().String())
	const n = 7
	var accepted []net.Conn
	for range n {
		c, err := ns.Dial("tcp4", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		accepted = append(accepted, s)
	}
	accepted[0].Close() // the dialled end is in CLOSE-WAIT now

	var s *Sockets
	ns.Do(func() {
		r, err := tcpstat.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		ports, err := (&Machine{FS: os.DirFS("/")}).LocalPorts()
		if err != nil {
			t.Fatal(err)
		}
		if s, err = Count(r, ports); err != nil {
			t.Fatal(err)
		}
	})
	if want := []Tuple{{addr.Addr(), addr, n, 0, 0}}; !slices.Equal(s.Outbound, want) {
		t.Errorf("outbound: %+v, want %+v", s.Outbound, want)
	}
	if !slices.Contains(s.CloseWait, Group{"to " + addr.String(), 1}) {
		t.Errorf("CLOSE-WAIT: %+v", s.CloseWait)
	}
	if !slices.ContainsFunc(s.Listens, func(q Queue) bool { return q.Local == addr && q.Waiting == 0 && q.Limit > 0 }) {
		t.Errorf("listeners: %+v", s.Listens)
	}
}

// What doctor calls in use is what weir's survey does not call free, whatever the
// kernel's rule for ports in TIME_WAIT is.
func TestDoctorAndTheSurveyCountTheSamePorts(t *testing.T) {
	ns := testnet.NewNetns(t)
	l, err := ns.Listen("tcp4", "127.0.0.1:9001")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ns.Sysctl("net.ipv4.ip_local_port_range", "45000 45399")
	ns.Sysctl("net.ipv4.ip_local_reserved_ports", "45100-45109")
	ns.Sysctl("net.ipv4.tcp_tw_reuse", "0")
	other, err := ns.Listen("tcp4", "127.0.0.1:45001") // no dial gets its port
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	ns.Do(func() { // nor that of a socket which is only bound
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { syscall.Close(fd) })
		if err := syscall.Bind(fd, &syscall.SockaddrInet4{Port: 45002, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			t.Fatal(err)
		}
	})
	addr := netip.MustParseAddrPort(l.Addr().String())
	dial := func() (client, server net.Conn) {
		c, err := ns.Dial("tcp4", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return c, s
	}
	const open, closed = 5, 40
	for range open {
		c, s := dial()
		defer c.Close()
		defer s.Close()
	}
	for range closed {
		c, s := dial()
		c.Close()
		s.Close()
	}

	look := func() (tuple Tuple, used, free int) {
		ns.Do(func() {
			r, err := tcpstat.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			mine, err1 := (&Machine{FS: os.DirFS("/")}).LocalPorts()
			theirs, err2 := tcpstat.ReadLocalPorts()
			if err := errors.Join(err1, err2); err != nil {
				t.Fatal(err)
			}
			s, err1 := Count(r, mine)
			rep, err2 := tcpstat.NewSurvey(r).Look(time.Now(), tcpstat.All|tcpstat.MaskOf(tcpstat.Bound), theirs, nil,
				[]tcpstat.BackendPlan{{Name: "api", Ledger: tcpstat.NewLedger(), Endpoints: []tcpstat.Pair{{Source: addr.Addr(), Dest: addr}}}})
			if err := errors.Join(err1, err2); err != nil {
				t.Fatal(err)
			}
			tuple, used, free = s.Outbound[0], s.Outbound[0].Sockets+s.Bound, rep.Backends[0].Pairs[0].Free
		})
		return tuple, used, free
	}
	const ports = 390
	if got, used, free := look(); got != (Tuple{addr.Addr(), addr, open + closed, closed, 0}) || used != open+closed+2 || free != ports-used {
		t.Errorf("with tcp_tw_reuse=0: %+v, %d in use and %d free", got, used, free)
	}
	ns.Sysctl("net.ipv4.tcp_tw_reuse", "2") // loopback
	testnet.WaitFor(t, 10*time.Second, "ports that are a second old to be free again", func() bool {
		got, _, _ := look()
		return got.Again == closed
	})
	if got, used, free := look(); got != (Tuple{addr.Addr(), addr, open, 0, closed}) || used != open+2 || free != ports-used {
		t.Errorf("with tcp_tw_reuse=2: %+v, %d in use and %d free", got, used, free)
	}
}

// threadFS shows the network namespace of the thread where the process's is
// asked for.
type threadFS struct{ fs.FS }

func (t threadFS) Open(name string) (fs.File, error) {
	return t.FS.Open(strings.Replace(name, "proc/self/net", "proc/thread-self/net", 1))
}

// On a real kernel nothing is read wrong: what every Linux has is never unknown,
// and a namespace as it comes does not fail.
func TestARealKernelIsReadable(t *testing.T) {
	ns := testnet.NewNetns(t)
	var r Report
	ns.Do(func() {
		// The namespace is the thread's, and /proc/self the process's.
		m := &Machine{FS: threadFS{os.DirFS("/")}}
		d, err := tcpstat.Open()
		if err != nil {
			t.Error(err)
			return
		}
		defer d.Close()
		ports, err := m.LocalPorts()
		if err != nil {
			t.Error(err)
			return
		}
		if m.Sockets, err = Count(d, ports); err != nil {
			t.Error(err)
		}
		r = Run(m, nil)
	})
	if len(r.Findings) != len(checks) || r.Kernel == "" {
		t.Fatalf("%+v", r)
	}
	for _, f := range r.Findings {
		switch machines := []string{"descriptors", "file_table", "orphans", "kernel", "sysctl_files"}; {
		case f.Verdict == Unknown:
			t.Errorf("%+v", f)
		case f.Verdict != Pass && !slices.Contains(machines, f.Name):
			t.Errorf("a namespace as it comes: %+v", f)
		}
	}
}
