package accept

import (
	"fmt"
	"testing"

	"weir/internal/testnet"
)

// wrkN runs wrk, which only knows durations, until it has made n requests.
func wrkN(t *testing.T, n, conns int, url string) (sum wrkResult) {
	t.Helper()
	for range 30 {
		if sum.requests >= n {
			break
		}
		sum.add(wrk(t, "-t1", fmt.Sprintf("-c%d", conns), "-d2s", url))
	}
	return sum
}

func TestAcceptKeepaliveRequestsReuseTheirConnections(t *testing.T) {
	const n, maxOpen = 100000, 16
	for _, backend := range []struct {
		name, config string
		extra        int // connections that the backend's own closes cost
	}{
		{"that never closes", "keepalive_requests 10000000;", 0},
		{"that closes after 1000 requests", "", n / 1000},
	} {
		t.Run("a backend "+backend.name, func(t *testing.T) {
			nginx := testnet.StartNginx(t, testnet.ServerOptions{Config: backend.config + `
				server {
					listen {addr} backlog=4096;
					location / { return 200 "` + nginxBody + `"; }
				}`})
			w := start(t, oneBackend(nginx.Addr.String(), "", fmt.Sprintf("pool: {max_open: %d}", maxOpen)))
			r := wrkN(t, n, 64, w.url("/"))
			s := w.status()
			b := s.Backends[0]
			figure(t, "a backend %s: %d requests over %d connections (%.4f %% reuse), most %d open, max_open %d; closed %v; outcomes %v",
				backend.name, r.requests, s.opened(), 100*(1-float64(s.opened())/float64(r.requests)), b.MostOpen, maxOpen, b.Closed, s.Listeners[0].Requests)
			if r.requests < n || r.socketErrors > 0 || r.otherStatus > 0 {
				t.Errorf("wrk: %+v, wanted %d without an error", r, n)
			}
			// One more for each connection whose last thousand is not full.
			most := maxOpen
			if backend.extra > 0 {
				most += r.requests/1000 + maxOpen
			}
			if s.opened() > uint64(most) || s.opened() < uint64(backend.extra*9/10) {
				t.Errorf("%d connections were opened, expected %d to %d", s.opened(), backend.extra*9/10, most)
			}
			if b.MostOpen > maxOpen {
				t.Errorf("%d backend connections, max_open is %d", b.MostOpen, maxOpen)
			}
			for outcome, n := range s.Listeners[0].Requests["api"] {
				if outcome != "2xx" && outcome != "client_gone" { // wrk drops its last requests
					t.Errorf("%d requests ended as %s", n, outcome)
				}
			}
		})
	}
}
