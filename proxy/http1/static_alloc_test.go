//go:build !race

package http1_test

import (
	"testing"
	"time"

	"weir/limiter"
	"weir/proxy/http1"
)

func TestAPageAndTheModeAllocateNothing(t *testing.T) {
	answer := []byte("HTTP/1.1 200 OK\r\nServer: x\r\nX-Weir-Mode: normal\r\nContent-Length: 5\r\n\r\nhello")
	request := []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	for name, tc := range map[string]struct {
		mode limiter.Mode
		page string
	}{
		"served, with the mode": {limiter.ModeShedding, small},
		"a page":                {limiter.ModeOpen, small},
		"a large page":          {limiter.ModeOpen, large},
	} {
		guard := newGuard()
		r := newRig(t, rigOptions{backend: fixedBackend(t, 0, answer), settings: func(s *http1.Settings) {
			s.ModeHeader, s.Routes[0].Backend.Guard = true, guard
			s.Routes[0].Backend.Static = http1.NewStatic(false, "text/html", []byte(tc.page))
		}})
		guard.Ladder.Force(limiter.Nanos(time.Now()), tc.mode)
		a := r.exchange("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		n := exchangeAllocations(t, r.dial(), request, len(a)-len("Connection: close\r\n"))
		t.Logf("figure: %v allocations for %s", n, name)
		if n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
