//go:build bench

package bench

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"weir/internal/testnet"
)

// connections are wrk's, and the bound of each pool: none has to queue.
const connections = 64

// kind is a proxy that can be started. start is nil for none at all.
type kind struct {
	name  string
	start func(l *lab, backend netip.AddrPort) (addr netip.AddrPort, pids func() []int)
}

// kinds are those compared, in the order of the tables.
var kinds = []kind{{"direct", nil}, {"nginx", startNginx}, {"HAProxy", startHAProxy}, {"weir", startWeir}}

// Each is set up as its own documentation says for kept backend connections,
// works on both cores, and never closes an idle client while it is measured.

func startNginx(l *lab, backend netip.AddrPort) (netip.AddrPort, func() []int) {
	s := testnet.StartNginx(l.t, testnet.ServerOptions{NS: l.ns, Addr: l.free(), Config: fmt.Sprintf(`
keepalive_requests 100000000; keepalive_timeout 1h;
upstream u { server %s; keepalive %d; keepalive_requests 100000000; keepalive_timeout 1h; }
server { listen {addr} reuseport; location / { proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://u; } }`,
		backend, connections), Main: "worker_processes 2;\nevents { worker_connections 16384; }\nworker_rlimit_nofile 20000;"})
	return s.Addr, func() []int { return tree(s.PID()) }
}

func startHAProxy(l *lab, backend netip.AddrPort) (netip.AddrPort, func() []int) {
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
  http-reuse always
frontend f
  bind {addr}
  default_backend b
backend b
  server s %s pool-purge-delay 1h
`, backend)})
	return s.Addr, func() []int { return tree(s.PID()) }
}

// adminOfWeir serves profiles, by which a garbage collection can be had.
const adminOfWeir = "127.0.0.1:9900"

func startWeir(l *lab, backend netip.AddrPort) (netip.AddrPort, func() []int) {
	addr := l.free()
	config := filepath.Join(l.t.TempDir(), "weir.yaml")
	err := os.WriteFile(config, fmt.Appendf(nil, `
listeners:
  - {name: web, protocol: http, address: "%s", backend: api, timeouts: {idle: 1h}}
backends:
  - {name: api, endpoints: ["%s"], pool: {max_open: %d, idle_timeout: 1h}}
admin: {address: "%s", pprof: true}
`, addr, backend, connections, adminOfWeir), 0o644)
	if err != nil {
		l.t.Fatal(err)
	}
	w := testnet.StartProgram(l.t, testnet.ProgramOptions{NS: l.ns, Name: binary, Args: []string{"run", "-config", config}, Ready: []netip.AddrPort{addr}})
	return addr, func() []int { return tree(w.PID()) }
}
