package accept

import (
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const tokenText, nextToken = "5ca1ab1e-0123456789abcdef", "0ddba11-fedcba9876543210"

// tokenScene is the scene of the dashboard behind a token, and a page at it whose
// user does not know the token.
func tokenScene(t *testing.T) (w *weir, p *tab, token string) {
	t.Helper()
	token = filepath.Join(t.TempDir(), "token")
	writeToken(t, token, tokenText)
	w = start(t, oneBackend(loopbackPort(t).String(), "", "")+"\nadmin: {token_file: "+token+"}\n")
	p = startBrowser(t).open("about:blank", 1440, 1000, false)
	p.types("")
	return w, p, token
}

func writeToken(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// load goes to the dashboard.
func (p *tab) load(w *weir) {
	p.b.t.Helper()
	p.call("Page.navigate", map[string]any{"url": "http://" + w.admin + "/"}, nil)
}

// silent fails where the token is in what the browser or weir keeps.
func (p *tab) silent(w *weir, tokens ...string) {
	p.b.t.Helper()
	var history struct {
		Entries []struct{ URL, UserTypedURL string }
	}
	p.call("Page.getNavigationHistory", nil, &history)
	kept, ok := p.eval(`document.documentElement.outerHTML + document.cookie + JSON.stringify(localStorage) + JSON.stringify(sessionStorage)`)
	if !ok || len(history.Entries) == 0 {
		p.b.t.Fatal("the page cannot be read")
	}
	for _, token := range tokens {
		for _, secret := range []string{token, base64.StdEncoding.EncodeToString([]byte("anybody:" + token))} {
			for where, text := range map[string]string{
				"the history": fmt.Sprint(history.Entries), "a request's URL": strings.Join(p.asked(), "\n"), "the page": kept, "weir's log": w.logged(),
			} {
				if strings.Contains(text, secret) {
					p.b.t.Errorf("%s has the token: %s", where, text)
				}
			}
		}
	}
	for _, url := range p.asked() {
		if origin(url) != "http://"+w.admin && !strings.HasPrefix(url, "data:") && url != "about:blank" {
			p.b.t.Errorf("the page asked for %s", url)
		}
	}
}

func TestAcceptTheDashboardBehindATokenIsForThoseWhoTypeIt(t *testing.T) {
	w, p, _ := tokenScene(t)
	p.load(w)
	p.until(20*time.Second, "for the refusal", `document.body !== null && document.body.innerText.includes("admin.token_file")`)
	if got, _ := p.eval(`document.body.innerText`); !strings.HasPrefix(got, "weir: ") || !strings.Contains(got, "load the page again and give the token as the password") {
		t.Errorf("who presses Escape is told %q", got)
	}
	if got, _ := p.eval(`document.scripts.length + document.images.length + document.styleSheets.length`); got != "0" {
		t.Errorf("what is told has %s parts of the page", got)
	}
	if asked := p.asksFor(); len(asked) != 1 {
		t.Errorf("the user was asked for %q", asked)
	}

	p.types(tokenText)
	p.load(w)
	p.until(20*time.Second, "for the page to be live", live)
	p.until(10*time.Second, "for the second frame", `(window.was ??= document.getElementById("uptime").textContent) !== document.getElementById("uptime").textContent`)
	if asked := p.asksFor(); len(asked) != 1 {
		t.Errorf("the user was asked for %q, and only the page needs it", asked)
	}

	// It comes back without its user.
	p.types("")
	for _, e := range p.said() {
		if !strings.Contains(e, "401 (Unauthorized) http://"+w.admin+"/") || strings.Contains(e, "/api/") { // of the first page, and its icon
			t.Errorf("the console: %s", e)
		}
	}
	w.signal(syscall.SIGKILL)
	w.wait(10 * time.Second)
	p.until(20*time.Second, "for the loss to be said", `document.getElementById("link").textContent.startsWith("no contact")`)
	next := exec.Command(binary, "run", "-config", w.config, "-admin", w.admin)
	var log strings.Builder
	next.Stderr = &log
	if err := next.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { next.Process.Kill(); next.Wait() }()
	p.until(30*time.Second, "for the next weir", live+` && !document.body.classList.contains("stale")`)
	if asked := p.asksFor(); len(asked) != 0 {
		t.Errorf("after a restart the user was asked for %q", asked)
	}
	p.silent(w, tokenText)
	next.Process.Kill()
	next.Wait()
	if strings.Contains(log.String(), "admin refused a login") || strings.Contains(log.String(), tokenText) {
		t.Errorf("the log of the next weir:\n%s", &log)
	}
}

// A page that is open may not go on with the old one, and must not have the
// browser ask for a password again and again.
func TestAcceptTheDashboardSaysThatWeirHasAnotherToken(t *testing.T) {
	w, p, token := tokenScene(t)
	p.types(tokenText)
	p.load(w)
	p.until(20*time.Second, "for the page to be live", live)
	p.asksFor()
	p.clean(w)

	p.types("")
	writeToken(t, token, nextToken)
	w.signal(syscall.SIGHUP)
	p.until(20*time.Second, "for the page to say what to do", `document.getElementById("banner").innerText.includes("Load this page again") &&
		document.getElementById("link").textContent === "logged out" && document.body.classList.contains("stale")`)
	if asked := p.asksFor(); len(asked) != 0 {
		t.Errorf("the user was asked for %q", asked)
	}
	p.types(nextToken)
	p.call("Page.reload", nil, nil)
	p.until(20*time.Second, "for the page to be live", live+` && document.getElementById("banner").innerText === "" && !document.body.classList.contains("stale")`)
	p.silent(w, tokenText, nextToken)
	for _, e := range p.said() {
		if !strings.Contains(e, "/api/stream") && !strings.Contains(e, "401") { // the refusals are the test
			t.Errorf("the console: %s", e)
		}
	}
}

// With a name and a password in the page's own address fetch refuses to ask for one
// that is relative to it, and that is not to be taken for a weir that is away.
func TestAcceptADashboardWhoseAddressHasTheTokenIsLiveAndSaysWhenItIsRefused(t *testing.T) {
	w, p, token := tokenScene(t)
	p.call("Page.navigate", map[string]any{"url": "http://anybody:" + tokenText + "@" + w.admin + "/"}, nil)
	p.until(20*time.Second, "for the page to be live", live)
	writeToken(t, token, nextToken)
	w.signal(syscall.SIGHUP)
	p.until(20*time.Second, "for the page to say what to do", `document.getElementById("banner").innerText.includes("Load this page again") &&
		document.getElementById("link").textContent === "logged out"`)
}
