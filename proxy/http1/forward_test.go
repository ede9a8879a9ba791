package http1_test

import (
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/sock"
	"weir/internal/testnet"
	"weir/proxy/http1"
)

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

// through sends raw on a connection of its own and returns what the backend
// got, and what the client.
func through(t *testing.T, settings func(*http1.Settings), raw, response string) (atBackend, atClient string) {
	t.Helper()
	backend, tp := recording(t, sends(response))
	r := newRig(t, rigOptions{backend: backend.Addr().String(), settings: settings})
	c := r.client()
	c.send(raw)
	a := c.answer("GET")
	return tp.all(), a.head + a.raw
}

func plain(s *http1.Settings) { s.XForwarded = false }

func TestRequestPassesByteForByte(t *testing.T) {
	raw := "BREW /%7Ea/../b//c;p?x=%20&&y=[1]{2}|\"<>^`\\&z HTTP/1.1\r\n" +
		"x-LOWER:  padded\t \r\n" +
		"Cookie: a=1\r\n" +
		"hOsT: Shop.Test:8080\r\n" +
		"Empty:\r\n" +
		"Cookie: b=2; c=\"3\"\r\n" +
		"X-Bytes: \xff\xfe\t\x80 end\r\n" +
		"Content-Length: 5\r\n" +
		"X-Under_Score: 1\r\n" +
		"User-Agent:no space\r\n" +
		"Trailer: X-Sum\r\n" +
		"\r\nhello"
	got, _ := through(t, plain, raw, ok)
	if diff := cmp.Diff(raw, got); diff != "" {
		t.Error(diff)
	}
}

func TestResponsePassesByteForByte(t *testing.T) {
	raw := "HTTP/1.1 299 n\xf6t quite  standard\r\n" +
		"set-cookie: a=1\r\n" +
		"X-Empty:\r\n" +
		"SET-Cookie:b=2\r\n" +
		"X-Bytes:  \xff\t\x80 \r\n" +
		"content-length:   5\r\n" +
		"Via: 1.0 other\r\n" +
		"Server: x\r\n" +
		"\r\nhello"
	_, got := through(t, plain, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", raw)
	if diff := cmp.Diff(raw, got); diff != "" {
		t.Error(diff)
	}
}

// Hop-by-hop fields are about one connection each, so they end here.
func TestHopByHopFieldsEndAtWeir(t *testing.T) {
	at, back := through(t, plain,
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Mine\r\nKeep-Alive: timeout=5\r\nX-Mine: 1\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nUpgrade: h2c\r\nX-Stays: 1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nConnection: X-Theirs\r\nX-Theirs: 1\r\nKeep-Alive: timeout=9\r\nContent-Length: 0\r\nUpgrade: h2\r\nX-Stays: 2\r\n\r\n")
	if want := "GET / HTTP/1.1\r\nHost: a\r\nX-Stays: 1\r\n\r\n"; at != want {
		t.Errorf("the backend got %q, want %q", at, want)
	}
	if want := "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Stays: 2\r\n\r\n"; back != want {
		t.Errorf("the client got %q, want %q", back, want)
	}
}

func TestForwardingFields(t *testing.T) {
	const head = "GET / HTTP/1.1\r\nHost: a:80\r\nX-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\nVia: 1.0 p\r\n\r\n"
	trust := func(s *http1.Settings) { s.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }
	for _, test := range []struct {
		name     string
		settings func(*http1.Settings)
		want     string
	}{
		{"of a client are replaced", func(*http1.Settings) {},
			"GET / HTTP/1.1\r\nHost: a:80\r\nVia: 1.0 p\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a:80\r\n\r\n"},
		{"of a trusted proxy are continued", trust,
			"GET / HTTP/1.1\r\nHost: a:80\r\nForwarded: for=6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\nVia: 1.0 p\r\nX-Forwarded-For: 6.6.6.6, 127.0.0.1\r\nX-Forwarded-Host: a:80\r\n\r\n"},
		{"forwarded is replaced too", func(s *http1.Settings) { s.Forwarded = true },
			"GET / HTTP/1.1\r\nHost: a:80\r\nVia: 1.0 p\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a:80\r\nForwarded: for=127.0.0.1;host=\"a:80\";proto=http\r\n\r\n"},
		{"forwarded is continued", func(s *http1.Settings) { trust(s); s.Forwarded = true },
			"GET / HTTP/1.1\r\nHost: a:80\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\nVia: 1.0 p\r\nX-Forwarded-For: 6.6.6.6, 127.0.0.1\r\nX-Forwarded-Host: a:80\r\nForwarded: for=6.6.6.6, for=127.0.0.1;host=\"a:80\";proto=http\r\n\r\n"},
		{"via is added", func(s *http1.Settings) { plain(s); s.Via = "weir" }, strings.Replace(head, "\r\n\r\n", "\r\nVia: 1.1 weir\r\n\r\n", 1)},
		{"turned off all pass", plain, head},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, back := through(t, test.settings, head, ok)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if want := strings.Contains(test.want, "1.1 weir"); strings.Contains(back, "Via: 1.1 weir") != want {
				t.Errorf("the client got %q", back)
			}
		})
	}
}

func TestRequestIDIsMadeWhereThereIsNone(t *testing.T) {
	settings := func(s *http1.Settings) { plain(s); s.MakeID = true }
	backend, tp := recording(t, sends(ok))
	r := newRig(t, rigOptions{backend: backend.Addr().String(), settings: settings})
	c := r.client()
	c.ask("/")
	c.ask("/")
	c.send("GET / HTTP/1.1\r\nHost: a\r\nx-request-id: mine\r\n\r\n")
	c.answer("GET")
	var ids []string
	for line := range strings.SplitSeq(tp.all(), "\r\n") {
		if k, v, ok := strings.Cut(line, ": "); ok && strings.EqualFold(k, "X-Request-Id") {
			ids = append(ids, v)
		}
	}
	if len(ids) != 3 || len(ids[0]) != 32 || ids[0] == ids[1] || ids[2] != "mine" {
		t.Errorf("ids %q", ids)
	}
}

func TestRoutesByHostAndPath(t *testing.T) {
	names := []string{"exact", "wild", "deep", "static", "other"}
	settings := func(s *http1.Settings) {
		s.XForwarded = false
		route := func(host, path string, i int) http1.Route {
			backend := testnet.NewBackend(t, func(c *testnet.BackendConn) {
				for {
					r, err := c.ReadRequest()
					if err != nil || c.Send(testnet.Response(200, names[i]+" "+r.Target+" "+strings.Join(r.Header[1:], "|"))) != nil {
						return
					}
				}
			})
			return http1.Route{Rule: http1.Rule{Host: host, Path: path}, Backend: newBackend(t, names[i], backend.Addr().String())}
		}
		s.Routes = []http1.Route{route("shop.test", "", 0), route("*.shop.test", "", 1), route("*.deep.shop.test", "", 2),
			route("shop.test", "/static/", 3), route("other.test", "/in", 4)}
		s.Routes[3].Strip = true
		s.Routes[4].Set = []http1.Line{{Name: "X-Env", Line: []byte("X-Env: prod\r\n")}}
		s.Routes[4].Remove = []string{"x-secret"}
	}
	r := newRig(t, rigOptions{backend: "127.0.0.1:1", settings: settings})
	c := r.client()
	for _, test := range []struct {
		host, target string
		status       int
		body         string
	}{
		{"shop.test", "/a?b", 200, "exact /a?b "},
		{"SHOP.test.:80", "/", 200, "exact / "},
		{"www.shop.test", "/", 200, "wild / "},
		{"a.b.shop.test", "/", 200, "wild / "},
		{"x.deep.shop.test", "/", 200, "deep / "},
		{"shop.test", "/static/a/b?c", 200, "static /a/b?c "},
		{"shop.test", "/static", 200, "exact /static "},
		{"shop.test", "/%73tatic/a", 200, "static /a "},
		{"other.test", "/in/x", 200, "other /in/x X-Env: prod"},
		{"other.test", "/in", 200, "other /in X-Env: prod"},
		{"other.test", "/inside", 404, "no_route"},
		{"nobody.test", "/", 404, "no_route"},
		{"shop.test", "/static/../admin", 400, "ambiguous_path"},
		{"shop.test", "/static/%2e%2e/admin", 400, "ambiguous_path"},
		{"shop.test", "/static%2fa", 400, "ambiguous_path"},
		{"shop.test", "/static\\a", 400, "ambiguous_path"},
		{"shop.test", "/static/..;/admin", 400, "ambiguous_path"},
	} {
		c.send("GET " + test.target + " HTTP/1.1\r\nHost: " + test.host + "\r\nX-Secret: s\r\nX-Env: test\r\n\r\n")
		a := c.answer("GET") // all on one connection: refusals of this kind keep it
		want := test.body
		if test.status == 200 && !strings.HasPrefix(test.body, "other") {
			want += "X-Secret: s|X-Env: test"
		}
		if test.status != 200 {
			if a.status != test.status || !strings.HasPrefix(a.get("X-Weir-Reason"), want) {
				t.Errorf("%s%s: got %q, want %d %s", test.host, test.target, a.head, test.status, want)
			}
			continue
		}
		if a.status != 200 || a.body != want {
			t.Errorf("%s%s: got %d %q, want %q", test.host, test.target, a.status, a.body, want)
		}
	}
}

func TestClientsBeyondTheBoundAreTurnedAway(t *testing.T) {
	backend := testnet.NewBackend(t, testnet.Good)
	r := newRig(t, rigOptions{backend: backend.Addr().String()})
	r.l.SetMaxClients(2)
	a, b := r.client(), r.client()
	a.kept()
	b.kept()
	c := r.client()
	got := c.answer("GET")
	if got.status != 503 || got.get("X-Weir-Reason") != "max_clients" || got.get("Retry-After") == "" {
		t.Errorf("got %q", got.head)
	}
	c.CloseWrite()
	c.closed()
	a.Close()
	testnet.WaitFor(t, testWait, "a place is free", func() bool { return r.l.Stats().Open < 2 })
	r.client().kept()
}

func TestClientsNotAllowedAreTurnedAway(t *testing.T) {
	backend := testnet.NewBackend(t, testnet.Good)
	r := newRig(t, rigOptions{backend: backend.Addr().String(), settings: func(s *http1.Settings) {
		s.Allow = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	}})
	c := r.client()
	c.send(smuggled)
	if a := c.answer("GET"); a.status != 403 || a.get("X-Weir-Reason") != "not_allowed" {
		t.Errorf("got %q", a.head)
	}
	c.CloseWrite()
	c.closed()
	if n := backend.Accepted(); n != 0 {
		t.Errorf("the backend was dialled %d times", n)
	}
}

// The answer to a client that sends on is still read by it: weir reads on for a
// while before it closes, else the kernel's reset would take the answer away.
func TestAnswerReachesAClientThatIsStillSending(t *testing.T) {
	r := newRig(t, rigOptions{backend: "127.0.0.1:1", settings: func(s *http1.Settings) { s.MaxBody = 1000 }})
	c := r.client()
	sent := make(chan error, 1)
	c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n")
	go func() {
		_, err := io.WriteString(c.Conn, strings.Repeat("x", 4_000_000))
		c.CloseWrite()
		sent <- err
	}()
	if a := c.answer("POST"); a.status != 413 {
		t.Errorf("got %q", a.head)
	}
	c.closed()
	if err := <-sent; err != nil {
		t.Errorf("the client could not finish: %v", err)
	}
	testnet.WaitFor(t, testWait, "the connection ended", func() bool { return r.l.Stats().Open == 0 })
	if n := r.l.Stats().Closed[sock.HowLinger]; n != 1 {
		t.Errorf("%d connections ended by reading on", n)
	}
}
