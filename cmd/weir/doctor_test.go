package main

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/configs"
	"weir/tcpstat/audit"
)

// The numbers that doctor judges by are those that run will use.
func TestAPlanIsWhatTheConfigurationCanNeed(t *testing.T) {
	c, _, err := configs.Parse("test.yaml", []byte(`
listeners:
  - {name: web, protocol: http, address: ["127.0.0.1:8080", "[::1]:8081", "unix:/run/web.sock"], backend: api, max_clients: 100}
  - {name: db, protocol: mysql, address: "127.0.0.1:3306", backend: orders, close: graceful}
  - {name: db2, protocol: mysql, address: "127.0.0.1:3307", backend: stock, close: graceful}
backends:
  - {name: api, endpoints: ["localhost:9001"], source: 127.0.0.5, pool: {max_open: 10, reserved: 2, idle_timeout: 7s}, dial: {rate: 90/m}}
  - {name: orders, endpoints: ["unix:/run/db.sock"], users: [{name: app, password: x}]}
  - {name: stock, endpoints: ["10.0.0.5:3306"], users: [{name: app, password: x}], pool: {max_open: 20, reserved: 3, idle_timeout: 9s}, dial: {rate: 2/s}}
admin: {address: "127.0.0.1:9900"}
`))
	if err != nil {
		t.Fatal(err)
	}
	p := planOf(c)
	wantListeners := []audit.Listener{
		{Name: "web", Port: 8080, MaxClients: 100, Quiet: true},
		{Name: "web", Port: 8081, MaxClients: 100, Quiet: true},
		{Name: "db", Port: 3306, MaxClients: 10000},
		{Name: "db2", Port: 3307, MaxClients: 10000},
		{Name: "admin", Port: 9900},
	}
	wantBackends := []audit.Backend{
		{Name: "api", Endpoint: "localhost:9001", Source: netip.MustParseAddr("127.0.0.5"), Loopback: true, MaxOpen: 10, DialRate: 1.5, IdleTimeout: 7 * time.Second}, // http has no use for reserved ones
		{Name: "stock", Endpoint: "10.0.0.5:3306", MaxOpen: 23, DialRate: 2, IdleTimeout: 9 * time.Second},
	}
	if !slices.Equal(p.Listeners, wantListeners) || !slices.Equal(p.Backends, wantBackends) || p.Descriptors != c.Descriptors() {
		t.Errorf("got %+v", p)
	}
}

func aReport() *doctorReport {
	long := strings.TrimSpace(strings.Repeat("words that go on ", 20))
	command := "sysctl -w " + strings.Repeat("k", 90) + "=1"
	return &doctorReport{Report: audit.Report{Kernel: "6.18", Place: audit.Host, Findings: []audit.Finding{
		{Name: "bad", Verdict: audit.Fail, Found: long, Wanted: "w", Why: long, NotFixed: long, Remedy: &audit.Remedy{Do: long, Host: []string{command}, Container: []string{"not here"}}},
		{Name: "fine", Verdict: audit.Pass, Found: "1"},
		{Name: "hidden", Verdict: audit.Unknown, Found: "not there"},
	}, Advice: []audit.Answer{{Name: "net.ipv4.tcp_tw_recycle", Found: "in force: 1", Answer: long}}},
		Measured: []audit.Cost{{Side: acceptingSide, Sockets: 10000, Bytes: 256, Low: 250, High: 260, Sure: true, Source: "a test"}, {Side: connectingSide, Sockets: 10000, Bytes: 512, Low: -100, High: 900, Source: "a test"}},
		Unable:   "no"}
}

// What is to be done stands last, in paragraphs that fit a terminal, with commands
// that can be copied whole; without a terminal there are no colours.
func TestDoctorsTextFitsATerminal(t *testing.T) {
	var plain, coloured strings.Builder
	if err := errors.Join(printDoctorText(&plain, aReport(), false), printDoctorText(&coloured, aReport(), true)); err != nil {
		t.Fatal(err)
	}
	text := plain.String()
	if strings.Contains(text, "\x1b") || colours(&plain) {
		t.Error("colours without a terminal")
	}
	uncoloured := coloured.String()
	for _, code := range []string{"\x1b[0m", "\x1b[31m", "\x1b[32m", "\x1b[36m"} {
		if !strings.Contains(uncoloured, code) {
			t.Errorf("no %q on a terminal", code)
		}
		uncoloured = strings.ReplaceAll(uncoloured, code, "")
	}
	if uncoloured != text {
		t.Error("the text with colours is another one")
	}
	for line := range strings.Lines(text) {
		if len(line) > doctorWidth+1 && !strings.Contains(line, "sysctl -w") && !strings.HasPrefix(line, "Linux ") {
			t.Errorf("%d columns: %s", len(line)-1, line)
		}
	}
	last := -1
	for _, part := range []string{"\npass     fine: 1\nunknown  hidden: not there\n", "\nfail     bad\n", "  do:      sysctl -w " + strings.Repeat("k", 90) + "=1\n           words", "net.ipv4.tcp_tw_recycle (in force: 1)\n    words", "256 bytes", "512 bytes", "far apart", "not measured: no"} {
		at := strings.Index(text, part)
		if at < last {
			t.Errorf("%q is not there, or not after what comes before:\n%s", part, text)
		}
		last = at
	}
	if strings.Contains(text, "not here") || strings.Count(text, "far apart") != 1 {
		t.Errorf("another place's remedy, or a doubt where there is none:\n%s", text)
	}
}

// A version that is hidden leaves no hole in the first line.
func TestDoctorSaysThatTheKernelsVersionIsHidden(t *testing.T) {
	for kernel, want := range map[string]string{
		"6.18": "Linux 6.18, container; by",
		"":     "Linux of a version that is hidden (/proc/sys/kernel/osrelease), container; by",
	} {
		r := aReport()
		r.Kernel, r.Place = kernel, audit.Container
		var out strings.Builder
		if err := printDoctorText(&out, r, false); err != nil || !strings.HasPrefix(out.String(), want) {
			t.Errorf("%q: %v, %.100s", kernel, err, out.String())
		}
	}
}
