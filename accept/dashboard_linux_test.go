package accept

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weir/internal/testnet"
)

// dashboard opens the page of a weir and waits until it has numbers.
func (b *browser) dashboard(w *weir) *tab {
	b.t.Helper()
	p := b.open("http://"+w.admin+"/", 1440, 1000, false)
	p.until(20*time.Second, "for the page to be live", live)
	return p
}

const live = `document.getElementById("link").textContent === "live" && document.querySelectorAll(".tile").length === 8`

// clean fails where the console has an error, or a request went elsewhere.
func (p *tab) clean(w *weir) {
	p.b.t.Helper()
	for _, e := range p.said() {
		p.b.t.Errorf("the console: %s", e)
	}
	for _, url := range p.asked() {
		if origin(url) != "http://"+w.admin && !strings.HasPrefix(url, "data:") {
			p.b.t.Errorf("the page asked for %s", url)
		}
	}
}

// cell finds a number in a table by the first cells of its row.
func cell(table, row string, column int) string {
	return fmt.Sprintf(`Number([...document.querySelectorAll("#%s tbody tr")].find(r => r.innerText.startsWith(%q)).cells[%d].textContent.replaceAll(",", ""))`, table, row, column)
}

func TestAcceptTheDashboardFollowsAStorm(t *testing.T) {
	t.Parallel()
	s := dashboardScene(t)
	b := startBrowser(t)
	p := b.dashboard(s.weir)
	p.until(10*time.Second, "for the listeners' sockets", `document.querySelector("#state-listen .number").textContent.trim() > "0"`)
	if busy, _ := p.eval(`document.querySelectorAll("#diagram .busy").length`); busy != "0" {
		t.Errorf("%s edges are busy before anybody has come", busy)
	}

	const n = 4000
	storm := exec.Command(binary, "storm", "-n", fmt.Sprint(n), "-c", "4", "http://"+s.addr["web"]+"/")
	out := new(strings.Builder)
	storm.Stdout, storm.Stderr = out, out
	if err := storm.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- storm.Wait() }()
	p.until(20*time.Second, "for edges to be busy", `document.querySelectorAll("#diagram .busy").length >= 3`)
	p.until(20*time.Second, "for requests to be counted", `document.querySelector(".tile b").textContent !== "0"`)
	if err := <-ended; err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// What the page has counted is what came.
	p.eval(`document.querySelector("details").open = true`)
	p.until(20*time.Second, "for all clients on the edge", cell("edges-table", "LISTEN\tSYN-RECEIVED", 3)+fmt.Sprintf(" === %d", n))
	var established, closed float64
	for name, of := range map[string]*float64{"ESTABLISHED\tFIN-WAIT-1": &established, "ESTABLISHED\tCLOSE-WAIT": &closed} {
		v, _ := p.eval(cell("edges-table", name, 3))
		fmt.Sscan(v, of)
	}
	if established+closed != n {
		t.Errorf("%v clients were closed by weir first and %v second, %d came", established, closed, n)
	}
	p.until(20*time.Second, "for the diagram to be at rest again", `document.querySelectorAll("#diagram .busy").length === 0`)
	p.until(20*time.Second, "for the storm in the history", `document.querySelector(".chart path.line").getBBox().height > 10`)

	// A page that is opened now has seen it too.
	late := b.dashboard(s.weir)
	late.until(10*time.Second, "for the past", `document.querySelector(".chart path.line").getBBox().height > 10`)
	for _, p := range []*tab{p, late} {
		p.clean(s.weir)
	}
}

func TestAcceptTheDashboardShowsChangesOfMode(t *testing.T) {
	t.Parallel()
	s := dashboardScene(t)
	b := startBrowser(t)
	p := b.dashboard(s.weir)
	if got := p.text("#banner"); got != "" {
		t.Errorf("the banner of a weir that is well: %q", got)
	}
	pill := `[...document.querySelectorAll(".backend")].find(c => c.querySelector("h3").textContent === "api").querySelector(".pill:last-child").textContent`
	for _, mode := range []string{"shedding", "normal"} {
		if out, err := exec.Command(binary, "mode", "-socket", s.socket, "api", mode).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		p.until(10*time.Second, "for the pill", pill+fmt.Sprintf(" === %q", mode))
		p.until(10*time.Second, "for the event", fmt.Sprintf(`document.querySelector("#events li").textContent.includes("to %s")`, mode))
		p.until(10*time.Second, "for the banner", fmt.Sprintf(`document.getElementById("banner").textContent.includes("api is shedding, set by hand") === %v`, mode == "shedding"))
	}
	if role, _ := p.eval(`document.getElementById("banner").getAttribute("aria-live")`); role != "polite" {
		t.Errorf("the banner is read out %q", role)
	}
	p.clean(s.weir)
}

func TestAcceptTheDashboardIsUsedByKeyboard(t *testing.T) {
	t.Parallel()
	s := dashboardScene(t)
	p := startBrowser(t).dashboard(s.weir)
	p.press("Tab")
	if at, _ := p.eval(`document.activeElement.id`); at != "scope" {
		t.Errorf("the first stop is %q", at)
	}
	p.eval(`document.activeElement.value = "backends/api"; document.activeElement.dispatchEvent(new Event("change"))`)
	p.until(10*time.Second, "for the backend's sockets", `document.getElementById("states-of").textContent === "backend api" && document.querySelector("#state-established .number").textContent.trim() === "2"`)
	if hash, _ := p.eval(`location.hash`); hash != "#backends%2Fapi" {
		t.Errorf("the address says %q", hash)
	}
	p.eval(`document.querySelector(".plot").focus()`)
	p.until(15*time.Second, "for a chart's first sample", `document.querySelector(".chart path.line") !== null`)
	p.press("ArrowLeft")
	p.until(10*time.Second, "for the chart to read an older time", `!document.querySelector(".plot").getAttribute("aria-valuetext").startsWith("now")`)
	// Each table has a caption, and what is scrolled can be reached.
	bare, _ := p.eval(`[...document.querySelectorAll("table")].filter(t => !t.caption || !t.caption.textContent).length + [...document.querySelectorAll(".scroll, #events")].filter(s => s.tabIndex !== 0).length`)
	if bare != "0" {
		t.Errorf("%s tables without a caption, or without a way to scroll them", bare)
	}
	for _, width := range []int{420, 900, 1440} {
		p.size(width, 900)
		p.until(10*time.Second, "for the page to be as wide as its window", fmt.Sprintf(`document.documentElement.scrollWidth === %d && document.querySelector("#diagram svg").width.baseVal.value < %d`, width, width))
	}
	p.clean(s.weir)
}

// The address can be typed by hand, and be anything.
func TestAcceptTheDashboardOpensUnderAnyAddress(t *testing.T) {
	s := dashboardScene(t)
	b := startBrowser(t)
	p := b.open("http://"+s.weir.admin+"/#%", 1440, 1000, false)
	p.until(20*time.Second, "for the page to be live", live)
	p.eval(`location.hash = "#%zz"`)
	p.eval(`location.hash = "#backends%2Fapi"`)
	p.until(10*time.Second, "for the backend's sockets", `document.getElementById("states-of").textContent === "backend api"`)
	p.clean(s.weir)
}

func TestAcceptTheDashboardComesBackAfterARestart(t *testing.T) {
	s := dashboardScene(t)
	p := startBrowser(t).dashboard(s.weir)
	p.clean(s.weir)
	s.signal(syscall.SIGKILL)
	s.wait(10 * time.Second)
	p.until(20*time.Second, "for the loss to be said", `document.getElementById("link").textContent.startsWith("no contact") && document.body.classList.contains("stale")`)

	next := exec.Command(binary, "run", "-config", s.config, "-admin", s.weir.admin)
	if err := next.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { next.Process.Kill(); next.Wait() }()
	p.until(30*time.Second, "for the next weir", live+` && !document.body.classList.contains("stale")`)
	p.until(20*time.Second, "for its sockets", `document.querySelector("#state-listen .number").textContent.trim() > "0"`)
	for _, e := range p.said() {
		if !strings.Contains(e, "/api/stream") { // refused and broken connections are the test
			t.Errorf("the console: %s", e)
		}
	}
}

// Fifty people look on, and weir has something better to do.
func TestAcceptFiftyPagesCostLittle(t *testing.T) {
	const pages = 50
	lasts := 5 * time.Second
	if *hold {
		lasts = 20 * time.Second
	}
	s := dashboardScene(t)
	spent := func() time.Duration {
		before := s.cpu()
		testnet.Pace(nil, lasts)
		return s.cpu() - before
	}
	alone := spent()
	c := http.Client{Transport: &http.Transport{}}
	defer c.CloseIdleConnections()
	var frames atomic.Int64
	var all sync.WaitGroup
	defer all.Wait()
	for range pages {
		resp, err := c.Get("http://" + s.weir.admin + "/api/stream")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		all.Go(func() { count(resp, &frames) })
	}
	testnet.WaitFor(t, 10*time.Second, "for a frame to each", func() bool { return frames.Load() >= pages })
	frames.Store(0)
	with := spent()
	if got, want := frames.Load(), int64(pages*(lasts/time.Second-1)); got < want {
		t.Errorf("%d pages got %d frames in %v, want at least %d", pages, got, lasts, want)
	}
	part := float64(with-alone) / float64(lasts)
	speed(t, part < 0.02, "%d open pages cost %.2f %% of a core (bar: 2 %%), beside %.2f %% without them", pages, 100*part, 100*float64(alone)/float64(lasts))
}

// count reads a stream until it is closed.
func count(resp *http.Response, frames *atomic.Int64) {
	for r := bufio.NewReaderSize(resp.Body, 64<<10); ; {
		line, err := r.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			return
		}
		if bytes.HasPrefix(line, []byte("event: now")) {
			frames.Add(1)
		}
	}
}
