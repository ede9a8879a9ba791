package mysql_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/testnet"
	"weir/pool"
	"weir/proxy/mysql"
	"weir/proxy/mysql/wire"
)

// pinned is how many clients keep their connection, by reason.
func (r *rig) pinned() map[string]int64 {
	m := map[string]int64{}
	for reason, n := range r.front.Stats().Pinned["db"] {
		if n != 0 {
			m[reason] = n
		}
	}
	return m
}

// free waits until no client holds a connection.
func (r *rig) free() {
	r.t.Helper()
	testnet.WaitFor(r.t, testWait, "no client holds a connection", func() bool { return r.pool.Stats().Leased == 0 })
}

func TestManyLongLivedClientsShareFewConnections(t *testing.T) {
	t.Parallel()
	m := testnet.StartMariaDB(t)
	const clients, most, rounds = 200, 10, 4
	r := newRig(t, rigOptions{backend: m.Address(), be: shared, maxOpen: most})
	var all []*client
	for range clients {
		all = append(all, r.login(loginAs{database: "app"}))
	}
	began := time.Now()
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(func() {
			for range rounds {
				if a, err := c.try(wire.ComQuery, "SELECT SLEEP(0.01)"); err != nil || a.code != 0 {
					t.Errorf("got %v, %v", a, err)
				}
			}
		})
	}
	wg.Wait()
	// 800 times 10 ms on 10 connections are 0.8 s.
	if took := time.Since(began); took > 6*time.Second {
		t.Errorf("took %s", took)
	}
	if n := m.Connections("app"); n > most {
		t.Errorf("%d connections at the server, want at most %d", n, most)
	}
	r.free()
	if p := r.pinned(); len(p) > 0 {
		t.Errorf("pinned: %v", p)
	}
	if n := r.opened(); n > most {
		t.Errorf("%d connections were opened", n)
	}
}

func TestAClientHasAConnectionOnlyWhileItNeedsOne(t *testing.T) {
	t.Parallel()
	m := testnet.StartMariaDB(t)
	m.Exec("CREATE TABLE app.t (id INT AUTO_INCREMENT PRIMARY KEY, v INT)", "CREATE TABLE app.fired (v INT)",
		"CREATE TRIGGER app.tr BEFORE INSERT ON app.fired FOR EACH ROW SET @by_trigger=NEW.v", "CREATE SEQUENCE app.s",
		"CREATE FUNCTION app.f() RETURNS INT RETURN 1", "CREATE PROCEDURE app.p() DO 1",
		"CREATE FUNCTION app.once() RETURNS INT BEGIN SET TRANSACTION READ ONLY; RETURN 1; END", "CREATE VIEW app.w AS SELECT app.once()")
	r := newRig(t, rigOptions{backend: m.Address(), be: shared, maxOpen: 1})
	for _, tc := range []struct {
		sql  string
		held string // why, "" if it is not
	}{
		{"SELECT 1", ""}, {"SELECT * FROM t", ""}, {"SELECT NOW(); SELECT COUNT(*) FROM t", ""}, {"INSERT INTO t (v) VALUES (1)", ""},
		{"SELECT v FROM t FOR UPDATE", ""}, {"SELECT nothing", ""}, {"SELECT @x", ""}, {"SHOW TABLES", ""}, {"EXPLAIN SELECT * FROM t", ""},
		{"BEGIN; COMMIT", ""}, {"BEGIN; INSERT INTO t (v) VALUES (2); ROLLBACK", ""}, {"SELECT release_lock('a')", ""},
		{"BEGIN", "transaction"}, {"BEGIN; COMMIT AND CHAIN", "transaction"}, {"START TRANSACTION READ ONLY", "transaction"},
		{"SET @x=1", "variables"}, {"SELECT @x:=1", "variables"}, {"SELECT 1 INTO @x", "variables"}, {"SET time_zone='+01:00'", "variables"},
		{"SET NAMES utf8mb4", "variables"}, {"SET autocommit=0", "variables"}, {"SELECT 1; SET @x=1", "variables"},
		{"PREPARE p FROM 'SELECT 1'", "prepared"}, {"CREATE TEMPORARY TABLE x (a INT)", "temp_table"},
		{"SELECT GET_LOCK('l', 0)", "locks"}, {"LOCK TABLES t READ", "locks"}, {"HANDLER t OPEN", "locks"},
		{"FLUSH STATUS", "locks"}, {"XA START 'x'", "locks"}, {"USE other", "database"}, {"CALL p()", "routine"}, {"SELECT f()", "routine"}, {"DO 1", "routine"},
		{"SELECT RAND()", "values"}, {"SELECT NEXTVAL(s)", "routine"}, {"SELECT NEXT VALUE FOR s", "values"},
		{"SELECT SQL_CALC_FOUND_ROWS * FROM t", "values"}, {"SELECT LAST_INSERT_ID(5)", "values"},
		{"INSERT INTO fired VALUES (1)", "state"}, {"SELECT * FROM w", "transaction"}, {"/*!50000 SELECT 1 */", "unreadable"},
		{"CREATE TABLE y (a INT)", "other"}, {"COMMIT RELEASE", "other"}, {"SELECT 1 /* " + strings.Repeat("x", 20_000) + " */", "unreadable"},
	} {
		c := r.login(loginAs{database: "app"})
		for q := range strings.SplitSeq(tc.sql, "; ") {
			c.query(q)
		}
		if tc.held == "" {
			r.free()
			c.alive()
			r.free()
		} else if r.pool.Stats().Leased != 1 {
			t.Errorf("%.80s: it holds no connection", tc.sql)
		}
		want := map[string]int64{tc.held: 1}
		if tc.held == "" || tc.held == "transaction" {
			clear(want)
		}
		if got := r.pinned(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%.80s: pinned %v, want %v", tc.sql, got, want)
		}
		c.quit()
		r.idle()
		if got := r.pinned(); len(got) > 0 {
			t.Errorf("%.80s: pinned after its end: %v", tc.sql, got)
		}
	}
	for name, do := range map[string]func(c *client){
		"prepared": func(c *client) { c.prepare("SELECT 1") },
		"other":    func(c *client) { c.command(wire.ComSetOption, "\x00\x00") },
	} {
		c := r.login(loginAs{database: "app"})
		do(c)
		if r.pinned()[name] != 1 {
			t.Errorf("%s: pinned %v", name, r.pinned())
		}
		if name == "prepared" { // of the other it is not known in which database it is
			if a := c.command(wire.ComResetConnection, ""); a.code != 0 || r.pool.Stats().Leased != 0 || len(r.pinned()) > 0 {
				t.Errorf("%s: after COM_RESET_CONNECTION: %v, pinned %v", name, a, r.pinned())
			}
		}
		c.quit()
		r.idle()
	}
	if n := r.front.Stats().Pins["db"]["variables"]; n != 7 {
		t.Errorf("%d times pinned for variables, want 7", n)
	}
}

// What an answer left may be asked for at once, and never wrongly later.
func TestWhatAStatementLeftIsAnsweredRightlyOrNotAtAll(t *testing.T) {
	t.Parallel()
	m := testnet.StartMariaDB(t)
	m.Exec("CREATE TABLE app.t (id INT AUTO_INCREMENT PRIMARY KEY, v INT)")
	r := newRig(t, rigOptions{backend: m.Address(), be: shared, maxOpen: 1})
	c := r.login(loginAs{database: "app"})
	const readAtOnce = "within one transaction"
	for i := range 3 { // each time the connection is a reset one, or the client's own
		c.do("INSERT INTO t (v) VALUES (1)")
		if a := c.do("SELECT LAST_INSERT_ID()"); a.one() != fmt.Sprint(i+1) {
			t.Errorf("got %v, want %d", a, i+1)
		}
		r.free()
		c.query("SELECT LAST_INSERT_ID()").refused(t, wire.CodeNotSupportedYet, "LAST_INSERT_ID()", readAtOnce)
		c.query("SELECT ROW_COUNT()").refused(t, wire.CodeNotSupportedYet, "ROW_COUNT()", readAtOnce)
		c.query("SELECT FOUND_ROWS()").refused(t, wire.CodeNotSupportedYet, "FOUND_ROWS()", readAtOnce)
		if r.pool.Stats().Leased != 0 {
			t.Error("a refused statement takes a connection")
		}
		if i == 1 {
			r.login(loginAs{database: "app"}).next(t, r)
		}
	}
	// A number that a row is given does not become LAST_INSERT_ID, whatever the OK says.
	r.login(loginAs{database: "app"}).next(t, r)
	c.do("INSERT INTO t (id, v) VALUES (1000, 1)")
	c.query("SELECT LAST_INSERT_ID()").refused(t, wire.CodeNotSupportedYet, "LAST_INSERT_ID()")
	c.query("SHOW WARNINGS").refused(t, wire.CodeNotSupportedYet, "warnings") // weir's question failed
	c.do("BEGIN", "INSERT INTO t (v) VALUES (1)", "SELECT 1")
	if a := c.do("SELECT LAST_INSERT_ID()"); a.one() != "1001" {
		t.Errorf("in a transaction: %v, want 1001", a)
	}
	c.do("COMMIT")
	c.do("UPDATE t SET v=v WHERE id=1")
	if a := c.do("SELECT ROW_COUNT()"); a.one() != "0" {
		t.Errorf("rows: %v", a)
	}
	c.do("SELECT 1/0")
	for range 2 {
		if a := c.do("SHOW WARNINGS"); len(a.rows) != 1 {
			t.Errorf("warnings: %v", a)
		}
	}
	r.free()
	c.query("SHOW WARNINGS").refused(t, wire.CodeNotSupportedYet, "warnings", readAtOnce)
	c.command(wire.ComResetConnection, "")
	if a := c.do("SELECT LAST_INSERT_ID(), ROW_COUNT()"); fmt.Sprint(a) != "[[0 0]]" {
		t.Errorf("after COM_RESET_CONNECTION: %v", a)
	}
	// What is longer than weir reads at once is searched, and not begun.
	c.do("INSERT INTO t (v) VALUES (1)")
	r.free()
	c.query("INSERT INTO t (v) VALUES (LAST_INSERT_ID()) /* "+strings.Repeat("x", 40_000)+" */").refused(t, wire.CodeNotSupportedYet, "LAST_INSERT_ID()")
	c.closed()
	r.idle()
	if got := m.Query("SELECT COUNT(*) FROM app.t"); got[0][0] != "6" {
		t.Errorf("%s rows, want 6", got[0][0])
	}
}

// A client that writes without a pause must not have the connection for itself.
func TestALingeringClientStandsInTheQueueForItsNextStatement(t *testing.T) {
	t.Parallel()
	m := testnet.StartMariaDB(t)
	m.Exec("CREATE TABLE app.t (id INT AUTO_INCREMENT PRIMARY KEY, v INT)")
	r := newRig(t, rigOptions{backend: m.Address(), be: shared, maxOpen: 1})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		c := r.login(loginAs{database: "app"})
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if a, err := c.try(wire.ComQuery, "INSERT INTO t (v) VALUES (1)"); err != nil || a.code != 0 {
					t.Errorf("got %v, %v", a, err)
					return
				}
			}
		})
	}
	d := r.login(loginAs{database: "app"})
	for range 20 {
		d.alive()
	}
	close(stop)
	wg.Wait()
}

func TestTheResetIsLeftOutWhereAClientGetsItsOwnConnectionBack(t *testing.T) {
	f := newFake(t, echo)
	r := newRig(t, rigOptions{backend: f.address(), be: shared, maxOpen: 1})
	a, b := r.login(loginAs{}), r.login(loginAs{})
	commands := func(c *client) int {
		t.Helper()
		r.free()
		back := f.all()[len(f.all())-1]
		back.forget()
		c.alive()
		_, cmds := back.got()
		return len(cmds)
	}
	a.alive()
	for i, step := range []struct {
		c    *client
		want int // a reset, the role, the trackers, and the command
	}{{a, 1}, {a, 1}, {b, 4}, {b, 1}, {a, 4}, {b, 4}} {
		if n := commands(step.c); n != step.want {
			t.Errorf("step %d: %d commands, want %d", i, n, step.want)
		}
	}
	// Its own reset is one, too.
	b.command(wire.ComResetConnection, "")
	if n := commands(b); n != 4 {
		t.Errorf("after COM_RESET_CONNECTION: %d commands, want 4", n)
	}
}

// Only where a transaction begins is there something to wait for.
func TestATransactionIsNotStoppedByAFullQueue(t *testing.T) {
	t.Parallel()
	m := testnet.StartMariaDB(t)
	m.Exec("CREATE TABLE app.t (v INT)")
	r := newRig(t, rigOptions{backend: m.Address(), be: shared, maxOpen: 1, pool: func(o *pool.Options) { o.QueueMax = 0 }})
	a, b := r.login(loginAs{database: "app"}), r.login(loginAs{database: "app"})
	a.do("BEGIN", "INSERT INTO t VALUES (1)")
	b.query("BEGIN").refused(t, wire.CodeTooManyConnections, "queue before it is full")
	b.command(wire.ComPing, "")
	a.do("INSERT INTO t VALUES (2)", "SELECT * FROM t", "COMMIT")
	r.free()
	if a := b.do("SELECT COUNT(*) FROM t"); a.one() != "2" {
		t.Errorf("got %v", a)
	}
}

// A connection that lingers serves nobody, so others wait for its client briefly.
func TestOthersDoNotWaitLongForWhoMightAskForMore(t *testing.T) {
	t.Parallel()
	m := testnet.StartMariaDB(t)
	m.Exec("CREATE TABLE app.t (id INT AUTO_INCREMENT PRIMARY KEY, v INT)")
	r := newRig(t, rigOptions{backend: m.Address(), be: shared, maxOpen: 1})
	a, b := r.login(loginAs{database: "app"}), r.login(loginAs{database: "app"})
	const rounds = 20
	began := time.Now()
	for range rounds {
		a.do("INSERT INTO t (v) VALUES (1)")
		b.do("SELECT 1")
	}
	if took := time.Since(began); took > rounds*80*time.Millisecond { // 100 ms where nobody waits
		t.Errorf("%d rounds took %s", rounds, took)
	}
}

// Inside TLS a wait that a deadline ends is taken up again, too.
func TestAClientInsideTLSLingersAndGoesOn(t *testing.T) {
	t.Parallel()
	m := testnet.StartMariaDB(t)
	m.Exec("CREATE TABLE app.t (id INT AUTO_INCREMENT PRIMARY KEY, v INT)")
	r := newRig(t, rigOptions{backend: m.Address(), be: shared, maxOpen: 1, settings: func(s *mysql.Settings) { s.TLS = serverTLS(t) }})
	c := r.login(loginAs{database: "app", tls: noCheck})
	for i := range 3 {
		c.do("INSERT INTO t (v) VALUES (1)")
		r.free()
		c.do("INSERT INTO t (v) VALUES (1)")
		if a := c.do("SELECT LAST_INSERT_ID()"); a.one() != fmt.Sprint(2*i+2) {
			t.Errorf("got %v, want %d", a, 2*i+2)
		}
	}
	c.do("INSERT INTO t (v) VALUES (1)")
	c.gone() // while its connection lingers
	r.idle()
	if n := r.closes(); len(n) > 0 {
		t.Errorf("closed: %v", n)
	}
}

// Many at once on few connections: what a client asks for is its own.
func TestClientsAtOnceGetTheirOwnAnswers(t *testing.T) {
	t.Parallel()
	m := testnet.StartMariaDB(t)
	m.Exec("CREATE TABLE app.t (id INT AUTO_INCREMENT PRIMARY KEY, v INT)")
	r := newRig(t, rigOptions{backend: m.Address(), be: shared, maxOpen: 3})
	var wg sync.WaitGroup
	var asked atomic.Int64
	for tag := range 12 {
		c := r.login(loginAs{database: "app"})
		rows := 0
		ask := func(sql string) (value string, ok bool) {
			a, err := c.try(wire.ComQuery, sql)
			if err != nil || a.code != 0 && !strings.Contains(a.text, "(weir: ") {
				t.Errorf("%s: %v, %v", sql, a, err)
			}
			return a.one(), err == nil && a.code == 0
		}
		wrote := func(sql string) {
			if _, ok := ask(sql); !ok {
				return
			}
			rows++
			id, ok := ask("SELECT LAST_INSERT_ID()")
			if !ok {
				return
			}
			asked.Add(1)
			if v, ok := ask("SELECT v FROM t WHERE id=" + id); ok && v != fmt.Sprint(tag) {
				t.Errorf("client %d: LAST_INSERT_ID is %s, of client %s", tag, id, v)
			}
		}
		wg.Go(func() {
			insert := fmt.Sprintf("INSERT INTO t (v) VALUES (%d)", tag)
			for i := range 25 {
				wrote(insert)
				ask("SELECT SLEEP(0.001)")
				if _, ok := ask("BEGIN"); ok {
					wrote(insert)
					if i%2 == 0 {
						ask("COMMIT")
					} else {
						ask("ROLLBACK")
						rows--
					}
				}
				if n, ok := ask(fmt.Sprintf("SELECT COUNT(*) FROM t WHERE v=%d", tag)); ok && n != fmt.Sprint(rows) {
					t.Errorf("client %d: %s rows, want %d", tag, n, rows)
				}
			}
		})
	}
	wg.Wait()
	if n := asked.Load(); n < 12*25 {
		t.Errorf("only %d times LAST_INSERT_ID was answered", n)
	}
	if n := r.opened(); n > 3 {
		t.Errorf("%d connections were opened", n)
	}
	r.free()
}
