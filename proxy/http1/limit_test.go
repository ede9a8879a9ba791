package http1_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/internal/testnet"
	"weir/limiter"
	"weir/proxy/fault/overlimit"
	"weir/proxy/http1"
)

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// hourly is burst at once and no more within a test.
func hourly(t *testing.T, burst int) limiter.Limit {
	t.Helper()
	l, err := limiter.NewLimit(1, time.Hour, burst)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func newGate(t *testing.T, o limiter.GateOptions) *limiter.Gate {
	t.Helper()
	o.Keys = 1024
	g, err := limiter.NewGate(o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// limited is a rig whose listener has these limits, before a backend that counts.
func limited(t *testing.T, o limiter.GateOptions, by limiter.KeyBy, more ...func(*http1.Settings)) (*rig, *testnet.Backend) {
	be := testnet.NewBackend(t, sends(okAnswer))
	r := newRig(t, rigOptions{backend: be.Addr().String(), settings: func(s *http1.Settings) {
		s.Limit = overlimit.Limit{Gate: newGate(t, o), By: by, Name: "listeners[web]"}
		for _, f := range more {
			f(s)
		}
	}})
	return r, be
}

var byClient = limiter.KeyBy{IPv4: 32, IPv6: 64}

// number reads a parameter of a structured field.
func number(t *testing.T, field, param string) int {
	t.Helper()
	_, rest, ok := strings.Cut(field, ";"+param+"=")
	rest, _, _ = strings.Cut(rest, ";")
	n, err := strconv.Atoi(rest)
	if !ok || err != nil {
		t.Fatalf("%q has no %s", field, param)
	}
	return n
}

func TestAClientOverItsRateIsRefusedOnAConnectionThatIsKept(t *testing.T) {
	r, be := limited(t, limiter.GateOptions{PerRate: hourly(t, 3)}, byClient)
	c := r.client()
	for left := 2; left >= 0; left-- {
		a := c.ask("/")
		if a.status != 200 || a.body != "ok" {
			t.Fatalf("%d %q", a.status, a.body)
		}
		if got := a.get("RateLimit-Policy"); got != `"client";q=3;w=10800` {
			t.Errorf("RateLimit-Policy %q", got)
		}
		if got := a.get("RateLimit"); !strings.HasPrefix(got, `"client";`) || number(t, got, "r") != left || number(t, got, "t") < 1 {
			t.Errorf("RateLimit %q, want %d left", got, left)
		}
	}
	a := c.ask("/")
	if a.status != 429 || a.get("X-Weir-Reason") != "limit_per_rate" || a.get("Connection") != "" {
		t.Errorf("%q", a.head)
	}
	if after, err := strconv.Atoi(a.get("Retry-After")); err != nil || after < 3590 || after > 3602 {
		t.Errorf("Retry-After %q", a.get("Retry-After"))
	}
	if got := a.get("RateLimit"); number(t, got, "r") != 0 || number(t, got, "t") < 3590 {
		t.Errorf("RateLimit %q", got)
	}
	if a := c.ask("/"); a.status != 429 {
		t.Errorf("%q", a.head)
	}
	if n := be.Requests(); n != 3 {
		t.Errorf("the backend got %d requests", n)
	}
	if n := r.front.Stats().Requests["api"]["limit_per_rate"]; n != 2 {
		t.Errorf("%d are counted", n)
	}
}

func TestTheRateOfAllIsNoClients(t *testing.T) {
	r, be := limited(t, limiter.GateOptions{Rate: hourly(t, 2)}, byClient)
	for range 2 {
		if a := r.client().ask("/"); a.status != 200 || a.get("RateLimit") != "" {
			t.Errorf("%q", a.head)
		}
	}
	a := r.client().ask("/")
	if a.status != 503 || a.get("X-Weir-Reason") != "limit_rate" || a.get("Retry-After") == "" || a.get("RateLimit") != "" {
		t.Errorf("%q", a.head)
	}
	if n := be.Requests(); n != 2 {
		t.Errorf("the backend got %d requests", n)
	}
}

func TestKeysAreCountedApart(t *testing.T) {
	r, _ := limited(t, limiter.GateOptions{PerRate: hourly(t, 1)}, limiter.KeyBy{Header: "X-Api-Key"})
	for _, tc := range []struct {
		field string
		want  int
	}{
		{"X-Api-Key: a\r\n", 200}, {"x-api-key: b\r\n", 200}, {"X-API-KEY:   a  \r\n", 429},
		{"", 200}, {"X-Api-Key:\r\n", 429}, // none, and an empty one, are one key
		// So are several, and what may be taken for the same: a backend may read the other.
		{"X_Api_Key: x\r\n", 429}, {"X-Api-Key: c\r\nX-Api-Key: d\r\n", 429}, {"X_Api-Key: x\r\nX-Api-Key: e\r\n", 429},
		{"X-Api-Key: c\r\n", 200}, {"X-Api-Key: e\r\n", 200},
	} {
		c := r.client()
		c.send("GET / HTTP/1.1\r\nHost: a\r\n" + tc.field + "\r\n")
		if a := c.answer("GET"); a.status != tc.want {
			t.Errorf("%q: %d, want %d", tc.field, a.status, tc.want)
		}
	}
}

func TestRequestsUnderWayAreBounded(t *testing.T) {
	hold := make(chan struct{})
	be := testnet.NewBackend(t, func(c *testnet.BackendConn) {
		for {
			if _, err := c.ReadRequest(); err != nil {
				return
			}
			<-hold
			if c.Send(okAnswer) != nil {
				return
			}
		}
	})
	r := newRig(t, rigOptions{backend: be.Addr().String(), settings: func(s *http1.Settings) {
		s.Routes[0].Limit = overlimit.Limit{Gate: newGate(t, limiter.GateOptions{InFlight: 2}), Name: "route"}
	}})
	gate := r.set.Routes[0].Limit.Gate
	a, b, c := r.client(), r.client(), r.client()
	a.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	b.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	testnet.WaitFor(t, testWait, "two are under way", func() bool { return gate.InFlight() == 2 })
	if got := c.ask("/"); got.status != 503 || got.get("X-Weir-Reason") != "limit_in_flight" {
		t.Errorf("%q", got.head)
	}
	close(hold)
	for _, x := range []*client{a, b} {
		if got := x.answer("GET"); got.status != 200 {
			t.Errorf("%q", got.head)
		}
	}
	c.kept()
	testnet.WaitFor(t, testWait, "none is under way", func() bool { return gate.InFlight() == 0 })
}

func TestWhatALaterLimitRefusesCostsNothingAtThoseBefore(t *testing.T) {
	be := testnet.NewBackend(t, sends(okAnswer))
	r := newRig(t, rigOptions{backend: be.Addr().String(), settings: func(s *http1.Settings) {
		s.Limit = overlimit.Limit{Gate: newGate(t, limiter.GateOptions{Rate: hourly(t, 2), PerRate: hourly(t, 2), InFlight: 1}), By: byClient}
		s.Routes = []http1.Route{
			{Rule: http1.Rule{Path: "/shut"}, Backend: s.Routes[0].Backend, Limit: overlimit.Limit{Gate: newGate(t, limiter.GateOptions{Rate: hourly(t, 1)})}},
			s.Routes[0],
		}
	}})
	for i, want := range []int{200, 503, 503, 503, 200, 429} {
		path := "/shut"
		if i >= 4 {
			path = "/"
		}
		if a := r.client().ask(path); a.status != want {
			t.Errorf("request %d: %q", i, a.head)
		}
	}
	if n := be.Requests(); n != 2 {
		t.Errorf("the backend got %d requests", n)
	}
}

func TestAClientThatGoesOnAfterThreeRefusalsIsLeftUnread(t *testing.T) {
	soon, err := limiter.NewLimit(2, time.Second, 1)
	if err != nil {
		t.Fatal(err)
	}
	r, be := limited(t, limiter.GateOptions{PerRate: soon}, byClient)
	c := r.client()
	c.kept()
	refused := 0
	for range 3 {
		if a := c.ask("/"); a.status == 429 {
			refused++
		}
	}
	if refused != 3 {
		t.Fatalf("%d of 3 were refused", refused) // under 500 ms
	}
	testnet.WaitFor(t, testWait, "its socket is left unread", func() bool { return r.l.Stats().LeftUnread == 1 })
	if a := c.ask("/again"); a.status != 200 {
		t.Errorf("it was read before its time: %q", a.head)
	}
	if n := be.Requests(); n != 2 {
		t.Errorf("the backend got %d requests", n)
	}
}

// Nor does it help to send all at once: what has been read already waits, too, and
// is answered in order, the longer the later.
func TestAClientThatPipelinesIsLeftUnreadAsWell(t *testing.T) {
	soon, err := limiter.NewLimit(5, time.Second, 1)
	if err != nil {
		t.Fatal(err)
	}
	r, be := limited(t, limiter.GateOptions{PerRate: soon}, byClient)
	const all = 400 // more than one buffer holds
	c := r.client()
	go func() { // ends with the connection
		for i := range all {
			fmt.Fprintf(c.Conn, "GET /%d HTTP/1.1\r\nHost: a\r\nX-Filler: %s\r\n\r\n", i, strings.Repeat("x", i%97))
		}
	}()
	served, answers := 0, 0
	for ; served < 4; answers++ {
		if a := c.answer("GET"); a.status == 200 {
			served++
		}
	}
	// The first one, and then one with each token: 3 refusals before the first
	// rest, one before each other.
	if answers > 20 {
		t.Errorf("%d requests were answered until 4 were served", answers)
	}
	if n := r.l.Stats().LeftUnread; n < 3 {
		t.Errorf("it was left unread %d times", n)
	}
	if n := be.Requests(); n != 4 {
		t.Errorf("the backend got %d requests", n)
	}
}

func TestARefusalReadsNoMoreThanHasCome(t *testing.T) {
	r, be := limited(t, limiter.GateOptions{Rate: hourly(t, 1)}, byClient)
	c := r.client()
	c.kept()
	for _, body := range []string{"Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"} {
		c.send("POST / HTTP/1.1\r\nHost: a\r\n" + body + "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		for _, method := range []string{"POST", "GET"} {
			if a := c.answer(method); a.status != 503 || a.get("Connection") != "" {
				t.Errorf("%s: %q", method, a.head)
			}
		}
	}
	c.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if a := c.answer("HEAD"); a.status != 503 || a.get("Content-Length") == "0" {
		t.Errorf("HEAD: %q", a.head)
	}
	if a := c.answer("GET"); a.status != 503 {
		t.Errorf("after HEAD: %q", a.head)
	}
	c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nhello")
	if a := c.answer("POST"); a.status != 503 || a.get("Connection") != "close" {
		t.Errorf("POST that has not come: %q", a.head)
	}
	c.closed()
	c = r.client()
	c.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
	if a := c.answer("POST"); a.status != 503 || a.get("Connection") != "close" {
		t.Errorf("POST with a bad body: %q", a.head)
	}
	c.closed()
	if n := be.Requests(); n != 1 {
		t.Errorf("the backend got %d requests", n)
	}
}

func TestAWebSocketIsUnderWayToItsEnd(t *testing.T) {
	be := testnet.NewBackend(t, func(c *testnet.BackendConn) {
		if _, err := c.ReadRequest(); err == nil {
			c.Send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n")
			c.R.ReadByte()
		}
	})
	r := newRig(t, rigOptions{backend: be.Addr().String(), settings: func(s *http1.Settings) {
		s.Limit = overlimit.Limit{Gate: newGate(t, limiter.GateOptions{InFlight: 1})}
	}})
	c := r.client()
	c.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
	if a := c.answer("GET"); a.status != 101 {
		t.Fatalf("%q", a.head)
	}
	if a := r.client().ask("/"); a.status != 503 {
		t.Errorf("%q", a.head)
	}
	c.Close()
	testnet.WaitFor(t, testWait, "it is over", func() bool { return r.set.Limit.Gate.InFlight() == 0 })
}

func TestEveryWayOutLeavesTheGate(t *testing.T) {
	be := testnet.NewBackend(t, sendsOnce("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"))
	r := newRig(t, rigOptions{backend: be.Addr().String(), settings: func(s *http1.Settings) {
		s.MaxBody = 10
		s.BodyIdle = 50 * time.Millisecond
		s.Limit = overlimit.Limit{Gate: newGate(t, limiter.GateOptions{InFlight: 1})}
	}})
	for i, request := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n", // the response is cut off
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n0123456789abcdef", // too large
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel",                             // too slow
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nno",                     // bad
	} {
		c := r.client()
		c.send(request)
		c.tryAnswer("GET")
		c.Close()
		testnet.WaitFor(t, testWait, fmt.Sprintf("request %d is over", i), func() bool { return r.set.Limit.Gate.InFlight() == 0 })
	}
	if n := r.set.Limit.Gate.Refused(); n[limiter.OverInFlight] != 0 {
		t.Errorf("%d were refused", n)
	}
}

func TestConnectionsOfOneClientAreBounded(t *testing.T) {
	be := testnet.NewBackend(t, sends(okAnswer))
	counts := new(limiter.Counts)
	r := newRig(t, rigOptions{backend: be.Addr().String(), settings: func(s *http1.Settings) {
		s.Connections = overlimit.Connections{All: counts, PerClient: 2, By: byClient}
	}})
	a, b := r.client(), r.client()
	a.kept()
	b.kept()
	c := r.client()
	if got := c.answer("GET"); got.status != 429 || got.get("X-Weir-Reason") != "client_connections" || got.get("Connection") != "close" {
		t.Errorf("%q", got.head)
	}
	c.closed()
	a.Close()
	b.Close()
	testnet.WaitFor(t, testWait, "both have left", func() bool { return counts.Stats().Open == 0 })
	r.client().kept()
	if n := r.front.Stats().Requests[""]["client_connections"]; n != 1 {
		t.Errorf("%d are counted", n)
	}
}

func TestConnectionsOfOneClientAreOpenedAtARate(t *testing.T) {
	be := testnet.NewBackend(t, sends(okAnswer))
	rates, err := limiter.NewRates(hourly(t, 2), 1024)
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, rigOptions{backend: be.Addr().String(), settings: func(s *http1.Settings) {
		s.Connections = overlimit.Connections{All: new(limiter.Counts), Rate: rates, By: byClient}
	}})
	for range 2 {
		c := r.client()
		c.kept()
		c.Close()
	}
	c := r.client()
	got := c.answer("GET")
	if got.status != 429 || got.get("X-Weir-Reason") != "connection_rate" {
		t.Errorf("%q", got.head)
	}
	// The next one may come in an hour.
	if after, err := strconv.Atoi(got.get("Retry-After")); err != nil || after < 3590 || after > 3603 {
		t.Errorf("Retry-After is %q", got.get("Retry-After"))
	}
	c.closed()
}

// It was left unread for an hour, and leaves.
func TestAClientThatLeavesWhileItIsLeftUnreadGivesItsPlaceBack(t *testing.T) {
	counts := new(limiter.Counts)
	r, _ := limited(t, limiter.GateOptions{PerRate: hourly(t, 1)}, byClient, func(s *http1.Settings) {
		s.Connections = overlimit.Connections{All: counts, PerClient: 1, By: byClient}
	})
	c := r.client()
	c.kept()
	for range 3 {
		if a := c.ask("/"); a.status != 429 {
			t.Fatalf("%q", a.head)
		}
	}
	testnet.WaitFor(t, testWait, "its socket is left unread", func() bool { return r.l.Stats().Unread == 1 })
	c.Close()
	if !rawPath {
		return // there it is known when its time is over
	}
	testnet.WaitFor(t, testWait, "its place is free", func() bool { return counts.Stats().Open == 0 && r.l.Stats().Unread == 0 })
}

func TestWhatHasNoRouteIsWithinTheListenersLimitsToo(t *testing.T) {
	var gate *limiter.Gate
	r, be := limited(t, limiter.GateOptions{PerRate: hourly(t, 2)}, byClient, func(s *http1.Settings) {
		s.Routes[0].Path, gate = "/api/", s.Limit.Gate
	})
	c := r.client()
	for i, want := range []int{404, 404, 429, 429} {
		if a := c.ask("/wp-admin"); a.status != want {
			t.Errorf("request %d: %d, want %d", i, a.status, want)
		}
	}
	if n := be.Requests(); n != 0 {
		t.Errorf("the backend got %d requests", n)
	}
	if n := r.front.Stats().Requests[""]["limit_per_rate"]; n != 2 {
		t.Errorf("%d are counted", n)
	}
	if n := gate.InFlight(); n != 0 {
		t.Errorf("%d are said to be under way", n)
	}
}
