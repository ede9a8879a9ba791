package accept

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/internal/testnet"
)

// accessLine is a line of the access log.
type accessLine struct {
	Time     time.Time
	Listener string
	Client   string
	Method   string
	Host     string
	Path     string
	Status   int
	Bytes    int64
	Duration float64
	Backend  string
	Reused   bool
	Retries  int
	Outcome  string
}

// accessLines reads files of the access log. Every line must be whole.
func accessLines(t *testing.T, files ...string) (out []accessLine) {
	t.Helper()
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(text) {
			var l accessLine
			dec := json.NewDecoder(bytes.NewReader(line))
			dec.DisallowUnknownFields()
			if err := dec.Decode(&l); err != nil || line[len(line)-1] != '\n' || l.Listener == "" || l.Outcome == "" {
				t.Fatalf("%s: %v in %q", name, err, line)
			}
			out = append(out, l)
		}
	}
	return out
}

// accessStatus is what /api/status says of the access log.
type accessStatus struct {
	To               string
	Written, Dropped int
	LastError        string `json:"last_error"`
}

func (w *weir) accessStatus() accessStatus {
	w.t.Helper()
	_, text := w.page("/api/status")
	var s struct {
		AccessLog accessStatus `json:"access_log"`
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		w.t.Fatal(err)
	}
	return s.AccessLog
}

// sender is a client that says what it wants byte for byte.
type sender struct {
	net.Conn
	r *bufio.Reader
}

func newSender(t *testing.T, addr string) *sender {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(2 * time.Minute))
	return &sender{c, bufio.NewReader(c)}
}

// send sends a request and reads its answer; 0 is none.
func (s *sender) send(raw string) (status int, body int64) {
	if _, err := io.WriteString(s, raw); err != nil {
		return 0, 0
	}
	resp, err := http.ReadResponse(s.r, nil)
	if err != nil {
		return 0, 0
	}
	defer resp.Body.Close()
	body, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, body
}

func getOf(host, path, more string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n" + more + "\r\n"
}

func TestAcceptEveryRequestIsOneLineOfTheAccessLog(t *testing.T) {
	huge := strings.Repeat("0123456789abcdef", 1<<20/16)
	backend := testnet.NewBackend(t, func(c *testnet.BackendConn) {
		for {
			q, err := c.ReadRequest()
			if err != nil {
				return
			}
			answer := testnet.Response(200, testnet.Body)
			switch {
			case strings.HasPrefix(q.Target, "/huge"):
				answer = testnet.Response(200, strings.Repeat(huge, 16))
			case strings.HasPrefix(q.Target, "/cut"):
				c.Send(answer[:len(answer)-10])
				return
			case strings.HasPrefix(q.Target, "/closes"):
				return
			case strings.HasPrefix(q.Target, "/500"):
				answer = testnet.Response(500, "")
			}
			if c.Send(answer) != nil {
				return
			}
		}
	})
	file := filepath.Join(t.TempDir(), "access.log")
	w := start(t, fmt.Sprintf(`
listeners:
  - name: web
    protocol: http
    address: 127.0.0.1:0
    max_clients: 200
    routes: [{path: /, backend: api, host: a}, {host: b, backend: dead}]
  - {name: small, protocol: http, address: "127.0.0.1:0", max_clients: 1, backend: api}
backends:
  - {name: api, endpoints: ["%v"], pool: {max_open: 8}, queue: {timeout: 30s}}
  - {name: dead, endpoints: ["%v"]}
log: {access: %s}
`, backend.Addr(), loopbackPort(t), file))

	// want has what must be said of each request, by its path, which is its own.
	type expected struct {
		method, host, backend, outcome string
		status                         int
		bytes                          int64 // -1: some
	}
	var mu sync.Mutex
	want := map[string]expected{}
	nameless := map[string]int{} // those whose path weir never knew, by outcome
	expect := func(path string, e expected) {
		mu.Lock()
		defer mu.Unlock()
		want[path] = e
	}
	body := int64(len(testnet.Body))
	var wg sync.WaitGroup
	for k := range 8 {
		c := newSender(t, w.addr["web"])
		wg.Go(func() { // keeps its connection
			for i := range 100 {
				path := fmt.Sprintf("/kept/%d/%d", k, i)
				expect(path, expected{"GET", "a", "api", "2xx", 200, body})
				if status, n := c.send(getOf("a", path+"?token=secret", "")); status != 200 || n != body {
					t.Errorf("%s: %d and %d bytes", path, status, n)
				}
			}
		})
		wg.Go(func() { // comes and goes
			for i := range 40 {
				path := fmt.Sprintf("/short/%d/%d", k, i)
				e, host := expected{"GET", "a", "api", "2xx", 200, body}, "a"
				switch i % 8 {
				case 3:
					path = "/500" + path
					e.status, e.outcome, e.bytes = 500, "5xx", 0
				case 5:
					host = "b"
					e = expected{"GET", "b", "dead", "dial_refused", 502, -1}
				case 7:
					host = "nowhere"
					e = expected{"GET", "nowhere", "", "no_route", 404, -1}
				}
				expect(path, e)
				if status, _ := newSender(t, w.addr["web"]).send(getOf(host, path, "Connection: close\r\n")); status != e.status {
					t.Errorf("%s: %d, want %d", path, status, e.status)
				}
			}
		})
		wg.Go(func() { // is refused, or leaves
			for i := range 8 {
				path := fmt.Sprintf("/odd/%d/%d", k, i)
				c := newSender(t, w.addr["web"])
				switch i {
				case 0:
					expect(path, expected{"GET", "a", "", "bad_request", 400, -1})
					c.send("GET " + path + " HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n")
				case 1:
					expect(path, expected{"GET", "a", "", "header_too_large", 431, -1})
					c.send("GET " + path + " HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 40<<10))
				case 2:
					mu.Lock()
					nameless["uri_too_long"]++
					mu.Unlock()
					c.send("GET /" + strings.Repeat("x", 9<<10))
				case 3:
					expect(path, expected{"POST", "a", "api", "client_gone", 0, 0})
					io.WriteString(c, "POST "+path+" HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
				case 4:
					path = "/huge" + path
					expect(path, expected{"GET", "a", "api", "client_gone", 200, -1})
					io.WriteString(c, getOf("a", path, ""))
					io.CopyN(io.Discard, c.r, 1000)
					c.Conn.(*net.TCPConn).SetLinger(0)
				case 5:
					path = "/cut" + path
					expect(path, expected{"GET", "a", "api", "response_stalled", 0, -1}) // 200, or 502 if nothing had reached the client
					c.send(getOf("a", path, ""))
				case 6:
					path = "/closes" + path
					expect(path, expected{"POST", "a", "api", "", 502, -1}) // backend_closed, or stale_unsafe on a kept connection
					c.send("POST " + path + " HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
				case 7: // no request, no line
				}
				c.Close()
			}
		})
	}
	wg.Wait()

	sits := newSender(t, w.addr["small"])
	expect("/sits", expected{"GET", "x", "api", "2xx", 200, body})
	sits.send(getOf("x", "/sits", ""))
	if status, _ := newSender(t, w.addr["small"]).send(""); status != 503 {
		t.Errorf("one client too many: %d", status)
	}
	nameless["max_clients"]++

	total := len(want)
	for _, n := range nameless {
		total += n
	}
	testnet.WaitFor(t, 30*time.Second, fmt.Sprint(total, " requests to be counted"), func() bool {
		return sumOf(w.metrics(), "weir_requests_total") >= float64(total)
	})
	testnet.WaitFor(t, 10*time.Second, "the lines", func() bool { return w.accessStatus().Written >= total })
	counted := w.metrics()
	lines := accessLines(t, file)
	if len(lines) != total || sumOf(counted, "weir_requests_total") != float64(total) {
		t.Errorf("%d lines and %v in weir_requests_total, %d requests were made", len(lines), sumOf(counted, "weir_requests_total"), total)
	}
	bySeries := map[string]float64{}
	for _, l := range lines {
		bySeries[fmt.Sprintf(`weir_requests_total{backend="%s",listener="%s",outcome="%s"}`, l.Backend, l.Listener, l.Outcome)]++
		if l.Client != "127.0.0.1" || time.Since(l.Time) > 5*time.Minute || l.Duration < 0 || l.Duration > 60 || l.Retries > 1 {
			t.Errorf("%+v", l)
		}
		e, ok := want[l.Path]
		switch {
		case !ok && nameless[l.Outcome] > 0:
			nameless[l.Outcome]--
			continue
		case !ok:
			t.Errorf("nobody asked for this, or it is there twice: %+v", l)
			continue
		}
		delete(want, l.Path)
		if e.bytes < 0 {
			e.bytes = l.Bytes
		}
		if e.outcome == "" && (l.Outcome == "backend_closed" || l.Outcome == "stale_unsafe") {
			e.outcome = l.Outcome
		}
		if e.outcome == "response_stalled" && (l.Status == 200 && l.Bytes < body || l.Status == 502 || l.Status == 504) {
			e.status = l.Status
		}
		if got := (expected{l.Method, l.Host, l.Backend, l.Outcome, l.Status, l.Bytes}); got != e {
			t.Errorf("%s: %+v, want %+v", l.Path, got, e)
		}
	}
	for path := range want {
		t.Errorf("%s has no line", path)
	}
	for series, n := range bySeries {
		if counted[series] != n {
			t.Errorf("%v lines say %s, which is %v", n, series, counted[series])
		}
	}
	if text, err := os.ReadFile(file); err != nil || bytes.Contains(text, []byte("secret")) {
		t.Errorf("a query is in the log (%v)", err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm()&^0o640 != 0 {
		t.Errorf("the file is %v, %v", info.Mode(), err)
	}
	figure(t, "access log: %d requests of many kinds, as many lines", total)
}

// rotation moves the file away as logrotate does and waits for the new one.
func rotation(w *weir, file, away string) {
	w.t.Helper()
	if err := os.Rename(file, away); err != nil {
		w.t.Fatal(err)
	}
	w.signal(syscall.SIGUSR1)
	testnet.WaitFor(w.t, 10*time.Second, "the new file", func() bool { _, err := os.Stat(file); return err == nil })
}

func TestAcceptRotationUnderLoadLosesNoLine(t *testing.T) {
	backend := testnet.NewBackend(t, testnet.Good)
	dir := t.TempDir()
	file, other := filepath.Join(dir, "access.log"), filepath.Join(dir, "other.log")
	yaml := oneBackend(backend.Addr().String(), "max_clients: 200", "") + "log: {access: " + file + "}\n"
	r := startReloadable(t, yaml)
	load := startSteadyClients(t, r.addr["web"], 4, isBody)
	var files []string
	some := func(in string) { // lines
		testnet.WaitFor(t, 20*time.Second, "lines in "+in, func() bool { return len(accessLinesSoFar(t, in)) > 0 })
	}
	for i := range 20 {
		some(file)
		files = append(files, fmt.Sprintf("%s.%d", file, i))
		rotation(r.weir, file, files[i])
	}
	// One that cannot be: the old file goes on, and the log says so.
	some(file)
	files = append(files, file+".kept")
	if err := os.Rename(file, file+".kept"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(file, 0o755); err != nil {
		t.Fatal(err)
	}
	r.signal(syscall.SIGUSR1)
	testnet.WaitFor(t, 10*time.Second, "the log to say so", func() bool {
		return strings.Contains(r.logged(), "access log was not opened anew; the old file stays open") && strings.Contains(r.logged(), file+": is a directory")
	})
	before := len(accessLines(t, file+".kept"))
	testnet.WaitFor(t, 10*time.Second, "further lines in the old file", func() bool { return len(accessLinesSoFar(t, file+".kept")) > before })
	// A reload is as good, and is refused as a whole where it cannot be.
	if r.hangUp() || !r.says("log.access: "+file+": is a directory") {
		t.Error("a reload that cannot open the access log was taken, or does not name the key")
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if !r.hangUp() {
		t.Error("the reload was refused")
	}
	testnet.WaitFor(t, 10*time.Second, "the new file", func() bool { _, err := os.Stat(file); return err == nil })
	some(file)
	// To another file, and all at the end.
	r.mustReload(strings.ReplaceAll(yaml, "access.log", "other.log"))
	if to := r.accessStatus().To; to != other {
		t.Errorf("the status says %q", to)
	}
	some(other)
	load.stop()
	r.signal(syscall.SIGTERM)
	if code := r.wait(30 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	files = append(files, file, other)
	lines := 0
	for _, f := range files {
		n := len(accessLines(t, f))
		if n == 0 {
			t.Errorf("%s is empty", f)
		}
		lines += n
	}
	if lines != int(load.requests.Load()) {
		t.Errorf("%d lines in %d files, %d requests were answered", lines, len(files), load.requests.Load())
	}
	figure(t, "access log: %d rotations under load, %d requests, %d lines", len(files)-1, load.requests.Load(), lines)
}

// accessLinesSoFar leaves out a last line that is being written.
func accessLinesSoFar(t *testing.T, file string) [][]byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Collect(bytes.Lines(text[:bytes.LastIndexByte(text, '\n')+1]))
}

func TestAcceptTheAccessLogIsTurnedOnAndOffByReload(t *testing.T) {
	backend := testnet.NewBackend(t, testnet.Good)
	file := filepath.Join(t.TempDir(), "access.log")
	off := oneBackend(backend.Addr().String(), "max_clients: 200", "")
	r := startReloadable(t, off)
	c := newSender(t, r.addr["web"])
	c.send(getOf("a", "/off", ""))
	r.signal(syscall.SIGUSR1) // does nothing, and above all does not kill
	r.mustReload(off + "log: {access: " + file + "}\n")
	for i := range 3 {
		c.send(getOf("a", fmt.Sprint("/on/", i), ""))
	}
	r.mustReload(off)
	c.send(getOf("a", "/off", ""))
	testnet.WaitFor(t, 10*time.Second, "the lines", func() bool { return r.accessStatus().Written == 3 })
	lines := accessLines(t, file)
	for i, l := range lines {
		if l.Path != fmt.Sprint("/on/", i) {
			t.Errorf("%+v", l)
		}
	}
	if len(lines) != 3 || r.accessStatus().To != "none" {
		t.Errorf("%d lines, and the status says %+v", len(lines), r.accessStatus())
	}
	if links := openFilesNamed(t, r.cmd.Process.Pid, file); links != 0 {
		t.Errorf("the file is open %d times", links)
	}
}

// openFilesNamed counts a process's descriptors of a file.
func openFilesNamed(t *testing.T, pid int, file string) (n int) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	fds, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if link, err := os.Readlink(filepath.Join(dir, fd.Name())); err == nil && link == file {
			n++
		}
	}
	return n
}

func TestAcceptAFullDiskCostsLinesAndNoRequest(t *testing.T) {
	testnet.NeedProgram(t, "unshare")
	nsenter := testnet.NeedProgram(t, "nsenter")
	backend := testnet.NewBackend(t, testnet.Good)
	dir := t.TempDir()
	// A file system of 64 KiB that only this weir sees.
	w := start(t, oneBackend(backend.Addr().String(), "max_clients: 200", "")+"log: {access: "+dir+"/access.log}\n",
		"unshare", "-m", "sh", "-c", `mount -t tmpfs -o size=64k none "$0" && exec "$@"`, dir)
	c := newSender(t, w.addr["web"])
	long := strings.Repeat("x", 4<<10)
	made := 0
	ask := func(n int) {
		t.Helper()
		for range n {
			if status, _ := c.send(getOf("a", fmt.Sprintf("/%d/%s", made, long), "")); status != 200 {
				t.Fatalf("request %d: %d", made, status)
			}
			made++
		}
	}
	ask(100)
	testnet.WaitFor(t, 10*time.Second, "the disk to be full", func() bool { return strings.Contains(w.accessStatus().LastError, "no space left on device") })
	ask(600)
	dropped := w.metrics()["weir_access_log_dropped_total"]
	if dropped < 100 || dropped > 600 {
		t.Errorf("%v lines of %d were dropped; the disk and the memory hold about 270", dropped, made)
	}
	if n := w.logLines("access log cannot be written; lines wait in memory, and are dropped when it is full"); n != 1 {
		t.Errorf("the log says %d times that the access log cannot be written, want once", n)
	}

	pid := fmt.Sprint(w.cmd.Process.Pid)
	if out, err := exec.Command(nsenter, "-t", pid, "-m", "mount", "-o", "remount,size=16m", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	testnet.WaitFor(t, 10*time.Second, "the access log to go on", func() bool { s := w.accessStatus(); return s.LastError == "" && s.Written+s.Dropped == made })
	ask(50)
	testnet.WaitFor(t, 10*time.Second, "the last lines", func() bool { s := w.accessStatus(); return s.Written+s.Dropped == made })
	if now := w.metrics()["weir_access_log_dropped_total"]; now != dropped {
		t.Errorf("%v more lines were dropped after there was room", now-dropped)
	}
	lines := accessLines(t, "/proc/"+pid+"/root"+dir+"/access.log")
	if len(lines) != made-int(dropped) {
		t.Errorf("%d lines, of %d requests less %v dropped", len(lines), made, dropped)
	}
	for i := 1; i < len(lines); i++ {
		var a, b int
		fmt.Sscanf(lines[i-1].Path, "/%d/", &a)
		fmt.Sscanf(lines[i].Path, "/%d/", &b)
		if a >= b {
			t.Fatalf("line %d is of request %d, the one before it of %d", i, b, a)
		}
	}
	figure(t, "access log on a full disk: %d requests answered, %v lines dropped, none torn", made, dropped)
}

// silentReader runs weir with its log in a pipe that is read up to the start and
// then no more.
func silentReader(t *testing.T, yaml string) (config string, cmd *exec.Cmd, pipe *os.File, addr, admin string) {
	t.Helper()
	config = filepath.Join(t.TempDir(), "weir.yaml")
	if err := os.WriteFile(config, []byte(yaml), 0o644); err != nil {
		t.Fatal(err)
	}
	pipe, stderr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(binary, "run", "-config", config, "-admin", "127.0.0.1:0")
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stderr.Close()
	t.Cleanup(func() { cmd.Process.Kill(); pipe.Close() })
	pipe.SetReadDeadline(time.Now().Add(20 * time.Second))
	dec := json.NewDecoder(pipe)
	for {
		var line struct{ Msg, Address string }
		if err := dec.Decode(&line); err != nil {
			t.Fatal(err)
		}
		switch line.Msg {
		case "admin":
			admin = line.Address
		case "listening":
			addr = line.Address
		case "started":
			return config, cmd, pipe, addr, admin
		}
	}
}

func TestAcceptAReaderThatStopsReadingStopsNeitherRequestsNorTheDrain(t *testing.T) {
	backend := testnet.NewBackend(t, testnet.Good)
	for _, gone := range []bool{false, true} {
		_, cmd, pipe, addr, admin := silentReader(t, oneBackend(backend.Addr().String(), "max_clients: 200", "")+"log: {access: stderr}\n")
		w := &weir{t: t, cmd: cmd, admin: admin}
		if gone {
			pipe.Close()
		}
		c := newSender(t, addr)
		long := strings.Repeat("x", 4<<10)
		for i := range 600 {
			if status, _ := c.send(getOf("a", "/"+long, "")); status != 200 {
				t.Fatalf("request %d: %d", i, status)
			}
			refused := newSender(t, addr)
			refused.send("GET / HTTP/2.0\r\n\r\n")
			refused.Close()
		}
		if s := w.accessStatus(); s.Dropped < 100 || s.Written+s.Dropped > 1200 {
			t.Errorf("gone %v: %+v", gone, s)
		}
		c.Close()
		w.signal(syscall.SIGTERM)
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }() // Cleanup kills it
		began := time.Now()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("gone %v: %v", gone, err)
			}
		case <-time.After(60 * time.Second):
			t.Fatalf("gone %v: weir still runs a minute after SIGTERM", gone)
		}
		figure(t, "stderr that nobody reads (closed: %v): all requests answered, stopped in %v", gone, time.Since(began).Round(10*time.Millisecond))
	}
}

func TestAcceptTheAccessLogAndTheLogShareStderrLineByLine(t *testing.T) {
	backend := testnet.NewBackend(t, testnet.Good)
	r := startReloadable(t, oneBackend(backend.Addr().String(), "max_clients: 200", "")+"log: {access: stderr, level: debug}\n")
	load := startSteadyClients(t, r.addr["web"], 4, isBody)
	for range 30 {
		r.mustReload(oneBackend(backend.Addr().String(), "max_clients: 200", "") + "log: {access: stderr, level: debug}\n")
	}
	load.stop()
	r.signal(syscall.SIGTERM)
	if code := r.wait(30 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	access, own := 0, 0
	for line := range strings.Lines(r.logged()) {
		var l struct{ Msg, Outcome string }
		if err := json.Unmarshal([]byte(line), &l); err != nil || (l.Msg == "") == (l.Outcome == "") {
			t.Fatalf("%v in %q", err, line)
		}
		if l.Outcome != "" {
			access++
		} else {
			own++
		}
	}
	if access != int(load.requests.Load()) || own < 30 {
		t.Errorf("%d lines of requests, %d were made; %d lines of weir's own", access, load.requests.Load(), own)
	}
}

// fill asks for as much as a pipe and the first buffers of the log hold, so that
// the write stands.
func fill(t *testing.T, addr string, n int) {
	t.Helper()
	c, long := newSender(t, addr), strings.Repeat("x", 4<<10)
	for i := range n {
		if status, _ := c.send(getOf("a", "/"+long, "")); status != 200 {
			t.Fatalf("request %d: %d", i, status)
		}
	}
}

func TestAcceptAPipeWhoseReaderStopsIsLeftForTheNextFile(t *testing.T) {
	backend := testnet.NewBackend(t, testnet.Good)
	file := filepath.Join(t.TempDir(), "access.log")
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	w := start(t, oneBackend(backend.Addr().String(), "max_clients: 200", "")+"log: {access: "+file+"}\n")
	const made = 60 // 250 KiB: more than the pipe holds, less than the log does
	fill(t, w.addr["web"], made)
	testnet.WaitFor(t, 10*time.Second, "the pipe to be full", func() bool { return queued(t, reader) >= 60<<10 })
	rotation(w, file, file+".old")
	testnet.WaitFor(t, 10*time.Second, "all lines", func() bool { s := w.accessStatus(); return s.Written == made })
	// A line that the pipe has in part is whole in the file.
	piped, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	lines := accessLines(t, file)
	if whole := bytes.Count(piped, []byte("\n")); whole+len(lines) != made || whole == 0 || len(piped) == 0 {
		t.Errorf("%d lines in the pipe and %d in the file, of %d", whole, len(lines), made)
	}
	if s := w.accessStatus(); s.Dropped != 0 || s.LastError != "" {
		t.Errorf("%+v", s)
	}
	figure(t, "access log: of %d lines a stuck pipe kept %d, and the file after it has %d", made, made-len(lines), len(lines))
}

// queued is how many bytes wait in a pipe.
func queued(t *testing.T, f *os.File) int {
	t.Helper()
	n, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCINQ)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAcceptAStuckStderrIsLeftForAFileByReload(t *testing.T) {
	backend := testnet.NewBackend(t, testnet.Good)
	file := filepath.Join(t.TempDir(), "access.log")
	yaml := oneBackend(backend.Addr().String(), "max_clients: 200", "")
	config, cmd, pipe, addr, admin := silentReader(t, yaml+"log: {access: stderr}\n")
	w := &weir{t: t, cmd: cmd, admin: admin}
	fill(t, addr, 60)
	testnet.WaitFor(t, 10*time.Second, "the pipe to be full", func() bool { return queued(t, pipe) >= 30<<10 })
	if err := os.WriteFile(config, []byte(yaml+"log: {access: "+file+"}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	w.signal(syscall.SIGHUP)
	testnet.WaitFor(t, 20*time.Second, "lines in the file", func() bool {
		_, err := os.Stat(file)
		return err == nil && len(accessLinesSoFar(t, file)) > 0 && w.accessStatus().Written == 60
	})
	fill(t, addr, 5)
	testnet.WaitFor(t, 10*time.Second, "further lines", func() bool { return w.accessStatus().Written == 65 })
	if s := w.accessStatus(); s.To != file || s.Dropped != 0 {
		t.Errorf("%+v", s)
	}
	accessLines(t, file)
}

func TestAcceptStandardOutputIsTakenAsItIs(t *testing.T) {
	backend := testnet.NewBackend(t, testnet.Good)
	for _, redirect := range []string{">", ">>"} {
		both := filepath.Join(t.TempDir(), "both")
		// Weir's log goes to a file together with the access log, and to us.
		w := start(t, oneBackend(backend.Addr().String(), "max_clients: 200", "")+"log: {access: stdout}\n",
			"sh", "-c", `exec "$@" `+redirect+`"$0"`, both)
		fill(t, w.addr["web"], 30)
		w.signal(syscall.SIGUSR1) // there is nothing to open
		testnet.WaitFor(t, 10*time.Second, "the lines", func() bool { return w.accessStatus().Written == 30 })
		if n := len(accessLines(t, both)); n != 30 || w.accessStatus().To != "stdout" {
			t.Errorf("%s: %d lines of 30, %+v", redirect, n, w.accessStatus())
		}
	}
}

func TestAcceptStandardOutputAndErrorInOneFileKeepEveryLine(t *testing.T) {
	backend := testnet.NewBackend(t, testnet.Good)
	dir := t.TempDir()
	config, both := filepath.Join(dir, "weir.yaml"), filepath.Join(dir, "both")
	yaml := oneBackend(backend.Addr().String(), "max_clients: 200", "") + "log: {access: stdout, level: debug}\n"
	if err := os.WriteFile(config, []byte(yaml), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `exec "$@" >"$0" 2>&1`, both, binary, "run", "-config", config, "-admin", "127.0.0.1:0")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	addr := ""
	testnet.WaitFor(t, 20*time.Second, "the start", func() bool {
		text, _ := os.ReadFile(both)
		for line := range bytes.Lines(text) {
			var l struct{ Msg, Address string }
			if json.Unmarshal(line, &l) == nil && l.Msg == "listening" {
				addr = l.Address
			}
		}
		return addr != "" && bytes.Contains(text, []byte(`"started"`))
	})
	for range 20 {
		fill(t, addr, 10)
		cmd.Process.Signal(syscall.SIGHUP) // makes lines of weir's own
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	text, err := os.ReadFile(both)
	if err != nil {
		t.Fatal(err)
	}
	access, own := 0, 0
	for line := range bytes.Lines(text) {
		var l struct{ Msg, Outcome string }
		if err := json.Unmarshal(line, &l); err != nil || (l.Msg == "") == (l.Outcome == "") {
			t.Fatalf("%v in %.200q", err, line)
		}
		if l.Outcome != "" {
			access++
		} else {
			own++
		}
	}
	if access != 200 || own < 5 {
		t.Errorf("%d lines of 200 requests, %d of weir's own", access, own)
	}
}
