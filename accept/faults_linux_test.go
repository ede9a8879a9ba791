package accept

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/internal/testnet"
	"weir/tcpstat"
)

// storm is a load of keepalive and short clients, each of whose requests asks
// for an id of its own that the backend sends back.
type storm struct {
	t    *testing.T
	addr string
	stop chan struct{}
	wg   sync.WaitGroup
	next atomic.Int64

	right, truncated atomic.Int64
	dead             atomic.Int64   // since when there is no backend, Unix nanoseconds; 0 while there is one
	refusals         []atomic.Int64 // by client

	mu      sync.Mutex
	refused map[string]int // by X-Weir-Reason
	wrong   []string
	reset   map[string]int // connection ended without a response
}

// answerTo is what the backend says to an id: long enough to be cut.
func answerTo(id string) string { return strings.Repeat(id+" ", 20) }

func startStorm(t *testing.T, addr string, keepalive, short int) *storm {
	s := &storm{t: t, addr: addr, stop: make(chan struct{}), refused: map[string]int{}, reset: map[string]int{}}
	s.refusals = make([]atomic.Int64, keepalive+short)
	for i := range s.refusals {
		s.wg.Go(func() { s.client(i, i < keepalive) })
	}
	t.Cleanup(s.end)
	return s
}

func (s *storm) end() {
	select {
	case <-s.stop:
	default:
		close(s.stop)
	}
	s.wg.Wait()
}

func (s *storm) client(i int, keepalive bool) {
	var c net.Conn
	var br *bufio.Reader
	defer func() {
		if c != nil {
			c.Close()
		}
	}()
	for {
		select {
		case <-s.stop:
			return
		default:
		}
		if c == nil {
			var err error
			if c, err = net.Dial("tcp", s.addr); err != nil {
				s.note("dial: " + err.Error())
				return
			}
			br = bufio.NewReader(c)
		}
		id := fmt.Sprintf("/id-%d", s.next.Add(1))
		if !s.one(c, br, i, id, !keepalive) {
			c.Close()
			c = nil
		}
	}
}

// one makes client i ask for id and judges what comes. Whatever is not the right answer must
// be a refusal with its reason, or a visible cut within the right one.
func (s *storm) one(c net.Conn, br *bufio.Reader, i int, id string, last bool) (keep bool) {
	c.SetDeadline(time.Now().Add(30 * time.Second))
	more := ""
	if last {
		more = "Connection: close\r\n"
	}
	began := time.Now().UnixNano()
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n", id, more)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		s.mu.Lock()
		s.reset[err.Error()]++
		s.mu.Unlock()
		return false
	}
	body, err := io.ReadAll(resp.Body)
	reason := resp.Header.Get("X-Weir-Reason")
	switch want := answerTo(id); {
	case reason != "":
		ok := err == nil && slices.Contains([]int{502, 503, 504}, resp.StatusCode)
		s.mu.Lock()
		s.refused[reason]++
		s.mu.Unlock()
		s.refusals[i].Add(1)
		if !ok {
			s.note(fmt.Sprintf("%s: %d %s, %v", id, resp.StatusCode, reason, err))
		}
	case err != nil && strings.HasPrefix(want, string(body)):
		s.truncated.Add(1)
	case err != nil || resp.StatusCode != 200 || string(body) != want:
		s.note(fmt.Sprintf("%s: %d %.100q, %v", id, resp.StatusCode, body, err))
	default:
		s.right.Add(1)
		if dead := s.dead.Load(); dead != 0 && began > dead {
			s.note(id + " was answered, and no backend was there")
		}
	}
	return !last && !resp.Close && err == nil
}

// await waits for that many more right answers, or for a wrong one.
func (s *storm) await(n int64) {
	s.t.Helper()
	n += s.right.Load()
	testnet.WaitFor(s.t, 60*time.Second, fmt.Sprintf("%d right answers", n), func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.right.Load() >= n || len(s.wrong) > 0
	})
}

// awaitRefusals waits until every client has been refused that many more times,
// or for a wrong answer.
func (s *storm) awaitRefusals(n int64) {
	s.t.Helper()
	want := make([]int64, len(s.refusals))
	for i := range want {
		want[i] = s.refusals[i].Load() + n
	}
	testnet.WaitFor(s.t, 60*time.Second, fmt.Sprintf("%d refusals of every client", n), func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for i := range want {
			if s.refusals[i].Load() < want[i] {
				return len(s.wrong) > 0
			}
		}
		return true
	})
}

func (s *storm) note(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.wrong) < 10 {
		s.wrong = append(s.wrong, text)
	}
}

func (s *storm) counts() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("%d right, %d cut, refused %v, ended %v", s.right.Load(), s.truncated.Load(), s.refused, s.reset)
}

// verdict ends the load and reports what was wrong. Whoever says nothing hides
// something: a connection may not end without a response.
func (s *storm) verdict() {
	s.t.Helper()
	s.end()
	for _, w := range s.wrong {
		s.t.Error(w)
	}
	if len(s.reset) > 0 {
		s.t.Errorf("connections ended without a response: %v", s.reset)
	}
}

// census counts, at every connection that a backend accepts, those of its
// connections that stand. One that stands when it is looked at stood when the
// list was taken, so the count is never too high.
type census struct {
	mu    sync.Mutex
	conns map[*testnet.BackendConn]bool
	most  int
}

func (n *census) watch(script testnet.Script) testnet.Script {
	n.conns = map[*testnet.BackendConn]bool{}
	return func(c *testnet.BackendConn) {
		n.count(c)
		script(c)
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.conns, c)
	}
}

func (n *census) count(c *testnet.BackendConn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns[c] = true
	standing := 0
	for c := range n.conns {
		rc, err := c.Conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			continue
		}
		rc.Control(func(fd uintptr) {
			if i, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil && tcpstat.State(i.State) == tcpstat.Established {
				standing++
			}
		})
	}
	n.most = max(n.most, standing)
}

// mostTo samples the sockets that lead to a port until stop is called. The
// kernel's list is not of one moment: where connections come and go fast, one
// that went and the one in its place may both be in it.
func mostTo(t *testing.T, port uint16) (stop func() int) {
	t.Helper()
	r, err := tcpstat.Open()
	if err != nil {
		t.Fatal(err)
	}
	end, done := make(chan struct{}), make(chan struct{})
	most := 0
	go func() {
		defer close(done)
		defer r.Close()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		f := tcpstat.Filter{States: tcpstat.MaskOf(tcpstat.SynSent, tcpstat.Established, tcpstat.CloseWait), RemotePort: port}
		for {
			if c, err := r.Counts(f); err == nil {
				most = max(most, c.Total())
			}
			select {
			case <-tick.C:
			case <-end:
				return
			}
		}
	}()
	return func() int {
		close(end)
		<-done
		return most
	}
}

// wild is a backend that does, at random, all that a backend must not.
func wild(seed uint64) testnet.Script {
	return func(c *testnet.BackendConn) {
		rnd := rand.New(rand.NewPCG(seed, uint64(c.ID)))
		for {
			r, err := c.ReadRequest()
			if err != nil {
				return
			}
			text := testnet.Response(200, answerTo(r.Target))
			switch rnd.IntN(40) {
			case 0: // closes the idle connection
				c.Send(text)
				c.Pause(time.Duration(rnd.IntN(3)) * time.Millisecond)
				return
			case 1: // closes without an answer
				return
			case 2:
				c.Reset()
				return
			case 3:
				c.Send(text[:len(text)/2])
				return
			case 4:
				c.Send(text[:len(text)/2])
				c.Pause(time.Millisecond)
				c.Reset()
				return
			case 5:
				c.Send(text + testnet.Response(200, "POISON"))
			case 6:
				c.Send(text + "POISON")
			case 7:
				c.Send("this is no HTTP\r\n\r\n")
			case 8:
				c.Send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
			case 9: // resets the idle connection
				c.Send(text)
				c.Pause(time.Millisecond)
				c.Reset()
				return
			default:
				if c.Send(text) != nil {
					return
				}
			}
		}
	}
}

func TestAcceptWildBackendHurtsOnlyTheRequestsItFails(t *testing.T) {
	var open census
	backend := testnet.NewBackend(t, open.watch(wild(7)))
	w := start(t, oneBackend(backend.Addr().String(), "", "pool: {max_open: 8}, retry_budget: 100%, dial: {rate: 10000/s}"))
	s := startStorm(t, w.addr["web"], 8, 8)
	s.await(10_000)
	s.verdict()
	st := w.status().Backends[0]
	figure(t, "wild backend: %s; at most %d connections (by weir %d) with max_open 8; closed %v", s.counts(), open.most, st.MostOpen, st.Closed)
	if open.most > 8 || st.MostOpen > 8 {
		t.Errorf("%d connections, %d by weir's count, with max_open 8", open.most, st.MostOpen)
	}
	if s.truncated.Load() == 0 || s.refused["bad_response/bad_response_status_line"] == 0 {
		t.Error("the backend was not wild enough")
	}
}

// A backend that only closes its idle connections is no reason for an error:
// every GET on a connection that turns out dead succeeds on another.
func TestAcceptBackendThatClosesIdleConnectionsIsNotNoticed(t *testing.T) {
	var open census
	backend := testnet.NewBackend(t, open.watch(func(c *testnet.BackendConn) {
		rnd := rand.New(rand.NewPCG(1, uint64(c.ID)))
		for {
			r, err := c.ReadRequest()
			if err != nil || c.Send(testnet.Response(200, answerTo(r.Target))) != nil {
				return
			}
			if rnd.IntN(10) == 0 {
				c.Pause(time.Duration(rnd.IntN(2000)) * time.Microsecond)
				return
			}
		}
	}))
	w := start(t, oneBackend(backend.Addr().String(), "", "pool: {max_open: 8}, retry_budget: 100%, dial: {rate: 10000/s}"))
	s := startStorm(t, w.addr["web"], 8, 8)
	s.await(10_000)
	s.verdict()
	st := w.status().Backends[0]
	figure(t, "backend that closes idle connections: %s; at most %d connections with max_open 8; closed %v", s.counts(), open.most, st.Closed)
	if len(s.refused) > 0 || s.truncated.Load() > 0 {
		t.Errorf("clients noticed: %s", s.counts())
	}
	if open.most > 8 || st.MostOpen > 8 {
		t.Errorf("%d connections, %d by weir's count, with max_open 8", open.most, st.MostOpen)
	}
}

// What a backend sends on an idle connection nobody asked for. The answer to a
// request that crosses with it on the wire cannot be told from it, by anybody:
// the backend counts those, and only so many clients may get a wrong answer.
func TestAcceptUnaskedAnswersReachNobody(t *testing.T) {
	var sent, crossed atomic.Int64
	backend := testnet.NewBackend(t, func(c *testnet.BackendConn) {
		for {
			r, err := c.ReadRequest()
			if err != nil || c.Send(testnet.Response(200, answerTo(r.Target))) != nil {
				return
			}
			c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			if _, err := c.R.Peek(1); err == nil {
				c.SetReadDeadline(time.Time{})
				continue
			}
			if !silent(c.Conn) { // came while this goroutine was waking up
				c.SetReadDeadline(time.Time{})
				continue
			}
			c.Send(testnet.Response(200, "POISON"))
			sent.Add(1)
			c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			if _, err := c.R.Peek(1); err == nil {
				// Its answer would be one that nobody waits for any more, and could
				// cross with the next request in the same way.
				crossed.Add(1)
				return
			}
			c.SetReadDeadline(time.Now().Add(10 * time.Second))
		}
	})
	w := start(t, oneBackend(backend.Addr().String(), "", "pool: {max_open: 8}, dial: {rate: 10000/s}"))
	var wrong, right atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(2, uint64(i)))
			for j := range 100 {
				id := fmt.Sprintf("/%d-%d", i, j)
				if _, body := get(t, w.url(id)); body == answerTo(id) {
					right.Add(1)
				} else {
					wrong.Add(1)
				}
				testnet.Pace(nil, time.Duration(rnd.IntN(20))*time.Millisecond)
			}
		})
	}
	wg.Wait()
	figure(t, "unasked answers: %d sent, %d right answers, %d wrong, %d crossed with a request", sent.Load(), right.Load(), wrong.Load(), crossed.Load())
	if wrong.Load() > crossed.Load() || crossed.Load() > sent.Load()/10 || sent.Load() < 30 {
		t.Error("an answer that nobody asked for reached a client, or too few were sent")
	}
}

// silent says whether nothing waits to be read.
func silent(c net.Conn) (yes bool) {
	rc, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return false
	}
	rc.Control(func(fd uintptr) {
		_, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		yes = err == unix.EAGAIN
	})
	return yes
}

// startEchoing starts nginx in one process, which can be stopped and killed as
// a whole, at addr if that is valid.
func startEchoing(t *testing.T, o testnet.ServerOptions) *testnet.Server {
	t.Helper()
	o.Main = "master_process off;"
	o.Config = `
		keepalive_requests 10000000;
		server {
			listen {addr} backlog=4096;
			default_type text/plain;
			location / { return 200 "` + strings.Repeat("$request_uri ", 20) + `"; }
		}`
	return testnet.StartNginx(t, o)
}

func TestAcceptKilledBackendIsServedAgainWhenItReturns(t *testing.T) {
	nginx := startEchoing(t, testnet.ServerOptions{})
	w := start(t, oneBackend(nginx.Addr.String(), "", "pool: {max_open: 8}"))
	stop := mostTo(t, nginx.Addr.Port())
	s := startStorm(t, w.addr["web"], 8, 8)
	s.await(500)
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		nginx.Signal(sig)
		nginx.Stop()
		s.dead.Store(time.Now().UnixNano())
		s.awaitRefusals(3)
		s.dead.Store(0)
		nginx = startEchoing(t, testnet.ServerOptions{Addr: nginx.Addr})
		back, n := time.Now(), s.right.Load()
		testnet.WaitFor(t, 20*time.Second, "answers after the return", func() bool { return s.right.Load() > n })
		first := time.Since(back)
		s.await(500)
		figure(t, "backend ended by %v and started again: the first answer %v after it accepts", sig, first.Round(time.Millisecond))
		if first > time.Second {
			t.Errorf("the first answer came %v after the backend's return", first)
		}
	}
	s.verdict()
	most, own := stop(), w.status().Backends[0].MostOpen
	figure(t, "killed backend: %s; at most %d sockets seen (%d by weir) with max_open 8", s.counts(), most, own)
	if own > 8 {
		t.Errorf("%d connections with max_open 8", own)
	}
	for reason := range s.refused {
		if !slices.Contains([]string{"dial_refused", "backend_reset", "backend_closed", "stale_unsafe", "queue_timeout"}, reason) {
			t.Errorf("refused for %s", reason)
		}
	}
}

func TestAcceptStoppedBackendTimesOutAndComesBack(t *testing.T) {
	nginx := startEchoing(t, testnet.ServerOptions{})
	w := start(t, oneBackend(nginx.Addr.String(), "", "pool: {max_open: 8}, queue: {timeout: 300ms}, timeouts: {response_header: 500ms}"))
	stop := mostTo(t, nginx.Addr.Port())
	s := startStorm(t, w.addr["web"], 8, 8)
	s.await(500)
	nginx.Signal(syscall.SIGSTOP)
	stopped := time.Now()
	s.awaitRefusals(4)
	nginx.Signal(syscall.SIGCONT)
	back, n := time.Now(), s.right.Load()
	testnet.WaitFor(t, 20*time.Second, "answers after the return", func() bool { return s.right.Load() > n })
	first := time.Since(back)
	s.await(500)
	s.verdict()
	most, own := stop(), w.status().Backends[0].MostOpen
	figure(t, "backend stopped for %v: %s; at most %d sockets seen (%d by weir) with max_open 8; the first answer %v after it goes on",
		back.Sub(stopped).Round(time.Millisecond), s.counts(), most, own, first.Round(time.Millisecond))
	if first > time.Second {
		t.Errorf("the first answer came %v after the backend's return", first)
	}
	if s.refused["response_timeout"] == 0 {
		t.Error("nothing timed out")
	}
	for reason := range s.refused {
		if !slices.Contains([]string{"response_timeout", "queue_timeout", "queue_full", "dial_timeout"}, reason) {
			t.Errorf("refused for %s", reason)
		}
	}
	if own > 8 {
		t.Errorf("%d connections with max_open 8", own)
	}
}
