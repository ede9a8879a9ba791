package accept

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	pictures "image"
	"image/color"
	"image/png"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/internal/testnet"
)

// browser is a headless Chromium, spoken to over the DevTools protocol
// (chromedevtools.github.io/devtools-protocol). It takes that over a pair of
// pipes too, as JSON with a NUL after each message, so no library is needed.
type browser struct {
	t    *testing.T
	cmd  *exec.Cmd
	to   *os.File
	gone chan struct{} // closed when it has ended

	mu      sync.Mutex // guards below, and what is written to to
	last    int
	answers map[int]chan answer
	pages   map[string]*tab // by session
}

type answer struct {
	Result json.RawMessage
	Error  *struct{ Message string }
}

// browserAnswer bounds each call: a page that hangs fails the test.
const browserAnswer = 30 * time.Second

func startBrowser(t *testing.T) *browser {
	t.Helper()
	path := testnet.NeedProgram(t, "chromium")
	commands, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, events, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, to: to, gone: make(chan struct{}), answers: map[int]chan answer{}, pages: map[string]*tab{}}
	home := t.TempDir()
	b.cmd = exec.Command(path, "--headless=new", "--remote-debugging-pipe", "--user-data-dir="+home,
		"--no-sandbox", // it does not run as root otherwise; it sees our own page only
		"--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions", "--disable-background-networking", "--disable-component-update",
		"--disable-sync", "--no-first-run", "--no-default-browser-check", "--hide-scrollbars", "--mute-audio", "about:blank")
	b.cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home)
	b.cmd.ExtraFiles = []*os.File{commands, events} // 3 and 4
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	commands.Close()
	events.Close()
	go b.follow(from)
	t.Cleanup(func() {
		b.send("", "Browser.close", nil) // so that its children end with it
		end := time.AfterFunc(10*time.Second, func() { b.cmd.Process.Kill() })
		<-b.gone
		end.Stop()
		b.cmd.Wait()
		to.Close()
		from.Close()
	})
	return b
}

// follow hands on what the browser says until it ends.
func (b *browser) follow(from io.Reader) {
	defer close(b.gone)
	r := bufio.NewReaderSize(from, 1<<20)
	for {
		line, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var m struct {
			ID        int
			SessionID string
			Method    string
			Params    json.RawMessage
			answer
		}
		if json.Unmarshal(line[:len(line)-1], &m) != nil {
			return
		}
		b.mu.Lock()
		to, page := b.answers[m.ID], b.pages[m.SessionID]
		delete(b.answers, m.ID)
		b.mu.Unlock()
		switch {
		case to != nil:
			to <- m.answer
		case page != nil:
			page.event(m.Method, m.Params)
		}
	}
}

func (b *browser) send(session, method string, params any) (chan answer, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	m := map[string]any{"id": b.last, "method": method}
	if session != "" {
		m["sessionId"] = session
	}
	if params != nil {
		m["params"] = params
	}
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	to := make(chan answer, 1)
	b.answers[b.last] = to
	_, err = b.to.Write(append(text, 0))
	return to, err
}

// call sends one command and reads its result, if there is a place for it.
func (b *browser) call(session, method string, params, result any) {
	b.t.Helper()
	to, err := b.send(session, method, params)
	if err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	select {
	case a := <-to:
		if a.Error != nil {
			b.t.Fatalf("%s: %s", method, a.Error.Message)
		}
		if result != nil {
			if err := json.Unmarshal(a.Result, result); err != nil {
				b.t.Fatalf("%s: %v", method, err)
			}
		}
	case <-b.gone:
		b.t.Fatalf("%s: the browser has ended", method)
	case <-time.After(browserAnswer):
		b.t.Fatalf("%s: no answer in %v", method, browserAnswer)
	}
}

// tab is a page, and what happened on it.
type tab struct {
	b       *browser
	session string

	mu       sync.Mutex // guards below
	errors   []string   // of the console
	requests []string   // URLs
	password string     // that the user types when asked; "" is Escape
	prompts  []string   // URLs for which the user was asked
}

// open opens a page of the given width and colour scheme.
func (b *browser) open(url string, width, height int, dark bool) *tab {
	b.t.Helper()
	var target struct{ TargetID string }
	b.call("", "Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var session struct{ SessionID string }
	b.call("", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &session)
	p := &tab{b: b, session: session.SessionID}
	b.mu.Lock()
	b.pages[p.session] = p
	b.mu.Unlock()
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		p.call(domain+".enable", nil, nil)
	}
	p.size(width, height)
	p.dark(dark)
	p.call("Page.navigate", map[string]any{"url": url}, nil)
	return p
}

func (p *tab) call(method string, params, result any) {
	p.b.t.Helper()
	p.b.call(p.session, method, params, result)
}

func (p *tab) size(width, height int) {
	p.b.t.Helper()
	p.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
}

func (p *tab) dark(on bool) {
	p.b.t.Helper()
	scheme := "light"
	if on {
		scheme = "dark"
	}
	p.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// types has a user at the page who types this password whenever the browser asks
// for one, with any name, and presses Escape where it is empty.
func (p *tab) types(password string) {
	p.b.t.Helper()
	p.mu.Lock()
	p.password = password
	p.mu.Unlock()
	p.call("Fetch.enable", map[string]any{"handleAuthRequests": true}, nil)
}

// asksFor returns the URLs for which the user was asked, since the last call.
func (p *tab) asksFor() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.prompts
	p.prompts = nil
	return out
}

// login answers the browser where types has it ask the test first.
func (p *tab) login(method string, params json.RawMessage) {
	var e struct {
		RequestID string
		Request   struct{ URL string }
	}
	if json.Unmarshal(params, &e) != nil {
		return
	}
	switch method {
	case "Fetch.requestPaused":
		p.b.send(p.session, "Fetch.continueRequest", map[string]any{"requestId": e.RequestID})
	case "Fetch.authRequired":
		p.mu.Lock()
		p.prompts = append(p.prompts, e.Request.URL)
		typed := map[string]string{"response": "ProvideCredentials", "username": "anybody", "password": p.password}
		if p.password == "" {
			typed = map[string]string{"response": "CancelAuth"}
		}
		p.mu.Unlock()
		p.b.send(p.session, "Fetch.continueWithAuth", map[string]any{"requestId": e.RequestID, "authChallengeResponse": typed})
	}
}

// event keeps what tests ask about afterwards.
func (p *tab) event(method string, params json.RawMessage) {
	var e struct {
		Type             string
		Args             []struct{ Value, Description any }
		ExceptionDetails struct {
			Text      string
			Exception struct{ Description string }
		}
		Entry   struct{ Level, Source, Text, URL string }
		Request struct{ URL string }
	}
	if json.Unmarshal(params, &e) != nil {
		return
	}
	p.login(method, params)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case method == "Network.requestWillBeSent":
		p.requests = append(p.requests, e.Request.URL)
	case method == "Runtime.exceptionThrown":
		p.errors = append(p.errors, e.ExceptionDetails.Text+" "+e.ExceptionDetails.Exception.Description)
	case method == "Runtime.consoleAPICalled" && slices.Contains([]string{"error", "warning", "assert"}, e.Type):
		p.errors = append(p.errors, fmt.Sprint(e.Type, " ", e.Args))
	case method == "Log.entryAdded" && (e.Entry.Level == "error" || e.Entry.Level == "warning"):
		p.errors = append(p.errors, fmt.Sprint(e.Entry.Source, ": ", e.Entry.Text, " ", e.Entry.URL))
	}
}

// said returns the console's errors since the last call.
func (p *tab) said() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.errors
	p.errors = nil
	return out
}

// asked returns the URLs of all requests.
func (p *tab) asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.requests)
}

// eval runs JavaScript on the page. What throws is "" and false.
func (p *tab) eval(script string) (value string, ok bool) {
	p.b.t.Helper()
	var r struct {
		Result           struct{ Value any }
		ExceptionDetails *struct{}
	}
	p.call("Runtime.evaluate", map[string]any{"expression": script, "returnByValue": true, "awaitPromise": true}, &r)
	if r.ExceptionDetails != nil {
		return "", false
	}
	return fmt.Sprint(r.Result.Value), true
}

// text is that of the first element that a selector finds.
func (p *tab) text(selector string) string {
	p.b.t.Helper()
	s, _ := p.eval(fmt.Sprintf("document.querySelector(%q).textContent", selector))
	return s
}

// until waits until a condition in JavaScript is true.
func (p *tab) until(timeout time.Duration, what, condition string) {
	p.b.t.Helper()
	testnet.WaitFor(p.b.t, timeout, what+", which is: "+condition, func() bool {
		v, ok := p.eval(condition)
		return ok && v == "true"
	})
}

// press presses a key, as DevTools names it.
func (p *tab) press(key string) {
	p.b.t.Helper()
	for _, kind := range []string{"keyDown", "keyUp"} {
		p.call("Input.dispatchKeyEvent", map[string]any{"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": map[string]int{"Tab": 9, "ArrowDown": 40, "ArrowLeft": 37}[key]}, nil)
	}
}

// shoot writes a picture of the whole page.
func (p *tab) shoot(file string) {
	p.b.t.Helper()
	var r struct{ Data string }
	p.call("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true}, &r)
	picture, err := base64.StdEncoding.DecodeString(r.Data)
	if err == nil {
		picture, err = fewColours(picture)
	}
	if err == nil {
		err = os.WriteFile(file, picture, 0o644)
	}
	if err != nil {
		p.b.t.Fatal(err)
	}
}

// fewColours writes a PNG picture with a palette of the 256 colours that it has
// most of: the page has few, and shades of text. It is a third as large.
func fewColours(in []byte) ([]byte, error) {
	from, err := png.Decode(bytes.NewReader(in))
	if err != nil {
		return nil, err
	}
	area, uses := from.Bounds(), map[color.Color]int{}
	for y := area.Min.Y; y < area.Max.Y; y++ {
		for x := area.Min.X; x < area.Max.X; x++ {
			uses[from.At(x, y)]++
		}
	}
	colours := slices.SortedFunc(maps.Keys(uses), func(a, b color.Color) int { return uses[b] - uses[a] })
	to := pictures.NewPaletted(area, color.Palette(colours[:min(len(colours), 256)]))
	nearest := map[color.Color]uint8{}
	for c := range uses {
		nearest[c] = uint8(to.Palette.Index(c))
	}
	for y := area.Min.Y; y < area.Max.Y; y++ {
		for x := area.Min.X; x < area.Max.X; x++ {
			to.SetColorIndex(x, y, nearest[from.At(x, y)])
		}
	}
	var out bytes.Buffer
	err = (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, to)
	return out.Bytes(), err
}

// origin is the part of a URL before its path.
func origin(url string) string {
	scheme, rest, _ := strings.Cut(url, "://")
	host, _, _ := strings.Cut(rest, "/")
	return scheme + "://" + host
}
