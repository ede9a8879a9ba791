package http1_test

import (
	"strings"
	"testing"
	"time"

	"weir/internal/testnet"
	"weir/limiter"
	"weir/pool"
	"weir/proxy/http1"
)

// oneAtATime is a backend whose requests wait for a token each.
func oneAtATime(t *testing.T) (*testnet.Backend, *tape, chan struct{}) {
	next := make(chan struct{})
	be, tp := recording(t, func(c *testnet.BackendConn) {
		for {
			if _, err := c.ReadRequest(); err != nil {
				return
			}
			<-next
			if c.Send(okAnswer) != nil {
				return
			}
		}
	})
	return be, tp, next
}

func (r *rig) waiting(n int) {
	r.t.Helper()
	testnet.WaitFor(r.t, testWait, "that many wait for the backend", func() bool { return r.pool.Stats().Waiting == n })
}

func TestMoreImportantRequestsGoFirst(t *testing.T) {
	be, tp, next := oneAtATime(t)
	r := newRig(t, rigOptions{backend: be.Addr().String(), maxOpen: 1, settings: func(s *http1.Settings) {
		s.Class, s.ClassField, s.Trusted = 4, "X-Priority", loopback
		s.Routes = append([]http1.Route{{Rule: http1.Rule{Path: "/vip"}, Backend: s.Routes[0].Backend, Class: 2}}, s.Routes...)
	}})
	var clients []*client
	ask := func(path, field string) {
		c := r.client()
		c.send("GET " + path + " HTTP/1.1\r\nHost: a\r\n" + field + "\r\n")
		clients = append(clients, c)
	}
	ask("/holder", "")
	testnet.WaitFor(t, testWait, "the first is under way", func() bool { return r.pool.Stats().Leased == 1 })
	for i, q := range [][2]string{
		{"/e", "X-Priority: 5\r\n"}, {"/d", ""}, {"/vip/c", ""}, {"/a", "x-priority: 1\r\n"}, {"/d2", "X-Priority: 9\r\n"}, {"/vip/f", "X-Priority: 55\r\n"}, {"/b", "X-Priority: 1\r\n"}, {"/d3", "X_Priority: 1\r\nX-Priority: 5\r\n"},
	} {
		ask(q[0], q[1])
		r.waiting(i + 1)
	}
	for range clients {
		next <- struct{}{}
	}
	for _, c := range clients {
		if a := c.answer("GET"); a.status != 200 {
			t.Errorf("%q", a.head)
		}
	}
	var got []string
	for line := range strings.Lines(tp.all()) {
		if path, ok := strings.CutPrefix(line, "GET "); ok {
			got = append(got, strings.Fields(path)[0])
		}
	}
	if want := "/holder /a /b /vip/c /vip/f /d /d2 /d3 /e"; strings.Join(got, " ") != want {
		t.Errorf("served %v, want %s", got, want)
	}
	if n := strings.Count(tp.all(), "riority:"); n != 7 {
		t.Errorf("%d fields of a trusted proxy went on, want 7", n)
	}
}

// What would be refused in any case is not asked for.
func TestABodyIsNotWaitedForWhereTheBackendIsLeftAlone(t *testing.T) {
	be, tp := recording(t, sends(okAnswer))
	guard := newGuard()
	r := newRig(t, rigOptions{backend: be.Addr().String(), settings: func(s *http1.Settings) { s.Routes[0].Backend.Guard = guard }})
	if err := guard.Ladder.Force(limiter.Nanos(time.Now()), limiter.ModeOpen); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		fields, body string
		kept         bool
	}{
		{"Content-Length: 50000", "only this", false},
		{"Content-Length: 50000\r\nExpect: 100-continue", "", false},
		{"Transfer-Encoding: chunked", "5\r\nhello\r\n", false},
		{"Content-Length: 4", "that", true},
		{"Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n", true},
	} {
		c := r.client()
		c.send("POST / HTTP/1.1\r\nHost: a\r\n" + tc.fields + "\r\n\r\n" + tc.body)
		if a := c.answer("POST"); a.status != 503 || a.get("X-Weir-Reason") != "breaker_open" || (a.get("Connection") != "close") != tc.kept {
			t.Errorf("%s, %q: %q", tc.fields, tc.body, a.head)
		}
	}
	if got := tp.all(); got != "" {
		t.Errorf("the backend got %q", got)
	}
	if _, shed, open := guard.Counts(); shed != [limiter.Classes]uint64{} || open != [limiter.Classes]uint64{3: 5} {
		t.Errorf("counted: %v, %v", shed, open)
	}
}

func TestOthersCannotSayHowImportantTheyAre(t *testing.T) {
	be, tp := recording(t, sends(okAnswer))
	r := newRig(t, rigOptions{backend: be.Addr().String(), settings: func(s *http1.Settings) {
		s.Class, s.ClassField = 3, "X-Priority"
	}})
	c := r.client()
	c.send("GET / HTTP/1.1\r\nHost: a\r\nX-Priority: 1\r\nx_priority: 1\r\n\r\n")
	if a := c.answer("GET"); a.status != 200 {
		t.Errorf("%q", a.head)
	}
	if got := tp.all(); strings.Contains(strings.ToLower(got), "riority") {
		t.Errorf("the backend got %q", got)
	}
}

func TestAClientThatLeftWhileItWaitedIsNotServed(t *testing.T) {
	be, tp, next := oneAtATime(t)
	r := newRig(t, rigOptions{backend: be.Addr().String(), maxOpen: 1})
	holder, left, half, stays := r.client(), r.client(), r.client(), r.client()
	holder.send("GET /holder HTTP/1.1\r\nHost: a\r\n\r\n")
	testnet.WaitFor(t, testWait, "the first is under way", func() bool { return r.pool.Stats().Leased == 1 })
	left.send("GET /left HTTP/1.1\r\nHost: a\r\n\r\n")
	r.waiting(1)
	stays.send("GET /stays HTTP/1.1\r\nHost: a\r\n\r\n")
	r.waiting(2)
	half.send("GET /half HTTP/1.1\r\nHost: a\r\n\r\n")
	half.CloseWrite() // with its request: it reads on
	r.waiting(3)
	testnet.Pace(nil, 100*time.Millisecond)
	left.Close()
	for range 3 {
		next <- struct{}{}
	}
	for _, c := range []*client{holder, stays, half} {
		if a := c.answer("GET"); a.status != 200 {
			t.Errorf("%q", a.head)
		}
	}
	if got := tp.all(); strings.Contains(got, "/left") || !strings.Contains(got, "/half") {
		t.Errorf("the backend got %q", got)
	}
	if st := r.pool.Stats(); st.Unused != 1 {
		t.Errorf("%d leases were given back unused", st.Unused)
	}
	testnet.WaitFor(t, testWait, "one client to be counted as gone", func() bool {
		return r.front.Stats().Requests["api"]["client_gone"] == 1
	})
}

func TestAnOpenModeAsksTheBackendNothing(t *testing.T) {
	be := testnet.NewBackend(t, sends(okAnswer))
	guard := &limiter.Guard{Breaker: limiter.NewBreaker(nil), Ladder: limiter.NewLadder(limiter.Nanos(time.Now()), nil)}
	r := newRig(t, rigOptions{backend: be.Addr().String(), settings: func(s *http1.Settings) { s.Routes[0].Backend.Guard = guard }})
	c := r.client()
	c.kept()
	guard.Ladder.Force(limiter.Nanos(time.Now()), limiter.ModeOpen)
	if a := c.ask("/"); a.status != 503 || a.get("X-Weir-Reason") != "breaker_open" || a.get("Retry-After") == "" || a.get("Connection") != "" {
		t.Errorf("%q", a.head)
	}
	guard.Ladder.Release(limiter.Nanos(time.Now()))
	c.kept()
	if n := be.Requests(); n != 2 {
		t.Errorf("the backend got %d requests", n)
	}
}

func TestTheBreakerHearsOfWhatFailedAtTheBackendAlone(t *testing.T) {
	for name, tc := range map[string]struct {
		script  testnet.Script
		request string
		want    [2]uint64 // successes, failures
	}{
		"ok":              {sends(okAnswer), "GET / HTTP/1.1\r\nHost: a\r\n\r\n", [2]uint64{1, 0}},
		"status 500":      {sends("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"), "GET / HTTP/1.1\r\nHost: a\r\n\r\n", [2]uint64{1, 0}},
		"no HTTP":         {sends("what?\r\n\r\n"), "GET / HTTP/1.1\r\nHost: a\r\n\r\n", [2]uint64{0, 1}},
		"close":           {func(c *testnet.BackendConn) { c.ReadRequest() }, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", [2]uint64{0, 1}},
		"cut in the body": {sendsOnce("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), "GET / HTTP/1.1\r\nHost: a\r\n\r\n", [2]uint64{1, 1}},
		"bad request":     {sends(okAnswer), "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", [2]uint64{0, 0}},
	} {
		be := testnet.NewBackend(t, tc.script)
		guard := &limiter.Guard{Breaker: limiter.NewBreaker(nil), Ladder: limiter.NewLadder(limiter.Nanos(time.Now()), nil)}
		guard.Breaks.Store(true)
		r := newRig(t, rigOptions{backend: be.Addr().String(), settings: func(s *http1.Settings) { s.Routes[0].Backend.Guard = guard }})
		c := r.client()
		c.send(tc.request)
		c.tryAnswer("GET")
		c.Close()
		testnet.WaitFor(t, testWait, name+": heard", func() bool {
			st := guard.Breaker.Stats(limiter.Nanos(time.Now()))
			return st.Successes == tc.want[0] && st.Failures == tc.want[1]
		})
	}
}

func TestAQueueWithATargetGivesUpWhoWaitedTooLong(t *testing.T) {
	be, _, next := oneAtATime(t)
	r := newRig(t, rigOptions{backend: be.Addr().String(), maxOpen: 1, options: func(o *pool.Options) { o.QueueTimeout = testWait }})
	r.pool.SetTarget(time.Millisecond)
	holder, old := r.client(), r.client()
	holder.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	testnet.WaitFor(t, testWait, "the first is under way", func() bool { return r.pool.Stats().Leased == 1 })
	old.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	r.waiting(1)
	testnet.WaitFor(t, testWait, "the queue is overloaded", func() bool { return !r.pool.Pressure().Overloaded[3].IsZero() })
	young := r.client()
	young.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if a := old.answer("GET"); a.status != 503 || a.get("X-Weir-Reason") != "shed" {
		t.Errorf("%q", a.head)
	}
	next <- struct{}{}
	next <- struct{}{}
	for _, c := range []*client{holder, young} {
		if a := c.answer("GET"); a.status != 200 {
			t.Errorf("%q", a.head)
		}
	}
}

func TestProbesThatStreamCloseTheBreaker(t *testing.T) {
	hold := make(chan struct{})
	defer close(hold)
	be := testnet.NewBackend(t, func(c *testnet.BackendConn) {
		for {
			if _, err := c.ReadRequest(); err != nil || c.Send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf") != nil {
				return
			}
			<-hold
		}
	})
	guard := &limiter.Guard{Breaker: limiter.NewBreaker(nil), Ladder: limiter.NewLadder(limiter.Nanos(time.Now()), nil)}
	guard.Breaks.Store(true)
	ago := limiter.Nanos(time.Now().Add(-time.Minute))
	for range 20 {
		if ticket, err := guard.Breaker.Allow(ago); err == nil {
			ticket.Done(ago, limiter.Failed)
		}
	}
	r := newRig(t, rigOptions{backend: be.Addr().String(), settings: func(s *http1.Settings) { s.Routes[0].Backend.Guard = guard }})
	var clients []*client
	for range 3 {
		c := r.client()
		c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if line, err := c.br.ReadString('\n'); err != nil || line != "HTTP/1.1 200 OK\r\n" {
			t.Fatalf("%q, %v", line, err)
		}
		clients = append(clients, c)
	}
	if st := guard.Breaker.Stats(limiter.Nanos(time.Now())); st.State != limiter.BreakerClosed {
		t.Errorf("after three that were answered it is %v", st.State)
	}
	for _, c := range clients {
		c.Close()
	}
}
