package mysql_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/internal/reason"
	"weir/internal/testnet"
	"weir/proxy/mysql"
	"weir/proxy/mysql/wire"
)

func proven(b *mysql.Backend) { b.Proven = true }

// next ends a client and logs the next one in, once the first one's connection is
// free: with max_open 1 they get the same.
func (r *rig) next(c *client, as loginAs) *client {
	r.t.Helper()
	c.quit()
	r.idle()
	return r.login(as)
}

// serverID is the server's number of the connection that c holds.
func (c *client) serverID() string {
	c.t.Helper()
	return c.do("SELECT CONNECTION_ID() + 0").one()
}

func TestAResetIsLeftOutOnlyWhereItIsProved(t *testing.T) {
	t.Parallel()
	m := testnet.StartMariaDB(t)
	m.Exec("CREATE TABLE app.t (a INT)", "CREATE FUNCTION app.f() RETURNS INT DETERMINISTIC RETURN 1",
		"ALTER DATABASE app COLLATE "+m.Variable("collation_server")) // so that no other SET is needed
	r := newRig(t, rigOptions{backend: m.Address(), maxOpen: 1, be: proven})
	as := loginAs{database: "app"}
	c := r.login(as)
	c.do("SELECT 1")
	// A reset cannot be asked for at the server, but each comes with a SET ROLE.
	count := func(first, then string) int64 {
		t.Helper()
		c = r.next(c, as)
		c.do("DO 0") // a clean start, whatever was before
		c = r.next(c, as)
		c.query(first)
		c = r.next(c, as)
		base := m.Status("Com_set_option")
		c.query(then)
		return m.Status("Com_set_option") - base
	}
	for _, tc := range []struct {
		first, then string
		resets      int64
	}{
		{"SELECT 1", "SELECT 1", 0},
		{"SELECT 1", "select 'a', NOW()", 0},
		{"SELECT 1", "SELECT COUNT(*) FROM t", 1}, // a view or a trigger may ask for what was left
		{"SELECT 1", "SELECT ROW_COUNT()", 1},
		{"SELECT 1", "SELECT FOUND_ROWS()", 1},
		{"SELECT 1", "SELECT LAST_INSERT_ID()", 1},
		{"SELECT 1", "SHOW WARNINGS", 1},
		{"SELECT 1", "SELECT 1; SELECT FOUND_ROWS()", 1},
		{"SELECT 1", "DO 1", 1},
		{"SELECT 1", "SELECT f()", 1},
		{"SELECT 1/0", "SELECT 1", 1}, // a warning
		{"SELECT nothing", "SELECT 1", 1},
		{"SELECT COUNT(*) FROM t", "SELECT 1", 1},
		{"SELECT f()", "SELECT 1", 0}, // it may have locked something
		{"SELECT @a := 1", "SELECT 1", 1},
		{"SET @a = 1", "SELECT 1", 1},
		{"SET NAMES latin1", "SELECT 1", 1},
		{"INSERT INTO t VALUES (1)", "SELECT 1", 1},
		{"SELECT SQL_CALC_FOUND_ROWS 1", "SELECT 1", 1},
		{"SELECT GET_LOCK('l', 0)", "SELECT 1", 0}, // at once, so not any more
		{"BEGIN", "SELECT 1", 0},
	} {
		if n := count(tc.first, tc.then); n != tc.resets {
			t.Errorf("%s, then %s: %d resets, want %d", tc.first, tc.then, n, tc.resets)
		}
	}
	if r.resets("skipped") == 0 || r.resets("now") == 0 || r.resets("later") == 0 {
		t.Errorf("resets: %v", r.front.Stats().Resets)
	}
}

// After a SELECT that failed, the next statement could still ask what the client
// before has left.
func TestAFailedFirstStatementDoesNotShowTheLastClientsAnswers(t *testing.T) {
	m := testnet.StartMariaDB(t)
	r := newRig(t, rigOptions{backend: m.Address(), maxOpen: 1, be: proven})
	as := loginAs{}
	for _, first := range []string{"SELECT nothing", "SELECT (", "SELECT JSON_EXTRACT('{', 1)"} {
		c := r.login(as)
		c.do("SELECT 1 UNION SELECT 2 UNION SELECT 3")
		c = r.next(c, as)
		c.query(first)
		if a := c.query("SELECT FOUND_ROWS()"); a.one() == "3" {
			t.Errorf("after %s: FOUND_ROWS is %v", first, a)
		}
		c.quit()
		r.idle()
	}
}

// What others can feel is given up at once, although nobody takes the connection.
func TestLocksAndTransactionsEndWithTheirClient(t *testing.T) {
	t.Parallel()
	m := testnet.StartMariaDB(t)
	m.Exec("CREATE TABLE app.t (a INT PRIMARY KEY)", "INSERT INTO app.t VALUES (1)")
	for _, reset := range []func(*mysql.Backend){nil, proven, shared} {
		r := newRig(t, rigOptions{backend: m.Address(), maxOpen: 2, be: reset, users: accounts("app", "appall")})
		for name, tc := range map[string]struct{ hold, take string }{
			"GET_LOCK":          {"SELECT GET_LOCK('held', 0)", "SELECT IF(GET_LOCK('held', 5), 1, 0)"},
			"row lock":          {"BEGIN; UPDATE app.t SET a=1", "SET innodb_lock_wait_timeout=5; UPDATE app.t SET a=1"},
			"SELECT FOR UPDATE": {"SET autocommit=0; SELECT * FROM app.t FOR UPDATE", "SET innodb_lock_wait_timeout=5; UPDATE app.t SET a=1"},
			"LOCK TABLES":       {"LOCK TABLES app.t WRITE", "SET lock_wait_timeout=5; SELECT 1 FROM app.t"},
			"FTWRL":             {"FLUSH TABLES WITH READ LOCK", "SET lock_wait_timeout=5; UPDATE app.t SET a=1"},
			"BACKUP LOCK":       {"BACKUP LOCK app.t", "SET lock_wait_timeout=5; ALTER TABLE app.t COMMENT 'x'"},
			"in a comment":      {"/*! SELECT GET_LOCK('held', 0) */", "SELECT IF(GET_LOCK('held', 5), 1, 0)"},
			"XA":                {"XA START 'x'; UPDATE app.t SET a=1", "SET innodb_lock_wait_timeout=5; UPDATE app.t SET a=1"},
			"a prepared one":    {"PREPARE s FROM 'SELECT GET_LOCK(\"held\", 0)'; EXECUTE s", "SELECT IF(GET_LOCK('held', 5), 1, 0)"},
		} {
			for _, how := range []string{"quit", "dropped", "reset", "change of user"} {
				a, b := r.login(loginAs{user: "appall"}), r.login(loginAs{user: "appall"})
				a.all(t, tc.hold)
				b.do("SELECT 1")
				began := time.Now()
				switch how {
				case "quit":
					a.quit()
				case "dropped":
					a.gone()
				case "reset":
					a.command(wire.ComResetConnection, "")
				case "change of user":
					a.changeUser("app")
				}
				b.all(t, tc.take)
				if took := time.Since(began); took > 3*time.Second {
					t.Errorf("%s, %s: the lock was free after %s", name, how, took)
				}
				b.quit()
				a.gone()
				r.idle()
			}
		}
	}
}

// all sends a text of several statements, all of which have to be answered well.
func (c *client) all(t *testing.T, sql string) {
	t.Helper()
	for q := range strings.SplitSeq(sql, "; ") {
		if a := c.query(q); a.code != 0 || len(a.rows) == 1 && a.one() == "0" {
			t.Errorf("%s: %v", q, a)
		}
	}
}

func (c *client) changeUser(user string) {
	c.t.Helper()
	l := &wire.Login{Caps: c.caps, Charset: 45, User: []byte(user), Plugin: []byte(wire.PluginNative)}
	b, next := wire.AppendPacket(nil, wire.AppendChangeUser(nil, l), 0)
	c.seq = next
	c.write(b)
	if p := c.steps(loginAs{password: password}); p[0] != 0 {
		c.t.Fatalf("COM_CHANGE_USER: %q", p)
	}
}

// A failing INIT_DB does not keep MariaDB from running what came behind it, in
// the other client's database.
func TestNoStatementRunsInAnotherClientsDatabase(t *testing.T) {
	m := testnet.StartMariaDB(t)
	m.Exec("CREATE TABLE other.t (a INT)")
	for _, reset := range []func(*mysql.Backend){nil, proven, shared} {
		m.Exec("CREATE DATABASE IF NOT EXISTS shop", "CREATE TABLE shop.t (a INT)")
		r := newRig(t, rigOptions{backend: m.Address(), maxOpen: 1, be: reset, users: accounts("appall")})
		as := loginAs{user: "appall", database: "shop"}
		c := r.login(as)
		c.do("SELECT 1 FROM t")
		id := c.serverID()
		c.do("USE other")
		c = r.next(c, as) // goes back to shop
		if got := c.serverID(); got != id {
			t.Errorf("connection %s, want %s again", got, id)
		}
		if a := c.do("SELECT DATABASE()"); a.one() != "shop" {
			t.Errorf("in %v", a)
		}
		c.do("USE other")
		m.Exec("DROP DATABASE shop")
		c.quit()
		r.idle()
		// Seen good lately, so the login does not ask.
		c = r.connect()
		if p := c.login(as); p[0] == 0 {
			c.query("INSERT INTO t VALUES (1)")
		}
		c.gone()
		r.idle()
		c = r.login(loginAs{user: "appall", database: "other"})
		c.command(wire.ComInitDB, "shop").refused(t, wire.CodeUnknownDatabase)
		if a := c.do("SELECT DATABASE()"); a.one() != "other" {
			t.Errorf("in %v", a)
		}
		c.quit()
		r.idle()
		if got := m.Query("SELECT COUNT(*) FROM other.t"); got[0][0] != "0" {
			t.Fatalf("%s rows were written into another client's database", got[0][0])
		}
	}
}

// The database under a connection is dropped by its own client, and made again.
func TestADatabaseThatWasDroppedAndMadeAgainIsUsed(t *testing.T) {
	m := testnet.StartMariaDB(t)
	r := newRig(t, rigOptions{backend: m.Address(), maxOpen: 1, users: accounts("appall")})
	as := loginAs{user: "appall", database: "app"}
	for _, drop := range []func(c *client){
		func(c *client) { c.do("DROP DATABASE app") },
		func(c *client) { c.command(wire.ComDropDB, "app") },
		func(c *client) { m.Exec("DROP DATABASE app") },
		func(c *client) { c.do("PREPARE s FROM 'DROP DATABASE app'", "EXECUTE s") },
	} {
		c := r.login(as)
		c.do("SELECT 1")
		drop(c)
		m.Exec("CREATE DATABASE IF NOT EXISTS app")
		c = r.next(c, as)
		if a := c.query("SELECT DATABASE()"); a.one() != "app" {
			t.Errorf("in %v", a)
		}
		c.quit()
		r.idle()
	}
}

func TestAClientWithoutDatabaseGetsNone(t *testing.T) {
	m := testnet.StartMariaDB(t)
	r := newRig(t, rigOptions{backend: m.Address(), maxOpen: 1})
	c := r.login(loginAs{})
	for _, use := range []string{"USE app", "/*!50000 USE app */", "SET @x='app'; USE other"} {
		for q := range strings.SplitSeq(use, "; ") {
			c.do(q)
		}
		c = r.next(c, loginAs{})
		if a := c.do("SELECT IFNULL(DATABASE(), 'none')"); a.one() != "none" {
			t.Errorf("after %s: in %v", use, a)
		}
	}
	c.do("SET @y = 1")
	c = r.next(c, loginAs{})
	if a := c.do("SELECT CONCAT_WS(',', 'none', DATABASE(), @y, @weir)"); a.one() != "none" {
		t.Errorf("left: %v", a)
	}
	if n := r.resets("now") + r.resets("later"); n == 0 {
		t.Errorf("resets: %v", r.front.Stats().Resets)
	}
}

// A parked client has no buffers; that weir ends it must undo as much as its QUIT.
func TestAParkedClientThatIsEndedLeavesNothing(t *testing.T) {
	t.Parallel()
	m := testnet.StartMariaDB(t)
	for _, proven := range []bool{false, true} {
		for how, end := range map[string]func(r *rig, c *client){
			"idle timeout": func(_ *rig, c *client) { c.closed() },
			"kill": func(r *rig, c *client) {
				other := r.login(loginAs{user: "appall"})
				other.query(fmt.Sprintf("KILL %d", c.greet.ConnID))
				c.send([]byte{byte(wire.ComPing)}) // a parked client learns it at its next byte
				other.quit()
			},
			"drain": func(r *rig, c *client) {
				ctx, cancel := context.WithTimeout(t.Context(), testWait)
				defer cancel()
				if err := r.l.Drain(ctx); err != nil {
					t.Error(err)
				}
			},
		} {
			for _, sql := range []string{
				"SET session_track_schema = OFF", "USE app", "SELECT GET_LOCK('held', 0)", "LOCK TABLES app.t READ",
				"SET @a = 1", "DO 1",
			} {
				if how == "drain" && strings.HasPrefix(sql, "LOCK") {
					continue // a drain awaits its end
				}
				m.Exec("CREATE OR REPLACE TABLE app.t (a INT)")
				r := newRig(t, rigOptions{
					backend: m.Address(), maxOpen: 2, users: accounts("appall"),
					be: func(b *mysql.Backend) {
						b.Proven = proven
						if how == "idle timeout" {
							b.IdleAttached = 50 * time.Millisecond
						}
					},
				})
				c := r.login(loginAs{user: "appall"})
				c.do(sql)
				testnet.WaitFor(t, testWait, "it is parked or gone", func() bool { s := r.l.Stats(); return s.Parked == 1 || s.Open == 0 })
				end(r, c)
				r.idle()
				if free := m.Query("SELECT IS_FREE_LOCK('held')"); free[0][0] != "1" {
					t.Errorf("%s, %s: the lock is held", how, sql)
				}
				if how == "drain" {
					continue
				}
				c = r.login(loginAs{user: "appall"})
				if a := c.do("SELECT CONCAT_WS(',', 'none', DATABASE(), @a)"); a.one() != "none" {
					t.Errorf("%s, %s: left %v", how, sql, a)
				}
				c.quit()
			}
		}
	}
}

func TestADefaultRoleIsSetAgain(t *testing.T) {
	m := testnet.StartMariaDB(t)
	for _, reset := range []func(*mysql.Backend){nil, proven, shared} {
		r := newRig(t, rigOptions{backend: m.Address(), maxOpen: 1, be: reset, users: accounts("app", "apprl")})
		for _, set := range []string{"SET ROLE NONE", "SET ROLE keeper", "SET @a = 1", "/*!50000 SET ROLE NONE */"} {
			for user, role := range map[string]string{"app": "NULL", "apprl": "reader"} {
				if user == "app" && strings.Contains(set, "NONE") {
					continue
				}
				c := r.login(loginAs{user: user})
				c.do(set)
				c = r.next(c, loginAs{user: user})
				if a := c.do("SELECT IFNULL(CURRENT_ROLE(), 'NULL')"); a.one() != role {
					t.Errorf("%s after %s: role %v, want %s", user, set, a, role)
				}
				c.quit()
				r.idle()
			}
		}
	}
}

// A role that is revoked cannot be set again: the connection is closed before
// anything of the client's is sent on it, and the client gets another.
func TestARoleThatWasRevokedClosesItsConnections(t *testing.T) {
	m := testnet.StartMariaDB(t)
	r := newRig(t, rigOptions{backend: m.Address(), maxOpen: 1, users: accounts("apprl")})
	as := loginAs{user: "apprl"}
	c := r.login(as)
	c.do("SET @a = 1")
	before := c.serverID()
	m.Exec("REVOKE reader FROM apprl@'%'")
	c = r.next(c, as)
	if c.do("SELECT IFNULL(CURRENT_ROLE(), 'none')").one() != "none" || c.serverID() == before {
		t.Errorf("the role is set, or the connection is the old one")
	}
	c.quit()
	r.idle()
	if n := r.pool.Stats().Closes[reason.CloseNotReset]; n != 1 {
		t.Errorf("%d connections were closed as not reset, want 1", n)
	}
}

func TestSetOptionIsUndone(t *testing.T) {
	m := testnet.StartMariaDB(t)
	r := newRig(t, rigOptions{backend: m.Address(), maxOpen: 1})
	for _, caps := range []wire.Caps{usual, usual &^ wire.CapMultiStatements} {
		for _, option := range []string{"\x00\x00", "\x01\x00"} { // on, off
			c := r.login(loginAs{caps: caps})
			c.do("SELECT 1")
			if a := c.command(wire.ComSetOption, option); a.code != 0 {
				t.Fatalf("got %v", a)
			}
			c = r.next(c, loginAs{caps: caps})
			a := c.query("SELECT 1; SELECT 2")
			if got := a.code == 0; got != caps.Has(wire.CapMultiStatements) {
				t.Errorf("MULTI_STATEMENTS %v, option %q: %v", caps.Has(wire.CapMultiStatements), option, a)
			}
			c.quit()
			r.idle()
		}
	}
}

func TestClientsOfOtherUsersAndKindsGetOtherConnections(t *testing.T) {
	m := testnet.StartMariaDB(t)
	r := newRig(t, rigOptions{backend: m.Address(), users: accounts("app", "appall")})
	seen := map[string]string{}
	for i, as := range []loginAs{
		{}, {user: "appall"}, {database: "app"}, {caps: usual | wire.CapFoundRows}, {caps: usual &^ wire.CapMultiStatements}, {charset: 8},
	} {
		c := r.login(as)
		c.do("CREATE TEMPORARY TABLE IF NOT EXISTS app.x (a INT)")
		id := c.serverID()
		if was := seen[id]; was != "" {
			t.Errorf("login %d has the connection of login %s", i, was)
		}
		seen[id] = strconv.Itoa(i)
		c.quit()
		r.idle()
		d := r.login(as)
		if got := d.serverID(); got != id {
			t.Errorf("login %d: connection %s, want %s again", i, got, id)
		}
		d.query("SELECT * FROM app.x").refused(t, 1146)
		d.quit()
		r.idle()
	}
}

func TestManyShortClientsShareOneConnection(t *testing.T) {
	m := testnet.StartMariaDB(t)
	for _, reset := range []func(*mysql.Backend){nil, proven, shared} {
		r := newRig(t, rigOptions{backend: m.Address(), maxOpen: 1, be: reset})
		for i := range 200 {
			c := r.login(loginAs{database: "app"})
			if a := c.do(fmt.Sprintf("SELECT %d", i)); a.one() != strconv.Itoa(i) {
				t.Fatalf("got %v", a)
			}
			c.quit()
		}
		r.idle()
		if n := r.opened(); n != 1 {
			t.Errorf("%d connections were opened", n)
		}
	}
}
