package accept

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weir/internal/testnet"
)

// reloadable is a weir whose file can be changed, with an admin socket.
type reloadable struct {
	*weir
	socket string
	client http.Client // over the admin socket
}

// startReloadable runs weir on yaml with an admin socket added.
func startReloadable(t *testing.T, yaml string) *reloadable {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir-") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := &reloadable{socket: filepath.Join(dir, "admin.sock")}
	r.weir = start(t, r.admin(yaml))
	r.client = http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", r.socket)
		},
	}}
	return r
}

func (r *reloadable) admin(yaml string) string {
	return yaml + fmt.Sprintf("\nadmin: {socket: \"unix:%s\"}\n", r.socket)
}

// post asks for a reload over the socket.
func (r *reloadable) post() (code int, text string) {
	r.t.Helper()
	resp, err := r.client.Post("http://weir/api/actions/reload", "", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

// hangUp asks for a reload by a signal, and waits until it was tried.
func (r *reloadable) hangUp() (ok bool) {
	r.t.Helper()
	good, bad := r.reloads()
	r.signal(syscall.SIGHUP)
	var g, b float64
	testnet.WaitFor(r.t, 20*time.Second, "for a reload", func() bool { g, b = r.reloads(); return g+b > good+bad })
	return g > good
}

func (r *reloadable) reloads() (ok, refused float64) {
	m := r.metrics()
	return m[`weir_config_reloads_total{result="ok"}`], m[`weir_config_reloads_total{result="refused"}`]
}

// mustReload writes yaml and has it taken.
func (r *reloadable) mustReload(yaml string) {
	r.t.Helper()
	r.write(r.admin(yaml))
	if code, text := r.post(); code != 200 {
		r.t.Fatalf("reload: %d %s", code, text)
	}
}

// listeningSockets finds the sockets of a process that listen on a port, by inode.
func listeningSockets(t *testing.T, pid int, port uint16) []string {
	t.Helper()
	own := map[string]bool{}
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	fds, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if link, err := os.Readlink(filepath.Join(dir, fd.Name())); err == nil {
			own[link] = true
		}
	}
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", pid))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	local := fmt.Sprintf(":%04X", port)
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) > 9 && strings.HasSuffix(f[1], local) && f[3] == "0A" && own["socket:["+f[9]+"]"] {
			out = append(out, f[9])
		}
	}
	slices.Sort(out)
	return out
}

// loopbackPort returns a free address for a listener that goes and comes back.
// It lies below the ports that the kernel gives to clients: one of those could
// have it when the listener wants it back.
func loopbackPort(t *testing.T) netip.AddrPort {
	t.Helper()
	for range 100 {
		a := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(20000+rand.IntN(12000)))
		if l, err := net.Listen("tcp", a.String()); err == nil {
			l.Close()
			return a
		}
	}
	t.Fatal("no free port was found")
	return netip.AddrPort{}
}

// steadyClients are a load of keepalive and short clients on one address. Each answer
// must be a 200 with the body that ok takes.
type steadyClients struct {
	over     atomic.Bool
	requests atomic.Int64
	wg       sync.WaitGroup
}

func startSteadyClients(t *testing.T, addr string, each int, ok func(body string) bool) *steadyClients {
	l := new(steadyClients)
	t.Cleanup(l.stop)
	good := func(code int, body string, err error) bool {
		l.requests.Add(1)
		if err != nil || code != 200 || !ok(body) {
			t.Errorf("got %d %.40q, %v", code, body, err)
			return false
		}
		return true
	}
	for range each {
		l.wg.Go(func() {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(2 * time.Minute))
			br := bufio.NewReader(c)
			for !l.over.Load() && good(askOn(c, br)) {
			}
		})
		l.wg.Go(func() {
			c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
			for !l.over.Load() {
				resp, err := c.Get("http://" + addr + "/")
				if err != nil {
					good(0, "", err)
					return
				}
				b, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if !good(resp.StatusCode, string(b), err) {
					return
				}
			}
		})
	}
	return l
}

func askOn(c net.Conn, br *bufio.Reader) (int, string, error) {
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		return 0, "", err
	}
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		return 0, "", err
	}
	b, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	return resp.StatusCode, string(b), err
}

func (l *steadyClients) stop() {
	l.over.Store(true)
	l.wg.Wait()
}

func isBody(s string) bool { return s == testnet.Body }

func TestAcceptTwoHundredReloadsLoseNoRequest(t *testing.T) {
	backend := testnet.NewBackend(t, testnet.Good)
	web, more := loopbackPort(t), loopbackPort(t)
	base := fmt.Sprintf(`
listeners:
  - {name: web, protocol: http, address: "%v", backend: api, max_clients: 500}
backends:
  - {name: api, endpoints: ["%v"], pool: {max_open: 8}}
`, web, backend.Addr())
	good := []string{
		base,
		strings.Replace(base, "backends:", fmt.Sprintf("  - {name: more, protocol: http, address: \"%v\", backend: api, max_clients: 50}\nbackends:", more), 1),
		strings.Replace(base, "max_clients: 500", "max_clients: 400, via: weir, timeouts: {header: 7s}", 1),
		base + fmt.Sprintf("  - {name: spare, endpoints: [\"%v\"], pool: {max_open: 2}}\n", backend.Addr()),
	}
	bad := []struct{ yaml, at string }{
		{strings.Replace(base, "max_open: 8", "max_open: 1, max_idel: 3", 1), `weir.yaml:5:`},
		{strings.Replace(base, "backend: api,", "backend: apx,", 1), `weir.yaml:3:`},
		{base + "]\n", `weir.yaml:`},
		{strings.Replace(base, "max_clients: 500", "max_clients: 9000000", 1), "descriptors"}, // more than this machine has
		{base + "log: {pprof: true}\n", `weir.yaml:6:`},
	}
	r := startReloadable(t, base)
	pid := r.cmd.Process.Pid
	sockets := listeningSockets(t, pid, web.Port())
	if len(sockets) == 0 {
		t.Fatal("no listening socket was found")
	}
	load := startSteadyClients(t, web.String(), 4, isBody)
	const reloads = 200
	for i := range reloads {
		var taken bool
		var text string
		want := i%2 == 0
		wrong := bad[i/2%len(bad)]
		if want {
			r.write(r.admin(good[i/2%len(good)]))
		} else {
			r.write(r.admin(wrong.yaml))
		}
		if i%4 < 2 {
			var code int
			code, text = r.post()
			taken = code == 200
		} else {
			taken = r.hangUp()
		}
		if taken != want {
			t.Fatalf("reload %d: taken %v, want %v; %s", i, taken, want, text)
		}
		if !want && text != "" && !strings.Contains(text, wrong.at) {
			t.Errorf("a refused reload says %q and not where: %s", text, wrong.at)
		}
		if !want && r.status().Backends[0].MaxOpen != 8 {
			t.Fatalf("a refused reload changed max_open")
		}
	}
	load.stop()
	for _, b := range bad {
		if !r.says(b.at) {
			t.Errorf("the log does not say where: %s", b.at)
		}
	}
	if n := backend.Accepted(); n > 8 {
		t.Errorf("the backend saw %d connections, want the 8 of max_open: some were closed and made again", n)
	}
	if now := listeningSockets(t, pid, web.Port()); !slices.Equal(now, sockets) {
		t.Errorf("listening sockets %v, before the reloads %v", now, sockets)
	}
	if ok, refused := r.reloads(); ok != reloads/2 || refused != reloads/2 {
		t.Errorf("weir_config_reloads_total: ok %v, refused %v", ok, refused)
	}
	figure(t, "%d requests during %d reloads, half of them refused: none lost; backend connections made: %d",
		load.requests.Load(), reloads, backend.Accepted())
}

func TestAcceptManySignalsAtOnceAreOneReloadAndNoneIsLostBehindThem(t *testing.T) {
	backend := testnet.NewBackend(t, testnet.Good)
	r := startReloadable(t, oneBackend(backend.Addr().String(), "max_clients: 100", ""))
	for range 1000 {
		r.signal(syscall.SIGHUP)
	}
	r.signal(syscall.SIGTERM)
	if code := r.wait(30 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestAcceptListenersComeAndGo(t *testing.T) {
	release := make(chan struct{})
	backend := testnet.NewBackend(t, func(c *testnet.BackendConn) {
		for {
			q, err := c.ReadRequest()
			if err != nil {
				return
			}
			if q.Target == "/slow" {
				<-release
			}
			if c.Send(testnet.Response(200, testnet.Body)) != nil {
				return
			}
		}
	})
	stays, goes, comes := loopbackPort(t), loopbackPort(t), loopbackPort(t)
	yaml := func(name string, second netip.AddrPort) string {
		return fmt.Sprintf(`
listeners:
  - {name: web, protocol: http, address: "%v", backend: api, max_clients: 100}
  - {name: %s, protocol: http, address: "%v", backend: api, max_clients: 100}
backends: [{name: api, endpoints: ["%v"]}]
`, stays, name, second, backend.Addr())
	}
	r := startReloadable(t, yaml("goes", goes))
	idle, err := net.Dial("tcp", goes.String())
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	br := bufio.NewReader(idle)
	if code, body, err := askOn(idle, br); code != 200 || !isBody(body) {
		t.Fatalf("got %d %q, %v", code, body, err)
	}
	answered := make(chan string, 1)
	go func() {
		resp, err := http.Get(fmt.Sprintf("http://%v/slow", goes))
		if err != nil {
			answered <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		answered <- string(b)
	}()
	testnet.WaitFor(t, 10*time.Second, "for the slow request", func() bool { return backend.Requests() == 2 })

	r.mustReload(yaml("comes", comes))
	if _, body := get(t, fmt.Sprintf("http://%v/", comes)); !isBody(body) {
		t.Errorf("the listener that came says %q", body)
	}
	if _, body := get(t, fmt.Sprintf("http://%v/", stays)); !isBody(body) {
		t.Errorf("the listener that stays says %q", body)
	}
	idle.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := br.ReadByte(); err != io.EOF {
		t.Errorf("an idle client of the listener that went: %v, want its end", err)
	}
	testnet.WaitFor(t, 10*time.Second, "for the old address to refuse", func() bool {
		c, err := net.Dial("tcp", goes.String())
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	close(release)
	if got := <-answered; !isBody(got) {
		t.Errorf("a request under way on the listener that went: %q", got)
	}
	if s := listeningSockets(t, r.cmd.Process.Pid, goes.Port()); len(s) != 0 {
		t.Errorf("sockets %v still listen on the old address", s)
	}
}

func TestAcceptAReloadMovesTheBoundAndTheEndpoint(t *testing.T) {
	first, second := testnet.NewBackend(t, testnet.Late(2*time.Millisecond)), testnet.NewBackend(t, testnet.Good)
	web := loopbackPort(t)
	yaml := func(addr netip.AddrPort, open int) string {
		return fmt.Sprintf(`
listeners: [{name: web, protocol: http, address: "%v", backend: api, max_clients: 100}]
backends: [{name: api, endpoints: ["%v"], pool: {max_open: %d}, queue: {timeout: 30s}}]
`, web, addr, open)
	}
	r := startReloadable(t, yaml(first.Addr(), 12))
	load := startSteadyClients(t, web.String(), 10, isBody)
	requests := func(n int) func() bool {
		from := first.Requests()
		return func() bool { return first.Requests() >= from+n }
	}
	testnet.WaitFor(t, 20*time.Second, "for the pool to fill", func() bool { return first.Open() == 12 })

	r.mustReload(yaml(first.Addr(), 3))
	testnet.WaitFor(t, 20*time.Second, "for the pool to shrink", func() bool { return first.Open() <= 3 })
	settled := first.Accepted()
	done, most := requests(300), 0
	testnet.WaitFor(t, 20*time.Second, "for 300 requests over the lower bound", func() bool { most = max(most, first.Open()); return done() })
	if most > 3 || first.Accepted() != settled {
		t.Errorf("%d connections were open under a bound of 3, and %d made anew", most, first.Accepted()-settled)
	}

	r.mustReload(yaml(first.Addr(), 6))
	testnet.WaitFor(t, 20*time.Second, "for the pool to grow", func() bool { return first.Open() == 6 })
	if n := first.MaxOpen(); n != 12 {
		t.Errorf("%d connections were open at the most, the highest bound was 12", n)
	}

	r.mustReload(yaml(second.Addr(), 6))
	testnet.WaitFor(t, 20*time.Second, "for the old endpoint's connections to close", func() bool { return first.Open() == 0 })
	testnet.WaitFor(t, 20*time.Second, "for requests at the new endpoint", func() bool { return second.Requests() > 100 })
	load.stop()
	if n := second.MaxOpen(); n > 6 {
		t.Errorf("%d connections to the new endpoint, the bound is 6", n)
	}
	figure(t, "bound 12 -> 3 -> 6, then another endpoint: %d requests, none lost", load.requests.Load())
}

func TestAcceptAChangeThatNeedsARestartIsRefusedByItsKey(t *testing.T) {
	backend := testnet.NewBackend(t, testnet.Good)
	yaml := oneBackend(backend.Addr().String(), "max_clients: 100", "")
	r := startReloadable(t, yaml)
	r.write(yaml + fmt.Sprintf("\nadmin: {socket: \"unix:%s\", pprof: true}\n", r.socket))
	code, text := r.post()
	if code != 422 || !strings.Contains(text, "admin.pprof: false -> true: a change of this key needs a restart") {
		t.Errorf("got %d %q", code, text)
	}
	if _, body := get(t, r.url("/")); !isBody(body) {
		t.Errorf("after the refused reload: %q", body)
	}
}

// A client that is left unread for a minute is served as soon as the limit is gone.
func TestAcceptAReloadThatLiftsALimitReachesWhoIsHeldBack(t *testing.T) {
	backend := startNginx(t, "")
	before := oneBackend(backend.Addr.String(), "limits: {per_rate: 1/h, per_burst: 1}", "")
	w := startReloadable(t, before)
	c := dialLimited(t, w.addr["web"], "127.0.0.1")
	for i := range 4 { // one is answered, three are refused
		status, _, err := c.ask()
		if want := map[bool]int{true: 200, false: 429}[i == 0]; status != want || err != nil {
			t.Fatalf("request %d: %d %v, want %d", i, status, err, want)
		}
	}
	if _, err := io.WriteString(c, limitedRequest); err != nil {
		t.Fatal(err)
	}
	testnet.WaitFor(t, 10*time.Second, "the client to be left unread", func() bool { return w.rungs().Listeners[0].Unread == 1 })
	w.mustReload(oneBackend(backend.Addr.String(), "", ""))
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if status, _, err := c.answer(); status != 200 || err != nil {
		t.Errorf("after the reload: %d %v", status, err)
	}
}
