package accept

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/internal/testnet"
)

// socketGroup is the part of /api/status's sockets that tests ask about.
type socketGroup struct {
	Name            string
	States          map[string]map[string]int
	Edges, Closes   map[string]uint64
	TimeWaitAvoided uint64 `json:"time_wait_avoided"`
	TopClients      []struct {
		Address string
		Sockets int
	} `json:"top_clients"`
	Ports []portsOf
}

type portsOf struct {
	Source        string
	SourceAddress string `json:"source_address"`
	Endpoint      string
	Ports         int
	InUse         int `json:"in_use"`
	TimeWaitOurs  int `json:"time_wait_ours"`
	TimeWaitOther int `json:"time_wait_other"`
	Free          int
	Headroom      float64
	SecondsLeft   *float64 `json:"seconds_left"`
	Warned        bool
}

type socketStatus struct {
	Source     string
	Error      string
	AgeSeconds float64 `json:"age_seconds"`
	Interval   float64 `json:"interval_seconds"`
	Cost       float64
	Listed     int
	Kernel     struct {
		InUse    int `json:"in_use"`
		TimeWait int `json:"time_wait"`
	}
	Listeners, Backends []socketGroup
}

// kept is a client of weir's admin address in a namespace that keeps its
// connection, so that it leaves no TIME_WAIT to be counted.
func (w *weir) kept(ns *testnet.Netns) *http.Client {
	c := clientIn(ns, "")
	c.Transport.(*http.Transport).DisableKeepAlives = false
	w.t.Cleanup(c.CloseIdleConnections)
	return c
}

func (w *weir) sockets(c *http.Client) socketStatus {
	w.t.Helper()
	resp, err := c.Get("http://" + w.admin + "/api/status")
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	var s struct{ Sockets socketStatus }
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		w.t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	return s.Sockets
}

// heldBackend is an HTTP server in a namespace whose answers to /hold wait until
// the test ends.
func heldBackend(t *testing.T, ns *testnet.Netns, address string) net.Listener {
	t.Helper()
	l, err := ns.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			select {
			case <-stop:
			case <-r.Context().Done():
			}
		}
		fmt.Fprint(w, "hello")
	})}
	var serving sync.WaitGroup
	serving.Go(func() { s.Serve(l) })
	t.Cleanup(func() {
		close(stop)
		s.Close()
		serving.Wait()
	})
	return l
}

// hold begins a request that is not answered, and so keeps a connection to the
// backend. It returns the client's end.
func holdOne(t *testing.T, ns *testnet.Netns, addr string) net.Conn {
	t.Helper()
	c, err := ns.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	return c
}

// ssStates are the sockets with an address at one end, by state, as ss has them.
func ssStates(t *testing.T, ns *testnet.Netns, end, addr string) map[string]int {
	t.Helper()
	out, err := ns.Command(testnet.NeedProgram(t, "ss"), "-Htan", "( "+end+" "+addr+" )").Output()
	if err != nil {
		t.Fatal(err)
	}
	words := strings.NewReplacer("estab", "established", "-", "_", "wait_1", "wait1", "wait_2", "wait2")
	m := map[string]int{}
	for line := range strings.Lines(string(out)) {
		m[words.Replace(strings.ReplaceAll(strings.ToLower(strings.Fields(line)[0]), "fin-wait-", "fin_wait"))]++
	}
	return m
}

// owned is the part of states that is an owner's.
func (g *socketGroup) owned(owner string) map[string]int {
	m := map[string]int{}
	for st, by := range g.States {
		if by[owner] > 0 {
			m[st] = by[owner]
		}
	}
	return m
}

func (g *socketGroup) all() map[string]int {
	m := map[string]int{}
	for st, by := range g.States {
		for _, n := range by {
			m[st] += n
		}
	}
	return m
}

// weir as a user without any right, before a backend that a stranger dials as
// well: what it says of sockets is what ss says as root, kept apart by owner. Both
// families, and the four ends of both connections on one loopback.
func TestAcceptSocketsAreCountedByStateAndOwnerWithoutAnyRight(t *testing.T) {
	for _, fam := range []struct{ name, host string }{{"IPv4", "127.0.0.1"}, {"IPv6", "[::1]"}} {
		t.Run(fam.name, func(t *testing.T) {
			t.Parallel()
			ns := testnet.NewNetns(t)
			backend := heldBackend(t, ns, fam.host+":0").Addr().String()
			prefix := ns.Command("x").Args
			w := startNobody(t, fmt.Sprintf(`
listeners:
  - {name: web, protocol: http, address: "%s:0", backend: api}
backends:
  - {name: api, endpoints: ["%s"], pool: {max_open: 32}, timeouts: {response_header: 10m}}
`, fam.host, backend), append(prefix[:len(prefix)-1], asNobody(t)...)...)
			if caps := capabilities(t, w); caps != "0000000000000000" {
				t.Fatalf("weir has the capabilities %s", caps)
			}
			status := w.kept(ns)

			for range 5 {
				holdOne(t, ns, w.addr["web"])
			}
			var strangers []net.Conn
			for range 12 {
				c, err := ns.Dial("tcp", backend)
				if err != nil {
					t.Fatal(err)
				}
				strangers = append(strangers, c)
			}
			for i, c := range strangers {
				t.Cleanup(func() { c.Close() })
				switch {
				case i < 3: // FIN-WAIT-2 here until the backend's server has read it, then TIME-WAIT
					c.Close()
				case i < 5: // the backend's server closes at a bad request, and c does not
					io.WriteString(c, "x\r\n\r\n")
					io.Copy(io.Discard, c)
				}
			}
			for range 4 { // these clients close first, and leave nothing
				c, err := ns.Dial("tcp", w.addr["web"])
				if err != nil {
					t.Fatal(err)
				}
				io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
				resp, err := http.ReadResponse(bufio.NewReader(c), nil)
				if err != nil {
					t.Fatal(err)
				}
				io.ReadAll(resp.Body)
				c.Close()
			}

			var s socketStatus
			var there, dialled map[string]int
			same := testnet.Poll(30*time.Second, func() bool {
				s = w.sockets(status)
				if s.Listed == 0 {
					return false
				}
				there, dialled = ssStates(t, ns, "src", w.addr["web"]), ssStates(t, ns, "dst", backend)
				api := &s.Backends[0]
				return maps.Equal(s.Listeners[0].owned("ours"), there) && maps.Equal(api.all(), dialled) &&
					api.States["established"]["ours"] >= 5 && api.States["close_wait"]["other"] == 2 &&
					api.States["established"]["other"] == 7 && api.States["time_wait"]["other"] == 3 && len(api.owned("unknown")) == 0
			})
			figure(t, "%s: listener %v, backend %v; ss has %v and %v; a list every %.1f s takes %.4f of a processor", fam.name,
				s.Listeners[0].States, s.Backends[0].States, there, dialled, s.Interval, s.Cost)
			if !same {
				t.Error("the counts do not agree, or are not those that were made: 5 held of ours; of the stranger's 7 established, 2 CLOSE-WAIT, 3 TIME-WAIT")
			}
			if s.Source != "sock_diag" || s.Error != "" || s.Cost > 0.005 {
				t.Errorf("source %q, error %q, cost %.4f", s.Source, s.Error, s.Cost)
			}
			l := s.Listeners[0]
			if l.Closes["quiet"] != 4 || l.TimeWaitAvoided != 4 || l.Edges["close_wait>closed"] != 4 || l.Edges["syn_recv>established"] != 9 {
				t.Errorf("closes %v, %d TIME_WAIT avoided, edges %v: want 4 quiet closes of 9 clients", l.Closes, l.TimeWaitAvoided, l.Edges)
			}
			want := netip.MustParseAddrPort(fam.host + ":1").Addr().String()
			if fam.host != "127.0.0.1" {
				want = "::/64"
			}
			if len(l.TopClients) != 1 || l.TopClients[0].Address != want || l.TopClients[0].Sockets != 5 {
				t.Errorf("top clients %v, want %s with 5", l.TopClients, want)
			}
		})
	}
}

// startNobody is start for a weir that may read its binary and its configuration
// because anybody may.
func startNobody(t *testing.T, yaml string, prefix ...string) *weir {
	t.Helper()
	for _, dir := range []string{filepath.Dir(binary), filepath.Dir(t.TempDir())} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return start(t, yaml, prefix...)
}

// capabilities are those that weir has in effect, as the kernel writes them.
func capabilities(t *testing.T, w *weir) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	uid := ""
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":\t")
		switch name {
		case "Uid":
			uid = strings.Fields(value)[1]
		case "CapEff":
			if uid != "65534" {
				t.Fatalf("weir runs as %s", uid)
			}
			return value
		}
	}
	t.Fatal("there is no CapEff")
	return ""
}
