//go:build bench

package bench

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"weir/internal/testnet"
)

// overloadKind is a proxy with a setting, a row of the overload tables. start is
// nil for none at all; its error is that weir refuses the configuration, which
// is a row too.
type overloadKind struct {
	program, setting string
	start            func(l *lab, backend netip.AddrPort) (overloadProxy, error)
}

// overloadProxy is one that runs.
type overloadProxy struct {
	addr  netip.AddrPort
	pids  func() []int
	admin netip.AddrPort // of weir
}

// String names the row in the run.
func (k overloadKind) String() string { return strings.TrimSuffix(k.program+", "+k.setting, ", ") }

// overloadKinds are those compared, in the order of the table. The others have
// what somebody would set who knows the backend: as many requests in it as it
// has workers, and a queue of half the deadline.
var overloadKinds = []overloadKind{
	{"direct", "", nil},
	{"nginx", "limit_conn 60", overloadNginx},
	{"HAProxy", "maxconn 10, timeout queue 50ms", overloadHAProxy("")},
	{"weir", "defaults", overloadWeir("", "")},
	{"weir", "max_open 10, queue.timeout 50ms", overloadWeir("", static)},
	{"weir", "in_flight auto, queue.target 5ms", overloadWeir("", adaptive)},
	{"weir", "the same, queue.max 12", overloadWeir("", bounded)},
}

// priorityKinds know the class of a request, all but the second, which shows
// what they are compared with.
var priorityKinds = []overloadKind{
	{"HAProxy", "set-priority-class", overloadHAProxy("http-request set-priority-class int(-1) if { req.hdr(X-Priority) 1 }")},
	{"weir", "no classes", overloadWeir("", static)},
	{"weir", "priority, in_flight auto", overloadWeir(priority, adaptive)},
}

// Keys of weir's backend, and one of its listener.
const (
	static   = `pool: {max_open: 10}, queue: {max: 64, timeout: 50ms}`
	adaptive = `limits: {in_flight: auto}, queue: {target: 5ms}`
	bounded  = `limits: {in_flight: auto}, queue: {target: 5ms, max: 12}`
	priority = `priority_header: X-Priority, trusted_proxies: [0.0.0.0/0]`
)

// nginx has no queue of its own: it lets in what the backend can answer within
// half the deadline, and the backend has the queue. A key that is empty would not
// be counted, so it is the port.
func overloadNginx(l *lab, backend netip.AddrPort) (overloadProxy, error) {
	s := testnet.StartNginx(l.t, testnet.ServerOptions{NS: l.ns, Addr: l.free(), Config: fmt.Sprintf(`
keepalive_requests 100000000; keepalive_timeout 1h;
limit_conn_zone $server_port zone=all:1m;
upstream u { server %s; keepalive 64; keepalive_requests 100000000; keepalive_timeout 1h; }
server { listen {addr} reuseport; location / { limit_conn all 60; limit_conn_log_level info;
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://u; } }`, backend),
		Main: "worker_processes 2;\nevents { worker_connections 16384; }\nworker_rlimit_nofile 20000;"})
	return overloadProxy{addr: s.Addr, pids: func() []int { return tree(s.PID()) }}, nil
}

// overloadHAProxy returns a start function. abortonclose takes clients that have
// left out of the queue.
func overloadHAProxy(rule string) func(*lab, netip.AddrPort) (overloadProxy, error) {
	return func(l *lab, backend netip.AddrPort) (overloadProxy, error) {
		s := testnet.StartHAProxy(l.t, testnet.ServerOptions{NS: l.ns, Addr: l.free(), Config: fmt.Sprintf(`
global
  nbthread 2
  maxconn 9000
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout http-keep-alive 1h
  timeout queue 50ms
  option abortonclose
  http-reuse always
frontend f
  bind {addr}
  %s
  default_backend b
backend b
  server s %s maxconn %d pool-purge-delay 1h
`, rule, backend, workers)})
		return overloadProxy{addr: s.Addr, pids: func() []int { return tree(s.PID()) }}, nil
	}
}

// overloadWeir returns a start function for keys of the listener and of the
// backend.
func overloadWeir(listenerKeys, backendKeys string) func(*lab, netip.AddrPort) (overloadProxy, error) {
	and := func(keys string) string {
		if keys == "" {
			return ""
		}
		return ", " + keys
	}
	return func(l *lab, backend netip.AddrPort) (overloadProxy, error) {
		listener := l.free()
		return runWeir(l, listener, fmt.Sprintf(`
listeners:
  - {name: web, protocol: http, address: "%s", backend: api, timeouts: {idle: 1h}%s}
backends:
  - {name: api, endpoints: ["%s"]%s}
`, listener, and(listenerKeys), backend, and(backendKeys)))
	}
}

// runWeir starts weir with a configuration, to which it adds an admin address.
func runWeir(l *lab, listener netip.AddrPort, text string) (overloadProxy, error) {
	p := overloadProxy{addr: listener, admin: l.free()}
	config := filepath.Join(l.t.TempDir(), "weir.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, "%sadmin: {address: %q}\n", text, p.admin), 0o600); err != nil {
		l.t.Fatal(err)
	}
	if out, err := l.ns.Command(binary, "check", "-config", config).CombinedOutput(); err != nil {
		text := strings.ReplaceAll(string(out), config, "weir.yaml")
		return p, fmt.Errorf("weir check: %s", strings.Join(strings.Split(strings.TrimSpace(text), "\n"), "; "))
	}
	w := testnet.StartProgram(l.t, testnet.ProgramOptions{NS: l.ns, Name: binary, Args: []string{"run", "-config", config}, Ready: []netip.AddrPort{listener}})
	p.pids = func() []int { return tree(w.PID()) }
	return p, nil
}
