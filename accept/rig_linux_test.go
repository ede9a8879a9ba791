package accept

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/internal/testnet"
)

var binary string // of weir, built once

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "weir-accept-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "weir")
	args := append([]string{"build", "-o", binary}, buildTags...)
	if out, err := exec.Command("go", append(args, "weir/cmd/weir")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// hold makes a missed speed a failure. Without it speeds are only printed: how
// fast weir is on a machine that does other work besides says little of weir.
var hold = flag.Bool("hold", false, "fail where a promised speed is missed")

// figure prints a measured value, for make accept.
func figure(t *testing.T, format string, args ...any) {
	t.Helper()
	t.Logf("figure: "+format, args...)
}

// speed prints a measured value that has a bar, and whether it is met.
func speed(t *testing.T, met bool, format string, args ...any) {
	t.Helper()
	verdict := "met"
	if !met {
		verdict = "MISSED"
	}
	line := fmt.Sprintf(format, args...) + ": " + verdict
	figure(t, "%s", line)
	if !met && *hold {
		t.Error(line)
	}
}

// weir is a running weir.
type weir struct {
	t      *testing.T
	cmd    *exec.Cmd
	config string
	admin  string            // host:port
	addr   map[string]string // by listener

	mu  sync.Mutex
	log bytes.Buffer

	gone chan struct{}
	err  error
}

// start runs weir on a configuration. Listeners and admin should use port 0:
// addr and admin tell which ports they got. prefix is what to run it under: a
// namespace, strace, prlimit.
func start(t *testing.T, yaml string, prefix ...string) *weir {
	t.Helper()
	w := &weir{t: t, config: filepath.Join(t.TempDir(), "weir.yaml"), addr: map[string]string{}, gone: make(chan struct{})}
	w.write(yaml)
	args := append(prefix, binary, "run", "-config", w.config, "-admin", "127.0.0.1:0")
	w.cmd = exec.Command(args[0], args[1:]...)
	stderr, err := w.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	started := make(chan struct{})
	go w.follow(stderr, started)
	t.Cleanup(func() {
		w.cmd.Process.Kill()
		<-w.gone
		if t.Failed() {
			t.Logf("weir's log:\n%s", w.logged())
		}
	})
	select {
	case <-started:
	case <-w.gone:
		t.Fatalf("weir did not start: %v\n%s", w.err, w.logged())
	case <-time.After(20 * time.Second):
		t.Fatalf("weir did not start in 20 s\n%s", w.logged())
	}
	return w
}

// follow reads weir's log until it ends, and learns its addresses from it.
func (w *weir) follow(r io.Reader, started chan struct{}) {
	dec := json.NewDecoder(io.TeeReader(r, lockedWriter{w}))
	for {
		var line struct{ Msg, Address, Listener string }
		if err := dec.Decode(&line); err != nil {
			break
		}
		switch line.Msg {
		case "admin":
			if !strings.HasPrefix(line.Address, "/") { // the socket's
				w.admin = line.Address
			}
		case "listening":
			select {
			case <-started: // a reload; tests read addr by now
			default:
				w.addr[line.Listener] = line.Address
			}
		case "started":
			close(started)
		}
	}
	io.Copy(lockedWriter{w}, r)
	w.err = w.cmd.Wait()
	close(w.gone)
}

type lockedWriter struct{ w *weir }

func (l lockedWriter) Write(p []byte) (int, error) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	return l.w.log.Write(p)
}

func (w *weir) logged() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.String()
}

// says waits until text is in the log, which comes through a pipe.
func (w *weir) says(text string) bool {
	return testnet.Poll(10*time.Second, func() bool { return strings.Contains(w.logged(), text) })
}

func (w *weir) write(yaml string) {
	w.t.Helper()
	if err := os.WriteFile(w.config, []byte(yaml), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// url is a URL on the listener named web.
func (w *weir) url(path string) string { return "http://" + w.addr["web"] + path }

func (w *weir) signal(s syscall.Signal) {
	w.t.Helper()
	if err := w.cmd.Process.Signal(s); err != nil {
		w.t.Fatal(err)
	}
}

// wait waits for weir's end and returns its exit code.
func (w *weir) wait(limit time.Duration) int {
	w.t.Helper()
	select {
	case <-w.gone:
		return w.cmd.ProcessState.ExitCode()
	case <-time.After(limit):
		w.t.Fatalf("weir still runs after %v", limit)
		return -1
	}
}

// status is the part of /api/status that tests ask about.
type listenerStatus struct {
	Name     string
	Clients  int64
	Parked   int64
	Accepted uint64
	Closed   map[string]uint64
	Requests map[string]map[string]uint64
}

type status struct {
	Listeners []listenerStatus
	Backends  []struct {
		Name                                 string
		MaxOpen                              int `json:"max_open"`
		Open, Idle, Leased, Dialing, Waiting int
		MostOpen                             int `json:"most_open"`
		Opened, Dials, Closed                map[string]uint64
		HoldDown                             string `json:"hold_down"`
		LastError                            string `json:"last_error"`
	}
	Closing struct {
		Held         int64
		NoTimestamps uint64 `json:"no_timestamps"`
		InFlight     uint64 `json:"in_flight"`
	}
	Buffers struct {
		Bytes   int64
		Refused uint64
	}
}

func (w *weir) status() status {
	w.t.Helper()
	resp, err := http.Get("http://" + w.admin + "/api/status")
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	var s status
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// opened is how many connections were dialled to the first backend.
func (s status) opened() (n uint64) {
	for _, c := range s.Backends[0].Opened {
		n += c
	}
	return n
}

// oneBackend is a configuration of one listener, web, before one backend, api.
func oneBackend(backend, listener, more string) string {
	return fmt.Sprintf(`
listeners:
  - {name: web, protocol: http, address: "127.0.0.1:0", backend: api%s}
backends:
  - {name: api, endpoints: ["%s"]%s}
`, prefixed(listener), backend, prefixed(more))
}

func prefixed(s string) string {
	if s == "" {
		return ""
	}
	return ", " + s
}

// get makes one request on a connection of its own.
func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// sampled calls look again and again, every so often, until it returns false or
// stop is called. stop waits for the last call.
func sampled(every time.Duration, look func() bool) (stop func()) {
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for look() {
			select {
			case <-tick.C:
			case <-end:
				return
			}
		}
	}()
	return func() {
		close(end)
		<-done
	}
}
