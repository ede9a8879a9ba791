//go:build bench

package bench

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/internal/testnet"
	"weir/tcpstat"
)

// What a run is made of. wrk keeps connections busy; one thread of it, because
// there are two cores for everybody.
const (
	rounds      = 5
	connections = 64
	duration    = 4 * time.Second
	body        = "0123456789012345678901234567890123456789012" // 43 bytes
)

// proxy is one of those compared.
type proxy struct {
	name    string
	version string
	addr    netip.AddrPort // what wrk asks
	backend netip.AddrPort // where it forwards to: a port of its own, so that sockets are told apart
	pids    func() []int   // none for direct
}

// lab is a network namespace with everything in it.
type lab struct {
	t       *testing.T
	ns      *testnet.Netns
	backend *testnet.Server
	ports   []netip.AddrPort
	proxies []*proxy
	stat    *tcpstat.Reader
}

var names = []string{"direct", "nginx", "HAProxy", "weir"}

func newLab(t *testing.T) *lab {
	l := &lab{t: t, ns: testnet.NewNetns(t)}
	l.ns.Do(func() {
		var err error
		if l.stat, err = tcpstat.Open(); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { l.stat.Close() })
	lo := netip.MustParseAddr("127.0.0.1")
	free := func() netip.AddrPort { return netip.AddrPortFrom(lo, testnet.FreePort(t, l.ns, lo)) }

	status := free()
	servers := ""
	for range names {
		a := free()
		l.ports = append(l.ports, a)
		servers += fmt.Sprintf("server { listen %s reuseport; location / { return 200 %q; } }\n", a, body)
	}
	l.backend = testnet.StartNginx(t, testnet.ServerOptions{NS: l.ns, Addr: status,
		Config: "keepalive_requests 100000000; keepalive_timeout 1h;\nserver { listen {addr}; location / { stub_status; } }\n" + servers})

	front := free()
	ng := testnet.StartNginx(t, testnet.ServerOptions{NS: l.ns, Addr: front, Config: fmt.Sprintf(`
keepalive_requests 100000000; keepalive_timeout 1h;
upstream u { server %s; keepalive %d; keepalive_requests 100000000; }
server { listen {addr} reuseport; location / { proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://u; } }`,
		l.ports[1], connections), Main: "worker_processes 2;\nevents { worker_connections 16384; }\nworker_rlimit_nofile 20000;"})

	hafront := free()
	ha := testnet.StartHAProxy(t, testnet.ServerOptions{NS: l.ns, Addr: hafront, Config: fmt.Sprintf(`
global
  nbthread 2
  maxconn 9000
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout http-keep-alive 1h
  http-reuse always
frontend f
  bind {addr}
  default_backend b
backend b
  server s %s
`, l.ports[2])})

	wfront := free()
	dir := t.TempDir()
	binary := filepath.Join(dir, "weir")
	if out, err := exec.Command("go", "build", "-o", binary, "weir/cmd/weir").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	config := filepath.Join(dir, "weir.yaml")
	os.WriteFile(config, fmt.Appendf(nil, `
listeners:
  - {name: web, protocol: http, address: "%s", backend: api, timeouts: {idle: 1h}}
backends:
  - {name: api, endpoints: ["%s"], pool: {max_open: %d}}
admin: {address: "127.0.0.1:9900", pprof: true}
`, wfront, l.ports[3], connections), 0o644)
	w := testnet.StartProgram(t, testnet.ProgramOptions{NS: l.ns, Name: binary, Args: []string{"run", "-config", config}, Ready: []netip.AddrPort{wfront}})

	l.proxies = []*proxy{
		{name: "direct", addr: l.ports[0], backend: l.ports[0]},
		{name: "nginx", version: version("nginx", "-v"), addr: ng.Addr, backend: l.ports[1], pids: func() []int { return tree(ng.PID()) }},
		{name: "HAProxy", version: version("haproxy", "-v"), addr: ha.Addr, backend: l.ports[2], pids: func() []int { return tree(ha.PID()) }},
		{name: "weir", version: "this tree", addr: wfront, backend: l.ports[3], pids: func() []int { return tree(w.PID()) }},
	}
	return l
}

func version(name, flag string) string {
	out, _ := exec.Command(name, flag).CombinedOutput()
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimPrefix(line, "nginx version: ")
}

// tree is a process and its children.
func tree(pid int) []int {
	pids := []int{pid}
	out, _ := exec.Command("pgrep", "-P", strconv.Itoa(pid)).Output()
	for f := range strings.FieldsSeq(string(out)) {
		if n, err := strconv.Atoi(f); err == nil {
			pids = append(pids, n)
		}
	}
	return pids
}

// cpu is the time that processes have run so far, all threads.
func cpu(pids []int) (sum time.Duration) {
	for _, pid := range pids {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				continue // the thread has ended
			}
			first, _, _ := strings.Cut(string(b), " ")
			n, _ := strconv.ParseInt(first, 10, 64)
			sum += time.Duration(n)
		}
	}
	return sum
}

// left counts sockets in TIME-WAIT at the four ends of a proxy.
func (l *lab) left(p *proxy) (n int) {
	var t tcpstat.Tally
	groups := []int{t.Watch(tcpstat.Local, p.addr), t.Watch(tcpstat.Remote, p.addr)}
	if p.addr != p.backend {
		groups = append(groups, t.Watch(tcpstat.Local, p.backend), t.Watch(tcpstat.Remote, p.backend))
	}
	if err := l.stat.Count(tcpstat.Filter{States: tcpstat.MaskOf(tcpstat.TimeWait)}, &t); err != nil {
		l.t.Fatal(err)
	}
	for _, g := range groups {
		c := t.Counts(g)
		n += c[tcpstat.TimeWait]
	}
	return n
}
