package accept

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/internal/testnet"
	"weir/tcpstat"
)

// page reads an admin page.
func (w *weir) page(path string) (int, string) {
	w.t.Helper()
	resp, err := http.Get("http://" + w.admin + path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// metrics reads /metrics: values by name and labels. What a scraper would stumble
// over fails the test: a sample without help and type before it, or one twice.
func (w *weir) metrics() map[string]float64 {
	w.t.Helper()
	code, text := w.page("/metrics")
	if code != 200 {
		w.t.Fatalf("/metrics: %d %s", code, text)
	}
	out := map[string]float64{}
	help, kind := map[string]bool{}, map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if f := strings.SplitN(line, " ", 4); f[0] == "#" {
			switch f[1] {
			case "HELP":
				help[f[2]] = true
			case "TYPE":
				kind[f[2]] = f[3]
			}
			continue
		}
		cut := strings.LastIndexByte(line, ' ')
		series := line[:cut]
		v, err := strconv.ParseFloat(line[cut+1:], 64)
		if err != nil {
			w.t.Fatalf("%s: %v", line, err)
		}
		if _, twice := out[series]; twice {
			w.t.Errorf("%s is there twice", series)
		}
		out[series] = v
		name, _, _ := strings.Cut(series, "{")
		if kind[name] == "" {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if base, ok := strings.CutSuffix(name, suffix); ok && (kind[base] == "histogram" || kind[base] == "summary") {
					name = base
				}
			}
		}
		if kind[name] == "" || !help[name] {
			w.t.Errorf("%s has no type or help before it", series)
		}
		if strings.HasPrefix(name, "weir_") && (kind[name] == "counter") != strings.HasSuffix(name, "_total") {
			w.t.Errorf("%s is a %s", name, kind[name])
		}
	}
	return out
}

// sumOf adds up all series of a metric that have these labels.
func sumOf(m map[string]float64, name string, labels ...string) (total float64) {
	for series, v := range m {
		if !strings.HasPrefix(series, name+"{") {
			continue
		}
		has := true
		for _, l := range labels {
			has = has && strings.Contains(series, l)
		}
		if has {
			total += v
		}
	}
	return total
}

func TestAcceptMetricsAddUpToWhatWasSent(t *testing.T) {
	backend := testnet.NewBackend(t, func(c *testnet.BackendConn) {
		for {
			q, err := c.ReadRequest()
			if err != nil {
				return
			}
			if c.Send(testnet.Response(map[string]int{"/": 200, "/400": 400, "/500": 500}[q.Target], testnet.Body)) != nil {
				return
			}
		}
	})
	w := start(t, fmt.Sprintf(`
listeners:
  - name: web
    protocol: http
    address: 127.0.0.1:0
    max_clients: 100
    routes: [{path: /, backend: api, host: a}, {host: b, backend: dead}]
backends:
  - {name: api, endpoints: ["%v"], pool: {max_open: 4}}
  - {name: dead, endpoints: ["%v"]}
`, backend.Addr(), loopbackPort(t)))

	send := func(raw string) int {
		t.Helper()
		c, err := net.Dial("tcp", w.addr["web"])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(c, raw)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		io.ReadAll(resp.Body)
		return resp.StatusCode
	}
	request := func(host, path string) string {
		return "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n"
	}
	made, clients := 0, 0
	for _, x := range []struct {
		raw     string
		status  int
		times   int
		backend string
		outcome string
	}{
		{request("a", "/"), 200, 40, "api", "2xx"},
		{request("a", "/400"), 400, 7, "api", "4xx"},
		{request("a", "/500"), 500, 5, "api", "5xx"},
		{request("b", "/"), 502, 3, "dead", "dial_refused"},
		{request("nowhere", "/"), 404, 4, "", "no_route"},
		{"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, 2, "", "bad_request"},
	} {
		for range x.times {
			if got := send(x.raw); got != x.status {
				t.Fatalf("%q: status %d, want %d", x.raw, got, x.status)
			}
		}
		made, clients = made+x.times, clients+x.times
		series := fmt.Sprintf(`weir_requests_total{backend="%s",listener="web",outcome="%s"}`, x.backend, x.outcome)
		// A request counts when it has ended for weir, which its client may see
		// a moment before.
		var got float64
		if !testnet.Poll(10*time.Second, func() bool { got = w.metrics()[series]; return got == float64(x.times) }) {
			t.Errorf("%s is %v, want %d", series, got, x.times)
		}
	}
	c, err := net.Dial("tcp", w.addr["web"])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	br := bufio.NewReader(c)
	for range 30 {
		if code, _, err := askOn(c, br); err != nil || code != 200 {
			t.Fatalf("keepalive: %d, %v", code, err)
		}
	}
	made, clients = made+30, clients+1

	testnet.WaitFor(t, 20*time.Second, "for all short clients to be closed and the last request to be counted", func() bool {
		m := w.metrics()
		return m[`weir_client_connections{listener="web"}`] == 1 && sumOf(m, "weir_requests_total") >= float64(made)
	})
	m := w.metrics()
	if got := sumOf(m, "weir_requests_total"); got != float64(made) {
		t.Errorf("weir_requests_total sums to %v, %d were made", got, made)
	}
	if got := m[`weir_request_seconds_count{listener="web"}`]; got != float64(made) {
		t.Errorf("weir_request_seconds_count is %v, %d were made", got, made)
	}
	if got := m[`weir_client_connections_total{listener="web"}`]; got != float64(clients) {
		t.Errorf("weir_client_connections_total is %v, %d connected", got, clients)
	}
	if got := sumOf(m, "weir_client_closed_total"); got != float64(clients-1) {
		t.Errorf("weir_client_closed_total sums to %v, %d were closed", got, clients-1)
	}
	open := sumOf(m, "weir_backend_connections", `backend="api"`)
	if open != float64(backend.Open()) || open != m[`weir_backend_connections{backend="api",state="idle"}`] {
		t.Errorf("weir_backend_connections: %v in all, %v idle; the backend has %d", open, m[`weir_backend_connections{backend="api",state="idle"}`], backend.Open())
	}
	if got := m[`weir_backend_dials_total{backend="api",result="ok"}`]; got != float64(backend.Accepted()) {
		t.Errorf("weir_backend_dials_total is %v, the backend accepted %d", got, backend.Accepted())
	}
	if got := m[`weir_accepting{listener="web"}`]; got != 1 {
		t.Errorf("weir_accepting is %v", got)
	}
	// What has not happened is there, as 0: its first event is a rise.
	for _, series := range []string{
		`weir_requests_total{backend="api",listener="web",outcome="backend_reset"}`,
		`weir_shed_total{listener="web",reason="queue_full"}`,
		`weir_stale_retries_total{backend="api"}`,
		`weir_config_reloads_total{result="refused"}`,
	} {
		if v, ok := m[series]; !ok || v != 0 {
			t.Errorf("%s: %v, there %v", series, v, ok)
		}
	}
	// The status page has the same numbers.
	st := w.status()
	var again uint64
	for _, outcomes := range st.Listeners[0].Requests {
		for _, n := range outcomes {
			again += n
		}
	}
	if again != uint64(made) || st.Listeners[0].Accepted != uint64(clients) {
		t.Errorf("/api/status: %d requests of %d, %d clients of %d", again, made, st.Listeners[0].Accepted, clients)
	}
	figure(t, "closed clients: quiet %v, peer_first %v, active %v, linger %v",
		m[`weir_client_closed_total{how="quiet",listener="web"}`], m[`weir_client_closed_total{how="peer_first",listener="web"}`],
		m[`weir_client_closed_total{how="active",listener="web"}`], m[`weir_client_closed_total{how="linger",listener="web"}`])
}

func TestAcceptReadyWhenWarmAndNotWhileDraining(t *testing.T) {
	release := make(chan struct{})
	at := loopbackPort(t)
	r := startReloadable(t, fmt.Sprintf(`
listeners: [{name: web, protocol: http, address: "127.0.0.1:0", backend: api, max_clients: 100}]
backends: [{name: api, endpoints: ["%v"], pool: {min_idle: 3}}]
`, at))
	if code, text := r.page("/healthz"); code != 200 || text != "ok\n" {
		t.Errorf("/healthz of a cold weir: %d %q", code, text)
	}
	if code, text := r.page("/readyz"); code != 503 || !strings.Contains(text, "backend api: min_idle is not reached yet") {
		t.Errorf("/readyz of a cold weir: %d %q", code, text)
	}
	backend := testnet.NewBackendAt(t, net.Listen, at.String(), func(c *testnet.BackendConn) {
		if _, err := c.ReadRequest(); err == nil {
			<-release
			c.Send(testnet.Response(200, testnet.Body))
			c.Stall()
		}
	})
	testnet.WaitFor(t, 30*time.Second, "for readiness", func() bool { code, _ := r.page("/readyz"); return code == 200 })
	// Of the kernel: the backend may not have got round to accepting them.
	open := 0
	list(t, tcpstat.Filter{States: tcpstat.MaskOf(tcpstat.Established, tcpstat.CloseWait), RemotePort: at.Port()},
		func() { open = 0 }, func(*tcpstat.Socket) { open++ })
	if open < 3 {
		t.Errorf("ready with %d connections, min_idle is 3", open)
	}

	answered := make(chan string, 1)
	go func() {
		resp, err := http.Get(r.url("/"))
		if err != nil {
			answered <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		answered <- string(b)
	}()
	testnet.WaitFor(t, 10*time.Second, "for the request", func() bool { return backend.Requests() == 1 })
	r.signal(syscall.SIGTERM)
	testnet.WaitFor(t, 10*time.Second, "for /readyz to say so", func() bool {
		code, text := r.page("/readyz")
		return code == 503 && strings.Contains(text, "draining")
	})
	if code, _ := r.page("/healthz"); code != 200 {
		t.Errorf("/healthz of a draining weir: %d; a probe would kill it in mid-drain", code)
	}
	m := r.metrics()
	if m[`weir_accepting{listener="web"}`] != 0 || m[`weir_client_connections{listener="web"}`] != 1 {
		t.Errorf("while draining: accepting %v, clients %v, want 0 and 1", m[`weir_accepting{listener="web"}`], m[`weir_client_connections{listener="web"}`])
	}
	if code, text := r.post(); code != 500 || !strings.Contains(text, "stopping") {
		t.Errorf("a reload while draining: %d %q", code, text)
	}
	close(release)
	if got := <-answered; got != testnet.Body {
		t.Errorf("the request under way: %q", got)
	}
	if code := r.wait(20 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
