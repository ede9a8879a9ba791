package admin

import (
	"strings"
	"sync/atomic"
	"testing"
)

func TestOnlyDirectRequestsUnderOurOwnNameAreServed(t *testing.T) {
	_, tcp, unix, base := start(t, Options{})
	rows := []struct {
		fields []string
		tcp    int
		unix   int
		has    string
	}{
		{[]string{"Host", "localhost:9900"}, 200, 200, "ok"},
		{[]string{"Host", "LOCALHOST"}, 200, 200, "ok"},
		{[]string{"Host", "127.0.0.1"}, 200, 200, "ok"},
		{[]string{"Host", "127.0.0.1:9900"}, 200, 200, "ok"},
		{[]string{"Host", "[::1]:9900"}, 200, 200, "ok"},
		{[]string{"Host", "[::1]"}, 200, 200, "ok"},
		// DNS rebinding: the name resolves to 127.0.0.1 and the browser asks it.
		{[]string{"Host", "evil.test"}, 403, 200, "host name"},
		{[]string{"Host", "localhost.evil.test"}, 403, 200, "host name"},
		{[]string{"Host", "127.0.0.1.evil.test:9900"}, 403, 200, "host name"},
		{[]string{"Host", "192.0.2.1"}, 403, 200, "host name"},
		// Through a proxy: also over a unix socket, where the proxy may be ours.
		{[]string{"X-Forwarded-For", "192.0.2.1"}, 403, 403, "proxy"},
		{[]string{"x-forwarded-proto", "https"}, 403, 403, "proxy"},
		{[]string{"Forwarded", "for=192.0.2.1"}, 403, 403, "proxy"},
		{[]string{"Via", "1.1 weir"}, 403, 403, "proxy"},
		{[]string{"X-Real-IP", "192.0.2.1"}, 403, 403, "proxy"},
		// Another site's page.
		{[]string{"Origin", "http://evil.test"}, 403, 403, "another site"},
		{[]string{"Origin", "null"}, 403, 403, "another site"},
		{[]string{"Origin", "http://localhost:9901", "Host", "localhost:9900"}, 403, 403, "another site"},
		{[]string{"Origin", "http://localhost:9900", "Host", "localhost:9900"}, 200, 200, "ok"},
		{[]string{"Sec-Fetch-Site", "cross-site"}, 403, 403, "another site"},
		{[]string{"Sec-Fetch-Site", "same-site"}, 403, 403, "another site"},
		{[]string{"Sec-Fetch-Site", "same-origin"}, 200, 200, "ok"},
		{[]string{"Sec-Fetch-Site", "none"}, 200, 200, "ok"},
	}
	for _, r := range rows {
		status, body, _ := ask(t, tcp, "GET", base+"/healthz", r.fields...)
		if status != r.tcp || !strings.Contains(body, r.has) {
			t.Errorf("tcp %v: %d %q, want %d with %q", r.fields, status, body, r.tcp, r.has)
		}
		status, body, _ = ask(t, unix, "GET", base+"/healthz", r.fields...)
		if status != r.unix {
			t.Errorf("unix %v: %d %q, want %d", r.fields, status, body, r.unix)
		}
	}
}

// A wiki or a Grafana panel has a link to the dashboard. What a page of another site
// asks for itself, or shows in a frame, is refused as before.
func TestALinkOfAnotherSiteLeadsToTheDashboard(t *testing.T) {
	base := "http://" + listens(t, "127.0.0.1:0", Options{})
	tcp := client(t, "tcp", strings.TrimPrefix(base, "http://"))
	defer tcp.CloseIdleConnections()
	for _, r := range []struct {
		method, path, mode, dest string
		want                     int
	}{
		{"GET", "/", "navigate", "document", 200},
		{"GET", "/?from=wiki", "navigate", "document", 200},
		{"GET", "/", "navigate", "iframe", 403},
		{"GET", "/", "cors", "empty", 403},
		{"GET", "/api/status", "navigate", "document", 403},
		{"POST", "/", "navigate", "document", 403},
	} {
		if status, _, _ := ask(t, tcp, r.method, base+r.path, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", r.mode, "Sec-Fetch-Dest", r.dest, "Authorization", "Bearer "+secretToken); status != r.want {
			t.Errorf("%+v: %d", r, status)
		}
	}
}

func TestWhereClientsLogInAnyHostNameWillDo(t *testing.T) {
	for name, a := range map[string]*Access{"open": {}, "token": {Token: NewToken("t")}} {
		g := guard{access: new(atomic.Pointer[Access])}
		g.access.Store(a)
		for host, open := range map[string]bool{"weir.internal:9900": false, "192.0.2.1:9900": false, "localhost": true, "": true} {
			if got, want := g.hostAllowed(host), open || a.asks(); got != want {
				t.Errorf("%s: host %q: %v, want %v", name, host, got, want)
			}
		}
	}
}
