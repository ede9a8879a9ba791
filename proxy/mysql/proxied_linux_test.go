package mysql_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"weir/internal/sock"
	"weir/internal/testnet"
	"weir/proxy/mysql"
	"weir/proxy/mysql/wire"
)

const (
	headerOf7 = "PROXY TCP4 203.0.113.7 198.51.100.1 56324 3306\r\n"
	headerOf9 = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x09\xc6\x33\x64\x01\xdc\x04\x0c\xea" // 203.0.113.9
	local     = "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
)

func behindProxy(s *mysql.Settings) {
	s.ProxyProtocol, s.Trusted = true, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
}

// behind connects as a proxy does for a client, in pieces of step bytes.
func (r *rig) behind(header string, step int) net.Conn {
	r.t.Helper()
	c := r.dial()
	for len(header) > 0 {
		n := min(step, len(header))
		if _, err := io.WriteString(c, header[:n]); err != nil {
			r.t.Fatal(err)
		}
		header = header[n:]
	}
	return c
}

// A server greets first, so a header that is not waited for would be taken for
// a login.
func TestNobodyIsGreetedBeforeTheHeader(t *testing.T) {
	f := newFake(t, echo)
	r := newRig(t, rigOptions{backend: f.address(), settings: behindProxy})
	for i, header := range []string{headerOf7, local} {
		c := r.dial()
		testnet.WaitFor(t, testWait, "the client is parked", func() bool { return r.l.Stats().Parked == 1 })
		c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if n, err := c.Read(make([]byte, 1)); n != 0 || !os.IsTimeout(err) {
			t.Fatalf("%d bytes, %v", n, err)
		}
		if n := r.front.Stats().Logins; n != 0 {
			t.Errorf("%d clients are in login", n)
		}
		c.SetReadDeadline(soon())
		io.WriteString(c, header)
		cl := greeted(t, c)
		if p := cl.login(loginAs{}); wire.IsERR(p) {
			t.Fatalf("login: %q", p)
		}
		cl.alive()
		testnet.WaitFor(t, testWait, "the client is parked", func() bool { return r.l.Stats().Parked == 1 })
		cl.alive()
		cl.quit()
		testnet.WaitFor(t, testWait, "the client has gone", func() bool { return r.l.Stats().Open == 0 })
		if closed := r.l.Stats().Closed; closed[sock.HowPeerFirst] != uint64(i+1) {
			t.Errorf("a proxy's connection was not closed gracefully: %v", closed)
		}
	}
}

func TestAUsersAllowIsForTheClientAndNotForItsProxy(t *testing.T) {
	f := newFake(t, echo)
	user := withPassword("app", password)
	user.Allow = []netip.Prefix{netip.MustParsePrefix("203.0.113.7/32")}
	for _, over := range []bool{false, true} {
		var config *tls.Config
		r := newRig(t, rigOptions{backend: f.address(), users: []*mysql.User{user}, settings: func(s *mysql.Settings) {
			behindProxy(s)
			if over {
				s.TLS = serverTLS(t)
			}
		}})
		if over {
			config = &tls.Config{InsecureSkipVerify: true}
		}
		for _, step := range []int{1, 1000} {
			c := greeted(t, r.behind(headerOf7, step))
			if p := c.login(loginAs{tls: config}); wire.IsERR(p) {
				t.Fatalf("login: %q", p)
			}
			c.alive()
			c.quit()
			for header, host := range map[string]string{headerOf9: "203.0.113.9", local: "127.0.0.1"} {
				c := greeted(t, r.behind(header, step))
				if code, text := errorOf(t, c.login(loginAs{tls: config})); code != wire.CodeAccessDenied || !strings.Contains(text, "'app'@'"+host+"'") {
					t.Errorf("%q: %d %q", header, code, text)
				}
				c.closed()
			}
		}
	}
}

func TestAListenersAllowIsForTheClientAndNotForItsProxy(t *testing.T) {
	f := newFake(t, echo)
	r := newRig(t, rigOptions{backend: f.address(), settings: func(s *mysql.Settings) {
		behindProxy(s)
		s.Allow = []netip.Prefix{netip.MustParsePrefix("203.0.113.7/32")}
	}})
	if p := greeted(t, r.behind(headerOf7, 1000)).login(loginAs{}); wire.IsERR(p) {
		t.Errorf("login: %q", p)
	}
	c := newClient(t, r.behind(headerOf9, 1000))
	if code, text := errorOf(t, c.must()); code != wire.CodeHostNotAllowed {
		t.Errorf("%d %q", code, text)
	}
	c.closed()
	if n := r.outcomes("not_allowed"); n != 1 {
		t.Errorf("outcomes: %v", r.front.Stats().Requests)
	}
	// With no room for anybody it is not read who it is.
	r.l.SetMaxClients(1)
	c = newClient(t, r.behind(headerOf7, 1000))
	if code, text := errorOf(t, c.must()); code != wire.CodeTooManyConnections {
		t.Errorf("%d %q", code, text)
	}
}

func TestAPeerThatIsNotTrustedIsGreetedAndItsHeaderIsNoLogin(t *testing.T) {
	f := newFake(t, echo)
	r := newRig(t, rigOptions{backend: f.address(), settings: func(s *mysql.Settings) {
		s.ProxyProtocol, s.Trusted = true, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	}})
	c := greeted(t, r.dial())
	if p := c.login(loginAs{}); wire.IsERR(p) {
		t.Errorf("login: %q", p)
	}
	greeted(t, r.behind(headerOf9, 1000))
	testnet.WaitFor(t, testWait, "it is refused", func() bool { return r.outcomes("bad_login") == 1 })
}

func TestATrustedPeerWithoutAGoodHeaderIsClosedAndCounted(t *testing.T) {
	f := newFake(t, echo)
	for _, row := range []struct {
		name, sent string
		late       bool
	}{
		{"a login", "\x20\x00\x00\x01\x85\xa6\x03\x20", false},
		{"a broken one", "PROXY TCP4 203.0.113.7 198.51.100.1 56324 65536\r\n", false},
		{"silence", "", true},
		{"half of one", headerOf9[:20], true},
	} {
		r := newRig(t, rigOptions{backend: f.address(), settings: func(s *mysql.Settings) {
			behindProxy(s)
			if row.late {
				s.LoginTimeout = 200 * time.Millisecond
			}
		}})
		began := time.Now()
		newClient(t, r.behind(row.sent, 1000)).closed()
		if took := time.Since(began); took > 5*time.Second || row.late && took < 200*time.Millisecond {
			t.Errorf("%s: closed after %s", row.name, took)
		}
		if !testnet.Poll(testWait, func() bool { return r.outcomes("bad_proxy_header") == 1 }) || r.outcomes("login_timeout") > 0 {
			t.Errorf("%s: outcomes %v", row.name, r.front.Stats().Requests)
		}
	}
	r := newRig(t, rigOptions{backend: f.address(), settings: behindProxy})
	r.dial().Close()
	testnet.WaitFor(t, testWait, "a check has gone", func() bool { st := r.l.Stats(); return st.Accepted == 1 && st.Open == 0 })
	if got := r.front.Stats().Requests[""]; len(got) > 0 {
		t.Errorf("a check that connects and leaves is counted: %v", got)
	}
}

// Nobody's address tells who is connected there; the file's permissions do.
func TestAHeaderIsExpectedOnAUnixSocketToo(t *testing.T) {
	f := newFake(t, echo)
	dir, err := os.MkdirTemp("", "w")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := newRig(t, rigOptions{backend: f.address(), listen: "unix:" + dir + "/w", settings: behindProxy})
	c := greeted(t, r.behind(headerOf7, 1000))
	if code, text := errorOf(t, c.login(loginAs{password: "wrong"})); code != wire.CodeAccessDenied || !strings.Contains(text, "'app'@'203.0.113.7'") {
		t.Errorf("%d %q", code, text)
	}
}
