package configs

import (
	"bytes"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var update = flag.Bool("update", false, "write schema.json and the expected messages in testdata")

var shipped = []string{"default.yaml", "minimal.yaml", "http.yaml", "mysql.yaml", "gateway.yaml"}

// sameConfig compares two configurations, leaving out which keys were written.
// The secrets of users are Diff's to compare.
var sameConfig = []cmp.Option{cmpopts.IgnoreUnexported(Config{}, User{}, Overload{}, Admin{}), cmpopts.EquateComparable(netip.Prefix{})}

// TestMain has the secret that mysql.yaml wants from the environment.
func TestMain(m *testing.M) {
	os.Setenv("APP_PASSWORD", "quite secret")
	os.Exit(m.Run())
}

func mustParse(t testing.TB, text string) *Config {
	t.Helper()
	c, _, err := Parse("weir.yaml", []byte(text))
	if err != nil {
		t.Fatalf("%v\nin:\n%s", err, text)
	}
	return c
}

const base = `listeners:
  - name: web
    protocol: http
    address: 127.0.0.1:8080
    backend: api
backends:
  - name: api
    endpoints: [127.0.0.1:9001]
`

const mysqlBase = `listeners:
  - name: db
    protocol: mysql
    address: 127.0.0.1:3306
    backend: orders
backends:
  - name: orders
    endpoints: [127.0.0.1:3307]
    users: [{name: app, no_password: true}]
`

func TestShippedFilesLoadWithoutWarnings(t *testing.T) {
	for _, name := range shipped {
		_, warns, err := Load(name)
		if err != nil {
			t.Error(err)
		}
		for _, w := range warns {
			t.Error(w)
		}
	}
}

// A comment #key: value in default.yaml is a key without a default value.
var commented = regexp.MustCompile(`(?m)^( *)#([ a-z_-])`)

var index = regexp.MustCompile(`\[[0-9]+\]`)

func TestDefaultFileHoldsEveryKey(t *testing.T) {
	text := string(defaultYAML)
	_, text, _ = strings.Cut(text, "listeners:")
	text = "listeners:" + commented.ReplaceAllString(text, "$1$2")
	text = strings.Replace(text, "    backend: api", "   ", 1) // routes stand in its place
	file := filepath.Join(t.TempDir(), "b")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("A_PASSWORD", "secret")
	cert, key := writePEM(t)
	token := writeFile(t, strings.Repeat("t", minToken))
	c := mustParse(t, strings.NewReplacer("/run/secrets/b", file, "/etc/weir/sorry.html", file, "/etc/weir/db.crt", cert, "/etc/weir/db.key", key,
		"/etc/weir/ca.crt", cert, "/etc/weir/weir.crt", cert, "/etc/weir/weir.key", key,
		"/etc/weir/admin.token", token, "/etc/weir/admin.crt", cert, "/etc/weir/admin.key", key).Replace(text))
	written := map[string]bool{}
	for path := range c.set {
		written[index.ReplaceAllString(path, "[]")] = true
	}
	for _, path := range KeyPaths() {
		if !written[path] {
			t.Errorf("default.yaml has no %s", path)
		}
	}
}

func TestWritingTheDefaultsChangesNothing(t *testing.T) {
	written := mustParse(t, string(defaultYAML))
	left := mustParse(t, base)
	db := mustParse(t, mysqlBase)
	left.Listeners, left.Backends = append(left.Listeners, db.Listeners...), append(left.Backends, db.Backends...)
	if diff := cmp.Diff(left, written, sameConfig...); diff != "" {
		t.Errorf("base and default.yaml differ:\n%s", diff)
	}
	if diff := cmp.Diff(Default(), written, sameConfig...); diff != "" {
		t.Errorf("Default() and default.yaml differ:\n%s", diff)
	}
}

func TestDefaultGivesEachCallerItsOwn(t *testing.T) {
	a, b := Default(), Default()
	a.Listeners[0].Address[0] = "changed"
	a.Backends[0].Pool.MaxOpen = 1
	if b.Listeners[0].Address[0] == "changed" || b.Backends[0].Pool.MaxOpen == 1 || mustParse(t, base).Backends[0].Pool.MaxOpen != 64 {
		t.Error("a change of one default configuration reached another")
	}
}

func TestDialRateFollowsMaxOpen(t *testing.T) {
	for _, tc := range []struct{ pool, want string }{
		{"{max_open: 1}", "50/s"}, {"{max_open: 13}", "52/s"}, {"{max_open: 500}", "2000/s"},
	} {
		c := mustParse(t, base+"    pool: "+tc.pool+"\n")
		if got := c.Backends[0].Dial.Rate.String(); got != tc.want {
			t.Errorf("pool %s: rate is %s, want %s", tc.pool, got, tc.want)
		}
	}
	c := mustParse(t, base+"    pool: {max_open: 500}\n    dial: {rate: 90/m}\n")
	if r := c.Backends[0].Dial.Rate; r.PerSecond() != 1.5 || r.String() != "90/m" {
		t.Errorf("a written rate became %s", r)
	}
}

func TestEffectiveLoadsAgainToAnEqualConfig(t *testing.T) {
	full := strings.Replace(base, "    backend: api\n", `    routes:
      - {host: "*.Shop.test", path: /a, backend: api, strip: true, set_header: {X-A: "tab\there: \"1\"", x-b: "true"}, remove_header: [X-C]}
      - {backend: api}
    max_body: 3000B
    allow: [10.0.0.0/8, "::1", 192.0.2.7]
    trusted_proxies: ["2001:db8::/32"]
    via: "null"
    timeouts: {header: 1500ms, idle: 90m}
`, 1) + "    retry_budget: 2.5%\n    dial: {rate: 30000/h}\nadmin: {socket: unix:/run/a b.sock}\n"
	texts := map[string]string{"base": base, "full": full}
	for _, name := range shipped {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(data)
	}
	for name, text := range texts {
		c := mustParse(t, text)
		var b bytes.Buffer
		if err := Effective(c, &b); err != nil {
			t.Fatal(err)
		}
		again := mustParse(t, b.String())
		if diff := cmp.Diff(c, again, sameConfig...); diff != "" {
			t.Errorf("%s: the effective configuration reads differently:\n%s\n%s", name, diff, b.String())
		}
		if d := Diff(c, again); len(d) > 0 {
			t.Errorf("%s: Diff sees %v", name, d)
		}
	}
}

func TestEffectiveMarksDefaultsAndOnlyThem(t *testing.T) {
	c := mustParse(t, base+"    pool: {max_open: 64}\n")
	var b bytes.Buffer
	if err := Effective(c, &b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"    address: [127.0.0.1:8080]\n", "    max_clients: 10000  # default\n", "      max_open: 64\n",
		"      rate: 256/s  # default\n", "    # max_body: not set (no limit)\n", "  - name: web\n", "    - address: 127.0.0.1:9001\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no line %q in:\n%s", want, b.String())
		}
	}
}

func TestEveryKeyIsDocumentedWithItsDefault(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "docs", "config.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for l := range strings.Lines(string(doc)) {
		cells := strings.Split(strings.TrimSpace(l), " | ")
		if key, ok := strings.CutPrefix(cells[0], "| `"); ok && len(cells) >= 4 {
			rows[strings.TrimSuffix(key, "`")] = cells[1]
		}
	}
	def, seen := Default(), map[string]bool{}
	walkSchema(reflect.TypeFor[Config](), "", func(path string, f field) {
		if !isLeaf(f.typ) && f.typ.Kind() == reflect.Struct || strings.HasSuffix(path, "[]") {
			return
		}
		row := path
		if _, key, ok := strings.Cut(path, "].limits."); ok {
			row = "limits." + key // one table, wherever the block stands
		}
		seen[row] = true
		want := ""
		switch {
		case f.need:
			want = "needed"
		case f.oneof != "":
		case f.absent != "":
			want = f.absent
		case isLeaf(f.typ) && !strings.Contains(path, "routes[]"):
			http, mysql := valueAt(def, path, ProtocolHTTP), valueAt(def, path, ProtocolMySQL)
			want = "`" + http + "`"
			if http != mysql {
				want += " for http, `" + mysql + "` for mysql"
			}
		}
		switch have, ok := rows[row]; {
		case !ok:
			t.Errorf("docs/config.md has no row for %s", path)
		case want != "" && have != want && path != "backends[].dial.rate":
			t.Errorf("docs/config.md: default of %s is %q, want %q", path, have, want)
		}
	})
	for path := range rows {
		if seen[path] {
			continue
		}
		t.Errorf("docs/config.md has a row for %s, which is no key", path)
	}
}

// valueAt reads the leaf at a path with [] standing for the first entry of a
// protocol, or of the one protocol that has a key of the path.
func valueAt(c *Config, path, protocol string) string {
	v, list := reflect.ValueOf(*c), reflect.Value{}
	for part := range strings.SplitSeq(path, ".") {
		key, isList := strings.CutSuffix(part, "[]")
		for _, f := range fieldsOf(v.Type()) {
			if f.key != key {
				continue
			}
			if f.only != "" && f.only != protocol {
				return valueAt(c, path, f.only)
			}
			v = v.Field(f.index)
			break
		}
		if !isList {
			continue
		}
		list, v = v, v.Index(0)
		for i := range list.Len() {
			if p, ok := protocolOf(list.Index(i)); ok && p == protocol {
				v = list.Index(i)
			}
		}
	}
	return formatScalar(v)
}
