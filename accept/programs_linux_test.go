package accept

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/testnet"
	"weir/tcpstat"
)

// startNginx starts nginx as a backend that never closes a connection of its
// own, with more in its server block.
func startNginx(t *testing.T, more string) *testnet.Server {
	t.Helper()
	return testnet.StartNginx(t, testnet.ServerOptions{Config: `
		keepalive_requests 10000000;
		keepalive_timeout 300s;
		server {
			listen {addr} backlog=4096;
			default_type text/plain;
			location / { return 200 "` + nginxBody + `"; }
			location = /stub { stub_status; }
			` + more + `
		}`})
}

const nginxBody = "forty-three bytes of text, as is usual here"

// fourEnds are the TIME_WAIT sockets at the four ends of a path through weir.
// On loopback all are in one table; the ports tell them apart.
type fourEnds struct{ client, listener, dialed, backend int }

func (e fourEnds) sum() int { return e.client + e.listener + e.dialed + e.backend }

func (e fourEnds) minus(o fourEnds) fourEnds {
	return fourEnds{e.client - o.client, e.listener - o.listener, e.dialed - o.dialed, e.backend - o.backend}
}

func (e fourEnds) String() string {
	return fmt.Sprintf("%d (client %d, listener %d, weir's backend side %d, backend %d)",
		e.sum(), e.client, e.listener, e.dialed, e.backend)
}

// timeWaits counts the TIME_WAIT sockets of a listener's and a backend's port.
func timeWaits(t *testing.T, listener, backend uint16) (e fourEnds) {
	t.Helper()
	list(t, tcpstat.Filter{States: tcpstat.MaskOf(tcpstat.TimeWait)}, func() { e = fourEnds{} }, func(s *tcpstat.Socket) {
		switch {
		case s.Remote.Port() == listener:
			e.client++
		case s.Local.Port() == listener:
			e.listener++
		case s.Remote.Port() == backend:
			e.dialed++
		case s.Local.Port() == backend:
			e.backend++
		}
	})
	return e
}

// list calls add for every socket, from the start again, after reset, where the
// kernel's table changed its shape meanwhile.
func list(t *testing.T, f tcpstat.Filter, reset func(), add func(*tcpstat.Socket)) {
	t.Helper()
	r, err := tcpstat.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range 5 {
		reset()
		err = r.Each(f, func(s *tcpstat.Socket) bool { add(s); return true })
		if !errors.Is(err, tcpstat.ErrChanged) {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// countedAfter is the moment at which TIME_WAIT is promised to be gone, by the
// clock from the last response: the sockets have had the time to get there, and
// those of the kernel's 60 s are all still there.
const countedAfter = time.Second

// settled waits for the moment to count, after the last response at last.
func settled(t *testing.T, last time.Time) {
	t.Helper()
	testnet.WaitFor(t, 2*countedAfter, "the moment to count", func() bool { return time.Since(last) >= countedAfter })
}

func portOf(t *testing.T, address string) uint16 {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return uint16(n)
}

// backendSockets samples how many connections a backend has until stop is
// called, which returns the most that it saw: as the kernel counts them at the
// backend's port, and as nginx does itself.
func backendSockets(t *testing.T, nginx *testnet.Server) (stop func() (kernel, own int)) {
	t.Helper()
	var kernel, own int
	// The connection that asks must leave no TIME_WAIT of its own.
	ask := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, address)
			if err == nil {
				c.(*net.TCPConn).SetLinger(0)
			}
			return c, err
		},
	}}
	r, err := tcpstat.Open()
	if err != nil {
		t.Fatal(err)
	}
	// What is not yet or no more a connection is not counted, and the one
	// that asks is taken off.
	open := tcpstat.Filter{States: tcpstat.MaskOf(tcpstat.Established, tcpstat.CloseWait), LocalPort: nginx.Addr.Port()}
	end := sampled(10*time.Millisecond, func() bool {
		if n, err := stubActive(&ask, nginx); err != nil {
			t.Errorf("ask nginx: %v", err)
			return false
		} else if own = max(own, n-1); own < 0 {
			t.Error("nginx does not count the connection it answers on")
		}
		if c, err := r.Counts(open); err == nil {
			kernel = max(kernel, c.Total()-1)
		}
		return true
	})
	return func() (int, int) {
		end()
		r.Close()
		ask.CloseIdleConnections()
		return kernel, own
	}
}

var activeLine = regexp.MustCompile(`Active connections: (\d+)`)

func stubActive(c *http.Client, nginx *testnet.Server) (int, error) {
	resp, err := c.Get("http://" + nginx.Addr.String() + "/stub")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	m := activeLine.FindSubmatch(b)
	if m == nil {
		return 0, fmt.Errorf("no count in %q", b)
	}
	return strconv.Atoi(string(m[1]))
}

// The two kinds of short client. Both read the response by its Content-Length
// and close first.
const (
	saysClose  = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	justLeaves = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
)

// shortRequest makes one request on a connection of its own and closes it when
// the whole response is there.
func shortRequest(address, request, body string) error {
	c, err := net.DialTimeout("tcp", address, 20*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		return err
	}
	got, err := readResponse(c, make([]byte, 4096))
	if err != nil {
		return err
	}
	if got != body {
		return fmt.Errorf("body %q", got)
	}
	return nil
}

// readResponse reads one response of status 200 that fits in buf and has a
// Content-Length, and nothing beyond it.
func readResponse(c net.Conn, buf []byte) (string, error) {
	n := 0
	for {
		m, err := c.Read(buf[n:])
		n += m
		head, body, whole := bytes.Cut(buf[:n], []byte("\r\n\r\n"))
		if whole {
			if !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) {
				return "", fmt.Errorf("answered %q", buf[:n])
			}
			if want := contentLength(head); want < 0 || len(body) > want {
				return "", fmt.Errorf("answered %q", buf[:n])
			} else if len(body) == want {
				return string(body), nil
			}
		}
		if err != nil {
			return "", fmt.Errorf("after %d bytes of a response: %w", n, err)
		}
		if n == len(buf) {
			return "", fmt.Errorf("a response of more than %d bytes", n)
		}
	}
}

func contentLength(head []byte) int {
	for line := range bytes.Lines(head) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("Content-Length")) {
			if n, err := strconv.Atoi(string(bytes.TrimSpace(value))); err == nil {
				return n
			}
		}
	}
	return -1
}

// shortStorm makes n short requests, c at a time, and returns how many failed.
// The first few failures are logged.
func shortStorm(t *testing.T, n, c int, address, request, body string) (failed int64) {
	t.Helper()
	var left, bad atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	for range c {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := shortRequest(address, request, body); err != nil && bad.Add(1) <= 5 {
					t.Logf("a request failed: %v", err)
				}
			}
		})
	}
	wg.Wait()
	return bad.Load()
}

// fewTimeWaits holds weir to the 20 it promises after 20,000 connections. A
// client that the machine keeps from closing for 60 ms is closed by weir: where
// others use the cores that is one of some hundred.
func fewTimeWaits(t *testing.T, left fourEnds, n int) {
	t.Helper()
	speed(t, left.sum() <= 20, "TIME_WAIT after %d connections, at most 20: %d", n, left.sum())
	if left.sum() > 20+n/100 {
		t.Errorf("TIME_WAIT %v", left)
	}
}

func TestAcceptShortConnectionsLeaveNoTimeWait(t *testing.T) {
	const n, c, maxOpen = 20000, 8, 8
	for _, kind := range []struct{ name, request string }{
		{"the client says close", saysClose},
		{"the client just leaves", justLeaves},
	} {
		t.Run(kind.name, func(t *testing.T) {
			// Another one for the comparison, so that its TIME_WAIT are not among ours.
			alone := startNginx(t, "")
			if bad := shortStorm(t, n/10, c, alone.Addr.String(), kind.request, nginxBody); bad > 0 {
				t.Fatalf("%d of %d requests to nginx itself failed", bad, n/10)
			}
			settled(t, time.Now())
			direct := timeWaits(t, alone.Addr.Port(), 0)

			nginx := startNginx(t, "")
			w := start(t, oneBackend(nginx.Addr.String(), "", fmt.Sprintf("pool: {max_open: %d}", maxOpen)))
			listener, backend := portOf(t, w.addr["web"]), nginx.Addr.Port()
			before := timeWaits(t, listener, backend)
			stop := backendSockets(t, nginx)
			began := time.Now()
			bad := shortStorm(t, n, c, w.addr["web"], kind.request, nginxBody)
			last := time.Now()
			took := last.Sub(began)
			kernel, own := stop()
			settled(t, last)
			left := timeWaits(t, listener, backend).minus(before)
			s := w.status()

			figure(t, "%d short connections (%s): TIME_WAIT %v; %d of nginx alone left %d",
				n, kind.name, left, n/10, direct.client+direct.listener)
			figure(t, "%.0f connections/s; backend connections: most %d by weir, %d by the kernel, %d by nginx, bound %d; closed %v",
				n/took.Seconds(), s.Backends[0].MostOpen, kernel, own, maxOpen, s.Listeners[0].Closed)
			if bad > 0 {
				t.Errorf("%d of %d requests failed", bad, n)
			}
			fewTimeWaits(t, left, n)
			if direct.client+direct.listener < n/10*9/10 {
				t.Errorf("without weir only %d of %d were counted: the count is not to be trusted", direct.sum(), n/10)
			}
			if most := max(kernel, own, s.Backends[0].MostOpen); most > maxOpen {
				t.Errorf("%d backend connections, max_open is %d", most, maxOpen)
			}
			if opened := s.opened(); opened > maxOpen {
				t.Errorf("%d backend connections were opened for %d requests", opened, n)
			}
		})
	}
}

// runProgram runs a program to its end and returns what it printed.
func runProgram(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), testnet.NeedProgram(t, name), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

// wrkResult is what wrk tells about a run.
type wrkResult struct{ requests, socketErrors, otherStatus int }

func (r *wrkResult) add(o wrkResult) {
	r.requests += o.requests
	r.socketErrors += o.socketErrors
	r.otherStatus += o.otherStatus
}

var (
	wrkRequests = regexp.MustCompile(`(\d+) requests in`)
	wrkErrors   = regexp.MustCompile(`Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
	wrkStatus   = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)`)
)

func wrk(t *testing.T, args ...string) (r wrkResult) {
	t.Helper()
	out := runProgram(t, "wrk", args...)
	m := wrkRequests.FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("wrk printed no count:\n%s", out)
	}
	r.requests, _ = strconv.Atoi(m[1])
	if m := wrkErrors.FindStringSubmatch(out); m != nil {
		for _, s := range m[1:] {
			n, _ := strconv.Atoi(s)
			r.socketErrors += n
		}
	}
	if m := wrkStatus.FindStringSubmatch(out); m != nil {
		r.otherStatus, _ = strconv.Atoi(m[1])
	}
	return r
}

// wrk ends by dropping its connections in the middle of requests. The FIN of such
// a client comes before the response, as that of one that half-closes, so it is
// not reset and each may leave a TIME_WAIT. wrk knows durations only; so that it
// ends once, a first run on a port of its own tells how long the second has to be.
func TestAcceptWrkAndCurlLeaveNoTimeWait(t *testing.T) {
	const maxOpen, want, conns = 8, 20000, 16
	nginx := startNginx(t, "")
	w := start(t, fmt.Sprintf(`
listeners:
  - {name: web, protocol: http, address: "127.0.0.1:0", backend: api, max_clients: 1000}
  - {name: first, protocol: http, address: "127.0.0.1:0", backend: api, max_clients: 1000}
backends:
  - {name: api, endpoints: ["%s"], pool: {max_open: %d}, queue: {timeout: 10s}}
`, nginx.Addr, maxOpen))
	listener, backend := portOf(t, w.addr["web"]), nginx.Addr.Port()
	before := timeWaits(t, listener, backend)
	stop := backendSockets(t, nginx)

	var curls sync.WaitGroup
	outputs := make([]string, 5)
	for i := range outputs {
		curls.Go(func() {
			out, err := exec.CommandContext(t.Context(), testnet.NeedProgram(t, "curl"), "-sS", "-H", "Connection: close",
				"-w", "%{http_code} %{num_connects}\n", "-o", "/dev/null", w.url("/?[1-100]")).CombinedOutput()
			if err != nil {
				t.Errorf("curl: %v\n%s", err, out)
			}
			outputs[i] = string(out)
		})
	}
	curls.Wait()
	last := time.Now()
	served := 0
	for _, out := range outputs {
		served += strings.Count(out, "200 1\n")
	}
	if served != 500 {
		t.Errorf("curl was served %d times on a connection of its own, wanted 500: %.200s", served, outputs)
	}
	settled(t, last)
	figure(t, "500 connections of curl: TIME_WAIT %v", timeWaits(t, listener, backend).minus(before))

	short := func(seconds int, listener string) wrkResult {
		return wrk(t, "-t1", fmt.Sprintf("-c%d", conns), fmt.Sprintf("-d%ds", seconds), "-H", "Connection: close", "http://"+w.addr[listener]+"/")
	}
	perSecond := max(short(1, "first").requests, want/60)
	// The first run's dropped clients had the address of this one's.
	got := short(1+3*want/perSecond, "web")
	last = time.Now()
	kernel, own := stop()
	settled(t, last)
	left := timeWaits(t, listener, backend).minus(before)
	s := w.status()
	closed := s.Listeners[slices.IndexFunc(s.Listeners, func(l listenerStatus) bool { return l.Name == "web" })].Closed
	figure(t, "%d connections of wrk: TIME_WAIT %v (the last %d of them wrk itself dropped); closed %v", got.requests, left, conns, closed)
	if got.requests < want || got.socketErrors > 0 || got.otherStatus > 0 {
		t.Errorf("wrk: %+v, wanted %d without an error", got, want)
	}
	fewTimeWaits(t, left, got.requests)
	if most := max(kernel, own, s.Backends[0].MostOpen); most > maxOpen {
		t.Errorf("%d backend connections, max_open is %d: %d by the kernel, %d by nginx, %d by weir", most, maxOpen, kernel, own, s.Backends[0].MostOpen)
	}
}

// Both wait for the server's FIN: weir must not make them wait for its own
// patience with clients that close first.
func TestAcceptClientsThatReadToTheEndAreNotDelayed(t *testing.T) {
	nginx := startNginx(t, "")
	w := start(t, oneBackend(nginx.Addr.String(), "", ""))
	direct := nginx.Addr.String()
	const most = 6 * time.Millisecond

	t.Run("ab", func(t *testing.T) {
		ab := func(address string) (median time.Duration) {
			csv := t.TempDir() + "/ab.csv"
			out := runProgram(t, "ab", "-q", "-n", "2000", "-c", "8", "-e", csv, "http://"+address+"/")
			if !strings.Contains(out, "Failed requests:        0\n") || !strings.Contains(out, "Complete requests:      2000\n") ||
				strings.Contains(out, "Non-2xx") {
				t.Errorf("ab against %s:\n%s", address, out)
			}
			return abMedian(t, csv)
		}
		a, b := ab(direct), ab(w.addr["web"])
		speed(t, b <= a+most, "ab -n 2000 -c 8: median %v direct, %v through weir, at most %v more", a, b, most)
	})

	t.Run("file_get_contents", func(t *testing.T) {
		php := func(address string) time.Duration {
			out := runProgram(t, "php", "-r", `for ($i = 0; $i < 100; $i++) {
				$began = hrtime(true);
				$body = file_get_contents($argv[1]);
				$took = hrtime(true) - $began;
				if ($body !== $argv[2]) { fwrite(STDERR, "wrong body: " . var_export($body, true)); exit(1); }
				echo $took, "\n";
			}`, "http://"+address+"/", nginxBody)
			var all []time.Duration
			for line := range strings.Lines(out) {
				n, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
				if err != nil {
					t.Fatalf("php printed %q", out)
				}
				all = append(all, time.Duration(n))
			}
			if len(all) != 100 {
				t.Fatalf("php made %d requests", len(all))
			}
			slices.Sort(all)
			return all[50].Round(time.Microsecond)
		}
		a, b := php(direct), php(w.addr["web"])
		speed(t, b <= a+most, "100 x file_get_contents: median %v direct, %v through weir, at most %v more", a, b, most)
	})
	figure(t, "closed %v", w.status().Listeners[0].Closed)
}
