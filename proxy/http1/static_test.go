package http1_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/internal/testnet"
	"weir/limiter"
	"weir/pool"
	"weir/proxy/fault/overlimit"
	"weir/proxy/http1"
)

const small = "<h1>Sorry</h1>"

// large is more than goes behind a head in one write.
var large = strings.Repeat("<p>Sorry</p>", 64<<10/12)

func newGuard() *limiter.Guard {
	return &limiter.Guard{Breaker: limiter.NewBreaker(nil), Ladder: limiter.NewLadder(limiter.Nanos(time.Now()), nil)}
}

// left is a rig with a page, whose backend a hand has told to be left alone.
func left(t *testing.T, ok bool, body string) (*rig, *testnet.Backend, *limiter.Guard) {
	be := testnet.NewBackend(t, sends(okAnswer))
	guard := newGuard()
	r := newRig(t, rigOptions{backend: be.Addr().String(), settings: func(s *http1.Settings) {
		s.Routes[0].Backend.Guard = guard
		s.Routes[0].Backend.Static = http1.NewStatic(ok, "text/html; charset=utf-8", []byte(body))
	}})
	guard.Ladder.Force(limiter.Nanos(time.Now()), limiter.ModeOpen)
	return r, be, guard
}

func TestAPageStandsInForTheTextOfARefusal(t *testing.T) {
	for name, body := range map[string]string{"small": small, "large": large} {
		for _, ok := range []bool{false, true} {
			r, be, guard := left(t, ok, body)
			c := r.client()
			for _, tc := range []struct {
				method, head, rest string
				version            string
				status             int // where GET and HEAD get 200
				connection         string
			}{
				{"GET", "", "", "HTTP/1.1", 200, ""},
				{"HEAD", "", "", "HTTP/1.1", 200, ""},
				{"GET", "If-None-Match: *\r\nRange: bytes=0-1\r\n", "", "HTTP/1.1", 200, ""},
				// 200 would say that the order was taken.
				{"POST", "Content-Length: 5\r\n", "order", "HTTP/1.1", 503, ""},
				{"DELETE", "", "", "HTTP/1.1", 503, ""},
				{"GET", "Connection: keep-alive\r\n", "", "HTTP/1.0", 200, "keep-alive"},
				{"GET", "Connection: close\r\n", "", "HTTP/1.1", 200, "close"},
			} {
				want := 503
				if ok {
					want = tc.status
				}
				c.send(tc.method + " / " + tc.version + "\r\nHost: a\r\n" + tc.head + "\r\n" + tc.rest)
				a := c.answer(tc.method)
				if a.status != want || !strings.HasPrefix(a.head, "HTTP/1.1 "+map[int]string{200: "200 OK\r\n", 503: "503 Service Unavailable\r\n"}[want]) {
					t.Errorf("%s, ok %v: %s: %q", name, ok, tc.method, a.head)
				}
				if tc.method != "HEAD" && a.body != body {
					t.Errorf("%s, ok %v: %s: a body of %d bytes", name, ok, tc.method, len(a.body))
				}
				for field, value := range map[string]string{
					"Content-Type": "text/html; charset=utf-8", "Content-Length": strconv.Itoa(len(body)), "X-Weir-Reason": "breaker_open",
					"Cache-Control": "no-store", "Connection": tc.connection,
				} {
					if got := a.get(field); got != value || strings.Count(a.head, field+":") > 1 {
						t.Errorf("%s, ok %v: %s: %s is %q, want %q once", name, ok, tc.method, field, got, value)
					}
				}
				if after := a.get("Retry-After"); want == 503 && !slices.Contains([]string{"1", "2", "3"}, after) || want == 200 && after != "" {
					t.Errorf("%s, ok %v: %s: Retry-After %q", name, ok, tc.method, after)
				}
			}
			c.closed() // it was the last one's wish, and all before were on the same connection
			guard.Ladder.Release(limiter.Nanos(time.Now()))
			r.client().kept()
			if n := be.Requests(); n != 1 {
				t.Errorf("the backend got %d requests", n)
			}
			if n := r.front.Stats().Requests["api"]["breaker_open"]; n != 7 {
				t.Errorf("%d are counted as refused, want 7 whatever the status", n)
			}
		}
	}
}

func TestAPageIsForOverloadAlone(t *testing.T) {
	for want, tc := range map[string]struct {
		page    bool
		options func(o *pool.Options)
		prepare func(r *rig, s *http1.Settings)
		class   limiter.Class
	}{
		"queue_full":    {page: true, options: func(o *pool.Options) { o.QueueMax = 0 }},
		"queue_timeout": {page: true, options: func(o *pool.Options) { o.QueueTimeout = 20 * time.Millisecond }},
		"limit_rate": {prepare: func(r *rig, s *http1.Settings) {
			s.Routes[0].Limit = overlimit.Limit{Gate: newGate(t, limiter.GateOptions{Rate: hourly(t, 1)}), Name: "route"}
		}},
		"dial_refused": {prepare: func(r *rig, s *http1.Settings) {
			dead := newBackend(t, "dead", "127.0.0.1:1")
			dead.Static = s.Routes[0].Backend.Static
			s.Routes = append([]http1.Route{{Rule: http1.Rule{Path: "/refused"}, Backend: dead}}, s.Routes...)
		}},
		"no_route/no_route": {prepare: func(r *rig, s *http1.Settings) { s.Routes[0].Rule = http1.Rule{Path: "/holder"} }},
	} {
		t.Run(want, func(t *testing.T) {
			be, _, next := oneAtATime(t)
			r := newRig(t, rigOptions{backend: be.Addr().String(), maxOpen: 1, options: tc.options, settings: func(s *http1.Settings) {
				s.Routes[0].Backend.Static = http1.NewStatic(true, "text/html", []byte(small))
				if tc.prepare != nil {
					tc.prepare(nil, s)
				}
			}})
			holder := r.client()
			holder.send("GET /holder HTTP/1.1\r\nHost: a\r\n\r\n")
			testnet.WaitFor(t, testWait, "the first is under way", func() bool { return r.pool.Stats().Leased == 1 })
			a := r.client().ask("/refused")
			if a.get("X-Weir-Reason") != want || (a.body == small && a.status == 200) != tc.page || !tc.page && !strings.HasPrefix(a.body, "weir: ") {
				t.Errorf("%q %q", a.head, a.body)
			}
			next <- struct{}{}
			if a := holder.answer("GET"); a.status != 200 || a.body != "ok" {
				t.Errorf("%q", a.head)
			}
		})
	}
}

// A request whose body is still to come is not waited for; the page is whole all the same.
func TestAPageReachesAClientWhoseBodyIsNotReadToItsEnd(t *testing.T) {
	r, be, _ := left(t, true, large)
	c := r.client()
	c.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5000000\r\n\r\n")
	if a := c.answer("POST"); a.status != 503 || a.body != large || a.get("Connection") != "close" {
		t.Errorf("%q, %d bytes", a.head, len(a.body))
	}
	c.closed()
	if n := be.Requests(); n != 0 {
		t.Errorf("the backend got %d requests", n)
	}
}

func TestShedRequestsGetThePage(t *testing.T) {
	be, _, next := oneAtATime(t)
	r := newRig(t, rigOptions{backend: be.Addr().String(), maxOpen: 1, options: func(o *pool.Options) { o.QueueMax = 1 }, settings: func(s *http1.Settings) {
		s.Class, s.ClassField, s.Trusted = 4, "X-Priority", loopback
		s.Routes[0].Backend.Static = http1.NewStatic(false, "text/html", []byte(small))
	}})
	holder, loser, winner := r.client(), r.client(), r.client()
	holder.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	testnet.WaitFor(t, testWait, "the first is under way", func() bool { return r.pool.Stats().Leased == 1 })
	loser.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	r.waiting(1)
	winner.send("GET / HTTP/1.1\r\nHost: a\r\nX-Priority: 1\r\n\r\n")
	if a := loser.answer("GET"); a.status != 503 || a.get("X-Weir-Reason") != "shed" || a.body != small {
		t.Errorf("%q %q", a.head, a.body)
	}
	next <- struct{}{}
	next <- struct{}{}
	for _, c := range []*client{holder, winner} {
		if a := c.answer("GET"); a.status != 200 {
			t.Errorf("%q", a.head)
		}
	}
}
