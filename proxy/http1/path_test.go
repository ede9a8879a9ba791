package http1

import (
	"net/netip"
	"strings"
	"testing"
)

func TestPathCrosses(t *testing.T) {
	for path, want := range map[string]bool{
		"/": false, "": false, "*": false, "/a/b": false, "/a.b/..c/c../...": false, "/.well-known/x": false, "//": false,
		"/%20%41": false, "/%252e%252e/": false, "/a;b/c;d": false, "/a..;x/": false, "/...;x/": false, "/%2": false, "/%zz/": false,
		"/.": true, "/..": true, "/./a": true, "/a/../b": true, "/a/..": true, "/%2e": true, "/%2E%2e/a": true, "/.%2e/a": true, "/a/%2e./": true,
		"/..;/a": true, "/..;x=y/a": true, "/.;": true, "/%2e%2e;/": true,
		"/a\\b": true, "/a%5cb": true, "/a%5Cb": true, "/a%2fb": true, "/a%2Fb": true, "/a%00": true, "..": true,
	} {
		if got := Crosses([]byte(path)); got != want {
			t.Errorf("%q: %v, want %v", path, got, want)
		}
	}
}

func TestHostIsNormalised(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "a": "a", "Shop.TEST": "shop.test", "shop.test.": "shop.test", "shop.test:80": "shop.test", "Shop.Test.:80": "shop.test",
		"[2001:DB8::1]": "2001:db8::1", "[::1]:8080": "::1", "10.0.0.1:1": "10.0.0.1",
	} {
		if got := string(AppendHost([]byte("x"), []byte(in))); got != "x"+want {
			t.Errorf("%q: %q, want x%s", in, got, want)
		}
	}
}

func TestIPv6AgreesWithNetip(t *testing.T) {
	for _, s := range []string{
		"::", "::1", "1::", "1::2", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:2:3:4::6:7:8", "1:2:3:4:5:6:1.2.3.4", "::1.2.3.4", "::ffff:10.0.0.1",
		"1::1.2.3.4", "abcd:EF01::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8", "1::2::3", ":::", ":", "", ":1", "1:", "1:2:3:4:5:6:7:",
		"12345::", "g::", "1:2:3:4:5:6:7:1.2.3.4", "::1.2.3", "::1.2.3.4.5", "::1.2.3.256", "::01.2.3.4", "::1.2.3.4:1", "1.2.3.4", "::.1.2.3", "::1..2.3", "::1.2.3.", "0000::", "::1%eth0",
	} {
		checkIPv6(t, s)
	}
}

func checkIPv6(t *testing.T, s string) {
	t.Helper()
	a, err := netip.ParseAddr(s)
	want := err == nil && a.Is6() && a.Zone() == ""
	if got := validIPv6([]byte(s)); got != want {
		t.Errorf("%q: %v, want %v (%v)", s, got, want, err)
	}
}

func TestRouterFindsTheRule(t *testing.T) {
	router, err := NewRouter([]Rule{
		0: {"shop.test", "/"},
		1: {"shop.test", "/static"},
		2: {"shop.test", "/static/img/"},
		3: {"*.shop.test", ""},
		4: {"*.eu.shop.test", "/api"},
		5: {"", "/only"},
		6: {"[::1]", "/"},
		7: {"one.test", "/dir/"},
		8: {"*.com", "/x%20y"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		host, path   string
		rule, prefix int
		rej          *Reject
	}{
		{"shop.test", "/", 0, 0, nil},
		{"shop.test", "", 0, 0, nil},
		{"shop.test", "*", 0, 0, nil},
		{"SHOP.test.:80", "/static", 1, 7, nil},
		{"shop.test", "/static/", 1, 7, nil},
		{"shop.test", "/static/x", 1, 7, nil},
		{"shop.test", "/staticx", 0, 0, nil},
		{"shop.test", "/Static/x", 0, 0, nil},
		{"shop.test", "/static/img/x", 2, 12, nil},
		{"shop.test", "/static/img", 1, 7, nil},
		{"shop.test", "/%73tatic/x", 1, 9, nil},
		{"shop.test", "/%73%74%61tic", 1, 13, nil},
		{"shop.test", "/static/../x", -1, 0, RejectCrosses},
		{"shop.test", "/static%2fx", -1, 0, RejectCrosses},
		{"www.shop.test", "/a/../b", 3, 0, nil}, // one path: nothing to cross into
		{"a.b.shop.test", "/", 3, 0, nil},
		{"a.eu.shop.test", "/api/1", 4, 4, nil},
		{"a.eu.shop.test", "/", -1, 0, RejectNoRoute}, // the host decides first
		{"eu.shop.test", "/", 3, 0, nil},
		{"xshop.test", "/only", 5, 5, nil},
		{"xshop.test", "/", -1, 0, RejectNoRoute},
		{"", "/only/x", 5, 5, nil},
		{"[::1]:80", "/", 6, 0, nil},
		{"one.test", "/dir/x", 7, 5, nil},
		{"one.test", "/dir", -1, 0, RejectNoRoute},
		{"a.com", "/x%20y/z", 8, 6, nil},
		{"a.com", "/x y", -1, 0, RejectNoRoute},
		{"com", "/x%20y", -1, 0, RejectNoRoute},
	} {
		rule, prefix, rej := router.Match([]byte(test.host), []byte(test.path))
		if rule != test.rule || prefix != test.prefix || rej != test.rej {
			t.Errorf("%s%s: %d, %d, %v, want %d, %d, %v", test.host, test.path, rule, prefix, rej, test.rule, test.prefix, test.rej)
		}
	}
}

func TestRouterRefusesRulesThatMatchNothingOrTwice(t *testing.T) {
	for _, test := range []struct {
		rules []Rule
		want  string
	}{
		{[]Rule{{"a", "/"}, {"A.", ""}}, "routes 0 and 1"},
		{[]Rule{{"", "/x"}, {"*", "/x"}}, "routes 0 and 1"},
		{[]Rule{{"a:80", "/"}}, `"a:80"`},
		{[]Rule{{"a b", "/"}}, `"a b"`},
		{[]Rule{{"*", "x"}}, `"x"`},
		{[]Rule{{"a.*.b", "/"}}, `"a.*.b"`},
		{[]Rule{{"*.*.b", "/"}}, `"*.*.b"`},
		{[]Rule{{"*.", "/"}}, `"*."`},
		{[]Rule{{"*.[::1]", "/"}}, `"*.[::1]"`},
		{[]Rule{{"a", "/x y"}}, `"/x y"`},
		{[]Rule{{"a", "/x?y"}}, `"/x?y"`},
		{[]Rule{{"a", "/x#y"}}, `"/x#y"`},
		{[]Rule{{"a", "/x/../y"}}, `"/x/../y"`},
		{[]Rule{{"a", "/%zz"}}, `"/%zz"`},
		{[]Rule{{"a", "/\u00e9"}}, "written %XX"},
	} {
		if _, err := NewRouter(test.rules); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: %v, want %s", test.rules, err, test.want)
		}
	}
}
