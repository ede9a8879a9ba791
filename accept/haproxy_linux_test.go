package accept

import (
	"encoding/csv"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/internal/testnet"
)

// abMedian reads the median from ab's table of percentiles, which has
// milliseconds with three digits.
func abMedian(t *testing.T, file string) time.Duration {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if ms, ok := strings.CutPrefix(strings.TrimSpace(line), "50,"); ok {
			f, err := strconv.ParseFloat(ms, 64)
			if err != nil {
				t.Fatal(err)
			}
			return time.Duration(f * float64(time.Millisecond)).Round(time.Microsecond)
		}
	}
	t.Fatalf("no median in %q", b)
	return 0
}

// startTCPProxy starts HAProxy in TCP mode in front of address.
func startTCPProxy(t *testing.T, address string) (front string, stats func() map[string]int) {
	t.Helper()
	// A socket's path has to be short, which a test's own directory is not.
	dir, err := os.MkdirTemp("", "weir-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "stats")
	h := testnet.StartHAProxy(t, testnet.ServerOptions{Config: fmt.Sprintf(`
global
	stats socket %s
defaults
	mode tcp
	timeout connect 10s
	timeout client 30s
	timeout server 30s
frontend in
	bind {addr}
	default_backend out
backend out
	server s %s
`, socket, address)})
	// HAProxy gives the socket its name last.
	testnet.WaitFor(t, 10*time.Second, "the statistics socket", func() bool {
		_, err := os.Stat(socket)
		return err == nil
	})
	return h.Addr.String(), func() map[string]int { return serverErrors(t, socket) }
}

// serverErrors asks HAProxy for what it counted against its one server.
func serverErrors(t *testing.T, socket string) map[string]int {
	t.Helper()
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "show stat\n")
	rows, err := csv.NewReader(c).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows[1:] {
		if row[0] != "out" || row[1] != "s" {
			continue
		}
		found := map[string]int{}
		for i, name := range rows[0] {
			switch name {
			case "stot", "econ", "eresp", "wretr", "wredis", "cli_abrt", "srv_abrt":
				found[name], _ = strconv.Atoi(row[i])
			}
		}
		return found
	}
	t.Fatalf("HAProxy has no such server: %q", rows)
	return nil
}

func TestAcceptHAProxyInFrontBooksNoErrors(t *testing.T) {
	const n, c = 5000, 8
	for _, close := range []string{"graceful", "quiet"} {
		t.Run(close, func(t *testing.T) {
			nginx := startNginx(t, "")
			w := start(t, oneBackend(nginx.Addr.String(), "close: "+close, ""))
			front, stats := startTCPProxy(t, w.addr["web"])
			before := stats() // of the look whether it listens
			began := time.Now()
			bad := shortStorm(t, n, c, front, saysClose, nginxBody)
			bad += shortStorm(t, n/5, c, front, justLeaves, nginxBody)
			last := time.Now()
			took := last.Sub(began)
			settled(t, last)
			after := stats()
			left := timeWaits(t, portOf(t, w.addr["web"]), nginx.Addr.Port())
			for k := range after {
				after[k] -= before[k]
			}
			figure(t, "close: %s, %d connections through HAProxy in TCP mode (%v): %v; TIME_WAIT %v; closed %v",
				close, n+n/5, took.Round(time.Millisecond), after, left, w.status().Listeners[0].Closed)
			if bad > 0 {
				t.Errorf("%d of %d requests failed", bad, n+n/5)
			}
			if after["stot"] < n {
				t.Errorf("HAProxy counted %d sessions", after["stot"])
			}
			for _, k := range []string{"econ", "eresp", "wretr", "wredis", "cli_abrt", "srv_abrt"} {
				if close == "graceful" && after[k] != 0 {
					t.Errorf("HAProxy counted %s %d", k, after[k])
				}
			}
		})
	}
}
