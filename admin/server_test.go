package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// quiet is the log of tests that do not look at it.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// start gives a server that listens on loopback and on a unix socket, with a
// client for each.
func start(t *testing.T, opt Options) (s *Server, tcp, unix *http.Client, base string) {
	t.Helper()
	if opt.Log == nil {
		opt.Log = quiet()
	}
	s = New(opt)
	addr, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	path := socketPath(t)
	if _, err := s.Listen("unix:" + path); err != nil {
		t.Fatal(err)
	}
	tcp = client(t, "tcp", addr.String())
	unix = client(t, "unix", path)
	t.Cleanup(func() {
		tcp.CloseIdleConnections()
		unix.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return s, tcp, unix, "http://localhost"
}

// socketPath is short: a unix socket's path has room for about 100 bytes, and
// t.TempDir repeats the test's name.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

func client(t *testing.T, network, address string) *http.Client {
	t.Helper()
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}}
}

// ask sends one request and returns status, body and header. fields are pairs of
// name and value; Host is set on the request.
func ask(t *testing.T, c *http.Client, method, url string, fields ...string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		if fields[i] == "Host" {
			req.Host = fields[i+1]
			continue
		}
		req.Header.Set(fields[i], fields[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

func TestPagesSayWhatTheyAreAskedFor(t *testing.T) {
	var ready atomic.Bool
	_, tcp, unix, base := start(t, Options{
		Version:  "v1.2.3",
		Snapshot: sample,
		Ready: func() []string {
			if ready.Load() {
				return nil
			}
			return []string{"listener web is not bound", "backend api has 0 of 2 connections"}
		},
		Status:  func() any { return map[string]int{"answer": 42} },
		Actions: map[string]Action{"drain": nil},
		Pprof:   true,
	})
	for name, c := range map[string]*http.Client{"tcp": tcp, "unix": unix} {
		ready.Store(false)
		rows := []struct {
			method, path string
			status       int
			has          string
		}{
			{"GET", "/healthz", 200, "ok\n"},
			{"HEAD", "/healthz", 200, ""},
			{"GET", "/readyz", 503, "weir: not ready: listener web is not bound\nnot ready: backend api has 0 of 2 connections\n"},
			{"GET", "/api/status", 200, "\"answer\": 42"},
			{"GET", "/metrics", 200, "weir_build_info{"},
			{"GET", "/metrics", 200, "go_goroutines"},
			{"GET", "/", 200, "weir v1.2.3\n"},
			{"GET", "/", 200, "POST /api/actions/drain"},
			{"GET", "/debug/pprof/", 200, "goroutine"},
			{"GET", "/debug/pprof/goroutine?debug=1", 200, "goroutine profile:"},
			{"GET", "/debug/pprof/cmdline", 200, "admin.test"},
			{"GET", "/nothing", 404, "/ lists those there are"},
			{"GET", "/healthz/", 404, ""},
			{"POST", "/healthz", 405, "only read"},
			{"PUT", "/metrics", 405, "only read"},
			{"DELETE", "/api/status", 405, "only read"},
		}
		for _, r := range rows {
			status, body, h := ask(t, c, r.method, base+r.path)
			if status != r.status || !strings.Contains(body, r.has) {
				t.Errorf("%s: %s %s: %d %q, want %d with %q", name, r.method, r.path, status, body, r.status, r.has)
			}
			if status == 405 && h.Get("Allow") != "GET, HEAD" {
				t.Errorf("%s: %s %s: a 405 without Allow (RFC 9110 section 15.5.6)", name, r.method, r.path)
			}
			if h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Server") != "" {
				t.Errorf("%s: %s %s: header %v", name, r.method, r.path, h)
			}
		}
		ready.Store(true)
		if status, body, _ := ask(t, c, "GET", base+"/readyz"); status != 200 || body != "ready\n" {
			t.Errorf("%s: when all is there: %d %q", name, status, body)
		}
	}
}

func TestWhatIsNotConfiguredIsNotThere(t *testing.T) {
	_, tcp, _, base := start(t, Options{})
	for path, want := range map[string]int{
		"/debug/pprof/": 404, "/debug/pprof/profile": 404, "/api/status": 404,
		"/readyz": 503, // nobody has said that it is ready
		"/":       200, "/metrics": 200,
	} {
		if got, body, _ := ask(t, tcp, "GET", base+path); got != want {
			t.Errorf("%s: %d %q, want %d", path, got, body, want)
		}
	}
}

func TestAStatusThatIsNoJSONIsAnErrorAndNotHalfAPage(t *testing.T) {
	_, tcp, _, base := start(t, Options{Status: func() any { return map[string]any{"f": func() {}} }})
	if got, body, _ := ask(t, tcp, "GET", base+"/api/status"); got != 500 || !strings.Contains(body, "the log has the reason") {
		t.Errorf("%d %q", got, body)
	}
}

func TestActionsAreTakenOverAUnixSocketOnly(t *testing.T) {
	var drains atomic.Int32
	var log bytes.Buffer // one action runs at a time, and nothing else writes
	_, tcp, unix, base := start(t, Options{Actions: map[string]Action{
		"drain": func(context.Context, func(string) string) error { drains.Add(1); return nil },
		"say": func(_ context.Context, arg func(string) string) error {
			return fmt.Errorf("%s and nothing%s", arg("a"), arg("x"))
		},
		"fail": func(context.Context, func(string) string) error { return errors.New("the disk is gone") },
		"reload": func(context.Context, func(string) string) error {
			return &Refusal{errors.New("weir.yaml:3:1: listeners: must not be empty")}
		},
	}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	rows := []struct {
		c            *http.Client
		method, path string
		status       int
		has          string
	}{
		{tcp, "POST", "drain", 403, "unix socket"},
		{tcp, "GET", "drain", 403, "unix socket"},
		{unix, "GET", "drain", 405, "POST"},
		{unix, "POST", "drian", 404, "there are: drain, fail, reload, say"},
		{unix, "POST", "", 404, "there are: drain, fail, reload, say"},
		{unix, "POST", "drain", 200, "drain: done"},
		{unix, "POST", "say?a=b%20c", 500, "say failed: b c and nothing"},
		{unix, "POST", "reload", 422, "reload failed: weir.yaml:3:1"},
		{unix, "POST", "fail", 500, "fail failed: the disk is gone"},
	}
	for _, r := range rows {
		status, body, _ := ask(t, r.c, r.method, base+actionPath+r.path)
		if status != r.status || !strings.Contains(body, r.has) {
			t.Errorf("%s %s: %d %q, want %d with %q", r.method, r.path, status, body, r.status, r.has)
		}
	}
	if n := drains.Load(); n != 1 {
		t.Errorf("drain ran %d times, want once", n)
	}
	if strings.Contains(log.String(), "weir.yaml") || !strings.Contains(log.String(), "the disk is gone") {
		t.Errorf("a refusal is the action's to log, a failure ours; got %s", log.String())
	}
}

func TestTheLogSaysWhatAnActionWasAskedForAndNoSecret(t *testing.T) {
	var log bytes.Buffer // one action runs at a time, and nothing else writes
	_, _, unix, base := start(t, Options{Actions: map[string]Action{
		"mode": func(context.Context, func(string) string) error { return nil },
	}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	for query, want := range map[string]string{
		"":                                     "action=mode\n",
		"?token=hunter2&mode=open&backend=api": "action=mode backend=api mode=open\n",
		"?backend=a%0Aaction%3Ddrain":          `action=mode backend="a\naction=drain"` + "\n",
		"?mode=x&backend=" + strings.Repeat("long", 999): "action=mode backend=" + strings.Repeat("long", 20) + " mode=x\n",
	} {
		log.Reset()
		if status, body, _ := ask(t, unix, "POST", base+actionPath+"mode"+query); status != 200 {
			t.Errorf("%.60s: %d %q", query, status, body)
		}
		if !strings.HasSuffix(log.String(), ` msg="action asked for" `+want) || strings.Contains(log.String(), "hunter2") {
			t.Errorf("%.60s: the log says %q, want %q", query, log.String(), want)
		}
	}
}

func TestOneActionRunsAtATime(t *testing.T) {
	running, finish := make(chan struct{}), make(chan struct{})
	_, _, unix, base := start(t, Options{Actions: map[string]Action{
		"slow":  func(context.Context, func(string) string) error { close(running); <-finish; return nil },
		"quick": func(context.Context, func(string) string) error { return nil },
	}})
	var wg sync.WaitGroup
	wg.Go(func() {
		if status, body, _ := ask(t, unix, "POST", base+actionPath+"slow"); status != 200 {
			t.Errorf("slow: %d %q", status, body)
		}
	})
	<-running
	if status, body, _ := ask(t, unix, "POST", base+actionPath+"quick"); status != 409 || !strings.Contains(body, "another action") {
		t.Errorf("while one runs: %d %q", status, body)
	}
	if status, _, _ := ask(t, unix, "GET", base+"/healthz"); status != 200 {
		t.Errorf("reading while an action runs: %d", status)
	}
	close(finish)
	wg.Wait()
	if status, body, _ := ask(t, unix, "POST", base+actionPath+"quick"); status != 200 {
		t.Errorf("afterwards: %d %q", status, body)
	}
}

func TestAnActionIsBoundedInTime(t *testing.T) {
	_, _, unix, base := start(t, Options{
		ActionTimeout: time.Millisecond,
		Actions: map[string]Action{
			"slow": func(ctx context.Context, _ func(string) string) error {
				<-ctx.Done()
				return fmt.Errorf("drain: %w", ctx.Err())
			},
		},
	})
	if status, body, _ := ask(t, unix, "POST", base+actionPath+"slow"); status != 504 || !strings.Contains(body, "deadline") {
		t.Errorf("%d %q", status, body)
	}
}

func TestCloseCutsWhatDoesNotEndAndStopsActions(t *testing.T) {
	s := New(Options{Log: quiet(), Actions: map[string]Action{}})
	running, stopped := make(chan struct{}), make(chan struct{})
	s.opt.Actions["hang"] = func(ctx context.Context, _ func(string) string) error {
		close(running)
		<-ctx.Done()
		close(stopped)
		return ctx.Err()
	}
	path := socketPath(t)
	if _, err := s.Listen("unix:" + path); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "POST /api/actions/hang HTTP/1.1\r\nHost: localhost\r\n\r\n")
	<-running
	half, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer half.Close()
	fmt.Fprint(half, "GET /healthz HTTP/1.1\r\nHo") // and no more

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err = s.Close(ctx)
	<-stopped
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	half.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.ReadAll(half); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a client that does not finish its request kept its connection through Close")
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket file is still there: %v", err)
	}
	if _, err := s.Listen("127.0.0.1:0"); !errors.Is(err, ErrClosed) {
		t.Errorf("Listen after Close: %v", err)
	}
}

func TestNonsenseAndLargeHeadsAreAnsweredAndClosed(t *testing.T) {
	_, _, unix, _ := start(t, Options{})
	dial := unix.Transport.(*http.Transport).DialContext
	for name, r := range map[string]struct {
		send string
		want string
	}{
		"nonsense":   {"\x16\x03\x01 hello\r\n\r\n", "HTTP/1.1 400 "},
		"large head": {"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 2*maxHead) + "\r\n\r\n", "HTTP/1.1 431 "},
		"large body": {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n", "HTTP/1.1 4"},
	} {
		c, err := dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(5 * time.Second))
		io.WriteString(c, r.send)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			c.Close()
			continue
		}
		if got := resp.Proto + " " + resp.Status; !strings.HasPrefix(got, r.want) || !resp.Close {
			t.Errorf("%s: %s, close=%v; want %s and close", name, got, resp.Close, r.want)
		}
		resp.Body.Close()
		c.Close()
	}
}

func TestTheStatusIsReadableJSON(t *testing.T) {
	type status struct {
		Listeners []string `json:"listeners"`
	}
	_, tcp, _, base := start(t, Options{Status: func() any { return status{[]string{"web"}} }})
	_, body, h := ask(t, tcp, "GET", base+"/api/status")
	var got status
	if err := json.Unmarshal([]byte(body), &got); err != nil || len(got.Listeners) != 1 || h.Get("Content-Type") != "application/json" {
		t.Errorf("%v %q %v", err, body, h)
	}
}

func TestARequestWithoutAHostIsToldSo(t *testing.T) {
	s := New(Options{Log: quiet()})
	addr, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(context.Background())
	for _, host := range []string{"", "Host:\r\n"} {
		c, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "GET /healthz HTTP/1.1\r\n%s\r\n", host)
		b, err := io.ReadAll(c)
		c.Close()
		if err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 400 ") || !strings.Contains(string(b), "needs a Host that is not empty") {
			t.Errorf("%q: %v %s", host, err, b)
		}
	}
}
