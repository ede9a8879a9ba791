package accept

import (
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"weir/internal/testnet"
)

// The pacer counts an interval from when the last turn was taken, not from when it
// was due, and there is no burst: so no second sees one more, however late some are.
func TestAcceptABackendThatComesBackSeesNoMoreDialsThanItsRate(t *testing.T) {
	const (
		rate     = 20
		capacity = 200 // requests a second
		clients  = 500
		period   = 250 * time.Millisecond // of each: 2000 requests a second in all
	)
	for _, breaker := range []bool{false, true} {
		t.Run(fmt.Sprintf("breaker %v", breaker), func(t *testing.T) {
			ns := testnet.NewNetns(t)
			port := testnet.FreePort(t, ns, netip.MustParseAddr("127.0.0.1"))
			// It closes each connection after three requests, so that dials are
			// wanted all the time. Where it is started is looked at on another port.
			startBackend := func() *testnet.Server {
				return testnet.StartNginx(t, testnet.ServerOptions{NS: ns, Main: "master_process off;", Config: fmt.Sprintf(`
					keepalive_requests 3;
					limit_req_zone $server_port zone=all:1m rate=%dr/s;
					limit_req_log_level info;
					server {
						listen {addr};
						listen 127.0.0.1:%d backlog=4096;
						location / { limit_req zone=all burst=1000; empty_gif; }
					}`, capacity, port)})
			}
			backend := startBackend()
			syns := watchSYNs(t, ns, port)
			prefix := ns.Command("x").Args
			w := start(t, oneBackend(fmt.Sprintf("127.0.0.1:%d", port), "",
				fmt.Sprintf("pool: {max_open: 64}, dial: {rate: %d/s}, queue: {timeout: 100ms, target: 5ms}, timeouts: {response_header: 300ms}, breaker: %v", rate, breaker)),
				prefix[:len(prefix)-1]...)
			load := startPacedLoad(t, ns, w.addr["web"], clients, period)
			began := time.Now()
			answered := func(n int) {
				t.Helper()
				n += load.answers(200)
				testnet.WaitFor(t, 20*time.Second, fmt.Sprintf("%d answers", n), func() bool { return load.answers(200) >= n })
			}
			answered(3 * rate)
			for i := range 2 {
				if i == 0 && breaker { // which dials that fail do not open
					backend.Signal(syscall.SIGSTOP)
					if !w.says(`"to":"open"`) {
						t.Fatal("the breaker stays closed before a backend that answers nothing")
					}
				}
				backend.Signal(syscall.SIGKILL)
				backend.Stop()
				dials := len(syns.seen(t))
				testnet.WaitFor(t, 10*time.Second, "5 dials that fail", func() bool { return len(syns.seen(t)) >= dials+5 })
				backend = startBackend()
				answered(6 * rate)
			}
			load.end()
			took := time.Since(began)

			offered := float64(load.offered.Load()) / (took - period).Seconds() // each counts at its next request
			times, s := syns.seen(t), w.statusFrom(ns)
			// The last dial may have come between the two.
			testnet.Poll(2*time.Second, func() bool {
				times, s = syns.seen(t), w.statusFrom(ns)
				return int(s.opened()) == len(times)
			})
			most := mostWithin(times, time.Second)
			figure(t, "dial.rate %d/s, breaker %v: at most %d dials in any second, %d in %.1f s (%v by weir), %.0f requests a second offered to one of %d/s: %v",
				rate, breaker, most, len(times), took.Seconds(), s.Backends[0].Dials, offered, capacity, load.got)
			if most > rate {
				t.Errorf("%d dials in one second with dial.rate %d/s", most, rate)
			}
			if most < rate/2 {
				t.Errorf("at most %d dials in a second: the rate was never what held them back", most)
			}
			if n := s.opened(); int(n) != len(times) {
				t.Errorf("weir says that it began %d connections, and %d SYNs came", n, len(times))
			}
			if s.Backends[0].Dials["refused"] == 0 {
				t.Error("no dial failed")
			}
			if offered < 9*capacity {
				t.Errorf("%.0f requests a second were offered, want ten times %d", offered, capacity)
			}
			for _, err := range load.errs {
				t.Errorf("a client's connection ended: %v", err)
				break
			}
		})
	}
}
