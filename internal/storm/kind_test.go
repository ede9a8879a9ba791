package storm

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/testnet"
)

func TestFailuresAreCountedByKind(t *testing.T) {
	respond := func(text string) testnet.Script {
		return func(c *testnet.BackendConn) {
			if _, err := c.ReadRequest(); err == nil {
				c.Send(text)
			}
		}
	}
	for _, test := range []struct {
		script testnet.Script
		mode   Mode
		kind   string
	}{
		{respond("HTTP/1.1 503 X\r\nX-Weir-Reason: queue_full\r\nContent-Length: 0\r\n\r\n"), ClientCloses, "status 503 (queue_full)"},
		{respond("HTTP/1.1 400 X\r\nX-Weir-Reason: bad_request/obs_fold\r\nContent-Length: 0\r\n\r\n"), ClientCloses, "status 400 (bad_request/obs_fold)"},
		{respond("HTTP/1.1 503 X\r\nX-Weir-Reason: RED alert\r\nContent-Length: 0\r\n\r\n"), ClientCloses, "status 503"},
		{respond("HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n"), ClientCloses, "status 404"},
		{respond(""), ClientCloses, "closed without an answer"},
		{respond("HTTP/1.1 200 OK\r\nContent-Le"), ClientCloses, "closed within an answer"},
		{respond("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), ClientCloses, "closed within an answer"},
		{func(c *testnet.BackendConn) { c.ReadRequest(); c.Reset() }, ClientCloses, "connection reset"},
		{testnet.Garbage, ClientCloses, "the answer is not valid HTTP"},
		{respond("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*maxHead) + "\r\n\r\n"), ClientCloses, "the answer's head is over 16 KiB"},
		{respond("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"), ClientCloses, "the answer's body is over 64 MiB"},
		{testnet.Twice, ServerCloses, "no clean end after the answer: more bytes"},
		{testnet.Good, ServerCloses, ""},
	} {
		b := testnet.NewBackend(t, test.script)
		o := options("http://" + b.Addr().String() + "/")
		o.Requests, o.Mode, o.Settle = 20, test.mode, time.Millisecond
		r, err := Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if want := map[bool]int{true: 0, false: 20}[test.kind == ""]; r.Errors[test.kind] != want || r.Failed() != want {
			t.Errorf("%q: got %v", test.kind, r.Errors)
		}
		b.Stop()
	}
}

func TestARefusalIsItsOwnKind(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	r, err := Run(t.Context(), options("http://"+l.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	if r.Errors["connection refused"] != 300 {
		t.Errorf("%v", r.Errors)
	}
}

func TestTheKindsOfErrorsAreBounded(t *testing.T) {
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Weir-Reason", fmt.Sprintf("reason_%d", n.Add(1)))
		w.WriteHeader(503)
	}))
	defer s.Close()
	r, err := Run(t.Context(), options(s.URL))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Errors) != maxKinds+1 || r.Errors["other"] != 300-maxKinds || r.Failed() != 300 {
		t.Errorf("%d kinds, %d of %d are other", len(r.Errors), r.Errors["other"], r.Failed())
	}
}

func TestTheEndHasItsKindHoweverManyThereAre(t *testing.T) {
	s := &run{errors: map[string]int{}}
	for i := range 2 * maxKinds {
		s.fail(fmt.Sprint(i))
	}
	s.fail(CutByLimit)
	s.fail(Interrupted)
	if s.errors[CutByLimit] != 1 || s.errors[Interrupted] != 1 || s.errors["other"] != maxKinds {
		t.Errorf("%v", s.errors)
	}
}

func TestNumbersHaveCommas(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 993127: "993,127", 1234567: "1,234,567", -1000: "-1,000", -100: "-100"} {
		if got := Number(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}
