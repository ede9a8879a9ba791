package accept

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/internal/testnet"
)

// screenshots are made by make screenshots, and looked at by a person.
var screenshots = flag.String("screenshots", "", "write pictures of the dashboard to this `DIR`, which takes two minutes")

// Without -screenshots it takes pictures of one moment and throws them away, so
// that the way to make them stays whole.
func TestAcceptDashboardPictures(t *testing.T) {
	dir := *screenshots
	if dir == "" {
		dir = t.TempDir()
	} else if fonts, err := exec.Command("fc-list", "Inter").Output(); err != nil || len(fonts) == 0 {
		t.Fatal("pictures are made with the font Inter: apt-get install fontconfig fonts-inter")
	}
	s := dashboardScene(t)
	p := startBrowser(t).dashboard(s.weir)
	if *screenshots != "" {
		shootAll(p, dir, "idle")
	}
	s.storm(t, "-c 3 -mode client", "web")
	s.storm(t, "-c 1 -mode server", "web")
	s.storm(t, "-c 1 -mode keepalive", "assets")
	p.until(30*time.Second, "for the load to be seen", `document.querySelector(".tile b").textContent !== "0"`)
	if *screenshots != "" {
		testnet.Pace(nil, 45*time.Second)
	}
	shootAll(p, dir, "load")
	if *screenshots != "" {
		stop := s.storm(t, "-c 60 -mode client", "web")
		p.until(30*time.Second, "for the overload", `document.querySelector(".backend .pill:last-child").textContent !== "normal"`)
		testnet.Pace(nil, 6*time.Second)
		p.eval(`location.hash = "#backends%2Fapi"`)
		shootAll(p, dir, "overload")
		stop()
		p.eval(`location.hash = "#listeners%2F"`)
		testnet.Pace(nil, 10*time.Second)
		s.api.Stop()
		testnet.Pace(nil, 6*time.Second)
		shootAll(p, dir, "down")
	}
	pictures, err := filepath.Glob(filepath.Join(dir, "dashboard-*.png"))
	if err != nil || len(pictures) < 6 {
		t.Errorf("%d pictures, %v", len(pictures), err)
	}
	for _, name := range pictures {
		if st, err := os.Stat(name); err != nil || st.Size() > 200<<10 {
			t.Errorf("%s: %v, %d bytes; it goes into the repository, and has to have less than 200 KiB", name, err, st.Size())
		}
	}
}

// shootAll takes pictures of the whole page at three widths, light and dark.
func shootAll(p *tab, dir, scene string) {
	for _, width := range []int{1440, 900, 420} {
		for _, dark := range []bool{false, true} {
			p.size(width, 1000)
			p.dark(dark)
			p.eval("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")
			high, _ := p.eval("document.documentElement.scrollHeight")
			var height int
			fmt.Sscan(high, &height)
			p.size(width, height)
			p.eval("new Promise(r => requestAnimationFrame(() => setTimeout(r, 1200)))")
			p.shoot(filepath.Join(dir, fmt.Sprintf("dashboard-%s-%d-%s.png", scene, width, map[bool]string{false: "light", true: "dark"}[dark])))
		}
	}
}

// scene is a weir with something to show.
type scene struct {
	*reloadable
	api, files *testnet.Backend
}

func dashboardScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{api: testnet.NewBackend(t, testnet.Late(4*time.Millisecond)), files: testnet.NewBackend(t, testnet.Late(2*time.Millisecond))}
	s.reloadable = startReloadable(t, fmt.Sprintf(`
listeners:
  - {name: web, protocol: http, address: "127.0.0.1:0", backend: api, max_clients: 1000}
  - {name: assets, protocol: http, address: "127.0.0.1:0", backend: files, max_clients: 1000}
backends:
  - {name: api, endpoints: ["%v"], pool: {max_open: 6, min_idle: 2}, queue: {max: 128, target: 5ms, timeout: 500ms}}
  - {name: files, endpoints: ["%v"], pool: {max_open: 8}}
`, s.api.Addr(), s.files.Addr()))
	return s
}

// storm runs clients until the test ends, or stop is called.
func (s *scene) storm(t *testing.T, how, listener string) (stop func()) {
	t.Helper()
	args := append([]string{"storm", "-n", "10000000", "-limit", "10m"}, strings.Fields(how)...)
	c := exec.Command(binary, append(args, "http://"+s.addr[listener]+"/")...)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		c.Process.Kill()
		c.Wait()
	})
	t.Cleanup(stop)
	return stop
}
