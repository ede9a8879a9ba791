package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/admin"
	"weir/configs"
	"weir/internal/testnet"
	"weir/proxy/fault"
)

// twoProtocols has an HTTP backend and a MySQL backend with two listeners, which
// is at orders; more is added to the latter.
func twoProtocols(orders any, more string) string {
	return fmt.Sprintf(`
listeners:
  - {name: web, protocol: http, address: "127.0.0.1:0", backend: api, max_clients: 100}
  - {name: db, protocol: mysql, address: "127.0.0.1:0", backend: orders, max_clients: 100}
  - {name: reports, protocol: mysql, address: "127.0.0.1:0", backend: orders, max_clients: 100}
backends:
  - {name: api, endpoints: ["127.0.0.1:1"]}
  - {name: orders, endpoints: ["%v"], users: [{name: app, password: secret, max_open: 3}, {name: other, no_password: true}]%s}
`, orders, more)
}

func counted(cs []admin.Count) (labels []string) {
	for _, c := range cs {
		labels = append(labels, c.Label)
	}
	slices.Sort(labels)
	return labels
}

// of finds what is called name; a test that is given nothing ends there.
func of[T any](t *testing.T, all []T, name string, called func(*T) string) *T {
	t.Helper()
	for i := range all {
		if called(&all[i]) == name {
			return &all[i]
		}
	}
	t.Fatalf("there is no %s", name)
	return nil
}

func TestEachProtocolShowsItsOutcomesBeforeTheyHappen(t *testing.T) {
	g := newTestGraph(t)
	mustApply(t, g, twoProtocols(freeAddr(t), ""))
	s := g.snapshot()
	for _, l := range s.Listeners {
		var seen []string
		for _, r := range l.Requests {
			if r.Backend != "" {
				seen = append(seen, r.Outcome)
			}
		}
		shed := counted(l.Shed)
		if l.MySQL != (l.Name != "web") {
			t.Errorf("%s is shown as MySQL: %v", l.Name, l.MySQL)
		}
		for _, test := range []struct {
			what, label string
			list        []string
			http, mysql bool
		}{
			{"outcome", "2xx", seen, true, false},
			{"outcome", "ok", seen, false, true},
			{"outcome", "error", seen, false, true},
			{"outcome", "stale_unsafe", seen, true, false},
			{"outcome", "session_lost", seen, false, true},
			{"outcome", "query_timeout", seen, false, true},
			{"outcome", "queue_full", seen, true, true},
			{"outcome", "max_clients", seen, false, false},
			{"outcome", "login_flood", seen, false, false},
			{"outcome", "bad_request", seen, false, false},
			{"reason", "max_clients", shed, true, true},
			{"reason", "queue_timeout", shed, true, true},
			{"reason", "login_flood", shed, false, true},
			{"reason", "server_unknown", shed, false, true},
			{"reason", "internal", shed, false, false},
		} {
			want := test.http
			if l.MySQL {
				want = test.mysql
			}
			if slices.Contains(test.list, test.label) != want {
				t.Errorf("%s: the %s %s is shown: %v, want %v", l.Name, test.what, test.label, !want, want)
			}
		}
	}
	if len(s.Listeners) != 3 || len(s.Backends) != 2 {
		t.Fatalf("%d listeners and %d backends are shown", len(s.Listeners), len(s.Backends))
	}
	name := func(b *admin.BackendSnapshot) string { return b.Name }
	if of(t, s.Backends, "api", name).MySQL != nil {
		t.Error("an HTTP backend is shown as MySQL")
	}
	db := of(t, s.Backends, "orders", name).MySQL
	if db == nil || !slices.Equal(counted(db.Resets), []string{"closed", "later", "now", "skipped"}) {
		t.Fatalf("orders has %+v", db)
	}
	if len(db.Users) != 1 || db.Users[0] != (admin.UserSnapshot{Name: "app", MaxOpen: 3}) {
		t.Errorf("users are shown as %+v, want the one with max_open", db.Users)
	}
}

func TestReadinessWaitsForTheServersOfTheFirstConfigurationAlone(t *testing.T) {
	g := newTestGraph(t)
	dead := freeAddr(t)
	mustApply(t, g, twoProtocols(dead, ""))
	const first = "backend orders: not reached yet"
	testnet.WaitFor(t, 10*time.Second, "for the reason why the server was not reached", func() bool {
		missing := g.notReady()
		if len(missing) != 1 || !strings.HasPrefix(missing[0], first) {
			t.Fatalf("not ready for %q", missing)
		}
		return strings.HasPrefix(missing[0], first+": ") && strings.Contains(missing[0], "refused")
	})
	// With server_version clients can be greeted; and once ready, always ready.
	mustApply(t, g, twoProtocols(dead, ", mysql: {server_version: 10.11.6-MariaDB}"))
	if missing := g.notReady(); len(missing) != 0 {
		t.Errorf("not ready for %q", missing)
	}
	mustApply(t, g, twoProtocols(dead, ""))
	if missing := g.notReady(); len(missing) != 0 {
		t.Errorf("after a reload not ready for %q", missing)
	}

	// A backend that a reload takes away, or brings, is not waited for.
	g = newTestGraph(t)
	mustApply(t, g, twoProtocols(dead, ""))
	mustApply(t, g, strings.ReplaceAll(twoProtocols(dead, ""), "orders", "more"))
	if missing := g.notReady(); len(missing) != 0 {
		t.Errorf("not ready for %q", missing)
	}
}

func TestTheStatusSaysWhyAServerIsNotKnown(t *testing.T) {
	d := newTestDaemon(t)
	if err := d.apply(configOf(t, twoProtocols(freeAddr(t), ", mysql: {server_version: 10.11.6-MariaDB}"))); err != nil {
		t.Fatal(err)
	}
	var db *MySQLStatus
	testnet.WaitFor(t, 10*time.Second, "for the error", func() bool {
		db = of(t, d.status().Backends, "orders", func(b *BackendStatus) string { return b.Name }).MySQL
		return db.ServerError != ""
	})
	if !strings.Contains(db.ServerError, "refused") || db.ServerVersion != "" || db.GreetsWith != "10.11.6-MariaDB" {
		t.Errorf("got %+v", db)
	}
	if b := of(t, d.status().Backends, "orders", func(b *BackendStatus) string { return b.Name }); !b.dialsFail() || !strings.Contains(b.trouble(), "refused") {
		t.Errorf("no word of it where dials are shown: %+v", b)
	}
	if len(db.Users) != 1 || db.Users[0] != (UserStatus{Name: "app", MaxOpen: 3}) {
		t.Errorf("users are shown as %+v", db.Users)
	}
	st := d.status()
	for listener, want := range map[string]string{"web": configs.ProtocolHTTP, "db": configs.ProtocolMySQL, "reports": configs.ProtocolMySQL} {
		if got := of(t, st.Listeners, listener, func(l *ListenerStatus) string { return l.Name }).Protocol; got != want {
			t.Errorf("%s speaks %q, want %q", listener, got, want)
		}
	}
	if b := of(t, st.Backends, "api", func(b *BackendStatus) string { return b.Name }); b.MySQL != nil || b.Protocol != configs.ProtocolHTTP {
		t.Errorf("api is shown as %q with %+v", b.Protocol, b.MySQL)
	}
	if st.SlowQueryLog != (LineLogStatus{To: "none"}) {
		t.Errorf("the slow-query log is shown as %+v", st.SlowQueryLog)
	}
	if _, err := json.Marshal(st); err != nil {
		t.Error(err)
	}
}

func TestTheManualNamesEveryOutcomeWithItsCode(t *testing.T) {
	b, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	http, mysql, _ := strings.Cut(string(b), "\n## MySQL\n")
	for _, k := range fault.Kinds() {
		for _, p := range []struct {
			section string
			code    int
		}{{http, k.Row().Status}, {mysql, int(k.Row().Errno)}} {
			if p.code == 0 || k == fault.ClientGone {
				continue
			}
			unsaid := k == fault.BadProxyHeader || k == fault.LoginTimeout || k == fault.LoginAborted || k == fault.IdleAttached || k == fault.QueryTimeout
			if want := fmt.Sprintf("`%s` %d", k.String(), p.code); !unsaid && !strings.Contains(p.section, want) || !strings.Contains(p.section, "`"+k.String()+"`") {
				t.Errorf("docs/metrics.md does not have %s", want)
			}
		}
	}
}
