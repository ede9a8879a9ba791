package admin

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// feed is a Live that counts what it was asked for.
type feed struct{ pasts, nows atomic.Int64 }

func (f *feed) live() *Live {
	return &Live{
		Past: func() any { return map[string]int64{"past": f.pasts.Add(1)} },
		Now:  func() any { return map[string]any{"now": f.nows.Add(1), "text": "a\nb"} },
	}
}

// startStreams is start with frames that come faster.
func startStreams(t *testing.T, every time.Duration, most int) (*feed, *Server, *http.Client, string) {
	t.Helper()
	f := new(feed)
	s, tcp, _, base := start(t, Options{Version: "v1", Live: f.live()})
	s.streams.every, s.streams.most = every, most
	return f, s, tcp, base
}

// listen opens a stream; read gives the next event's name and data.
func listenTo(t *testing.T, c *http.Client, url string) (resp *http.Response, read func() (name, data string, err error)) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url+"/api/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err = c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	br := bufio.NewReader(resp.Body)
	return resp, func() (name, data string, err error) {
		for {
			line, err := br.ReadString('\n')
			if err != nil {
				return "", "", err
			}
			line = strings.TrimSuffix(line, "\n")
			if v, ok := strings.CutPrefix(line, "event: "); ok {
				name = v
			}
			if v, ok := strings.CutPrefix(line, "data: "); ok {
				data = v
			}
			if line == "" && name != "" {
				return name, data, nil
			}
		}
	}
}

func TestAPageGetsThePastOnceAndThenWhatAllGet(t *testing.T) {
	f, _, tcp, base := startStreams(t, 5*time.Millisecond, maxStreams)
	a, readA := listenTo(t, tcp, base)
	_, readB := listenTo(t, tcp, base)
	if h := a.Header; h.Get("Content-Type") != "text/event-stream" || h.Get("Cache-Control") != "no-store" || a.ContentLength != -1 {
		t.Errorf("header %v, length %d", h, a.ContentLength)
	}
	seen := map[string]string{}
	for i := range 5 {
		for _, read := range []func() (string, string, error){readA, readB} {
			name, data, err := read()
			if err != nil {
				t.Fatal(err)
			}
			var v struct {
				Past, Now int64
				Text      string
			}
			if err := json.Unmarshal([]byte(data), &v); err != nil {
				t.Fatal(err)
			}
			if (i == 0) != (name == "past") || (i == 0) != (v.Past > 0) || i > 0 && (name != "now" || v.Now == 0 || v.Text != "a\nb") {
				t.Errorf("event %d is %s %s", i, name, data)
			}
			seen[data] = name
		}
	}
	if got := f.pasts.Load(); got != 2 {
		t.Errorf("the past was made %d times for two pages", got)
	}
	if frames := int64(len(seen)) - 2; f.nows.Load() < frames || frames > 8 {
		t.Errorf("%d frames were seen, %d made", frames, f.nows.Load())
	}
}

func TestNoFrameIsMadeWhenNobodyListens(t *testing.T) {
	f, s, tcp, base := startStreams(t, time.Millisecond, maxStreams)
	for range 2 { // the second time it has to begin again
		before := f.nows.Load()
		resp, read := listenTo(t, tcp, base)
		for range 3 {
			if _, _, err := read(); err != nil {
				t.Fatal(err)
			}
		}
		resp.Body.Close()
		s.streams.all.Wait() // for the one that writes, and for the one that makes frames
		if f.nows.Load() == before {
			t.Error("no frame was made for the page")
		}
		s.streams.mu.Lock()
		if s.streams.ticking || len(s.streams.open) != 0 {
			t.Errorf("ticking %v with %d pages", s.streams.ticking, len(s.streams.open))
		}
		s.streams.mu.Unlock()
	}
}

func TestPagesAreBoundedAndPlacesAreGivenBack(t *testing.T) {
	_, s, tcp, base := startStreams(t, time.Millisecond, 2)
	first, read := listenTo(t, tcp, base)
	_, other := listenTo(t, tcp, base)
	for _, r := range []func() (string, string, error){read, other} {
		if _, _, err := r(); err != nil {
			t.Fatal(err)
		}
	}
	status, body, h := ask(t, tcp, "GET", base+"/api/stream")
	if status != 503 || h.Get("Retry-After") == "" || !strings.Contains(body, "2 pages are open") {
		t.Errorf("the third page: %d %q %v", status, body, h)
	}
	first.Body.Close()
	for { // its place is free when a write to it has failed
		s.streams.mu.Lock()
		n := len(s.streams.open)
		s.streams.mu.Unlock()
		if n == 1 {
			break
		}
		if _, _, err := other(); err != nil {
			t.Fatal(err)
		}
	}
	if resp, _ := listenTo(t, tcp, base); resp.StatusCode != 200 {
		t.Errorf("after one was closed: %d", resp.StatusCode)
	}
}

// A reader that stands still has at most one frame waiting, and the others do
// not notice.
func TestASlowReaderLosesFramesAndHoldsNobodyUp(t *testing.T) {
	f := new(feed)
	live := f.live()
	large := strings.Repeat("x", 1<<20)
	live.Now = func() any { f.nows.Add(1); return large }
	s := newStreams(live, quiet())
	s.every = time.Millisecond
	slow, slowEnd := net.Pipe() // it takes nothing that is not read
	quick, quickEnd := net.Pipe()
	var wg sync.WaitGroup
	for _, c := range []net.Conn{slow, quick} {
		wg.Go(func() { s.run(c); c.Close() })
	}
	br := bufio.NewReaderSize(quickEnd, 64<<10)
	for got := 0; got < 20; {
		line, err := br.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "event: now") {
			got++
		}
	}
	s.mu.Lock()
	if len(s.open) != 2 {
		t.Errorf("%d pages are open, want both", len(s.open))
	}
	for st := range s.open {
		if n := len(st.frame); n > 1 {
			t.Errorf("%d frames wait", n)
		}
	}
	s.mu.Unlock()
	go io.Copy(io.Discard, br) // ends with its pipe
	s.close()                  // ends the write that stands too
	wg.Wait()
	slowEnd.Close()
	quickEnd.Close()
}

func TestCloseEndsStreamsAtOnce(t *testing.T) {
	f := new(feed)
	s := New(Options{Live: f.live(), Log: quiet()})
	addr, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Transport: &http.Transport{}}
	_, read := listenTo(t, c, "http://"+addr.String())
	if _, _, err := read(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
	for err == nil {
		_, _, err = read()
	}
	if err != io.EOF {
		t.Errorf("the page read %v, want the end of the stream", err)
	}
	near, far := net.Pipe()
	defer far.Close()
	go func() { s.streams.run(near); near.Close() }()
	if b, err := io.ReadAll(far); err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 503 ") {
		t.Errorf("after Close: %q, %v", b, err)
	}
}

func TestTheRootIsAPageForBrowsersAndAListForTheRest(t *testing.T) {
	_, _, tcp, base := startStreams(t, time.Second, maxStreams)
	const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	status, body, h := ask(t, tcp, "GET", base+"/", "Accept", browser)
	if status != 200 || h.Get("Content-Type") != "text/html; charset=utf-8" || !strings.HasPrefix(body, "<!doctype html>") || h.Get("Vary") != "Accept" {
		t.Errorf("a browser: %d %v", status, h)
	}
	if p := h.Get("Content-Security-Policy"); !strings.HasPrefix(p, "default-src 'none'; script-src 'self';") || strings.Contains(p, "unsafe") {
		t.Errorf("policy %q", p)
	}
	if status, body, h := ask(t, tcp, "GET", base+"/", "Accept", "*/*"); status != 200 || !strings.HasPrefix(body, "weir v1\n") || !strings.Contains(body, "/api/stream") || h.Get("Vary") != "Accept" {
		t.Errorf("curl: %d %q", status, body)
	}
	if status, _, _ := ask(t, tcp, "GET", base+"/api/stream", "Origin", "http://elsewhere.test"); status != 403 {
		t.Errorf("another site's page: %d", status)
	}
}

// What the page names it has, and it names nothing of others.
func TestThePageHasAllItsParts(t *testing.T) {
	_, _, tcp, base := startStreams(t, time.Second, maxStreams)
	files, err := dashboardFiles.ReadDir("dashboard")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		status, body, h := ask(t, tcp, "GET", base+dashboardPath+f.Name())
		if status != 200 || !strings.HasSuffix(h.Get("Content-Type"), "; charset=utf-8") || h.Get("Content-Security-Policy") == "" {
			t.Errorf("%s: %d %v", f.Name(), status, h)
		}
		for _, foreign := range []string{"http://", "https://", "//cdn", "@import", "eval(", "innerHTML"} {
			body := strings.ReplaceAll(body, "http://www.w3.org/2000/svg", "")
			if strings.Contains(body, foreign) {
				t.Errorf("%s has %s", f.Name(), foreign)
			}
		}
	}
	for _, name := range []string{"", "nothing.js", "../server.go", "%2e%2e/server.go"} {
		if status, _, _ := ask(t, tcp, "GET", base+dashboardPath+name); status != 404 {
			t.Errorf("%q: %d", name, status)
		}
	}
	_, other, _, base := start(t, Options{})
	if status, _, _ := ask(t, other, "GET", base+dashboardPath+"app.js"); status != 404 {
		t.Errorf("without Live: %d", status)
	}
}

func TestAStreamGoesOverTLSAndEndsWithIt(t *testing.T) {
	ca := newAuthority(t)
	s, tcp, _, _ := start(t, Options{Live: new(feed).live(), Access: Access{Certificate: ca.sign(t, x509.ExtKeyUsageServerAuth)}})
	s.streams.every = time.Millisecond
	_, read := listenTo(t, overHTTPS(t, tcp, ca.pool, nil), "https://localhost")
	for _, want := range []string{"past", "now", "now"} {
		if name, _, err := read(); name != want {
			t.Fatalf("%s, %v, want %s", name, err, want)
		}
	}
	s.streams.close()
	var err error
	for err == nil {
		_, _, err = read()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		t.Error("the stream did not end")
	}
}
