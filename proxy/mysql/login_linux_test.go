package mysql_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"

	"weir/internal/testnet"
	"weir/proxy/mysql"
	"weir/proxy/mysql/wire"
)

// accounts are those of testnet's MariaDB.
func accounts(names ...string) (all []*mysql.User) {
	for _, n := range names {
		all = append(all, withPassword(n, password))
	}
	return all
}

// shortDir: the path of a unix socket may have about 100 bytes.
func shortDir(t testing.TB) string {
	dir, err := os.MkdirTemp("", "w")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func serverTLS(t testing.TB) *tls.Config {
	files := testnet.NewTLSFiles(t)
	cert, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}}
}

var noCheck = &tls.Config{InsecureSkipVerify: true}

// Every way of a login that is refused, and every plugin, gives an intruder the
// same bytes, so that he does not learn which part was wrong.
func TestRefusedLoginsAreAllAlike(t *testing.T) {
	t.Parallel()
	f := newFake(t, echo)
	far := withPassword("app", "secret")
	far.Allow = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	secret := strings.Repeat("long password ", 8)
	for _, plugin := range []string{wire.PluginNative, wire.PluginSHA2} {
		for _, first := range []string{wire.PluginNative, wire.PluginSHA2, "client_ed25519"} {
			for _, over := range []string{"tcp", "tls", "unix"} {
				t.Run(plugin+" "+first+" "+over, func(t *testing.T) {
					seen := map[string]string{}
					for name, user := range map[string]*mysql.User{
						"wrong password": withPassword("app", "other"), "unknown": withPassword("nobody", secret),
						"not allowed": far, "wrong hash": withHash("app", "other"),
					} {
						o := rigOptions{backend: f.address(), users: []*mysql.User{user}, unknown: true, version: fakeVersion,
							be: func(b *mysql.Backend) { b.Plugin = plugin }}
						as := loginAs{password: secret, plugin: first}
						switch over {
						case "tls":
							o.settings = func(s *mysql.Settings) { s.TLS = serverTLS(t) }
							as.tls = noCheck
						case "unix":
							if user == far {
								continue // a client there has no address
							}
							o.listen = "unix:" + filepath.Join(shortDir(t), "s")
						}
						r := newRig(t, o)
						if name == "not allowed" {
							as.password = "secret" // the right one
						}
						c := r.connect()
						c.seen = nil
						code, text := errorOf(t, c.login(as))
						if code != wire.CodeAccessDenied || !strings.HasPrefix(text, "Access denied for user 'app'@'") || !strings.HasSuffix(text, "' (using password: YES)") {
							t.Errorf("%s: %d %q", name, code, text)
						}
						c.closed()
						seen[fmt.Sprint(c.seen, text)] += name + ", "
						if n := r.outcomes("access_denied"); n != 1 {
							t.Errorf("outcomes: %v", r.front.Stats().Requests)
						}
					}
					if len(seen) != 1 {
						t.Errorf("they can be told apart: %q", seen)
					}
				})
			}
		}
	}
}

func TestEveryPluginLetsARightPasswordIn(t *testing.T) {
	t.Parallel()
	m := testnet.StartMariaDB(t, testnet.MariaDBTLS())
	for _, account := range []string{"password", "hash"} {
		for _, plugin := range []string{wire.PluginNative, wire.PluginSHA2} {
			for _, first := range []string{wire.PluginNative, wire.PluginSHA2, "client_ed25519", ""} {
				for _, over := range []string{"tcp", "tls", "unix"} {
					t.Run(strings.Join([]string{account, plugin, first, over}, " "), func(t *testing.T) {
						user := withPassword("app", password)
						if account == "hash" {
							user = withHash("app", password)
						}
						o := rigOptions{backend: m.Address(), users: []*mysql.User{user}, unknown: true, version: fakeVersion,
							be: func(b *mysql.Backend) { b.Plugin = plugin }}
						as := loginAs{database: "app", plugin: first}
						switch over {
						case "tls":
							o.settings = func(s *mysql.Settings) { s.TLS, s.RequireTLS = serverTLS(t), true }
							o.tls = noCheck
							as.tls = noCheck
						case "unix":
							o.listen = "unix:" + filepath.Join(shortDir(t), "s")
							o.backend = "unix:" + m.Socket()
						}
						if first == "" { // a client from before plugins
							as.caps = usual &^ (wire.CapPluginAuth | wire.CapAuthLenenc)
							as.plugin = wire.PluginNative
						}
						r := newRig(t, o)
						for range 2 { // the second finds what the first has taught
							c := r.login(as)
							if a := c.query("SELECT CURRENT_USER()"); a.one() != "app@%" {
								t.Errorf("got %v", a)
							}
							c.quit()
						}
					})
				}
			}
		}
	}
}

func TestADriverLogsInByEveryPlugin(t *testing.T) {
	t.Parallel()
	m := testnet.StartMariaDB(t)
	for _, plugin := range []string{wire.PluginNative, wire.PluginSHA2} {
		r := newRig(t, rigOptions{backend: m.Address(), users: accounts("app", "apped", "apprl"), be: func(b *mysql.Backend) { b.Plugin = plugin },
			settings: func(s *mysql.Settings) { s.TLS = serverTLS(t) }})
		for _, user := range []string{"app", "apped", "apprl"} {
			for _, params := range []string{"", "tls=skip-verify", "allowNativePasswords=true&allowCleartextPasswords=true"} {
				db, err := sql.Open("mysql", r.dsn(user, password, "app", params))
				if err != nil {
					t.Fatal(err)
				}
				got, err := testnet.QueryStrings(db, "SELECT CURRENT_USER(), ? + 1", 41)
				if err != nil || got[0][0] != user+"@%" || got[0][1] != "42" {
					t.Errorf("%s %s %s: %v, %v", plugin, user, params, got, err)
				}
				db.Close()
			}
		}
	}
}

func TestAnAccountWithoutPasswordTakesNone(t *testing.T) {
	m := testnet.StartMariaDB(t)
	m.Exec("CREATE USER open@'%'", "GRANT ALL ON app.* TO open@'%'")
	for _, plugin := range []string{wire.PluginNative, wire.PluginSHA2} {
		r := newRig(t, rigOptions{backend: m.Address(), users: []*mysql.User{withPassword("open", "")}, be: func(b *mysql.Backend) { b.Plugin = plugin }})
		c := r.login(loginAs{user: "open", none: true, plugin: plugin})
		c.alive()
		c = r.connect()
		code, text := errorOf(t, c.login(loginAs{user: "open", password: "any", plugin: plugin}))
		if code != wire.CodeAccessDenied {
			t.Errorf("%d %q", code, text)
		}
		c = r.connect()
		if code, text = errorOf(t, c.login(loginAs{user: "nobody", none: true, plugin: plugin})); code != wire.CodeAccessDenied || !strings.HasSuffix(text, "NO)") {
			t.Errorf("%d %q", code, text)
		}
	}
}

func TestChangeUserIsALoginOfItsOwn(t *testing.T) {
	t.Parallel()
	m := testnet.StartMariaDB(t)
	m.Exec("CREATE TABLE other.t (a INT)")
	r := newRig(t, rigOptions{backend: m.Address(), users: accounts("app", "apprl"), maxOpen: 4})
	for _, caps := range []wire.Caps{usual, old, usual &^ (wire.CapPluginAuth | wire.CapAuthLenenc)} {
		c := r.login(loginAs{database: "app", caps: caps})
		c.do("SET @x = 5", "BEGIN", "CREATE TEMPORARY TABLE app.mine (a INT)")
		change := func(user, password, database string) []byte {
			l := &wire.Login{Caps: c.caps, Charset: 45, User: []byte(user), Database: []byte(database), Plugin: []byte(wire.PluginNative),
				Proof: proof(wire.PluginNative, password, c.greet.Nonce[:])}
			b, next := wire.AppendPacket(nil, wire.AppendChangeUser(nil, l), 0)
			c.seq = next
			c.write(b)
			return c.steps(loginAs{password: password})
		}
		if p := change("apprl", password, "app"); p[0] != 0 {
			t.Fatalf("got %q", p)
		}
		if a := c.do("SELECT CONCAT_WS(',', CURRENT_USER(), CURRENT_ROLE(), @x, DATABASE())"); a.one() != "apprl@%,reader,app" {
			t.Errorf("got %v", a)
		}
		c.query("SELECT * FROM app.mine").refused(t, 1146)
		if p := change("app", password, "other"); p[0] != 0 {
			t.Fatalf("got %q", p)
		}
		if a := c.do("SELECT CONCAT_WS(',', CURRENT_USER(), CURRENT_ROLE(), @x, DATABASE())"); a.one() != "app@%,other" {
			t.Errorf("got %v", a)
		}
		if code, text := errorOf(t, change("app", "wrong", "")); code != wire.CodeAccessDenied {
			t.Errorf("%d %q", code, text)
		}
		c.closed()
	}
}

func TestDatabasesAreVettedAtTheLogin(t *testing.T) {
	m := testnet.StartMariaDB(t)
	m.Exec("CREATE DATABASE late")
	r := newRig(t, rigOptions{backend: m.Address(), users: accounts("app", "appall"), maxOpen: 1})
	refused := func(user, database string, code wire.Code) {
		t.Helper()
		c := r.connect()
		if got, text := errorOf(t, c.login(loginAs{user: user, database: database})); got != code || strings.Contains(text, "weir") {
			t.Errorf("%s at %q: %d %q, want the server's %d", user, database, got, text, code)
		}
		c.closed()
	}
	refused("appall", "nowhere", wire.CodeUnknownDatabase)
	refused("app", "vault", 1044)
	// On a connection that is used again, too.
	r.forgetDatabases()
	c := r.login(loginAs{user: "appall", database: "late"})
	c.alive()
	c.quit()
	r.idle()
	m.Exec("DROP DATABASE late")
	r.forgetDatabases()
	refused("appall", "late", wire.CodeUnknownDatabase)
	// INIT_DB without a connection.
	c = r.login(loginAs{user: "appall", database: "app"})
	c.command(wire.ComInitDB, "nowhere").refused(t, wire.CodeUnknownDatabase)
	if a := c.do("SELECT DATABASE()"); a.one() != "app" {
		t.Errorf("got %v", a)
	}
	c.quit()
	c = r.login(loginAs{user: "appall", database: "app"})
	if a := c.command(wire.ComInitDB, "other"); a.code != 0 {
		t.Errorf("got %v", a)
	}
	if a := c.do("SELECT DATABASE()"); a.one() != "other" {
		t.Errorf("got %v", a)
	}
}

// Somebody between client and server may put bytes behind the request, in the
// hope that they are taken for what came inside TLS.
func TestBytesInClearBehindARequestForTLSAreNotALogin(t *testing.T) {
	f := newFake(t, echo)
	r := newRig(t, rigOptions{backend: f.address(), settings: func(s *mysql.Settings) { s.TLS = serverTLS(t) }})
	c := r.connect()
	l := &wire.Login{Caps: usual &^ wire.CapConnectWithDB, MaxPacket: 1 << 24, Charset: 45, User: []byte("app"), Plugin: []byte(wire.PluginNative),
		Proof: proof(wire.PluginNative, password, c.greet.Nonce[:])}
	b, _ := wire.AppendPacket(nil, wire.AppendSSLRequest(nil, l), 1)
	b, _ = wire.AppendPacket(b, wire.AppendLogin(nil, l), 2)
	c.write(append(b, packet(wire.ComQuery, "SELECT 'in clear'")...))
	if got, _ := io.ReadAll(c.br); bytes.Contains(got, []byte("in clear")) || len(got) > 7 { // a TLS alert
		t.Errorf("got %q", got)
	}
	testnet.WaitFor(t, testWait, "it is counted", func() bool { return r.outcomes("login_aborted") == 1 })
}

func TestTLSIsRequiredBeforeAPasswordIsLookedAt(t *testing.T) {
	f := newFake(t, echo)
	r := newRig(t, rigOptions{backend: f.address(), settings: func(s *mysql.Settings) { s.TLS, s.RequireTLS = serverTLS(t), true }})
	c := r.connect()
	if code, text := errorOf(t, c.login(loginAs{})); code != wire.CodeSecureTransport {
		t.Errorf("%d %q", code, text)
	}
	c.closed()
	r = newRig(t, rigOptions{backend: f.address()})
	c = r.connect()
	c.send(wire.AppendSSLRequest(nil, &wire.Login{Caps: usual, Charset: 45}))
	if code, text := errorOf(t, c.must()); code != wire.CodeHandshake {
		t.Errorf("without TLS: %d %q", code, text)
	}
	c.closed()
}

func TestALoginEndsInTime(t *testing.T) {
	t.Parallel()
	f := newFake(t, echo)
	for name, sent := range map[string]string{"nothing": "", "half a header": "\x20\x00", "half a login": "\x40\x00\x00\x01\x00\x00"} {
		for _, over := range []bool{false, true} {
			r := newRig(t, rigOptions{backend: f.address(), settings: func(s *mysql.Settings) { s.LoginTimeout, s.TLS = 300*time.Millisecond, serverTLS(t) }})
			c := r.connect()
			if over && name == "half a login" {
				continue // TLS sees at once that it is none of its own
			}
			if over {
				c.send(wire.AppendSSLRequest(nil, &wire.Login{Caps: usual, Charset: 45}))
			}
			io.WriteString(c, sent)
			began := time.Now()
			c.closed()
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("%s: took %s", name, took)
			}
			if !testnet.Poll(time.Second, func() bool { return r.outcomes("login_timeout") == 1 }) {
				t.Errorf("%s, %v: outcomes %v", name, over, r.front.Stats().Requests)
			}
		}
	}
}

func TestAFloodOfLoginsIsRefused(t *testing.T) {
	f := newFake(t, echo)
	r := newRig(t, rigOptions{backend: f.address(), settings: func(s *mysql.Settings) { s.MaxLogins = 2 }})
	a, b := r.connect(), r.connect()
	c := newClient(t, r.dial())
	if code, text := errorOf(t, c.must()); code != wire.CodeTooManyConnections {
		t.Errorf("%d %q", code, text)
	}
	c.closed()
	if p := a.login(loginAs{}); p[0] != 0 {
		t.Fatalf("got %q", p)
	}
	b.gone()
	testnet.WaitFor(t, testWait, "those who left do not count", func() bool { return r.front.Stats().Logins == 0 })
	r.login(loginAs{}).alive()
	a.alive()
}

func TestAddressesThatAreNotAllowedAreTurnedAway(t *testing.T) {
	f := newFake(t, echo)
	r := newRig(t, rigOptions{backend: f.address(), settings: func(s *mysql.Settings) { s.Allow = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} }})
	c := newClient(t, r.dial())
	if code, text := errorOf(t, c.must()); code != wire.CodeHostNotAllowed || bytes.Contains([]byte(text), []byte("#HY")) {
		t.Errorf("%d %q", code, text)
	}
	c.closed()
	if n := r.outcomes("not_allowed"); n != 1 {
		t.Errorf("outcomes: %v", r.front.Stats().Requests)
	}
}

// Nobody knows yet who a client is, so it is told no address and no setting.
func TestAServerThatWasNeverReachedIsNotNamed(t *testing.T) {
	f := newFake(t, echo)
	f.l.Close()
	r := newRig(t, rigOptions{backend: f.address(), unknown: true})
	var log bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	r.server.Learn(ctx, r.pool, mysql.WarmKey("app", ""), slog.New(slog.NewTextHandler(&log, nil)))
	if !strings.Contains(log.String(), "was not reached yet") || !strings.Contains(log.String(), f.address()) {
		t.Errorf("the log says %q", log.String())
	}
	c := newClient(t, r.dial())
	if code, text := errorOf(t, c.must()); code != wire.CodeTooManyConnections || !strings.Contains(text, "was not reached yet") || strings.Contains(text, "127.0.0.1") {
		t.Errorf("%d %q", code, text)
	}
	c.closed()
}

func TestAHashAloneLogsInAfterTheFirstClient(t *testing.T) {
	m := testnet.StartMariaDB(t)
	was := withHash("app", password)
	r := newRig(t, rigOptions{backend: m.Address(), users: []*mysql.User{was}})
	if _, _, err := r.server.Connect(t.Context(), mysql.WarmKey("app", "app")); err == nil || !strings.Contains(err.Error(), "native_hash") {
		t.Errorf("before a client: %v", err)
	}
	r.login(loginAs{database: "app"}).alive()
	// A reload brings the same account again.
	next := withHash("app", password)
	next.Inherit(was)
	opt := *r.opt
	opt.Users = map[string]*mysql.User{"app": next}
	r.server.Apply(&opt)
	c, _, err := r.server.Connect(t.Context(), mysql.WarmKey("app", "app"))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	changed := withHash("app", "another")
	changed.Inherit(was)
	opt.Users = map[string]*mysql.User{"app": changed}
	r.server.Apply(&opt)
	if _, _, err := r.server.Connect(t.Context(), mysql.WarmKey("app", "app")); err == nil {
		t.Error("a changed hash has kept the old password")
	}
}
