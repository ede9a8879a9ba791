package storm

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/testnet"
)

// atOnce is what an end may take on a machine that does other things too. What
// it is told from are waits of a minute.
const atOnce = 5 * time.Second

// silent is a server that reads requests and answers none, and how many it has read.
func silent(t *testing.T) (url string, reads *atomic.Int64) {
	t.Helper()
	reads = new(atomic.Int64)
	b := testnet.NewBackend(t, func(c *testnet.BackendConn) {
		if _, err := c.ReadRequest(); err == nil {
			reads.Add(1)
			c.Stall()
		}
	})
	return "http://" + b.Addr().String() + "/", reads
}

// silentMySQL is one that says as much of says, and then reads and answers no
// more; and how many clients have come so far.
func silentMySQL(t *testing.T, says ...string) (url string, reads *atomic.Int64) {
	t.Helper()
	reads = new(atomic.Int64)
	b := testnet.NewBackend(t, func(c *testnet.BackendConn) {
		for _, text := range says {
			if c.Send(text) != nil || read(c) != nil {
				return
			}
		}
		reads.Add(1)
		c.Stall()
	})
	return "mysql://app@" + b.Addr().String() + "/", reads
}

// silences are servers that leave clients waiting, each in another place.
func silences(t *testing.T) map[string]func() (url string, reads *atomic.Int64) {
	return map[string]func() (string, *atomic.Int64){
		"http":              func() (string, *atomic.Int64) { return silent(t) },
		"mysql no greeting": func() (string, *atomic.Int64) { return silentMySQL(t) },
		"mysql no login":    func() (string, *atomic.Int64) { return silentMySQL(t, greeting()) },
		"mysql no answer":   func() (string, *atomic.Int64) { return silentMySQL(t, greeting(), ok(2)) },
	}
}

// ended wants that every request of o is accounted for: each that was under way
// failed as kind, once for each worker at most, and the rest not begun.
func ended(t *testing.T, r *Result, o Options, kind string) {
	t.Helper()
	n := r.Errors[kind]
	if r.Ended != kind || r.Requests != 0 || len(r.Errors) != 1 || n < 1 || n > o.Concurrency || r.NotBegun != o.Requests-n {
		t.Errorf("ended %q, %d answered, %v, %d not begun", r.Ended, r.Requests, r.Errors, r.NotBegun)
	}
	if r.Elapsed > atOnce {
		t.Errorf("took %v", r.Elapsed)
	}
}

func TestTheLimitEndsRequestsThatWaitForAnAnswer(t *testing.T) {
	for name, silence := range silences(t) {
		t.Log(name)
		for _, m := range Modes() {
			url, _ := silence()
			o := options(url)
			o.Mode, o.Timeout, o.Limit = m, time.Minute, 500*time.Millisecond
			r, err := Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			ended(t, r, o, CutByLimit)
		}
	}
}

func TestAnInterruptionEndsRequestsThatWaitForAnAnswer(t *testing.T) {
	for name, silence := range silences(t) {
		t.Log(name)
		url, reads := silence()
		o := options(url)
		o.Timeout, o.Settle = time.Minute, time.Minute
		ctx, cancel := context.WithCancel(t.Context())
		go func() { // ends by itself, and before Run
			testnet.Poll(atOnce, func() bool { return reads.Load() == int64(o.Concurrency) })
			cancel()
		}()
		began := time.Now()
		r, err := Run(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		ended(t, r, o, Interrupted)
		if d := time.Since(began); d > 2*atOnce {
			t.Errorf("the whole took %v: the sockets' settling was not interrupted", d)
		}
	}
}

func TestAnInterruptionEndsAnAnswerThatNeverEnds(t *testing.T) {
	var began atomic.Int64
	b := testnet.NewBackend(t, func(c *testnet.BackendConn) {
		if _, err := c.ReadRequest(); err != nil || c.Send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n") != nil {
			return
		}
		began.Add(1)
		for c.Send("x") == nil && c.Pause(time.Millisecond) {
		}
	})
	o := options("http://" + b.Addr().String() + "/")
	o.Timeout = time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	go func() { // ends by itself, and before Run
		testnet.Poll(atOnce, func() bool { return began.Load() == int64(o.Concurrency) })
		cancel()
	}()
	r, err := Run(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	ended(t, r, o, Interrupted)
}

func TestTheLimitEndsAStormThatOnlyFails(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	o := options("http://" + l.Addr().String() + "/")
	o.Requests, o.Limit = MaxRequests, 200*time.Millisecond
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Ended != CutByLimit || r.Failed()+r.NotBegun != o.Requests || r.Errors["timeout"] != 0 {
		t.Errorf("ended %q, %v, %d not begun", r.Ended, r.Errors, r.NotBegun)
	}
}

func TestATimeoutIsNoEndOfTheStorm(t *testing.T) {
	url, _ := silent(t)
	o := options(url)
	o.Requests, o.Timeout = 8, 50*time.Millisecond
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Errors["timeout"] != 8 || r.Ended != "" || r.NotBegun != 0 {
		t.Errorf("ended %q, %v, %d not begun", r.Ended, r.Errors, r.NotBegun)
	}
}
