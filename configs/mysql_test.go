package configs

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEachProtocolHasItsOwnDefaults(t *testing.T) {
	http, mysql := mustParse(t, base).Listeners[0], mustParse(t, mysqlBase).Listeners[0]
	if http.Timeouts.Idle != time.Minute || mysql.Timeouts.Idle != 8*time.Hour {
		t.Errorf("idle is %s for http, %s for mysql", http.Timeouts.Idle, mysql.Timeouts.Idle)
	}
	if http.MaxLogins != 0 || mysql.MaxLogins != 1000 || http.Timeouts.Login != 0 || mysql.Timeouts.Login != 10*time.Second {
		t.Errorf("http: %+v\nmysql: %+v", http, mysql)
	}
	if !http.DeferAccept || mysql.DeferAccept || mysql.MaxHeader != 0 || mysql.XForwarded || mysql.Timeouts.Header != 0 {
		t.Errorf("http: %+v\nmysql: %+v", http, mysql)
	}
	api, orders := mustParse(t, base).Backends[0], mustParse(t, mysqlBase).Backends[0]
	if api.Protocol != ProtocolHTTP || orders.Protocol != ProtocolMySQL {
		t.Errorf("the backends are of %q and %q", api.Protocol, orders.Protocol)
	}
	if diff := cmp.Diff(MySQL{Mode: "session", Reset: "always", Auth: "native", Slow: time.Second}, orders.MySQL); diff != "" {
		t.Error(diff)
	}
	if api.MySQL != (MySQL{}) || api.TLS != (BackendTLS{}) || orders.RetryBudget != 0 || orders.Timeouts != (BackendTimeouts{}) {
		t.Errorf("api: %+v\norders: %+v", api, orders)
	}
	if orders.TLS.Mode != "disabled" || orders.Dial.Rate.String() != "256/s" {
		t.Errorf("orders: %+v", orders)
	}
}

func TestTheProtocolIsKnownWhateverTheOrderOfTheKeys(t *testing.T) {
	c := mustParse(t, `backends:
  - users: [{name: app, no_password: true}]
    endpoints: [127.0.0.1:3307]
    name: orders
listeners:
  - timeouts: {login: 1s}
    backend: orders
    address: 127.0.0.1:3306
    protocol: mysql
    name: db
`)
	if l := c.Listeners[0]; l.Timeouts.Login != time.Second || l.Timeouts.Idle != 8*time.Hour || l.MaxHeader != 0 {
		t.Errorf("listener: %+v", l)
	}
	if b := c.Backends[0]; b.Protocol != ProtocolMySQL || b.MySQL.Mode != "session" {
		t.Errorf("backend: %+v", b)
	}
}

const mysqlFull = `listeners:
  - name: db
    protocol: mysql
    address: [127.0.0.1:3306, unix:/run/m.sock]
    backend: orders
    max_clients: 5
    max_logins: 2
    close: graceful
    timeouts: {login: 1s, send: 2s, idle: 3s}
    tls: {cert: /a.crt, key: a.key, required: true}
    allow: [10.0.0.0/8]
  - {name: web, protocol: http, address: 127.0.0.1:8080, backend: api, defer_accept: false}
backends:
  - name: orders
    endpoints: [db.shop.test:3307]
    users:
      - {name: "a b@caf\u00e9: #1", no_password: true, max_open: 3, allow: ["::1"]}
      - {name: "true", password_env: APP_PASSWORD}
    mysql: {reset: proven, server_version: "5.5.5-10.11.6-MariaDB-0+deb12u1", auth: sha2, database: "my db", query_timeout: 90m, idle_attached_timeout: 1m, slow: 1500ms}
    tls: {mode: verify_identity, ca: /ca.pem, server_name: "2001:db8::1", cert: c.pem, key: k.pem}
    pool: {max_open: 4, min_idle: 1}
  - {name: api, endpoints: [127.0.0.1:9001]}
  - {name: spare, endpoints: [127.0.0.1:9002], users: [{name: app, no_password: true}]}
log: {slow_query: ./slow.log}
`

func TestTheEffectiveConfigurationShowsTheKeysOfItsProtocolAlone(t *testing.T) {
	cert, key := writePEM(t)
	full := strings.NewReplacer("/a.crt", cert, "a.key", key, "/ca.pem", cert, "c.pem", cert, "k.pem", key).Replace(mysqlFull)
	for _, text := range []string{mysqlBase, full} {
		c := mustParse(t, text)
		var b bytes.Buffer
		if err := Effective(c, &b); err != nil {
			t.Fatal(err)
		}
		again := mustParse(t, b.String())
		if diff := cmp.Diff(c, again, sameConfig...); diff != "" {
			t.Errorf("reads differently:\n%s\n%s", diff, b.String())
		}
		if d := Diff(c, again); len(d) > 0 {
			t.Errorf("Diff sees %v", d)
		}
	}
	var b bytes.Buffer
	if err := Effective(mustParse(t, mysqlBase), &b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"    max_logins: 1000  # default\n", "      idle: 8h  # default\n", "    # tls: not set (TLS is not offered)\n",
		"      - name: app\n        no_password: true\n        # max_open: not set (pool.max_open alone)\n", "      # server_version: not set (learned from the backend)\n",
		"      mode: disabled  # default\n", "  slow_query: none  # default\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no line %q in:\n%s", want, b.String())
		}
	}
	for _, not := range []string{"max_header", "defer_accept", "via", "routes", "response_header", "retry_budget", "password_env"} {
		if strings.Contains(b.String(), not) {
			t.Errorf("%s is in:\n%s", not, b.String())
		}
	}
}

// Written as it is and run, a placeholder would be a wrong password.
func TestTheEffectiveConfigurationOfASecretInTheFileDoesNotLoad(t *testing.T) {
	for key, written := range map[string]string{"password": "password: x1", "native_hash": `native_hash: "*94BDCEBE19083CE2A1F959FD02F964C7AF4CFC29"`} {
		var b bytes.Buffer
		if err := Effective(mustParse(t, withUser(written)), &b); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), "        # "+key+": (hidden)\n") {
			t.Errorf("no line for %s in:\n%s", key, b.String())
		}
		if es := errorsOf(t, b.String()); len(es.List) != 1 || !strings.Contains(es.Error(), "users[0]: has no secret; write one of: ") {
			t.Errorf("it reads as %v", es)
		}
	}
}

func TestAChangedUserOrSecretIsAChangeWithoutItsValue(t *testing.T) {
	t.Setenv("WEIR_TEST_SECRET", "x1")
	path := writeFile(t, "x1")
	inFile := "password_file: " + path
	cert, key := writePEM(t)
	hash := `native_hash: "*94BDCEBE19083CE2A1F959FD02F964C7AF4CFC29"`
	const user = "backends[orders].users[app]"
	for _, tc := range []struct {
		name, before, after string
		want                []string
	}{
		{"nothing", withUser("password: x1"), withUser("password: x1"), nil},
		{"password", withUser("password: x1"), withUser("password: x2"), []string{user + ".password: (a value) -> (another value)"}},
		{"hash", withUser(hash), withUser(strings.ToLower(hash)), []string{user + ".native_hash: (a value) -> (another value)"}},
		{"kind", withUser("password: x1"), withUser(hash), []string{user + ".password: removed", user + ".native_hash: added"}},
		{"none to file", mysqlBase, withUser(inFile), []string{user + `.password_file: "" -> ` + path, user + ".no_password: true -> false"}},
		{"env to file", withUser("password_env: WEIR_TEST_SECRET"), withUser(inFile), []string{
			user + `.password_env: WEIR_TEST_SECRET -> ""`, user + `.password_file: "" -> ` + path}},
		{"max_open and allow", mysqlBase, withUser("no_password: true, max_open: 4, allow: [10.0.0.1]"), []string{
			user + ".max_open: pool.max_open alone -> 4", user + ".allow: everyone -> [10.0.0.1]"}},
		{"name", mysqlBase, strings.Replace(mysqlBase, "name: app,", `name: "a\u00e9 b",`, 1), []string{
			user + ": removed", "backends[orders].users[\"a\u00e9 b\"]: added"}},
		{"order", withUser("no_password: true}, {name: b, no_password: true"), strings.Replace(mysqlBase, "users: [", "users: [{name: b, no_password: true}, ", 1), nil},
		{"mysql", mysqlBase, mysqlBase + "    mysql: {reset: proven, query_timeout: 1s}\n    tls: {mode: required}\n", []string{
			"backends[orders].mysql.reset: always -> proven", "backends[orders].mysql.query_timeout: no limit -> 1s", "backends[orders].tls.mode: disabled -> required"}},
		{"listener's tls", mysqlBase, strings.Replace(mysqlBase, "backend: orders", "backend: orders\n    tls: {cert: "+cert+", key: "+key+"}", 1), []string{
			`listeners[db].tls.cert: "" -> ` + cert, `listeners[db].tls.key: "" -> ` + key}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, changes(t, tc.before, tc.after)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestASecretThatChangedInItsPlaceIsAChange(t *testing.T) {
	path := writeFile(t, "x1")
	t.Setenv("WEIR_TEST_SECRET", "x1")
	for key, place := range map[string]string{"password_file": path, "password_env": "WEIR_TEST_SECRET"} {
		text := withUser(key + ": " + place)
		before, same := mustParse(t, text), mustParse(t, text)
		if err := os.WriteFile(path, []byte("x2"), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("WEIR_TEST_SECRET", "x2")
		after := mustParse(t, text)
		if d := Diff(before, same); len(d) > 0 {
			t.Errorf("%s: nothing changed, Diff sees %v", key, d)
		}
		d := Diff(before, after)
		if want := "backends[orders].users[app]." + key + ": (a value) -> (another value)"; len(d) != 1 || d[0].String() != want || d[0].Restart {
			t.Errorf("got %v, want %s", d, want)
		}
		if err := os.WriteFile(path, []byte("x1"), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("WEIR_TEST_SECRET", "x1")
	}
}

func TestAProtocolChangesWithARestartAlone(t *testing.T) {
	other := strings.NewReplacer("name: web", "name: db", "backend: api", "backend: orders", "name: api", "name: orders").Replace(base)
	want := []string{"listeners[db].protocol: http -> mysql (restart)", "backends[orders].protocol: http -> mysql (restart)"}
	if diff := cmp.Diff(want, changes(t, other, mysqlBase)); diff != "" {
		t.Error(diff)
	}
	renamed := strings.ReplaceAll(mysqlBase, "orders", "mariadb")
	want = []string{"listeners[db].protocol: http -> mysql (restart)", "backends[orders]: removed", "backends[mariadb]: added"}
	if diff := cmp.Diff(want, changes(t, other, renamed)); diff != "" {
		t.Error(diff)
	}
}

func TestMySQLBackendsTakeNoPartOfTheBodies(t *testing.T) {
	if _, warns, err := Parse("weir.yaml", []byte(mysqlBase+"    pool: {max_open: 60000}\n")); len(warns) > 0 || err != nil {
		t.Errorf("got %v, %v", warns, err)
	}
}

func TestTheExampleForMySQLNeedsItsSecret(t *testing.T) {
	t.Setenv("APP_PASSWORD", "")
	_, _, err := Load("mysql.yaml")
	es, ok := errors.AsType[*Errors](err)
	if !ok || len(es.List) != 1 || es.List[0].Path != "backends[0].users[0].password_env" {
		t.Errorf("got %v", err)
	}
}
