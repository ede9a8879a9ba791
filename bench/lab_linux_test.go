//go:build bench

package bench

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"weir/internal/testnet"
	"weir/tcpstat"
)

const body = "0123456789012345678901234567890123456789012" // 43 bytes

// proxy is one of those compared, running.
type proxy struct {
	kind
	addr    netip.AddrPort // what clients ask
	backend netip.AddrPort // where it forwards to: a port of its own, so that sockets are told apart
	pids    func() []int   // none for direct
}

// lab is a network namespace with everything in it.
type lab struct {
	t       *testing.T
	ns      *testnet.Netns
	backend *testnet.Server
	proxies []*proxy
	stat    *tcpstat.Reader
}

// newLab starts one nginx as the backend and the given proxies before it. All
// of it ends with the test.
func newLab(t *testing.T, of ...kind) *lab {
	l := &lab{t: t, ns: testnet.NewNetns(t)}
	l.ns.Do(func() {
		var err error
		if l.stat, err = tcpstat.Open(); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { l.stat.Close() })

	status, servers := l.free(), ""
	for _, k := range of {
		a := l.free()
		l.proxies = append(l.proxies, &proxy{kind: k, addr: a, backend: a})
		servers += fmt.Sprintf("server { listen %s reuseport; location / { return 200 %q; } }\n", a, body)
	}
	l.backend = testnet.StartNginx(t, testnet.ServerOptions{NS: l.ns, Addr: status,
		Config: "keepalive_requests 100000000; keepalive_timeout 1h;\nserver { listen {addr}; location / { stub_status; } }\n" + servers})
	for _, p := range l.proxies {
		if p.start != nil {
			p.addr, p.pids = p.start(l, p.backend)
		}
	}
	return l
}

func (l *lab) free() netip.AddrPort {
	lo := netip.MustParseAddr("127.0.0.1")
	return netip.AddrPortFrom(lo, testnet.FreePort(l.t, l.ns, lo))
}

// accepted is how many connections the backend has taken, this one included.
func (l *lab) accepted() int {
	lines := strings.Split(l.curl("http://"+l.backend.Addr.String()+"/"), "\n")
	if len(lines) < 3 {
		l.t.Fatalf("stub_status: %q", lines)
	}
	f := strings.Fields(lines[2])
	if len(f) == 0 {
		l.t.Fatalf("stub_status: %q", lines)
	}
	n, err := strconv.Atoi(f[0])
	if err != nil {
		l.t.Fatalf("stub_status: %v", err)
	}
	return n
}

// curl is in the namespace, where the test itself is not.
func (l *lab) curl(url string) string {
	l.t.Helper()
	out, err := l.ns.Command(testnet.NeedProgram(l.t, "curl"), "-sS", "--fail", "--max-time", "20", url).CombinedOutput()
	if err != nil {
		l.t.Fatalf("curl %s: %v\n%s", url, err, out)
	}
	return string(out)
}

// count counts the sockets of p's connections by state, at each of four ends:
// the clients', p's towards them, p's towards the backend, the backend's. Direct
// has only the first two.
func (l *lab) count(p *proxy) (ends [4]tcpstat.Counts) {
	l.t.Helper()
	var t tcpstat.Tally
	groups := []int{t.Watch(tcpstat.Remote, p.addr), t.Watch(tcpstat.Local, p.addr)}
	if p.addr != p.backend {
		groups = append(groups, t.Watch(tcpstat.Remote, p.backend), t.Watch(tcpstat.Local, p.backend))
	}
	if err := l.stat.Count(tcpstat.Filter{}, &t); err != nil {
		l.t.Fatal(err)
	}
	for i, g := range groups {
		ends[i] = t.Counts(g)
	}
	return ends
}
