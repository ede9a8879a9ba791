package http1_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/internal/sock"
	"weir/internal/testnet"
	"weir/proxy/http1"
)

// proxyV2 is a PROXY header of version 2.
func proxyV2(command, family byte, rest string) string {
	b := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), command, family)
	return string(binary.BigEndian.AppendUint16(b, uint16(len(rest)))) + rest
}

var (
	ends4 = "\xcb\x00\x71\x07\xc6\x33\x64\x01\xdc\x04\x00\x50" // 203.0.113.7 to 198.51.100.1
	ends6 = "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x07" + strings.Repeat("\xff", 16) + "\xdc\x04\x00\x50"
	long  = ends4 + strings.Repeat("\x04", 4000) // TLVs

	loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
)

const line4 = "PROXY TCP4 203.0.113.7 198.51.100.1 56324 80\r\n"

func behindProxy(s *http1.Settings) { s.ProxyProtocol, s.Trusted = true, loopback }

// forwarded answers with the X-Forwarded-For that came.
func forwarded(t *testing.T) string {
	return httpBackend(t, func(w http.ResponseWriter, req *http.Request) {
		io.WriteString(w, req.Header.Get("X-Forwarded-For"))
	})
}

const plainGet = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

func TestTheClientIsWhomTheHeaderNamesForAsLongAsItStays(t *testing.T) {
	backend := forwarded(t)
	for _, tr := range transports(t) {
		r := newRig(t, rigOptions{backend: backend, listen: tr.listen, wrap: tr.wrap, settings: behindProxy})
		peer := "127.0.0.1"
		if tr.unix {
			peer = ""
		}
		lines := 0
		for i, row := range []struct{ name, header, client string }{
			{"version 1", line4, "203.0.113.7"},
			{"version 1 over IPv6", "PROXY TCP6 2001:db8::7 ::1 56324 80\r\n", "2001:db8::7"},
			{"version 1, IPv4 in IPv6", "PROXY TCP6 ::ffff:203.0.113.7 ::1 56324 80\r\n", "203.0.113.7"},
			{"version 1, unknown", "PROXY UNKNOWN 203.0.113.7 198.51.100.1 56324 80\r\n", peer},
			{"version 2", proxyV2(0x21, 0x11, ends4), "203.0.113.7"},
			{"version 2 over IPv6", proxyV2(0x21, 0x21, ends6), "2001:db8::7"},
			{"version 2 with much behind the addresses", proxyV2(0x21, 0x11, long), "203.0.113.7"},
			{"version 2, local", proxyV2(0x20, 0x11, ends4), peer},
			{"version 2, a unix socket", proxyV2(0x21, 0x31, strings.Repeat("/", 216)), peer},
		} {
			for _, step := range []int{1, 20, 1 << 20} {
				if step == 1 && len(row.header) > 200 {
					continue
				}
				what := fmt.Sprintf("%s, %s, %d bytes at a time", tr.name, row.name, step)
				r.l.SetDeferAccept(i%2 == 0)
				c := r.client()
				all := row.header
				if tr.over == nil {
					all += plainGet // in the same segment, if the steps are large
				}
				for len(all) > 0 {
					n := min(step, len(all))
					c.send(all[:n])
					all = all[n:]
				}
				if tr.over != nil {
					c = newClient(t, tr.over(c.Conn))
					c.send(plainGet)
				}
				for n := range 2 {
					if n > 0 {
						if i%4 == 0 {
							testnet.WaitFor(t, testWait, "the client is parked", func() bool { return r.l.Stats().Parked == 1 })
						}
						c.send(plainGet)
					}
					if a := c.answer("GET"); a.status != 200 || a.body != row.client {
						t.Fatalf("%s, request %d: %d, X-Forwarded-For: %q, want %q", what, n, a.status, a.body, row.client)
					}
					lines++
				}
				c.Close()
				for _, l := range r.access.lines(t, lines)[lines-2:] {
					if l.Client != row.client {
						t.Errorf("%s: the access log has %q, want %q", what, l.Client, row.client)
					}
				}
				testnet.WaitFor(t, testWait, "the client has gone", func() bool { return r.l.Stats().Open == 0 })
			}
		}
		if tr.listen == "" && tr.wrap == nil {
			if n := r.l.Stats().Closed[sock.HowQuiet]; n > 0 {
				t.Errorf("%d connections of a proxy were reset", n)
			}
		}
	}
}

// The addresses that X-Forwarded-For may come from are those of clients: a proxy
// that speaks no HTTP passes on whatever its client has written.
func TestOnlyATrustedClientBehindTheProxyIsBelievedItsForwardedFor(t *testing.T) {
	r := newRig(t, rigOptions{backend: forwarded(t), settings: func(s *http1.Settings) {
		behindProxy(s)
		s.Trusted = append(s.Trusted[:1:1], netip.MustParsePrefix("203.0.113.0/24"))
	}})
	for _, row := range []struct{ header, want string }{
		{line4, "192.0.2.1, 203.0.113.7"},
		{"PROXY TCP4 198.51.100.9 198.51.100.1 56324 80\r\n", "198.51.100.9"},
	} {
		c := r.client()
		c.send(row.header + "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n")
		if a := c.answer("GET"); a.body != row.want {
			t.Errorf("%q: X-Forwarded-For: %q, want %q", row.header, a.body, row.want)
		}
	}
}

func TestAHeaderIsTakenFromNobodyElse(t *testing.T) {
	backend := forwarded(t)
	for name, change := range map[string]func(*http1.Settings){
		"not trusted": func(s *http1.Settings) {
			behindProxy(s)
			s.Trusted = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		},
		"nobody is":  func(s *http1.Settings) { s.ProxyProtocol = true },
		"turned off": func(s *http1.Settings) { behindProxy(s); s.ProxyProtocol = false },
	} {
		r := newRig(t, rigOptions{backend: backend, settings: change})
		for _, header := range []string{line4, proxyV2(0x21, 0x11, ends4)} {
			c := r.client()
			c.send(header + plainGet)
			if a := c.answer("GET"); a.status != 400 || !strings.HasPrefix(a.get("X-Weir-Reason"), "bad_request") {
				t.Errorf("%s, %q: %d %q", name, header, a.status, a.head)
			}
		}
		if a := r.client().ask("/"); a.status != 200 || name != "turned off" && a.body != "127.0.0.1" {
			t.Errorf("%s: a client got %d %q", name, a.status, a.body)
		}
	}
}

func TestAllowIsForTheClientAndNotForItsProxy(t *testing.T) {
	backend := forwarded(t)
	for _, row := range []struct {
		header, allow string
		status        int
	}{
		{line4, "203.0.113.0/24", 200},
		{line4, "127.0.0.0/8", 403},
		{proxyV2(0x20, 0, ""), "127.0.0.0/8", 200},
		{proxyV2(0x20, 0, ""), "203.0.113.0/24", 403},
	} {
		r := newRig(t, rigOptions{backend: backend, settings: func(s *http1.Settings) {
			behindProxy(s)
			s.Allow = []netip.Prefix{netip.MustParsePrefix(row.allow)}
		}})
		for _, parked := range []bool{false, true} {
			c := r.client()
			if parked {
				testnet.WaitFor(t, testWait, "the client is parked", func() bool { return r.l.Stats().Parked == 1 })
			}
			c.send(row.header + plainGet)
			if a := c.answer("GET"); a.status != row.status {
				t.Errorf("%q, allow %s: %d", row.header, row.allow, a.status)
			}
			c.Close()
			testnet.WaitFor(t, testWait, "the client has gone", func() bool { return r.l.Stats().Open == 0 })
		}
	}
	// Who is behind it is not known yet where there is no room for anybody.
	r := newRig(t, rigOptions{backend: backend, settings: func(s *http1.Settings) {
		behindProxy(s)
		s.Allow = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	}})
	r.l.SetMaxClients(1)
	first := r.client()
	first.send(line4 + plainGet)
	first.answer("GET")
	c := r.client()
	c.send(line4 + plainGet)
	if a := c.answer("GET"); a.status != 503 || a.get("X-Weir-Reason") != "max_clients" {
		t.Errorf("beyond max_clients: %q", a.head)
	}
}

// logText is a log that is kept.
type logText struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestATrustedPeerWithoutAGoodHeaderIsClosedCountedAndLogged(t *testing.T) {
	backend := forwarded(t)
	cut := func(c net.Conn) { c.(*net.TCPConn).CloseWrite() }
	for _, row := range []struct {
		name, sent string
		then       func(net.Conn)
		late       bool
		log        string
	}{
		{"none", plainGet, nil, false, "no PROXY header"},
		{"a broken one", "PROXY TCP4 203.0.113.7 198.51.100.1 56324 080\r\n" + plainGet, nil, false, "destination port"},
		{"a broken one of version 2", proxyV2(0x21, 0x41, ends4) + plainGet, nil, false, "family and protocol"},
		{"one without an end", "PROXY UNKNOWN " + strings.Repeat("x", 200), nil, false, "no end of the line in 107 bytes"},
		{"one that is too long", proxyV2(0x21, 0x11, long+strings.Repeat("\x04", 100)), nil, false, "the limit is 4096"},
		{"silence", "", nil, true, "listeners[].timeouts.header"},
		{"half of one", line4[:20], nil, true, "20 bytes of it came in"},
		{"half of one, and a close", line4[:20], cut, false, "has left after 20 bytes"},
	} {
		var log logText
		r := newRig(t, rigOptions{backend: backend, settings: func(s *http1.Settings) {
			behindProxy(s)
			if row.late {
				s.HeaderTimeout = 200 * time.Millisecond
			}
		}})
		front, err := http1.NewFront("web", r.set, r.sweeper, http1.NewBudget(1<<20), slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		r.front = front // for the books at the end
		r.l.SetHandler(front)
		c := r.client()
		began := time.Now()
		c.send(row.sent)
		if row.then != nil {
			row.then(c.Conn)
		}
		c.closed()
		if took := time.Since(began); took > 4*time.Second || row.late && took < 200*time.Millisecond {
			t.Errorf("%s: closed after %s", row.name, took)
		}
		if !testnet.Poll(testWait, func() bool { return front.Stats().Requests[""]["bad_proxy_header"] == 1 }) {
			t.Errorf("%s: counted %v", row.name, front.Stats().Requests)
		}
		if l := r.access.lines(t, 1)[0]; l.Outcome != "bad_proxy_header" || l.Client != "127.0.0.1" || l.Status != 0 {
			t.Errorf("%s: the line is %+v", row.name, l)
		}
		testnet.WaitFor(t, testWait, "a line in the log", func() bool { return strings.Contains(log.String(), "\n") })
		for _, want := range []string{row.log, "proxy=127.0.0.1", "fold=bad_proxy_header", "listener=web", "proxy_protocol"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("%s: %q is not in the log: %s", row.name, want, log.String())
			}
		}
	}
}

func TestChecksThatConnectAndLeaveAreNoFault(t *testing.T) {
	r := newRig(t, rigOptions{backend: forwarded(t), settings: behindProxy})
	checks := uint64(0)
	for _, leave := range []func(c *net.TCPConn){
		func(c *net.TCPConn) { c.Close() },
		func(c *net.TCPConn) { c.SetLinger(0); c.Close() },
		func(c *net.TCPConn) { c.CloseWrite(); io.Copy(io.Discard, c) },
	} {
		for _, parked := range []bool{false, true} {
			c := r.dial().(*net.TCPConn)
			if parked {
				testnet.WaitFor(t, testWait, "the check is parked", func() bool { return r.l.Stats().Parked == 1 })
			}
			leave(c)
			checks++
			testnet.WaitFor(t, testWait, "the check has gone", func() bool { st := r.l.Stats(); return st.Open == 0 && st.Accepted == checks })
		}
	}
	if got := r.front.Stats().Requests[""]; len(got) > 0 {
		t.Errorf("counted %v", got)
	}
}

// A proxy may connect for clients that have not spoken. They are as cheap, and as
// easy to end, as other silent clients.
func TestThoseWhoseHeaderHasNotComeAreParkedAndDrained(t *testing.T) {
	const n = 50
	r := newRig(t, rigOptions{backend: forwarded(t), settings: func(s *http1.Settings) { behindProxy(s); s.HeaderTimeout = time.Hour }})
	var all []*client
	for range n {
		all = append(all, r.client())
	}
	testnet.WaitFor(t, testWait, "all are parked", func() bool { return r.l.Stats().Parked == n })
	all[0].send(line4 + plainGet)
	if a := all[0].answer("GET"); a.body != "203.0.113.7" {
		t.Errorf("a header that comes late: %d %q", a.status, a.body)
	}
	all[1].send(line4[:9]) // waits in its goroutine
	if err := r.l.Close(); err != nil {
		t.Error(err)
	}
	for _, c := range all[1:] {
		c.closed()
	}
	if got := r.front.Stats().Requests[""]; len(got) > 0 {
		t.Errorf("counted %v", got)
	}
}
