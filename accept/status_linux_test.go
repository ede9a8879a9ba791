package accept

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"weir/internal/testnet"
)

const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[0m\x1b[?25h\x1b[?1049l"
)

// tty is a terminal with a program on it.
type tty struct {
	t      *testing.T
	master *os.File
	cmd    *exec.Cmd
	gone   chan struct{}
	modes  unix.Termios // before the program

	mu  sync.Mutex
	out strings.Builder
}

// onTerminal runs weir on a terminal of its own.
func onTerminal(t *testing.T, width, height uint16, env string, args ...string) *tty {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	tt := &tty{t: t, master: master, gone: make(chan struct{})}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	tt.resize(width, height)
	tt.modes = tt.termios()
	tt.cmd = exec.Command(binary, args...)
	tt.cmd.Stdin, tt.cmd.Stdout, tt.cmd.Stderr = slave, slave, slave
	tt.cmd.Env = append(os.Environ(), "TERM=xterm", env)
	tt.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := tt.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends when nobody has the terminal any more
		defer close(tt.gone)
		b := make([]byte, 4096)
		for {
			n, err := master.Read(b)
			tt.mu.Lock()
			tt.out.Write(b[:n])
			tt.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		tt.cmd.Process.Kill()
		tt.cmd.Wait()
		<-tt.gone
		master.Close()
	})
	return tt
}

func (tt *tty) termios() unix.Termios {
	tt.t.Helper()
	m, err := unix.IoctlGetTermios(int(tt.master.Fd()), unix.TCGETS)
	if err != nil {
		tt.t.Fatal(err)
	}
	return *m
}

func (tt *tty) resize(width, height uint16) {
	tt.t.Helper()
	if err := unix.IoctlSetWinsize(int(tt.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height}); err != nil {
		tt.t.Fatal(err)
	}
}

func (tt *tty) text() string {
	tt.mu.Lock()
	defer tt.mu.Unlock()
	return tt.out.String()
}

// screens are what was drawn whole, one after the other.
func (tt *tty) screens() []string {
	all := strings.Split(tt.text(), "\x1b[H")
	return all[min(1, len(all)-1) : len(all)-1] // before the first, and the last, perhaps in part
}

// waits until a whole screen is as wanted, and returns it.
func (tt *tty) waits(what string, ok func(lines []string) bool) []string {
	tt.t.Helper()
	var lines []string
	if !testnet.Poll(15*time.Second, func() bool {
		for _, s := range tt.screens() {
			if lines = strings.Split(strings.TrimSuffix(escapes.ReplaceAllString(s, ""), "\r\n"), "\r\n"); ok(lines) {
				return true
			}
		}
		return false
	}) {
		tt.t.Fatalf("no screen %s in:\n%q", what, tt.text())
	}
	return lines
}

var escapes = regexp.MustCompile(`\x1b\[[0-9;?]*[A-Za-z]`)

func TestAcceptStatusWatchesOnATerminalAndLeavesItAsItWas(t *testing.T) {
	backend := testnet.NewBackend(t, func(c *testnet.BackendConn) {
		for {
			if _, err := c.ReadRequest(); err != nil || c.Send(testnet.Response(200, testnet.Body)) != nil {
				return
			}
		}
	})
	w := start(t, oneBackend(backend.Addr().String(), "", ""))
	for range 20 {
		get(t, w.url("/"))
	}
	tt := onTerminal(t, 80, 24, "", "status", "-watch", "-admin", w.admin)
	lines := tt.waits("with the listener", func(l []string) bool { return strings.Contains(strings.Join(l, "\n"), "web") })
	if len(lines) > 24 {
		t.Errorf("%d lines on a terminal of 24", len(lines))
	}
	for _, l := range lines {
		if utf8.RuneCountInString(l) > 80 {
			t.Errorf("a line of %d columns on a terminal of 80: %q", utf8.RuneCountInString(l), l)
		}
	}
	screen := strings.Join(lines, "\n")
	for _, want := range []string{"LISTENER", "BACKEND", "SOCKETS", "> web", "< api", "95.00%", "last event:"} {
		if !strings.Contains(screen, want) {
			t.Errorf("no %q on the screen:\n%s", want, screen)
		}
	}
	if !strings.HasPrefix(tt.text(), enterScreen) || !strings.Contains(tt.text(), "\x1b[1m") {
		t.Errorf("it does not begin on the other screen, or without what stands out: %.100q", tt.text())
	}
	// Rates are differences: some screen has the requests of its second.
	for range 20 {
		get(t, w.url("/"))
	}
	tt.waits("with a rate", func(l []string) bool {
		return regexp.MustCompile(`web +http +[0-9]+ +yes +[1-9]`).MatchString(strings.Join(l, "\n"))
	})
	tt.resize(120, 12)
	lines = tt.waits("of 120 columns", func(l []string) bool { return utf8.RuneCountInString(l[0]) == 120 })
	if len(lines) > 12 {
		t.Errorf("%d lines on a terminal of 12", len(lines))
	}
	// Ctrl-Z gives the shell its screen, and fg takes it again.
	if _, err := tt.master.WriteString("\x1a"); err != nil {
		t.Fatal(err)
	}
	stat := fmt.Sprintf("/proc/%d/stat", tt.cmd.Process.Pid)
	if !testnet.Poll(10*time.Second, func() bool {
		b, _ := os.ReadFile(stat)
		return strings.Contains(string(b), ") T ") && strings.HasSuffix(tt.text(), leaveScreen)
	}) {
		b, _ := os.ReadFile(stat)
		t.Errorf("after Ctrl-Z: %s, %q", b[:min(len(b), 30)], tt.text()[max(0, len(tt.text())-200):])
	}
	if err := tt.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if !testnet.Poll(10*time.Second, func() bool { return strings.Contains(tt.text(), leaveScreen+enterScreen) }) {
		t.Error("it does not go on")
	}
	w.signal(syscall.SIGKILL)
	tt.waits("that says that weir is gone", func(l []string) bool { return strings.Contains(l[1], "NO ANSWER") })

	if _, err := tt.master.WriteString("\x03"); err != nil { // Ctrl-C
		t.Fatal(err)
	}
	if err := tt.cmd.Wait(); err != nil {
		t.Errorf("Ctrl-C: %v", err)
	}
	<-tt.gone
	if m := tt.termios(); m != tt.modes {
		t.Errorf("the terminal's modes were %+v and are %+v", tt.modes, m)
	}
	if text := tt.text(); !strings.HasSuffix(text, leaveScreen) {
		t.Errorf("the terminal is left with: %q", text[max(0, len(text)-100):])
	}
}

// Ctrl-C leaves the terminal as it was, and so do the other ways to end it.
func TestAcceptStatusLeavesTheTerminalAsItWasAtCtrlBackslash(t *testing.T) {
	w := start(t, oneBackend("127.0.0.1:1", "", ""))
	tt := onTerminal(t, 80, 24, "", "status", "-watch", "-admin", w.admin)
	tt.waits("with the listener", func(l []string) bool { return strings.Contains(strings.Join(l, "\n"), "web") })
	if _, err := tt.master.WriteString("\x1c"); err != nil {
		t.Fatal(err)
	}
	if err := tt.cmd.Wait(); err != nil {
		t.Errorf("Ctrl-\\: %v", err)
	}
	<-tt.gone
	if m := tt.termios(); m != tt.modes || !strings.HasSuffix(tt.text(), leaveScreen) {
		t.Errorf("the terminal's modes were %+v and are %+v, after %q", tt.modes, m, tt.text()[max(0, len(tt.text())-100):])
	}
}

func TestAcceptStatusWithoutColorHasNone(t *testing.T) {
	w := start(t, oneBackend("127.0.0.1:1", "", ""))
	tt := onTerminal(t, 80, 24, "NO_COLOR=1", "status", "-admin", w.admin)
	if err := tt.cmd.Wait(); err != nil {
		t.Error(err)
	}
	<-tt.gone
	if text := tt.text(); strings.Contains(text, "\x1b") || !strings.Contains(text, "LISTENER") {
		t.Errorf("got %q", text)
	}
	out, err := exec.Command(binary, "status", "-json", "-admin", w.admin).Output()
	if err != nil || !json.Valid(out) {
		t.Errorf("-json: %v %s", err, out)
	}
	lost := onTerminal(t, 80, 24, "", "status", "-watch", "-admin", fmt.Sprint("127.0.0.1:", loopbackPort(t).Port()))
	err = lost.cmd.Wait()
	<-lost.gone
	if err == nil || strings.Contains(lost.text(), "\x1b") || !strings.Contains(lost.text(), "nobody answers") {
		t.Errorf("-watch of nothing: %v, %q", err, lost.text())
	}
}

// secrets are in a configuration wherever it can have one.
func secretConfig(t *testing.T, dir string) (yaml string, secrets []string) {
	t.Helper()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("WEIR_TEST_PASSWORD", "env-hunter2-secret")
	const hash = "94BDCEBE19083CE2A1F959FD02F964C7AF4CFC29"
	return fmt.Sprintf(`
listeners:
  - {name: web, protocol: http, address: "127.0.0.1:0", max_clients: 100, routes: [{backend: api, set_header: {Authorization: header-hunter2-secret}}]}
  - {name: db, protocol: mysql, address: "127.0.0.1:0", max_clients: 100, backend: orders}
backends:
  - {name: api, endpoints: ["127.0.0.1:1"]}
  - name: orders
    endpoints: ["127.0.0.1:1"]
    users:
      - {name: a, password: inline-hunter2-secret, max_open: 3}
      - {name: b, password_file: %s}
      - {name: c, password_env: WEIR_TEST_PASSWORD}
      - {name: d, native_hash: "*%s"}
admin: {token_file: %s, pprof: true}
`, file("password", "file-hunter2-secret"), hash, file("token", "token-hunter2-secret")), []string{"hunter2", hash, strings.ToLower(hash)}
}

func TestAcceptNoPageShowsASecret(t *testing.T) {
	dir := t.TempDir()
	yaml, secrets := secretConfig(t, dir)
	w := start(t, yaml)
	ask := func(path, token string) (*http.Response, string) {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+w.admin+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "text/html")
		if token != "" {
			req.SetBasicAuth("x", token)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
			s := bufio.NewReader(resp.Body)
			var b strings.Builder
			for events := 0; events < 3; { // the past, and what comes after it
				line, err := s.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				if b.WriteString(line); strings.HasPrefix(line, "data: ") {
					events++
				}
			}
			return resp, b.String()
		}
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(b)
	}
	// A wrong token, and a head that cannot be read, stay out of the log.
	if resp, _ := ask("/metrics", "wrong-hunter2-secret"); resp.StatusCode != 401 {
		t.Errorf("a wrong token: %d", resp.StatusCode)
	}
	nonsense, err := net.Dial("tcp", w.admin)
	if err != nil {
		t.Fatal(err)
	}
	nonsense.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprint(nonsense, "Authorization: Bearer nonsense-hunter2-secret\r\n\r\n")
	io.ReadAll(nonsense)
	nonsense.Close()

	const right = "token-hunter2-secret"
	pages := []string{"/", "/healthz", "/readyz", "/metrics", "/api/status", "/api/stream", "/nothing", "/api/actions/reload", "/debug/pprof/"}
	for _, name := range []string{"cmdline", "heap", "allocs", "goroutine", "goroutine?debug=2", "mutex", "block", "threadcreate"} {
		pages = append(pages, "/debug/pprof/"+name)
	}
	_, index := ask("/", right)
	for _, m := range regexp.MustCompile(`(?:src|href)="(/?dashboard/[^"]+)"`).FindAllStringSubmatch(index, -1) {
		pages = append(pages, "/"+strings.TrimPrefix(m[1], "/"))
	}
	if n := len(pages); n < 19 {
		t.Errorf("found %d pages", n)
	}
	for _, p := range pages {
		for _, token := range []string{right, ""} {
			resp, body := ask(p, token)
			if token == "" && resp.StatusCode == 200 && p != "/healthz" {
				t.Errorf("%s is open to those without the token", p)
			}
			for _, s := range secrets {
				if strings.Contains(body, s) || strings.Contains(fmt.Sprint(resp.Header), s) {
					t.Errorf("%s shows the secret %s", p, s)
				}
			}
		}
	}
	// Another token is taken by a reload, and said without it.
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("next-hunter2-secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.signal(syscall.SIGHUP)
	if !w.says(`"configuration reloaded"`) || !strings.Contains(w.logged(), "admin.token_file") {
		t.Error("the reload does not name admin.token_file")
	}
	for token, want := range map[string]int{right: 401, "next-hunter2-secret": 200} {
		if resp, _ := ask("/metrics", token); resp.StatusCode != want {
			t.Errorf("after the reload %s: %d, want %d", token, resp.StatusCode, want)
		}
	}
	w.signal(syscall.SIGTERM)
	w.wait(20 * time.Second)
	for _, s := range secrets {
		if strings.Contains(w.logged(), s) {
			t.Errorf("the log shows the secret %s", s)
		}
	}
	out, err := exec.Command(binary, "check", "-effective", "-config", w.config).CombinedOutput()
	if text := strings.ReplaceAll(string(out), "header-hunter2-secret", ""); err != nil || strings.Contains(text, "hunter2") || strings.Contains(text, secrets[1]) {
		t.Errorf("check -effective: %v\n%s", err, out)
	}
}
