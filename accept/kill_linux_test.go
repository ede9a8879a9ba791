package accept

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
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

func (s status) ended(outcome string) uint64 { return s.Listeners[0].Requests["api"][outcome] }

// What weir has written is the kernel's to deliver: a client loses nothing of
// it when weir is killed, so no socket may be set to reset on close.
func TestAcceptKillLosesNothingThatWasWritten(t *testing.T) {
	const clients, size = 200, 200 << 10
	text := strings.Repeat("0123456789abcdef", size/16)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(size))
		io.WriteString(w, text)
	}))
	defer backend.Close()
	w := start(t, oneBackend(backend.Listener.Addr().String(), "", "pool: {max_open: 16}, queue: {timeout: 20s}"))

	conns := make([]net.Conn, clients)
	for i := range conns {
		d := net.Dialer{Timeout: 10 * time.Second}
		if i%2 == 0 { // its window takes the whole response; that of the others does not
			d.Control = func(_, _ string, rc syscall.RawConn) error {
				var err error
				if cerr := rc.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20) }); cerr != nil {
					return cerr
				}
				return err
			}
		}
		c, err := d.Dial("tcp", w.addr["web"])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(60 * time.Second))
		if _, err := io.WriteString(c, []string{saysClose, justLeaves}[i/2%2]); err != nil {
			t.Fatal(err)
		}
		conns[i] = c
	}
	testnet.WaitFor(t, 30*time.Second, "all responses to be written", func() bool { return w.status().ended("2xx") == clients })
	held := w.status().Closing.Held
	w.signal(syscall.SIGKILL)
	w.wait(10 * time.Second)

	bad := 0
	for i, c := range conns {
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err == nil {
			var b []byte
			b, err = io.ReadAll(resp.Body)
			if err == nil && string(b) != text {
				err = errors.New("wrong bytes")
			}
			if err != nil {
				err = fmt.Errorf("after %d bytes: %w", len(b), err)
			}
		}
		if err != nil {
			if bad++; bad <= 5 {
				t.Errorf("client %d: %v", i, err)
			}
		}
	}
	figure(t, "weir killed with %d responses of 200 KiB written and unread (%d of them held for their FIN): %d truncated", clients, held, bad)
}

// loadResult is what the clients of a load saw.
type loadResult struct {
	answered  atomic.Int64 // whole responses
	refused   atomic.Int64 // no connection
	unread    atomic.Int64 // the new connection ended without a byte
	late      atomic.Int64 // the same, but the machine kept the client from sending at once
	told      atomic.Int64 // the kept connection was closed before the client had another request
	truncated atomic.Int64
	other     atomic.Int64 // another status, or bytes that nobody asked for

	mu      sync.Mutex
	crossed []crossing
}

// crossing is a request on a kept connection that ended without a byte of an
// answer. HTTP/1.1 has no way to rule it out: a server may close an idle
// connection at any time, and a client may send at that very time (RFC 9112,
// section 9.5). That it was one shows in what the client's kernel got: a FIN, as
// weir had read all there was when it closed, and then a reset, which answered
// the request because it came to a socket that was closed by then.
type crossing struct {
	id   string
	sent time.Time
	err  error // of the read that waited for the answer; io.EOF for a FIN
	rst  bool  // the reset came
}

func (x crossing) proved(stopped time.Time) bool {
	return x.err == io.EOF && x.rst && x.sent.After(stopped)
}

// wasReset waits a moment for a reset behind a FIN.
func wasReset(c net.Conn) bool {
	rc, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return false
	}
	return testnet.Poll(time.Second, func() (yes bool) {
		rc.Control(func(fd uintptr) {
			i, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
			yes = err == nil && tcpstat.State(i.State) == tcpstat.Closed
		})
		return yes
	})
}

// one makes a request and reads its response. opened is when the connection was
// begun, zero if it has served a request.
func (r *loadResult) one(c net.Conn, br *bufio.Reader, id, request string, opened time.Time) (keep bool) {
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if opened.IsZero() && !silent(c) { // a client looks before it sends on a kept connection
		if _, err := br.Peek(1); err == io.EOF {
			r.told.Add(1)
		} else {
			r.other.Add(1)
		}
		return false
	}
	_, err := fmt.Fprintf(c, request, id)
	sent := time.Now()
	if err == nil {
		_, err = br.Peek(1)
	}
	if err != nil {
		switch {
		case opened.IsZero():
			x := crossing{id: id, sent: sent, err: err, rst: wasReset(c)}
			r.mu.Lock()
			r.crossed = append(r.crossed, x)
			r.mu.Unlock()
		case sent.Sub(opened) > 20*time.Millisecond:
			r.late.Add(1)
		default:
			r.unread.Add(1)
		}
		return false
	}
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		r.truncated.Add(1)
		return false
	}
	b, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		r.truncated.Add(1)
		return false
	case resp.StatusCode != 200 || !strings.HasPrefix(string(b), id+" "):
		r.other.Add(1)
	default:
		r.answered.Add(1)
	}
	return !resp.Close
}

func TestAcceptSIGTERMUnderLoadAnswersWhatWasTaken(t *testing.T) {
	const clients = 12 // of each kind
	var seen atomic.Int64
	var ids sync.Map // of the requests that the backend saw
	pad := strings.Repeat("x", 40<<10)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.URL.Query().Get("id")
		seen.Add(1)
		ids.Store(id, true)
		if r.URL.Path == "/slow" {
			testnet.Pace(r.Context().Done(), 20*time.Millisecond)
		}
		io.WriteString(w, id+" "+pad)
	}))
	defer backend.Close()
	w := start(t, oneBackend(backend.Listener.Addr().String(), "", "pool: {max_open: 16}, queue: {timeout: 10s}"))
	var r loadResult
	var all sync.WaitGroup
	stop := make(chan struct{})
	client := func(name string, requests int, think time.Duration, request string) {
		for n := 0; ; {
			select {
			case <-stop:
				return
			default:
			}
			opened := time.Now()
			c, err := net.DialTimeout("tcp", w.addr["web"], 10*time.Second)
			if err != nil {
				r.refused.Add(1)
				return // it would go elsewhere
			}
			br := bufio.NewReader(c)
			for range requests {
				n++
				if !r.one(c, br, fmt.Sprintf("%s-%d", name, n), request, opened) {
					break
				}
				opened = time.Time{}
				if think > 0 {
					testnet.Pace(stop, rand.N(think))
				}
			}
			c.Close()
		}
	}
	for i := range clients {
		all.Go(func() { client(fmt.Sprintf("busy%d", i), 50, 0, "GET /slow?id=%s HTTP/1.1\r\nHost: a\r\n\r\n") })
		all.Go(func() {
			client(fmt.Sprintf("idle%d", i), 50, 20*time.Millisecond, "GET /?id=%s HTTP/1.1\r\nHost: a\r\n\r\n")
		})
		all.Go(func() { // and longer than weir goes on with its idle clients
			client(fmt.Sprintf("rare%d", i), 50, 300*time.Millisecond, "GET /?id=%s HTTP/1.1\r\nHost: a\r\n\r\n")
		})
		all.Go(func() {
			client(fmt.Sprintf("short%d", i), 1, 0, "GET /slow?id=%s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		})
	}
	testnet.WaitFor(t, 20*time.Second, "load", func() bool { return r.answered.Load() > 500 })
	before := r.answered.Load()
	began := time.Now()
	w.signal(syscall.SIGTERM)
	code := w.wait(20 * time.Second)
	took := time.Since(began)
	close(stop)
	all.Wait()
	figure(t, "SIGTERM under load: gone after %v; %d answered before and %d after it, %d connections refused, %d new ones ended without a byte, %d kept ones were closed idle, with %d more requests crossed the FIN, backend saw %d",
		took.Round(time.Millisecond), before, r.answered.Load()-before, r.refused.Load(), r.unread.Load()+r.late.Load(), r.told.Load(), len(r.crossed), seen.Load())
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	if r.truncated.Load() > 0 || r.other.Load() > 0 {
		t.Errorf("%d responses were truncated, %d were not 200", r.truncated.Load(), r.other.Load())
	}
	if seen.Load() != r.answered.Load() {
		t.Errorf("the backend saw %d requests and clients got %d answers", seen.Load(), r.answered.Load())
	}
	if r.unread.Load() > 0 {
		t.Errorf("%d requests on new connections were not answered", r.unread.Load())
	}
	for _, x := range r.crossed {
		if _, ran := ids.Load(x.id); ran || !x.proved(began) {
			t.Errorf("a request on a kept connection, sent %v after SIGTERM, was not answered: %v, reset %v, seen by the backend %v",
				x.sent.Sub(began), x.err, x.rst, ran)
		}
	}
}

// weir is stopped while they send, so that it finds the signal and the requests
// at the same time.
func TestAcceptRequestsThatWaitAtSIGTERMAreAnswered(t *testing.T) {
	const parked, fresh = 100, 100
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }))
	defer backend.Close()
	w := start(t, oneBackend(backend.Listener.Addr().String(), "", "pool: {max_open: 16}, queue: {timeout: 20s}"))
	connect := func() net.Conn {
		c, err := net.DialTimeout("tcp", w.addr["web"], 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(60 * time.Second))
		return c
	}
	ask := func(c net.Conn) {
		if _, err := io.WriteString(c, justLeaves); err != nil {
			t.Fatal(err)
		}
	}
	conns := make([]net.Conn, parked, parked+fresh)
	for i := range conns {
		conns[i] = connect()
		ask(conns[i])
		if _, err := readResponse(conns[i], make([]byte, 4096)); err != nil {
			t.Fatal(err)
		}
	}
	testnet.WaitFor(t, 10*time.Second, "all clients to be parked", func() bool { return w.status().Listeners[0].Parked == parked })
	w.signal(syscall.SIGSTOP)
	for range fresh {
		conns = append(conns, connect())
	}
	for _, c := range conns {
		ask(c)
	}
	w.signal(syscall.SIGTERM)
	w.signal(syscall.SIGCONT)
	bad := 0
	for i, c := range conns {
		if body, err := readResponse(c, make([]byte, 4096)); err != nil || body != "hello" {
			if bad++; bad <= 5 {
				t.Errorf("client %d: %q, %v", i, body, err)
			}
		}
	}
	if code := w.wait(20 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	figure(t, "%d requests of parked clients and %d in the accept queue at SIGTERM: %d not answered", parked, fresh, bad)
}

func TestAcceptASecondSIGTERMStopsAtOnce(t *testing.T) {
	arrived, free := make(chan struct{}), make(chan struct{})
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-free
	}))
	defer backend.Close()
	defer close(free)
	w := start(t, oneBackend(backend.Listener.Addr().String(), "", ""))
	c, err := net.Dial("tcp", w.addr["web"])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, justLeaves)
	<-arrived
	w.signal(syscall.SIGTERM)
	if !w.says("draining; a second signal stops at once") {
		t.Fatal("no drain")
	}
	// All that a drain closes is closed, and weir is still there for the request.
	testnet.WaitFor(t, 10*time.Second, "the listener's end", func() bool {
		return len(listeningSockets(t, w.cmd.Process.Pid, portOf(t, w.addr["web"]))) == 0
	})
	if n := w.status().Listeners[0].Clients; n != 1 {
		t.Fatalf("%d clients after the drain began, and a request is under way", n)
	}
	began := time.Now()
	w.signal(syscall.SIGTERM)
	if code := w.wait(10 * time.Second); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	figure(t, "gone %v after the second SIGTERM", time.Since(began).Round(time.Millisecond))
}
