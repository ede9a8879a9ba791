package http1_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/internal/accesslog"
	"weir/internal/testnet"
	"weir/proxy/http1"
)

// accessLine is a line of the access log.
type accessLine struct {
	Time                                 time.Time
	Listener, Client, Method, Host, Path string
	Status                               int
	Bytes                                int64
	Duration                             float64
	Backend                              string
	Reused                               bool
	Retries                              int
	Outcome                              string
}

// brief is a line without what differs from run to run.
func (l accessLine) brief() string {
	return fmt.Sprintf("%s %s%s %d %d %s reused=%v retries=%d %s", l.Method, l.Host, l.Path, l.Status, l.Bytes, l.Backend, l.Reused, l.Retries, l.Outcome)
}

// accessLog is a place for lines that keeps them.
type accessLog struct {
	log    *accesslog.Log
	partly bool // not every request was to have a line

	mu   sync.Mutex
	text bytes.Buffer
}

func (a *accessLog) open() *accesslog.Log {
	a.log = accesslog.New(slog.New(slog.DiscardHandler))
	a.log.Use(a)
	return a.log
}

func (a *accessLog) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.text.Write(p)
}

func (a *accessLog) Close() error { return nil }

// lines returns the lines so far, when there are at least n.
func (a *accessLog) lines(t *testing.T, n int) []accessLine {
	t.Helper()
	testnet.WaitFor(t, testWait, fmt.Sprint(n, " lines of the access log"), func() bool {
		a.log.Use(a) // makes it write at once
		return a.log.Stats().Written >= uint64(n)
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []accessLine
	for line := range bytes.Lines(a.text.Bytes()) {
		var l accessLine
		dec := json.NewDecoder(bytes.NewReader(line))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&l); err != nil {
			t.Errorf("%v in %q", err, line)
		}
		out = append(out, l)
	}
	return out
}

// check runs at the end of every test: each request that was counted has one
// line, with the backend and the outcome that it was counted under.
func (a *accessLog) check(t *testing.T, f *http1.Front) {
	if a.log == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), testWait) // the test's own is over
	defer cancel()
	if err := a.log.Close(ctx); err != nil {
		t.Error(err)
	}
	s := a.log.Stats()
	got := map[[2]string]uint64{}
	for _, l := range a.lines(t, int(s.Written)) {
		got[[2]string{l.Backend, l.Outcome}]++
	}
	if s.Dropped > 0 {
		t.Errorf("%d lines were dropped", s.Dropped)
	}
	if a.partly {
		return
	}
	for backend, outcomes := range f.Stats().Requests {
		for outcome, n := range outcomes {
			key := [2]string{backend, outcome}
			if got[key] != n {
				t.Errorf("%d requests of backend %q ended as %s, %d lines say so", n, backend, outcome, got[key])
			}
			delete(got, key)
		}
	}
	for key, n := range got {
		t.Errorf("%d lines say %q, and no such request was counted", n, key)
	}
}

func TestALineSaysWhatBecameOfTheRequest(t *testing.T) {
	page := func(w http.ResponseWriter, req *http.Request) {
		switch req.URL.Path {
		case "/chunked":
			io.WriteString(w, "hello")
			w.(http.Flusher).Flush()
		case "/large":
			w.Header().Set("Content-Length", "300000")
			w.Write(pattern(300_000))
		case "/missing":
			w.WriteHeader(404)
		case "/sorry":
			w.WriteHeader(503)
			io.WriteString(w, "sorry")
		default:
			io.Copy(io.Discard, req.Body)
			io.WriteString(w, "hello")
		}
	}
	r := newRig(t, rigOptions{backend: httpBackend(t, page), settings: func(s *http1.Settings) {
		s.Routes[0].Rule = http1.Rule{Host: "a"}
		s.MaxBody = 1000
	}})
	chunked := int64(len("5\r\nhello\r\n0\r\n\r\n"))
	n := 0
	for _, row := range []struct{ raw, want string }{
		{"GET /x?secret=1 HTTP/1.1\r\nHost: a\r\n\r\n", "GET a/x 200 5 api reused=false retries=0 2xx"},
		{"GET /y HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET a/y 200 5 api reused=true retries=0 2xx"},
		{"GET http://a/abs?q HTTP/1.1\r\nHost: a\r\n\r\n", "GET a/abs 200 5 api reused=true retries=0 2xx"},
		{"HEAD /head HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD a/head 200 0 api reused=true retries=0 2xx"},
		{"POST /p HTTP/1.1\r\nHost: A:80\r\nContent-Length: 5\r\n\r\nhello", "POST A:80/p 200 5 api reused=true retries=0 2xx"},
		{"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "POST a/p 200 5 api reused=true retries=0 2xx"},
		{"GET /chunked HTTP/1.1\r\nHost: a\r\n\r\n", fmt.Sprintf("GET a/chunked 200 %d api reused=true retries=0 2xx", chunked)},
		{"GET /chunked HTTP/1.0\r\nHost: a\r\n\r\n", "GET a/chunked 200 5 api reused=true retries=0 2xx"},
		{"GET /large HTTP/1.1\r\nHost: a\r\n\r\n", "GET a/large 200 300000 api reused=true retries=0 2xx"},
		{"GET /missing HTTP/1.1\r\nHost: a\r\n\r\n", "GET a/missing 404 0 api reused=true retries=0 4xx"},
		{"GET /sorry HTTP/1.1\r\nHost: a\r\n\r\n", "GET a/sorry 503 5 api reused=true retries=0 5xx"},
		{"PURGE /caf\xc3\xa9/\"\xff HTTP/1.1\r\nHost: a\r\n\r\n", ""},
		{"GET /b HTTP/1.1\r\nHost: b\r\n\r\n", "GET b/b 404 - no_route"},
		{"POST /big HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n", "POST a/big 413 - api body_too_large"},
		{"GET /two HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "GET a/two 400 - bad_request"},
		{"GET /none HTTP/1.1\r\n\r\n", "GET /none 400 - bad_request"},
		{"GET no-path HTTP/1.1\r\nHost: a\r\n\r\n", "GET  400 - bad_request"},
		{"GET /%zz?secret HTTP/1.1\r\n", "GET /%zz 400 - bad_request"},
		{"\x16\x03\x01 HTTP/1.1\r\n", "  400 - bad_request"},
		{"GET /" + strings.Repeat("x", 9000), "GET  414 - uri_too_long"},
		{"GET /v HTTP/2.0\r\n", "GET  505 - version"},
		{"GET /h HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 40_000), "GET a/h 431 - header_too_large"},
	} {
		c := r.client()
		c.send(row.raw)
		method, _, _ := strings.Cut(row.raw, " ")
		a := c.answer(method)
		c.Close()
		n++
		l := r.access.lines(t, n)[n-1]
		if a.status != l.Status || l.Listener != "web" || l.Client != "127.0.0.1" || l.Duration < 0 || l.Duration == 0 && l.Status == 200 || l.Duration > 10 || time.Since(l.Time) > time.Minute {
			t.Errorf("%.40q got %d; its line is %+v", row.raw, a.status, l)
		}
		want := row.want
		if want == "" { // bytes that are no UTF-8
			if l.Method != "PURGE" || l.Path != "/caf\u00e9/\"\ufffd" && l.Status == 200 {
				t.Errorf("%+v", l)
			}
			continue
		}
		if refused := strings.Contains(want, " - "); refused { // what weir says itself; how long that is is not the matter here
			if l.Bytes != int64(len(a.body)) || l.Bytes == 0 {
				t.Errorf("%.40q: %d bytes of an answer of %d", row.raw, l.Bytes, len(a.body))
			}
			before, after, _ := strings.Cut(want, " - ")
			outcome := after
			backend := ""
			if b, o, ok := strings.Cut(after, " "); ok {
				backend, outcome = b, o
			}
			want = fmt.Sprintf("%s %d %s reused=false retries=0 %s", before, l.Bytes, backend, outcome)
		}
		if l.brief() != want {
			t.Errorf("%.40q\n got %s\nwant %s", row.raw, l.brief(), want)
		}
	}
}

func TestALineHasWhatTheClientGotAndNotWhatItWasToGet(t *testing.T) {
	const promised = 8 << 20
	stalls := func(c *testnet.BackendConn) {
		r, err := c.ReadRequest()
		if err != nil {
			return
		}
		switch r.Target {
		case "/cut": // the first bytes, and then the end
			c.Send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + strings.Repeat("x", 60))
			c.Pause(50 * time.Millisecond)
		case "/never":
		case "/garbage":
			c.Send("garbage\r\n\r\n")
		case "/left":
			c.Send(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", promised))
			c.Conn.Write(pattern(promised))
		}
	}
	r := newRig(t, rigOptions{backend: testnet.NewBackend(t, stalls).Addr().String()})
	n := 0
	next := func() accessLine { n++; return r.access.lines(t, n)[n-1] }
	ask := func(path string) (string, accessLine) {
		c := r.client()
		c.send("GET " + path + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		got, _ := io.ReadAll(c.br)
		c.Close()
		return string(got), next()
	}
	if got, l := ask("/cut"); l.Status != 200 || l.Outcome != "response_stalled" || l.Bytes > 60 || !strings.HasSuffix(got, strings.Repeat("x", int(l.Bytes))) {
		t.Errorf("a response that was cut: the client has %q, the line %s", got, l.brief())
	}
	if got, l := ask("/never"); l.Status != 502 || l.Outcome != "backend_closed" || !strings.HasPrefix(got, "HTTP/1.1 502 ") || l.Backend != "api" {
		t.Errorf("no response: the client has %q, the line %s", got, l.brief())
	}
	if _, l := ask("/garbage"); l.Status != 502 || l.Outcome != "bad_response" {
		t.Errorf("garbage: %s", l.brief())
	}

	c := r.client()
	c.send("GET /left HTTP/1.1\r\nHost: a\r\n\r\n")
	if _, err := io.ReadFull(c.br, make([]byte, 100_000)); err != nil {
		t.Fatal(err)
	}
	c.Conn.(*net.TCPConn).SetLinger(0)
	c.Close()
	if l := next(); l.Status != 200 || l.Outcome != "client_gone" || l.Bytes < 50_000 || l.Bytes >= promised {
		t.Errorf("a client that left within the response: %s", l.brief())
	}

	c = r.client()
	c.send("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
	c.CloseWrite()
	if l := next(); l.brief() != "POST a/up 0 0 api reused=false retries=0 client_gone" {
		t.Errorf("a client that left within its body: %s", l.brief())
	}
	c.Close()

	c = r.client()
	c.send("GET /half HTTP/1.1\r\nHo")
	c.CloseWrite()
	if l := next(); l.brief() != "GET /half 0 0  reused=false retries=0 client_gone" {
		t.Errorf("a client that left within its head: %s", l.brief())
	}
	c.Close()

	c = r.client() // it comes and goes: no request, no line
	c.Close()
	if got, l := ask("/never"); l.Status != 502 || got == "" {
		t.Errorf("after it: %q, %s", got, l.brief())
	}
}

func TestALineTellsOfTheSecondAttempt(t *testing.T) {
	b := testnet.NewBackend(t, testnet.Phases(1, testnet.CloseBeforeAnswer(1), testnet.Good))
	r := newRig(t, rigOptions{backend: b.Addr().String()})
	c := r.client()
	c.ask("/first")
	c.ask("/again")
	c.ask("/reused")
	want := []string{
		fmt.Sprintf("GET a/first 200 %d api reused=false retries=0 2xx", len(testnet.Body)),
		fmt.Sprintf("GET a/again 200 %d api reused=false retries=1 2xx", len(testnet.Body)),
		fmt.Sprintf("GET a/reused 200 %d api reused=true retries=0 2xx", len(testnet.Body)),
	}
	for i, l := range r.access.lines(t, 3) {
		if l.brief() != want[i] {
			t.Errorf("got %s, want %s", l.brief(), want[i])
		}
	}
}

func TestAWebSocketIsOneLineAtItsEnd(t *testing.T) {
	b := testnet.NewBackend(t, tunnels(echoAll))
	r := newRig(t, rigOptions{backend: b.Addr().String()})
	c := r.client()
	c.send(handshake)
	if a := c.answer("GET"); a.status != 101 {
		t.Fatalf("got %q", a.head)
	}
	c.send("hello")
	if _, err := io.ReadFull(c.br, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	if n := r.access.log.Stats().Written; n != 0 {
		t.Errorf("%d lines before it has ended", n)
	}
	c.CloseWrite()
	if l := r.access.lines(t, 1)[0]; l.brief() != "GET a/ws 101 5 api reused=false retries=0 1xx" {
		t.Errorf("got %s", l.brief())
	}
}

func TestPipelinedRequestsAreALineEach(t *testing.T) {
	r := newRig(t, rigOptions{backend: testnet.NewBackend(t, testnet.Good).Addr().String()})
	c := r.client()
	const many = 50
	var raw strings.Builder
	for i := range many {
		fmt.Fprintf(&raw, "POST /%d HTTP/1.1\r\nHost: h%d\r\nContent-Length: %d\r\n\r\n%s", i, i, 300*i, strings.Repeat("x", 300*i))
	}
	go io.WriteString(c.Conn, raw.String())
	for range many {
		c.answer("POST")
	}
	for i, l := range r.access.lines(t, many) {
		if l.Path != fmt.Sprint("/", i) || l.Host != fmt.Sprint("h", i) || l.Bytes != int64(len(testnet.Body)) {
			t.Errorf("line %d: %s", i, l.brief())
		}
	}
}

func TestTurnedAwayClientsAreALineEach(t *testing.T) {
	r := newRig(t, rigOptions{backend: "127.0.0.1:1", settings: func(s *http1.Settings) {
		s.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}
	}})
	c := r.client()
	c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	a := c.answer("GET")
	l := r.access.lines(t, 1)[0]
	if want := fmt.Sprintf("  403 %d  reused=false retries=0 not_allowed", len(a.body)); l.brief() != want || l.Client != "127.0.0.1" {
		t.Errorf("got %q from %s, want %q", l.brief(), l.Client, want)
	}
}

func TestAReloadTurnsTheLogOnAndOff(t *testing.T) {
	r := newRig(t, rigOptions{backend: testnet.NewBackend(t, testnet.Good).Addr().String(), noAccess: true})
	to := r.access.open()
	defer to.Close(t.Context())
	c := r.client()
	c.ask("/off")
	on := *r.set
	on.Routes = slices.Clone(r.set.Routes)
	on.Access = to
	if err := r.front.Apply(&on); err != nil {
		t.Fatal(err)
	}
	c.ask("/on")
	r.access.lines(t, 1)
	off := *r.set
	off.Routes = slices.Clone(r.set.Routes)
	if err := r.front.Apply(&off); err != nil {
		t.Fatal(err)
	}
	c.ask("/off-again")
	to.Close(t.Context())
	if all := r.access.lines(t, 1); len(all) != 1 || all[0].Path != "/on" {
		t.Errorf("got %+v", all)
	}
	r.access.partly = true
}

// The connection of the first request is dead by then, so it is not the one that
// the second request was, or was not, answered on.
func TestALineOfARequestWithoutAConnectionSaysNothingOfADeadOne(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
	r := newRig(t, rigOptions{backend: backend.Listener.Addr().String()})
	ask := func() {
		c := r.client()
		defer c.Close()
		c.send("GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		io.ReadAll(c.br)
	}
	ask()
	backend.Close()
	ask()
	l := r.access.lines(t, 2)[1]
	if l.Status != 502 || l.Outcome != "dial_refused" || l.Reused {
		t.Errorf("got %s", l.brief())
	}
}
