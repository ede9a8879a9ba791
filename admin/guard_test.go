package admin

import (
	"strings"
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

func TestARemoteListenerIsAskedByAddressOrByItsOwnNames(t *testing.T) {
	g := guard{remote: true, hosts: []string{"weir.internal"}}
	for host, want := range map[string]bool{
		"192.0.2.1:9900": true, "[2001:db8::1]:9900": true, "weir.internal": true, "Weir.Internal:9900": true,
		"localhost": true, "": true, "evil.test": false, "weir.internal.evil.test": false,
	} {
		if got := g.hostAllowed(host); got != want {
			t.Errorf("host %q: %v, want %v", host, got, want)
		}
	}
}
