package accept

import (
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// deaf is an address whose listener takes no connection any more: the kernel drops
// the SYNs, as it does where a packet filter drops them.
func deaf(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at := fmt.Sprint("127.0.0.1:", name.(*syscall.SockaddrInet4).Port)
	for { // until the queue is full
		c, err := net.DialTimeout("tcp", at, 200*time.Millisecond)
		if err != nil {
			return at
		}
		t.Cleanup(func() { c.Close() })
	}
}

// A backend that drops SYNs is nothing that weir sheds for, and is seen at once.
func TestAcceptABackendThatDropsSYNsIsShownAsOneThatCannotBeDialled(t *testing.T) {
	t.Parallel()
	w := start(t, oneBackend(deaf(t), "", ""))
	ask := func() {
		resp, err := http.Get(w.url("/"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("X-Weir-Reason"); resp.StatusCode != 504 || got != "dial_timeout" {
			t.Errorf("the answer is %d %s", resp.StatusCode, got)
		}
	}
	for range 3 {
		ask()
	}
	out, err := exec.Command(binary, "status", "-admin", w.admin).CombinedOutput()
	if err != nil || !regexp.MustCompile(`(?m)^  dials fail: dial 127\.0\.0\.1:.*(timeout|no answer)`).Match(out) {
		t.Errorf("%v\n%s", err, out)
	}
	p := startBrowser(t).dashboard(w)
	for range 8 { // while it is tried, and while it is not
		if got, _ := p.eval(`[...document.querySelectorAll(".backend .pill")].map(p => p.textContent).join()`); got != "dials fail,normal" {
			t.Errorf("the card says %q", got)
		}
		if got, _ := p.eval(`[...document.querySelectorAll(".backend .facts div, .tile")].filter(f => f.textContent.startsWith("Reuse")).map(f => f.children[1].textContent).join()`); got != "\u2013,\u2013" {
			t.Errorf("reuse of what never was: %q", got)
		}
		ask()
	}
	if got := p.text(".backend .problem"); !strings.HasPrefix(got, "Dials fail") || !strings.Contains(got, "timeout") {
		t.Errorf("the card's reason is %q", got)
	}
	p.clean(w)
}

// What weir knows is on the page with its first frame.
func TestAcceptTheFirstFrameShowsTheRatesThatAreKnown(t *testing.T) {
	t.Parallel()
	s := dashboardScene(t)
	s.storm(t, "-c 2", "web")
	b := startBrowser(t)
	p := b.dashboard(s.weir)
	p.until(20*time.Second, "for a sample", `document.querySelector(".chart path.line") !== null`)
	// A page whose stream ends after its first frame.
	p.call("Page.addScriptToEvaluateOnNewDocument", map[string]any{"source": `
const Real = EventSource;
EventSource = function(url) {
  const s = new Real(url), add = s.addEventListener.bind(s);
  s.addEventListener = (name, f) => name === "past" && add(name, f);
  return s;
};
EventSource.CLOSED = Real.CLOSED;`}, nil)
	p.call("Page.reload", nil, nil)
	p.until(20*time.Second, "for the first frame", live)
	got, _ := p.eval(`[...document.querySelectorAll(".tile")].slice(0, 4).map(t => t.querySelector("b").textContent).join("|")`)
	if v := strings.Split(got, "|"); len(v) != 4 || v[0] == "0" || v[0] == "\u2013" || v[2] != "0" || v[3] != "0" {
		t.Errorf("the first tiles are %q", got)
	}
	for _, name := range []string{"begin", "end"} {
		if got, _ := p.eval(fmt.Sprintf(`document.querySelector("#state-%s .number tspan").textContent`, name)); got != "\u2013" {
			t.Errorf("%s is %q before a difference is known", name, got)
		}
	}
}

// Nobody may have come so far that a dial was made for, and the modes say nothing.
func TestAcceptABackendThatWasNeverReachedIsRedOnTheDashboard(t *testing.T) {
	w := start(t, oneBackend("127.0.0.1:1", "", ""))
	p := startBrowser(t).dashboard(w)
	for status, want := range map[string]string{
		`mysql: {server_error: "connection refused"}`:                       "api: dials fail",
		`last_error: "Access denied", last_error_seconds: 75, mysql: {}`:    "api: dials fail",
		`leased: 1, last_error: "Access denied", mysql: {}`:                 "",
		`leased: 0, mysql: {server_version: "11.4"}, last_error: undefined`: "",
	} {
		got, ok := p.eval(`import("/dashboard/panels.js").then(m => {
  m.banner({frame: {status: {backends: [{name: "api", idle: 0, leased: 0, mode: {now: "normal"}, ` + status + `}]}}});
  return document.getElementById("banner").textContent;
})`)
		if !ok || got != want {
			t.Errorf("{%s}: the banner says %q, want %q", status, got, want)
		}
	}
}

// A cause is of the moment in which the mode was entered, and may be long over.
func TestAcceptTheCauseOfAModeIsWrittenAsWhatItWas(t *testing.T) {
	w := start(t, oneBackend("127.0.0.1:1", "", ""))
	p := startBrowser(t).dashboard(w)
	got, ok := p.eval(`import("/dashboard/panels.js").then(m => {
  m.banner({frame: {status: {backends: [{name: "api", idle: 0, leased: 0, mode: {now: "paced", cause: "local ports in use: 51 %"}}]}}});
  return document.getElementById("banner").textContent;
})`)
	if want := "api is paced, entered at: local ports in use: 51 %"; !ok || got != want {
		t.Errorf("the banner says %q, want %q", got, want)
	}
}
