package http1_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weir/internal/reason"
	"weir/internal/sock"
	"weir/internal/testnet"
	"weir/pool"
	"weir/proxy/http1"
)

// TestAFloodOfRefusedClientsIsBounded: those who are told why are few, and none
// of them takes the place of a client that may come.
func TestAFloodOfRefusedClientsIsBounded(t *testing.T) {
	addr := httpBackend(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") })
	r := newRig(t, rigOptions{backend: addr, settings: func(s *http1.Settings) {
		s.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}
	}})
	for range 4 * sock.MaxRefused {
		c := r.dial()
		io.WriteString(c, "x") // and stays
	}
	testnet.WaitFor(t, 10*time.Second, "all were turned away", func() bool {
		return r.front.Stats().Requests[""]["not_allowed"] == 4*sock.MaxRefused && r.l.Stats().Open <= sock.MaxRefused
	})
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	c, err := d.Dial("tcp", r.l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if got, _ := io.ReadAll(c); !strings.HasSuffix(string(got), "hello") {
		t.Errorf("a client that may come got %q", got)
	}
}

func TestPathsThatCouldLeadElsewhereAreRefused(t *testing.T) {
	only, err := http1.NewRouter([]http1.Rule{{Path: "/public/"}})
	if err != nil {
		t.Fatal(err)
	}
	two, err := http1.NewRouter([]http1.Rule{{Path: "/"}, {Path: "/admin"}, {Path: "/a/b"}})
	if err != nil {
		t.Fatal(err)
	}
	all, err := http1.NewRouter([]http1.Rule{{}})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		r    *http1.Router
		path string
		rule int
		rej  *http1.Reject
	}{
		{only, "/public/x", 0, nil},
		{only, "/public/../admin", -1, http1.RejectCrosses},
		{only, "/public/%2e%2e/admin", -1, http1.RejectCrosses},
		{only, "/admin", -1, http1.RejectNoRoute},
		{only, "//public/x", -1, http1.RejectCrosses},
		{only, "/public//x;y", 0, nil},
		{two, "//admin", -1, http1.RejectCrosses},
		{two, "/admin;x", -1, http1.RejectCrosses},
		{two, "/admin;x/y", -1, http1.RejectCrosses},
		{two, "/admin//x", 1, nil},
		{two, "/a//b/c", -1, http1.RejectCrosses},
		{two, "/a;q/b", -1, http1.RejectCrosses},
		{two, "/x//http://y;z", 0, nil},
		{all, "/../x", 0, nil},
		{all, "//x", 0, nil},
	} {
		rule, _, rej := row.r.Match([]byte("h"), []byte(row.path))
		if rule != row.rule || rej != row.rej {
			t.Errorf("%s: rule %d, %v; want %d, %v", row.path, rule, rej, row.rule, row.rej)
		}
	}
}

func TestSetAndRemoveKnowUnderscoresAndTrailers(t *testing.T) {
	addr := httpBackend(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%q %q %q|%q %q %q", r.Header["X-Shop"], r.Header["X_shop"], r.Header["X_debug"], r.Trailer["X-Shop"], r.Trailer["X-Debug"], r.Trailer["X-Sum"])
	})
	r := newRig(t, rigOptions{backend: addr, settings: func(s *http1.Settings) {
		s.Routes[0].Set = []http1.Line{{Name: "X-Shop", Line: []byte("X-Shop: blue\r\n")}}
		s.Routes[0].Remove = []string{"X-Debug"}
	}})
	got := r.exchange("POST / HTTP/1.1\r\nHost: a\r\nX_Shop: red\r\nx-shop: red\r\nX_Debug: 1\r\nTransfer-Encoding: chunked\r\n" +
		"Trailer: X-Sum\r\nConnection: close\r\n\r\n1\r\na\r\n0\r\nX-Shop: red\r\nX-Debug: 1\r\nX-Sum: 7\r\n\r\n")
	if want := `["blue"] [] []|[] [] ["7"]`; !strings.HasSuffix(got, want) {
		t.Errorf("got %q, want it to end in %q", got, want)
	}
}

// TestASlowClientIsCutOnlyWhileOthersWait: it holds the only connection, moves
// a byte now and then, and is let be until somebody wants the connection.
func TestASlowClientIsCutOnlyWhileOthersWait(t *testing.T) {
	addr := httpBackend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/big" {
			for range 64 {
				w.Write(make([]byte, 1<<20))
			}
			return
		}
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "done")
	})
	for _, slow := range []string{"upload", "download"} {
		t.Run(slow, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, rigOptions{backend: addr, maxOpen: 1, options: func(o *pool.Options) { o.QueueTimeout = 30 * time.Second },
				settings: func(s *http1.Settings) { s.SendTimeout = time.Minute }}) // or that might be what cuts it
			c := r.dial()
			c.SetDeadline(time.Now().Add(time.Minute))
			if slow == "upload" {
				io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"+strings.Repeat("x", 70000))
				stop := make(chan struct{})
				defer close(stop)
				go func() {
					tick := time.NewTicker(300 * time.Millisecond)
					defer tick.Stop()
					for {
						select {
						case <-tick.C:
							io.WriteString(c, "x")
						case <-stop:
							return
						}
					}
				}()
			} else {
				c.(*net.TCPConn).SetReadBuffer(4096)
				io.WriteString(c, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
			}
			testnet.WaitFor(t, 10*time.Second, "the slow client holds the connection", func() bool { return r.pool.Stats().Leased == 1 })
			began := time.Now()
			got := r.exchangeWithin("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 40*time.Second)
			if !strings.HasSuffix(got, "done") {
				t.Fatalf("the next client got %q after %v", got, time.Since(began))
			}
			if n := r.pool.Stats().Closes[reason.CloseSlow]; n != 1 {
				t.Errorf("%d connections were closed for slowness; %v", n, r.closes())
			}
		})
	}
}

// exchangeWithin is exchange with a deadline of its own.
func (r *rig) exchangeWithin(raw string, d time.Duration) string {
	r.t.Helper()
	c := r.dial()
	c.SetDeadline(time.Now().Add(d))
	io.WriteString(c, raw)
	all, _ := io.ReadAll(c)
	return string(all)
}
