package audit

import (
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

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
		low, high := (&Machine{FS: os.DirFS("/")}).PortRange()
		if s, err = Count(r, low, high); err != nil {
			t.Fatal(err)
		}
	})
	if want := []Tuple{{addr.Addr(), addr, n, 0}}; !slices.Equal(s.Outbound, want) {
		t.Errorf("outbound: %+v, want %+v", s.Outbound, want)
	}
	if !slices.Contains(s.CloseWait, Group{"to " + addr.String(), 1}) {
		t.Errorf("CLOSE-WAIT: %+v", s.CloseWait)
	}
	if !slices.ContainsFunc(s.Listens, func(q Queue) bool { return q.Local == addr && q.Waiting == 0 && q.Limit > 0 }) {
		t.Errorf("listeners: %+v", s.Listens)
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
		low, high := m.PortRange()
		if m.Sockets, err = Count(d, low, high); err != nil {
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
