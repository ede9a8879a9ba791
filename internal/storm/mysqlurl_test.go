package storm

import (
	"context"
	"strings"
	"testing"
)

func TestAMySQLURLSaysWhereToGo(t *testing.T) {
	for url, want := range map[string]struct{ network, address string }{
		"mysql://app@127.0.0.1/shop":                           {"tcp", "127.0.0.1:3306"},
		"MySQL://app:secret@127.0.0.1:3307":                    {"tcp", "127.0.0.1:3307"},
		"mysql://app@[::1]:3307/shop?tls=skip-verify":          {"tcp", "[::1]:3307"},
		"mysql://app@unix(/run/db/sock)/shop":                  {"unix", "/run/db/sock"},
		"mysql://app:a%2Fb%40c@unix(/run/db/sock)":             {"unix", "/run/db/sock"},
		"mysql://app@unix(/run/db/sock)/shop?tls=false":        {"unix", "/run/db/sock"},
		"mysql://app@/shop?socket=/run/db/sock":                {"unix", "/run/db/sock"},
		"mysql://app@localhost?socket=%2Frun%2Fdb%2Fsock":      {"unix", "/run/db/sock"},
		"mysql://app@localhost/shop?socket=rel&tls=true":       {"unix", "rel"},
		"mysql://app:unix(%2Fx)@127.0.0.1:1/a/b?tls=preferred": {"tcp", "127.0.0.1:1"},
	} {
		o := options(url)
		got, err := o.check(t.Context())
		if err != nil || got.network != want.network || got.address != want.address || got.addr.IsValid() != (want.network == "tcp") {
			t.Errorf("%s: %s %s, %v", url, got.network, got.address, err)
		}
	}
}

// What is refused may hold a password anywhere, so that nothing of it is shown.
func TestAURLThatIsRefusedIsNotShown(t *testing.T) {
	const secret = "hunter2"
	for _, url := range []string{
		"mysql://app:hunter2", "mysql://app:hunter2@", "mysql://app:hunter2@/shop", "mysql://:hunter2@127.0.0.1/shop",
		"mysql://127.0.0.1/hunter2", "mysql://app:hunter2#@127.0.0.1/", "mysql://app:#hunter2@127.0.0.1/", "mysql://app:1?hunter2@127.0.0.1/",
		"mysql://app:1/hunter2@127.0.0.1/", "mysql://app:hunter2/@127.0.0.1/", "mysql://app:[hunter2@127.0.0.1/", "mysql://app:%hunter2@127.0.0.1/",
		"mysql://app:hunter2@127.0.0.1:0/", "mysql://app:hunter2@127.0.0.1:65536/", "mysql://app:hunter2@127.0.0.1:x/",
		"mysql://app:hunter2@unix()/", "mysql://app:hunter2@127.0.0.1/?tls=maybe", "mysql://app:hunter2@127.0.0.1/?charset=utf8",
		"mysql://app:hunter2@127.0.0.1/?tls=true&tls=true", "mysql://app:hunter2@127.0.0.1/?socket=/x", "mysql://app:hunter2@unix(/x)/?socket=/x",
		"mysql://app:hunter2@127.0.0.1/?socket=", "mysql://app:hunter2@127.0.0.1/?a;b", "mysql://app:hunter2@192.0.2.1/shop",
		"mysqls://app:hunter2@127.0.0.1/", "http://app:hunter2@127.0.0.1/", "http://app:hunter2/@127.0.0.1/", "hunter2",
	} {
		o := options(url)
		if _, err := o.check(t.Context()); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestARefusedURLIsExplained(t *testing.T) {
	for url, text := range map[string]string{
		"mysql://127.0.0.1/shop":                "must be mysql://USER[:PASSWORD]@HOST:PORT/DATABASE",
		"mysql://app:a#b@127.0.0.1/":            "are written as %25",
		"mysql://app@127.0.0.1/?tls=maybe":      "tls=maybe: must be one of [false preferred skip-verify true]",
		"mysql://app@127.0.0.1/?charset=utf8":   "the parameter charset; there are only tls and socket",
		"mysql://app@127.0.0.1/?socket=/x":      "the host 127.0.0.1 and a unix socket",
		"mysql://app@127.0.0.1:65536/":          "port 65536: must be 1 to 65535",
		"mysql://app@192.0.2.1/":                "not a loopback address",
		"ftp://127.0.0.1/":                      "must be http://HOST:PORT/PATH, or mysql://",
		"http:///x":                             "must be http://HOST:PORT/PATH",
		"mysql://app@127.0.0.1/?tls=1&tls=true": "tls more than once",
	} {
		o := options(url)
		if _, err := o.check(context.Background()); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", url, err)
		}
	}
	o := options("http://127.0.0.1:1/")
	o.Query = "SELECT 2"
	if _, err := o.check(context.Background()); err == nil || !strings.HasPrefix(err.Error(), "-query: ") {
		t.Errorf("a query for an HTTP server: %v", err)
	}
}

func TestAPasswordInAURLIsSeen(t *testing.T) {
	for url, want := range map[string]bool{
		"mysql://app:secret@127.0.0.1/": true, "mysql://app:secret@unix(/x)/": true,
		"mysql://app@127.0.0.1/": false, "http://127.0.0.1/": false, "mysql://": false, "": false,
	} {
		if got := HasPassword(url); got != want {
			t.Errorf("%q: %v", url, got)
		}
	}
}
