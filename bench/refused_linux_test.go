//go:build bench

package bench

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"weir/internal/testnet"
)

// What a refusal costs, beside an answer: the same requests at two of each
// proxy, of which one lets next to none through.
func TestBenchRefused(t *testing.T) {
	l := newLab(t, kind{"nginx", startNginx}, kind{"nginx, limit_req", startStingyNginx}, kind{"weir", startWeir}, kind{"weir, rate", startStingyWeir})
	fmt.Printf("\n%s\nwrk: one thread, %d kept connections; medians of %d rounds of %v; of the ratio too, which is of the same round.\n\n",
		machine(t), connections, size.rounds, size.duration)
	cost := map[string][]float64{}
	for round := range size.rounds + 1 {
		for i := range l.proxies {
			p := l.proxies[(i+round)%len(l.proxies)]
			if c := l.perRequest(p); round > 0 { // the first one warms up
				cost[p.name] = append(cost[p.name], c)
			}
		}
	}
	fmt.Printf("| | answered, us | refused, us | refused / answered |\n|---|---|---|---|\n")
	for _, name := range [][2]string{{"nginx", "nginx, limit_req"}, {"weir", "weir, rate"}} {
		answered, refused := cost[name[0]], cost[name[1]]
		ratios := make([]float64, len(answered))
		for i := range ratios {
			ratios[i] = refused[i] / answered[i]
		}
		fmt.Printf("| %s | %.1f | %.1f | %.2f |\n", name[0], middle(answered, itself), middle(refused, itself), middle(ratios, itself))
	}
}

// perRequest is the processor time of a request at p in microseconds, however it
// is answered.
func (l *lab) perRequest(p *proxy) float64 {
	before := cpu(p.pids())
	text := l.wrk(p, false, size.duration)
	took := cpu(p.pids()) - before
	n, _ := strconv.Atoi(find(reRequests, text))
	if n == 0 {
		l.t.Fatalf("%s: wrk got no answer:\n%s", p.name, text)
	}
	if stingy := find(reRefused, text) != ""; stingy != slices.Contains([]string{"nginx, limit_req", "weir, rate"}, p.name) {
		l.t.Fatalf("%s: refused what it should answer, or the reverse:\n%s", p.name, text)
	}
	return float64(took.Microseconds()) / float64(n)
}

func startStingyNginx(l *lab, backend netip.AddrPort) (netip.AddrPort, func() []int) {
	s := testnet.StartNginx(l.t, testnet.ServerOptions{NS: l.ns, Addr: l.free(), Config: fmt.Sprintf(`
keepalive_requests 100000000; keepalive_timeout 1h;
limit_req_zone all zone=z:1m rate=1r/s;
server { listen {addr} reuseport; location / { limit_req zone=z; limit_req_status 429; proxy_pass http://%s; } }`,
		backend), Main: "worker_processes 2;\nevents { worker_connections 16384; }\nworker_rlimit_nofile 20000;\nerror_log /dev/null crit;"})
	return s.Addr, func() []int { return tree(s.PID()) }
}

func startStingyWeir(l *lab, backend netip.AddrPort) (netip.AddrPort, func() []int) {
	addr := l.free()
	config := filepath.Join(l.t.TempDir(), "weir.yaml")
	err := os.WriteFile(config, fmt.Appendf(nil, `
listeners:
  - {name: web, protocol: http, address: "%s", backend: api, timeouts: {idle: 1h}, limits: {rate: 1/s, burst: 1}}
backends:
  - {name: api, endpoints: ["%s"], pool: {max_open: %d, idle_timeout: 1h}}
admin: {address: "127.0.0.1:9901"}
`, addr, backend, connections), 0o644)
	if err != nil {
		l.t.Fatal(err)
	}
	w := testnet.StartProgram(l.t, testnet.ProgramOptions{NS: l.ns, Name: binary, Args: []string{"run", "-config", config}, Ready: []netip.AddrPort{addr}})
	return addr, func() []int { return tree(w.PID()) }
}

func itself(v float64) float64 { return v }
