package testnet_test

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/internal/testnet"
	"weir/tcpstat"
)

const (
	nginxSays   = `server { listen {addr}; location / { return 200 "nginx here"; } }`
	haproxySays = `
defaults
  mode http
  timeout connect 1s
  timeout client 5s
  timeout server 5s
frontend f
  bind {addr}
  http-request return status 200 content-type text/plain string "haproxy here"
`
)

// get asks a server in ns for / over a connection of its own.
func get(t *testing.T, ns *testnet.Netns, addr netip.AddrPort) string {
	t.Helper()
	c, err := ns.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRealServersStartAnswerAndStop(t *testing.T) {
	for _, tc := range []struct {
		name   string
		start  func(testing.TB, testnet.ServerOptions) *testnet.Server
		config string
	}{{"nginx", testnet.StartNginx, nginxSays}, {"haproxy", testnet.StartHAProxy, haproxySays}} {
		for _, where := range []string{"here", "in a namespace"} {
			t.Run(tc.name+" "+where, func(t *testing.T) {
				var ns *testnet.Netns
				if where != "here" {
					ns = testnet.NewNetns(t)
				}
				s := tc.start(t, testnet.ServerOptions{NS: ns, Config: tc.config})
				if got := get(t, ns, s.Addr); !strings.Contains(got, tc.name+" here") {
					t.Errorf("%q", got)
				}
				if where != "here" {
					if c, err := net.Dial("tcp", s.Addr.String()); err == nil {
						c.Close()
						t.Error("it can be reached from outside its namespace")
					}
				}
				s.Stop()
				s.Stop()
				if err := syscall.Kill(-s.PID(), 0); err != syscall.ESRCH {
					t.Errorf("its process group after Stop: %v, want none", err)
				}
				if c, err := ns.Dial("tcp", s.Addr.String()); err == nil {
					c.Close()
					t.Error("it still accepts after Stop")
				}
			})
		}
	}
}

func TestStartingAServerLeavesNoSocketBehind(t *testing.T) {
	ns := testnet.NewNetns(t)
	s := testnet.StartNginx(t, testnet.ServerOptions{NS: ns, Config: nginxSays})
	var r *tcpstat.Reader
	var err error
	ns.Do(func() { r, err = tcpstat.Open() })
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	testnet.WaitFor(t, 3*time.Second, "only the listener is there", func() bool {
		c, err := r.Counts(tcpstat.Filter{})
		if err != nil {
			t.Fatal(err)
		}
		return c == tcpstat.Counts{tcpstat.Listen: 1}
	})
	if s.Addr.Port() == 0 {
		t.Error("no port")
	}
}

func TestAServerMayListenOnALink(t *testing.T) {
	l := testnet.NewLink(t, testnet.LinkOptions{AtoB: testnet.Impairment{Delay: 5 * time.Millisecond}})
	s := testnet.StartNginx(t, testnet.ServerOptions{NS: l.B, Addr: netip.AddrPortFrom(l.AddrB, 0), Config: nginxSays})
	start := time.Now()
	if got := get(t, l.A, s.Addr); !strings.Contains(got, "nginx here") {
		t.Errorf("%q", got)
	}
	if took := time.Since(start); took < 10*time.Millisecond {
		t.Errorf("took %s, want at least two delays of 5ms", took)
	}
}

func TestAServerInTheTestsNamespaceSpeaksToNetHTTP(t *testing.T) {
	s := testnet.StartNginx(t, testnet.ServerOptions{Main: "worker_processes 2;", Config: nginxSays})
	resp, err := http.Get("http://" + s.Addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "nginx here" {
		t.Errorf("%q, %v", b, err)
	}
	http.DefaultClient.CloseIdleConnections()
}
