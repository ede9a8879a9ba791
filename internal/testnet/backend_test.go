package testnet_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/internal/testnet"
)

// visit is one client connection to a backend, read with the standard library.
type visit struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func dial(t *testing.T, b *testnet.Backend) *visit {
	t.Helper()
	c, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return &visit{t, c, bufio.NewReader(c)}
}

const getRequest = "GET /x HTTP/1.1\r\nHost: h\r\n\r\n"

func (v *visit) send(text string) {
	v.t.Helper()
	if _, err := io.WriteString(v, text); err != nil {
		v.t.Fatal(err)
	}
}

// answer sends a request and reads one response; err is what ended its body.
func (v *visit) answer(request string) (resp *http.Response, body string, err error) {
	v.t.Helper()
	v.send(request)
	return v.next()
}

func (v *visit) next() (resp *http.Response, body string, err error) {
	resp, err = http.ReadResponse(v.r, nil)
	if err != nil {
		return nil, "", err
	}
	b, err := io.ReadAll(resp.Body)
	return resp, string(b), err
}

func TestAGoodBackendKeepsItsConnections(t *testing.T) {
	b := testnet.NewBackend(t, testnet.Good)
	one, two := dial(t, b), dial(t, b)
	for range 3 {
		for _, v := range []*visit{one, two} {
			if resp, body, err := v.answer(getRequest); err != nil || resp.StatusCode != 200 || body != testnet.Body {
				t.Fatalf("%q, %v", body, err)
			}
		}
	}
	if b.Accepted() != 2 || b.Requests() != 6 || b.Open() != 2 || b.MaxOpen() != 2 {
		t.Errorf("%d accepted, %d requests, %d open, %d at once, want 2, 6, 2, 2", b.Accepted(), b.Requests(), b.Open(), b.MaxOpen())
	}
	one.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n" + strings.Replace(getRequest, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1))
	all, err := io.ReadAll(one.r)
	if err != nil || strings.Count(string(all), testnet.Body) != 1 || strings.Count(string(all), "200 OK") != 2 {
		t.Errorf("%q, %v, want a HEAD's answer without a body, one with, and the end", all, err)
	}
	testnet.WaitFor(t, time.Second, "one connection left", func() bool { return b.Open() == 1 })
}

func TestEchoTellsConnectionAndRequest(t *testing.T) {
	b := testnet.NewBackend(t, testnet.Echo)
	for id := 1; id <= 2; id++ {
		v := dial(t, b)
		for n, body := range []string{"Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nT: 1\r\n\r\n"} {
			resp, got, err := v.answer("POST /t HTTP/1.1\r\nHost: h\r\n" + body)
			if err != nil || got != "hello" {
				t.Fatalf("%q, %v", got, err)
			}
			for k, want := range map[string]string{"X-Connection": string(rune('0' + id)), "X-Request": string(rune('1' + n)), "X-Target": "/t"} {
				if resp.Header.Get(k) != want {
					t.Errorf("%s: %q, want %q", k, resp.Header.Get(k), want)
				}
			}
		}
	}
}

// errAny stands for an error whose kind the standard library leaves open.
var errAny = errors.New("any error")

// Each bad behaviour, as the standard library's client meets it.
func TestBackendsMisbehaveAsTheirNamesSay(t *testing.T) {
	const whole = testnet.Body
	half := whole[:len(whole)-len(whole)/2]
	for _, tc := range []struct {
		name   string
		script testnet.Script
		good   int    // right answers before the fault
		body   string // of the first answer that is not right
		err    error  // that ends it; nil: none
		after  error  // of the next read; nil: not read
	}{
		{"CloseAfter", testnet.CloseAfter(2), 2, "", io.ErrUnexpectedEOF, nil},
		{"CloseBeforeAnswer", testnet.CloseBeforeAnswer(1), 1, "", io.ErrUnexpectedEOF, nil},
		{"ResetBeforeAnswer", testnet.ResetBeforeAnswer(1), 1, "", syscall.ECONNRESET, nil},
		{"ResetMidBody", testnet.ResetMidBody, 0, half, syscall.ECONNRESET, nil},
		{"HalfHead", testnet.HalfHead, 0, "", errAny, nil},
		{"Truncated", testnet.Truncated, 0, half, io.ErrUnexpectedEOF, nil},
		{"TruncatedChunks", testnet.TruncatedChunks, 0, "helloonly", io.ErrUnexpectedEOF, nil},
		{"UntilClose", testnet.UntilClose, 0, whole, nil, io.EOF},
		{"StallBeforeHead", testnet.StallBeforeHead, 0, "", os.ErrDeadlineExceeded, nil},
		{"StallMidBody", testnet.StallMidBody, 0, half, os.ErrDeadlineExceeded, nil},
		{"EarlyClose", testnet.EarlyClose(413), 0, whole, nil, io.EOF},
		{"SaysClose", testnet.SaysClose(20 * time.Millisecond), 0, whole, nil, io.EOF},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := dial(t, testnet.NewBackend(t, tc.script))
			for range tc.good {
				if _, body, err := v.answer(getRequest); err != nil || body != whole {
					t.Fatalf("%q, %v, want a right answer first", body, err)
				}
			}
			if tc.err == os.ErrDeadlineExceeded {
				v.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
			}
			io.WriteString(v, getRequest) // the backend may be gone already
			_, body, err := v.next()
			// A request that meets a connection closed just before gets a reset.
			late := tc.good > 0 && errors.Is(err, syscall.ECONNRESET)
			if tc.err == errAny && err != nil {
				late = true
			}
			if body != tc.body || !errors.Is(err, tc.err) && !late {
				t.Errorf("%q, %v, want %q, %v", body, err, tc.body, tc.err)
			}
			if tc.after != nil {
				if _, err := v.r.ReadByte(); !errors.Is(err, tc.after) {
					t.Errorf("then %v, want %v", err, tc.after)
				}
			}
		})
	}
}

func TestBackendsThatSayTooMuch(t *testing.T) {
	for _, tc := range []struct {
		name   string
		script testnet.Script
		first  string
		extra  string // what follows the first answer
	}{
		{"Twice", testnet.Twice, testnet.Body, "POISON"},
		{"ExtraBytes", testnet.ExtraBytes, testnet.Body, "extra"},
		{"Unasked", testnet.Unasked(10 * time.Millisecond), testnet.Body, "POISON"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := dial(t, testnet.NewBackend(t, tc.script))
			if _, body, err := v.answer(getRequest); err != nil || body != tc.first {
				t.Fatalf("%q, %v", body, err)
			}
			var got strings.Builder
			buf := make([]byte, 1000)
			for !strings.HasSuffix(got.String(), tc.extra) {
				n, err := v.r.Read(buf)
				if err != nil {
					t.Fatalf("%q, %v", got.String(), err)
				}
				got.Write(buf[:n])
			}
		})
	}
}

func TestBackendsThatAreUnusualButRight(t *testing.T) {
	for _, tc := range []struct {
		name   string
		script testnet.Script
		least  time.Duration
	}{
		{"Chunked", testnet.Chunked(7), 0},
		{"Late", testnet.Late(30 * time.Millisecond), 30 * time.Millisecond},
		{"Slow", testnet.Slow(20, 3*time.Millisecond), 9 * time.Millisecond},
		{"Phases", testnet.Phases(0, testnet.HalfHead, testnet.Good), 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := dial(t, testnet.NewBackend(t, tc.script))
			for range 2 {
				start := time.Now()
				_, body, err := v.answer(getRequest)
				if err != nil || body != testnet.Body || time.Since(start) < tc.least {
					t.Errorf("%q, %v after %s, want at least %s", body, err, time.Since(start), tc.least)
				}
			}
		})
	}
}

func TestInterimSendsA103First(t *testing.T) {
	v := dial(t, testnet.NewBackend(t, testnet.Interim))
	v.send(getRequest)
	tp := textproto.NewReader(v.r)
	if line, err := tp.ReadLine(); err != nil || line != "HTTP/1.1 103 Early Hints" {
		t.Fatalf("%q, %v", line, err)
	}
	if h, err := tp.ReadMIMEHeader(); err != nil || h.Get("Link") == "" {
		t.Fatalf("%v, %v", h, err)
	}
	if _, body, err := v.next(); err != nil || body != testnet.Body {
		t.Errorf("%q, %v", body, err)
	}
}

func TestEarlyAnswersBeforeTheBodyIsRead(t *testing.T) {
	v := dial(t, testnet.NewBackend(t, testnet.Early(503)))
	resp, body, err := v.answer("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n")
	if err != nil || resp.StatusCode != 503 || body != testnet.Body {
		t.Fatalf("%q, %v", body, err)
	}
	if resp, _, err := v.answer("hello" + getRequest); err != nil || resp.StatusCode != 503 {
		t.Errorf("the connection did not go on after the body: %v", err)
	}
}

func TestBothFramingsAreOnTheWire(t *testing.T) {
	v := dial(t, testnet.NewBackend(t, testnet.BothFramings))
	v.send(getRequest)
	var got strings.Builder
	tp := textproto.NewReader(v.r)
	line, err := tp.ReadLine()
	for ; err == nil && line != ""; line, err = tp.ReadLine() {
		got.WriteString(line + "|")
	}
	if s := got.String(); err != nil || !strings.Contains(s, "Content-Length: 5") || !strings.Contains(s, "Transfer-Encoding: chunked") {
		t.Errorf("%q, %v", s, err)
	}
}

func TestGarbageIsNoHTTP(t *testing.T) {
	v := dial(t, testnet.NewBackend(t, testnet.Garbage))
	if _, _, err := v.answer(getRequest); err == nil {
		t.Error("it was read as a response")
	}
}

func TestUpgradeEchoesAfterIts101(t *testing.T) {
	v := dial(t, testnet.NewBackend(t, testnet.Upgrade))
	v.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
	if resp, err := http.ReadResponse(v.r, nil); err != nil || resp.StatusCode != 101 {
		t.Fatal(err)
	}
	v.send("any bytes")
	got := make([]byte, 9)
	if _, err := io.ReadFull(v.r, got); err != nil || string(got) != "any bytes" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestCloseIdleAfterCloses(t *testing.T) {
	v := dial(t, testnet.NewBackend(t, testnet.CloseIdleAfter(30*time.Millisecond)))
	if _, body, err := v.answer(getRequest); err != nil || body != testnet.Body {
		t.Fatalf("%q, %v", body, err)
	}
	start := time.Now()
	if _, err := v.r.ReadByte(); err != io.EOF || time.Since(start) < 20*time.Millisecond {
		t.Errorf("%v after %s, want EOF after about 30ms", err, time.Since(start))
	}
}

func TestAStoppedBackendEndsItsConnectionsAndComesBackOnItsPort(t *testing.T) {
	b := testnet.NewBackend(t, testnet.Phases(3, testnet.StallBeforeHead, testnet.Good))
	var wg sync.WaitGroup
	for range 3 {
		v := dial(t, b)
		v.send(getRequest)
		wg.Go(func() {
			if _, err := v.r.ReadByte(); err == nil {
				t.Error("read a byte of a stopped backend")
			}
		})
	}
	testnet.WaitFor(t, time.Second, "three requests are in", func() bool { return b.Requests() == 3 })
	addr := b.Addr()
	b.Stop()
	wg.Wait()
	if b.Open() != 0 {
		t.Errorf("%d connections open after Stop", b.Open())
	}
	if c, err := net.Dial("tcp", addr.String()); err == nil {
		c.Close()
		t.Error("a stopped backend was reached")
	}
	b.Restart()
	if b.Addr() != addr {
		t.Errorf("%s after Restart, was %s", b.Addr(), addr)
	}
	v := dial(t, b)
	if _, body, err := v.answer(getRequest); err != nil || body != testnet.Body {
		t.Errorf("%q, %v after Restart", body, err)
	}
}

func TestABareLFIsRefused(t *testing.T) {
	v := dial(t, testnet.NewBackend(t, testnet.Good))
	if _, _, err := v.answer("GET / HTTP/1.1\nHost: h\n\n"); err == nil {
		t.Error("a request with bare LFs was answered")
	}
}

func TestPollGivesUp(t *testing.T) {
	start := time.Now()
	if testnet.Poll(20*time.Millisecond, func() bool { return false }) || time.Since(start) < 20*time.Millisecond {
		t.Errorf("gave up after %s", time.Since(start))
	}
}
