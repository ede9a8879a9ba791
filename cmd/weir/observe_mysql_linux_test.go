package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/admin"
	"weir/configs"
	"weir/internal/testnet"
	"weir/proxy/mysql"
)

// The secrets of the tests below, which no page and no log may show.
const (
	hiddenPassword = "swordfish-4711"
	hiddenHash     = "*FD571203974BA9AFE270FE62151AE967ECA5E0AA" // of a password that is not used
	hiddenLiteral  = "a-literal-of-a-statement"
)

// databaseDaemon is a daemon before a database, with an account whose password is
// hidden. more is added to the backend.
func databaseDaemon(t *testing.T, db *testnet.MariaDB, more string) *testDaemon {
	t.Helper()
	d := newTestDaemon(t)
	db.Exec("CREATE USER hid@'%' IDENTIFIED BY '"+hiddenPassword+"'", "GRANT ALL ON app.* TO hid@'%'")
	if err := d.apply(configOf(t, fmt.Sprintf(`
listeners:
  - {name: db, protocol: mysql, address: "127.0.0.1:0", backend: orders, max_clients: 100}
  - {name: more, protocol: mysql, address: "127.0.0.1:0", backend: orders, max_clients: 100}
backends:
  - name: orders
    endpoints: ["%v"]
    users: [{name: hid, password: %s, max_open: 3}, {name: app, native_hash: "%s"}]
    %s
log: {slow_query: %q}
`, db.Address(), hiddenPassword, hiddenHash, more, d.file("slow.log")))); err != nil {
		t.Fatal(err)
	}
	testnet.WaitFor(t, 10*time.Second, "for the server to be known", func() bool { return len(d.graph.notReady()) == 0 })
	return d
}

// client is a connection of hid's over a listener.
func (d *testDaemon) client(listener string) *sql.Conn {
	d.t.Helper()
	db, err := sql.Open("mysql", fmt.Sprintf("hid:%s@tcp(%s)/app?timeout=10s&readTimeout=20s", hiddenPassword, boundAddr(d.t, d.graph, listener)))
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { db.Close() })
	c, err := db.Conn(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	return c
}

func execute(t *testing.T, c *sql.Conn, query string, args ...any) error {
	t.Helper()
	_, err := c.ExecContext(t.Context(), query, args...)
	return err
}

// orders is the backend as the metrics have it.
func (d *testDaemon) orders() *admin.BackendSnapshot {
	s := d.graph.snapshot()
	return of(d.t, s.Backends, "orders", func(b *admin.BackendSnapshot) string { return b.Name })
}

func TestTheStateOfADatabaseIsShown(t *testing.T) {
	d := databaseDaemon(t, testnet.StartMariaDB(t), "")
	a, b := d.client("db"), d.client("more")
	for _, c := range []*sql.Conn{a, b} {
		if err := execute(t, c, "SET @x = 1"); err != nil {
			t.Fatal(err)
		}
	}
	testnet.WaitFor(t, 10*time.Second, "for two silent clients, one of each listener", func() bool { return d.orders().MySQL.IdleAttached == 2 })
	s := d.orders().MySQL
	if len(s.Users) != 1 || s.Users[0] != (admin.UserSnapshot{Name: "hid", Open: 2, MaxOpen: 3}) {
		t.Errorf("users are shown as %+v", s.Users)
	}
	st := of(t, d.status().Backends, "orders", func(b *BackendStatus) string { return b.Name }).MySQL
	if !strings.Contains(st.ServerVersion, "MariaDB") || st.ServerError != "" || st.IdleAttached != 2 {
		t.Errorf("the status has %+v", st)
	}
	if len(st.Users) != 1 || st.Users[0] != (UserStatus{Name: "hid", MaxOpen: 3, Open: 2, Leased: 2}) {
		t.Errorf("the status has the users %+v", st.Users)
	}

	if err := execute(t, b, "SELECT 1 FROM nowhere"); err == nil {
		t.Fatal("a table that is not there was found")
	}
	for _, outcome := range []string{"ok", "error"} {
		n := uint64(0)
		for _, l := range d.graph.snapshot().Listeners {
			for _, r := range l.Requests {
				if r.Backend == "orders" && r.Outcome == outcome {
					n += r.N
				}
			}
		}
		if n == 0 {
			t.Errorf("no command ended in %s", outcome)
		}
	}
}

func TestHowConnectionsAreGivenBackIsShownByKind(t *testing.T) {
	d := databaseDaemon(t, testnet.StartMariaDB(t), "")
	resets := func() map[string]uint64 {
		out := map[string]uint64{}
		for _, r := range d.orders().MySQL.Resets {
			out[r.Label] = r.N
		}
		return out
	}
	was := resets()
	for _, statement := range []string{"SET @x = 1", "DO GET_LOCK('l', 0)"} {
		for _, listener := range []string{"db", "more"} {
			c := d.client(listener)
			if err := execute(t, c, statement); err != nil {
				t.Fatal(err)
			}
			// The driver closes a connection that is bad.
			c.Raw(func(any) error { return driver.ErrBadConn })
			c.Close()
		}
	}
	testnet.WaitFor(t, 10*time.Second, "for two of each kind", func() bool {
		now := resets()
		return now["later"] >= was["later"]+2 && now["now"] >= was["now"]+2
	})
	if now := resets(); now["skipped"] != 0 || now["closed"] != 0 || len(now) != len(resetKinds) {
		t.Errorf("resets are %v", now)
	}
}

func TestClientsThatKeepTheirConnectionAreShownByReason(t *testing.T) {
	d := databaseDaemon(t, testnet.StartMariaDB(t), "mysql: {mode: transaction}")
	shown := func() (now, ever uint64) {
		t.Helper()
		db := d.orders().MySQL
		if len(db.Pinned) != len(mysql.PinReasons()) || len(db.Pins) != len(db.Pinned) {
			t.Fatalf("shown are %v and %v", db.Pinned, db.Pins)
		}
		i := slices.IndexFunc(db.Pins, func(c admin.Count) bool { return c.Label == "variables" })
		return db.Pinned[i].N, db.Pins[i].N
	}
	expect := func(what string, wantNow, wantEver uint64) {
		t.Helper()
		testnet.WaitFor(t, 10*time.Second, what, func() bool { now, ever := shown(); return now == wantNow && ever == wantEver })
	}
	var all []*sql.Conn
	for _, listener := range []string{"db", "more"} {
		c := d.client(listener)
		if err := execute(t, c, "SELECT 1"); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	expect("that nobody is pinned", 0, 0)
	for _, c := range all {
		if err := execute(t, c, "SET @x = 1"); err != nil {
			t.Fatal(err)
		}
	}
	expect("for two that are", 2, 2)
	st := of(t, d.status().Backends, "orders", func(b *BackendStatus) string { return b.Name }).MySQL
	if st.Mode != "transaction" || st.Pinned["variables"] != 2 {
		t.Errorf("the status has %+v", st)
	}
	for _, c := range all {
		c.Raw(func(any) error { return driver.ErrBadConn })
		c.Close()
	}
	expect("that they are so no more", 0, 2)
}

func TestSilentClientsThatHoldMostOfAPoolAreInTheLog(t *testing.T) {
	d := databaseDaemon(t, testnet.StartMariaDB(t), "pool: {max_open: 3}\n    queue: {timeout: 20s}")
	g := d.graph
	var held []*sql.Conn
	for range 3 {
		c := d.client("db")
		if err := execute(t, c, "SET @x = 1"); err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
	}
	testnet.WaitFor(t, 10*time.Second, "for silent clients", func() bool { return d.orders().MySQL.IdleAttached == 3 })
	start := time.Now()
	g.lookAttached(start)
	done := make(chan error, 1)
	late := d.client("more")
	go func() { _, err := late.ExecContext(context.Background(), "SET @x = 1"); done <- err }()
	testnet.WaitFor(t, 10*time.Second, "for somebody who waits", func() bool { return g.backends["orders"].pool.Stats().Waiting == 1 })
	g.lookAttached(start.Add(attachedFor / 2))
	const text = "most backend connections are held by clients that are silent"
	if strings.Contains(d.stderr.text(), text) {
		t.Error("warned after half a minute")
	}
	for i := range 3 {
		g.lookAttached(start.Add(attachedFor + time.Duration(i)*attachedTick))
	}
	held[0].Raw(func(any) error { return driver.ErrBadConn })
	if err := <-done; err != nil {
		t.Errorf("who waited: %v", err)
	}
	got := d.stderr.text()
	for _, want := range []string{text, "backends[].pool.max_open", "backends[].mysql.idle_attached_timeout", "transaction mode", `"backend":"orders"`, `"max_open":3`, `"idle_attached":3`} {
		if strings.Count(got, want) != 1 {
			t.Errorf("%q is in the log %d times, want once:\n%s", want, strings.Count(got, want), got)
		}
	}
}

func TestSlowStatementsComeIntoTheLogAndFastOnesDoNot(t *testing.T) {
	d := databaseDaemon(t, testnet.StartMariaDB(t), "mysql: {slow: 100ms}")
	c := d.client("db")
	for _, statement := range []string{"DO 1", "DO SLEEP(0.2), '" + hiddenLiteral + "'", "SELECT SLEEP(0.2) FROM nowhere.there"} {
		execute(t, c, statement)
	}
	testnet.WaitFor(t, 10*time.Second, "for a line", func() bool { return d.status().SlowQueryLog.Written > 0 })
	b, err := os.ReadFile(d.file("slow.log"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	if strings.Count(text, "\n") != 1 || !strings.Contains(text, `"digest":"DO SLEEP(?), ?"`) || !strings.Contains(text, `"user":"hid","database":"app","backend":"orders","command":"COM_QUERY"`) ||
		!strings.Contains(text, `"listener":"db","client":"127.0.0.1"`) {
		t.Errorf("the log has %s", text)
	}
	d.noSecret("the slow-query log", text)
}

// noSecret wants none of the secrets in a text.
func (d *testDaemon) noSecret(where, text string) {
	d.t.Helper()
	for _, secret := range []string{hiddenPassword, hiddenHash, strings.TrimPrefix(hiddenHash, "*"), hiddenLiteral} {
		if strings.Contains(strings.ToLower(text), strings.ToLower(secret)) {
			d.t.Errorf("%s shows %s", where, secret)
		}
	}
}

func TestNoPageAndNoLogShowsASecret(t *testing.T) {
	db := testnet.StartMariaDB(t)
	d := databaseDaemon(t, db, "mysql: {slow: 1ms}")
	d.level.Set(-8)
	c := d.client("db")
	execute(t, c, "SELECT SLEEP(0.01), '"+hiddenLiteral+"'")
	execute(t, c, "SELECT '"+hiddenLiteral+"' FROM nowhere.there")
	execute(t, c, "SET PASSWORD = PASSWORD('"+hiddenLiteral+"')")
	// Logins that fail on either side.
	wrong, err := sql.Open("mysql", fmt.Sprintf("app:%s@tcp(%s)/app", hiddenPassword, boundAddr(t, d.graph, "db")))
	if err != nil {
		t.Fatal(err)
	}
	defer wrong.Close()
	if err := wrong.Ping(); err == nil {
		t.Error("a wrong password was taken")
	}
	db.Exec("DROP USER hid@'%'")
	c.Raw(func(any) error { return driver.ErrBadConn })

	cfg := configs.Config{Admin: configs.Admin{Pprof: true}}
	pages := admin.New(d.adminOptions(&cfg))
	defer pages.Close(context.Background())
	bound, err := pages.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, page := range []string{"/", "/metrics", "/api/status", "/healthz", "/readyz", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2", "/nowhere"} {
		resp, err := http.Get("http://" + bound.String() + page)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		shown += strings.Count(string(b), "orders")
		d.noSecret(page, fmt.Sprint(resp.Header, string(b)))
	}
	if shown < 10 {
		t.Errorf("the backend is named %d times only: are these the pages?", shown)
	}
	d.closeLines()
	b, err := os.ReadFile(d.file("slow.log"))
	if err != nil || len(b) == 0 {
		t.Fatalf("the slow-query log has %d bytes, %v", len(b), err)
	}
	d.noSecret("the slow-query log", string(b))
	d.noSecret("weir's own log", d.stderr.text())
}

// The server answers, so nothing is held down, and still nobody is served.
func TestALoginThatTheServerRefusesIsATroubleOfTheBackend(t *testing.T) {
	db := testnet.StartMariaDB(t)
	d := databaseDaemon(t, db, "")
	db.Exec("ALTER USER hid@'%' IDENTIFIED BY 'another'")
	orders := func() *BackendStatus {
		return of(t, d.status().Backends, "orders", func(b *BackendStatus) string { return b.Name })
	}
	if b := orders(); b.dialsFail() {
		t.Fatalf("before anybody asked: %s", b.trouble())
	}
	early, err := sql.Open("mysql", fmt.Sprintf("hid:%s@tcp(%s)/app?timeout=10s&readTimeout=20s", hiddenPassword, boundAddr(t, d.graph, "db")))
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	if _, err := early.ExecContext(t.Context(), "SELECT 1"); err == nil {
		t.Fatal("served with a password that is another by now")
	}
	if b := orders(); !b.dialsFail() || !strings.Contains(b.trouble(), "1045") || strings.Contains(b.trouble(), hiddenPassword) {
		t.Errorf("the status says %q", b.trouble())
	}
	db.Exec("ALTER USER hid@'%' IDENTIFIED BY '" + hiddenPassword + "'")
	testnet.WaitFor(t, 10*time.Second, "for somebody to be served", func() bool { _, err := early.ExecContext(t.Context(), "SELECT 1"); return err == nil })
	if b := orders(); b.trouble() != "" {
		t.Errorf("after that: %q", b.trouble())
	}
}
