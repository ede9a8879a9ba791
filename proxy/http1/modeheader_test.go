package http1_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"weir/internal/testnet"
	"weir/limiter"
	"weir/proxy/fault/overlimit"
	"weir/proxy/http1"
)

// forged is a backend's answer that says of itself what weir says of it.
const forged = "HTTP/1.1 103 Early Hints\r\nX-Weir-Mode: open\r\nLink: </a>\r\n\r\n" +
	"HTTP/1.1 200 OK\r\nx-weir-mode: open\r\nX_Weir_Mode: open\r\nX-Mine: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"

func TestResponsesTellTheModeWhereTheListenerSaysSo(t *testing.T) {
	for _, on := range []bool{true, false} {
		be := testnet.NewBackend(t, sends(forged))
		guard := newGuard()
		r := newRig(t, rigOptions{backend: be.Addr().String(), settings: func(s *http1.Settings) {
			s.ModeHeader, s.Routes[0].Backend.Guard = on, guard
		}})
		c := r.client()
		for _, m := range append(limiter.Modes(), limiter.ModeNormal) {
			guard.Ladder.Force(limiter.Nanos(time.Now()), m)
			c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			a := c.answer("GET")
			heads := ""
			if m != limiter.ModeOpen {
				if a.status != 103 || a.get("Link") == "" {
					t.Fatalf("%v: %q", m, a.head)
				}
				heads = a.head
				a = c.answer("GET")
				if a.status != 200 || a.get("X-Mine") != "1" || a.body != "ok" {
					t.Errorf("%v: %q %q", m, a.head, a.body)
				}
			} else if a.status != 503 || a.get("X-Weir-Reason") != "breaker_open" || a.get("Retry-After") == "" {
				t.Errorf("%v: %q", m, a.head)
			}
			var got []string
			for line := range strings.SplitSeq(heads+a.head, "\r\n") {
				if name, value, ok := strings.Cut(line, ": "); ok && strings.EqualFold(strings.ReplaceAll(name, "_", "-"), "X-Weir-Mode") {
					got = append(got, value)
				}
			}
			var want []string
			switch {
			case on && m != limiter.ModeNormal:
				want = []string{m.String()}
			case !on && m != limiter.ModeOpen: // then it is a field like others
				want = []string{"open", "open", "open"}
			}
			if !slices.Equal(got, want) {
				t.Errorf("on %v, %v: X-Weir-Mode is %q, want %q", on, m, got, want)
			}
		}
	}
}

func TestRefusalsTellTheMode(t *testing.T) {
	be := testnet.NewBackend(t, sends(okAnswer))
	guard := newGuard()
	r := newRig(t, rigOptions{backend: be.Addr().String(), settings: func(s *http1.Settings) {
		s.ModeHeader = true
		b := s.Routes[0].Backend
		b.Guard, b.Static = guard, http1.NewStatic(true, "text/html", []byte(small))
		limited := http1.Route{Rule: http1.Rule{Path: "/limited"}, Backend: b,
			Limit: overlimit.Limit{Gate: newGate(t, limiter.GateOptions{PerRate: hourly(t, 1)}), By: byClient, Name: "route"}}
		s.Routes = []http1.Route{limited, {Rule: http1.Rule{Path: "/served"}, Backend: b}}
	}})
	guard.Ladder.Force(limiter.Nanos(time.Now()), limiter.ModeShedding)
	c := r.client()
	for _, tc := range []struct {
		path, reason, mode string
		status             int
	}{
		{"/limited", "", "shedding", 200}, {"/limited", "limit_per_rate", "shedding", 429},
		{"/served", "", "shedding", 200}, {"/elsewhere", "no_route/no_route", "", 404}, // no backend, no mode
	} {
		a := c.ask(tc.path)
		if a.status != tc.status || a.get("X-Weir-Reason") != tc.reason || a.get("X-Weir-Mode") != tc.mode || strings.Count(a.head, "X-Weir-Mode") > 1 {
			t.Errorf("%s: %q", tc.path, a.head)
		}
		if tc.reason == "limit_per_rate" && (strings.Count(a.head, "Retry-After:") != 1 || a.get("RateLimit") == "") {
			t.Errorf("%s: %q", tc.path, a.head)
		}
	}
	guard.Ladder.Force(limiter.Nanos(time.Now()), limiter.ModeOpen)
	if a := c.ask("/served"); a.status != 200 || a.get("X-Weir-Mode") != "open" || a.body != small {
		t.Errorf("the page: %q %q", a.head, a.body)
	}
}
