//go:build !race

package http1_test

import (
	"bytes"
	"net"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/internal/testnet"
	"weir/limiter"
	"weir/proxy/fault/overlimit"
	"weir/proxy/http1"
)

// The race detector allocates on its own, so these hold without it. Client and
// backend are in this process, so they must not allocate either.

// fixedBackend answers every request whose end it knows with the same bytes.
func fixedBackend(t *testing.T, size int, answer []byte) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // ends with weir's connection
				defer c.Close()
				buf := make([]byte, 128<<10)
				have := 0
				for {
					n, err := c.Read(buf[have:])
					if err != nil {
						return
					}
					have += n
					end := bytes.Index(buf[:have], []byte("\r\n\r\n"))
					if end < 0 || have < end+4+size {
						continue
					}
					have = 0
					if _, err := c.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// allocations is what f costs, all goroutines together. A background goroutine
// may allocate once in many runs, which AllocsPerRun's division drops.
func allocations(t *testing.T, f func()) float64 {
	t.Helper()
	for range 50 {
		f()
	}
	return testing.AllocsPerRun(500, f)
}

func TestExchangeAllocatesNothing(t *testing.T) {
	small := []byte("HTTP/1.1 200 OK\r\nDate: Sun, 22 Nov 2026 12:00:00 GMT\r\nServer: x\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello")
	large := append([]byte("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"), bytes.Repeat([]byte("x"), 100_000)...)
	chunked := []byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
	for _, test := range []struct {
		name     string
		request  string
		bodySize int // as the backend sees it
		answer   []byte
		grown    int // bytes of the answer that weir changes
	}{
		{"GET", "GET /path?query HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: test\r\nAccept: */*\r\nCookie: a=b\r\n\r\n", 0, small, 0},
		{"POST", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 5, small, 0},
		{"POST of 40,000 bytes", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40000\r\n\r\n" + strings.Repeat("x", 40_000), 40_000, small, 0},
		{"POST chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 15, small, 0},
		{"chunked response", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0, chunked, 0},
		{"large response", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0, large, 0},
		{"HTTP/1.0 kept", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 0, small, len("Connection: keep-alive\r\n")},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, rigOptions{backend: fixedBackend(t, test.bodySize, test.answer)})
			want := len(test.answer) + test.grown
			for _, with := range []string{"with", "without"} { // an access log
				set := *r.set
				set.Routes = slices.Clone(r.set.Routes)
				if with == "without" {
					set.Access = nil
				}
				if err := r.front.Apply(&set); err != nil {
					t.Fatal(err)
				}
				n := exchangeAllocations(t, r.dial(), []byte(test.request), want)
				t.Logf("figure: %v allocations for a keepalive exchange (%s, %s an access log)", n, test.name, with)
				if n != 0 {
					t.Errorf("%v allocations %s an access log", n, with)
				}
			}
			r.access.partly = true
		})
	}
}

// exchangeAllocations is what a request and an answer of want bytes cost.
func exchangeAllocations(t *testing.T, c net.Conn, request []byte, want int) float64 {
	t.Helper()
	buf := make([]byte, 128<<10)
	return allocations(t, func() {
		if _, err := c.Write(request); err != nil {
			t.Fatal(err)
		}
		for have := 0; have < want; {
			n, err := c.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			have += n
		}
	})
}

func TestARefusalAllocatesNothing(t *testing.T) {
	r := newRig(t, rigOptions{backend: "127.0.0.1:1", settings: func(s *http1.Settings) { s.Routes[0].Rule = http1.Rule{Host: "a"} }})
	request := []byte("GET /" + strings.Repeat("x", 3000) + " HTTP/1.1\r\nHost: b\r\n\r\n")
	a := r.exchange(string(request[:len(request)-2]) + "Connection: close\r\n\r\n")
	if n := exchangeAllocations(t, r.dial(), request, len(a)-len("Connection: close\r\n")); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestLimitsAllocateNothing(t *testing.T) {
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
	request := []byte("GET / HTTP/1.1\r\nHost: a\r\nX-Api-Key: some key\r\n\r\n")
	plenty, err := limiter.NewLimit(1_000_000, time.Second, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]limiter.GateOptions{
		"within all":  {Rate: plenty, PerRate: plenty, InFlight: 10},
		"rate":        {Rate: hourly(t, 1)},
		"in_flight":   {InFlight: 1},
		"after a key": {PerRate: plenty, Rate: hourly(t, 1)},
	} {
		guard := &limiter.Guard{Breaker: limiter.NewBreaker(nil), Ladder: limiter.NewLadder(limiter.Nanos(time.Now()), nil)}
		guard.Breaks.Store(true)
		adaptive, err := limiter.NewAdaptive(limiter.AdaptiveOptions{Max: 8})
		if err != nil {
			t.Fatal(err)
		}
		guard.Adaptive.Store(adaptive)
		r := newRig(t, rigOptions{backend: fixedBackend(t, 0, answer), settings: func(s *http1.Settings) {
			s.Limit = overlimit.Limit{Gate: newGate(t, o), By: limiter.KeyBy{Header: "X-Api-Key"}, Name: "listeners[web]"}
			s.Routes[0].Backend.Guard = guard
		}})
		if name != "within all" { // the only token, and the only place
			var way limiter.Way
			way.Enter(r.set.Limit.Gate, limiter.Nanos(time.Now()), 0)
		}
		c, buf := r.dial(), make([]byte, 4096)
		n := allocations(t, func() {
			if _, err := c.Write(request); err != nil {
				t.Fatal(err)
			}
			m, err := c.Read(buf)
			if served := bytes.HasPrefix(buf[:m], []byte("HTTP/1.1 200")); err != nil || served != (name == "within all") {
				t.Fatalf("%s: %q, %v", name, buf[:m], err)
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
		r.access.partly = true
	}
}

func TestLargeUploadAllocatesLittle(t *testing.T) {
	const size = 100_000
	r := newRig(t, rigOptions{backend: fixedBackend(t, size, []byte(ok))})
	c := r.dial()
	request := append([]byte("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"), bytes.Repeat([]byte("x"), size)...)
	buf := make([]byte, 4096)
	n := allocations(t, func() {
		if _, err := c.Write(request); err != nil {
			t.Fatal(err)
		}
		for have := 0; have < len(ok); {
			n, err := c.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			have += n
		}
	})
	t.Logf("figure: %v allocations for an upload of %d bytes", n, size)
	if n > 4 { // the goroutine, its channel
		t.Errorf("%v allocations", n)
	}
}

// shortClient is what a short client may cost. On the raw path what is left is
// the connection itself and its goroutine's start; the plain path has the net
// package's connection on top.
var shortClient = map[bool]float64{true: 4, false: 24}[rawPath]

// A short client, from accept to close, over bare sockets.
func TestShortClientAllocatesLittle(t *testing.T) {
	small := []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
	r := newRig(t, rigOptions{backend: fixedBackend(t, 0, small)})
	addr := r.l.Addr().(*net.TCPAddr)
	sa := &syscall.SockaddrInet4{Port: addr.Port}
	copy(sa.Addr[:], addr.IP.To4())
	request := []byte("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	buf := make([]byte, 4096)
	short := func() {
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Connect(fd, sa); err != nil {
			t.Fatal(err)
		}
		syscall.Write(fd, request)
		for n, have := 1, 0; n > 0 && have < len(small)+len("Connection: close\r\n"); have += n {
			if n, err = syscall.Read(fd, buf); err != nil {
				t.Fatal(err)
			}
		}
		syscall.Close(fd)
	}
	n := allocations(t, short)
	testnet.WaitFor(t, testWait, "all clients ended", func() bool { return r.l.Stats().Open == 0 })
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const rounds = 500
	for range rounds {
		short()
	}
	runtime.ReadMemStats(&after)
	t.Logf("figure: %v allocations and %d bytes for a short client", n, (after.TotalAlloc-before.TotalAlloc)/rounds)
	if n > shortClient {
		t.Errorf("%v allocations", n)
	}
}
