package mysql_test

import (
	"strings"
	"testing"

	"weir/internal/testnet"
)

// states are what a client in autocommit makes, and what shows it.
var states = map[string]struct{ set, see string }{
	"user variable":        {"SET @x=5", "SELECT @x"},
	"assigned in a query":  {"SELECT @x:=7", "SELECT @x"},
	"selected into":        {"SELECT 8 INTO @x", "SELECT @x"},
	"set by a trigger":     {"INSERT INTO fired VALUES (9)", "SELECT @by_trigger"},
	"set by a routine":     {"CALL leaves(6)", "SELECT @x"},
	"system variable":      {"SET div_precision_increment=9", "SELECT 1/7"},
	"by a function":        {"SELECT widens()", "SELECT 1/7"},
	"by a function's view": {"SELECT * FROM wide", "SELECT 1/7"},
	"in a comment":         {"/*!50000 SET @x=5 */", "SELECT @x"},
	"second statement":     {"SELECT 1; SET @x=5", "SELECT @x"},
	"time zone":            {"SET time_zone='+05:00'", "SELECT @@time_zone"},
	"SET NAMES":            {"SET NAMES latin1", "SELECT @@character_set_client, @@character_set_results"},
	"sql_mode":             {"SET sql_mode='ANSI_QUOTES'", "SELECT @@sql_mode"},
	"isolation":            {"SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SELECT @@tx_isolation"},
	"one-shot":             {"SET TRANSACTION READ ONLY", "INSERT INTO plain VALUES (1)"},
	"autocommit":           {"SET autocommit=0", "SELECT @@autocommit"},
	"transaction":          {"BEGIN; UPDATE t SET v=99", "SELECT @@in_transaction, v FROM t WHERE id=1"},
	"temporary table":      {"CREATE TEMPORARY TABLE tmp (a INT); INSERT INTO tmp VALUES (1)", "SELECT * FROM tmp"},
	"lock":                 {"SELECT GET_LOCK('l', 0)", "SELECT IFNULL(IS_USED_LOCK('l')=CONNECTION_ID(), 0)"},
	"locked table":         {"LOCK TABLES plain READ", "SELECT COUNT(*) FROM fired"},
	"handler":              {"HANDLER t OPEN", "HANDLER t READ FIRST"},
	"prepared text":        {"PREPARE p FROM 'SELECT 5'", "EXECUTE p"},
	"sequence":             {"SELECT NEXTVAL(s)", "SELECT LASTVAL(s)"},
	"database":             {"USE other", "SELECT DATABASE()"},
	"role":                 {"SET ROLE keeper", "SELECT CURRENT_ROLE()"},
	"last insert id":       {"SELECT LAST_INSERT_ID(5)", "SELECT LAST_INSERT_ID()"},
	"profiling":            {"SET profiling=1", "SELECT @@profiling"},
	"trackers":             {"SET session_track_state_change=OFF; SET @x=1", "SELECT @x"},
}

// In mode transaction A keeps what it has made, on a connection of its own, and
// nobody else sees it, neither beside A nor after it.
func TestStateIsItsClientsAlone(t *testing.T) {
	t.Parallel()
	m := sameServer(t)
	for name, st := range states {
		t.Run(name, func(t *testing.T) {
			fill(m)
			m.Exec("CREATE OR REPLACE VIEW app.wide AS SELECT app.widens()")
			as := loginAs{database: "app"}
			d := direct(t, m, as)
			fresh := d.query(st.see).seen()
			d.quit()
			d = direct(t, m, as)
			d.every(st.set)
			own := d.query(st.see).seen()
			d.quit()
			if own == fresh {
				t.Fatalf("the server shows nothing of it: %s", own)
			}
			fill(m)
			r := newRig(t, rigOptions{backend: m.Address(), be: shared, maxOpen: 2})
			expect := func(who string, c *client, want string) {
				t.Helper()
				if got := c.query(st.see).seen(); got != want {
					t.Errorf("%s sees %s, want %s", who, got, want)
				}
			}
			b := r.login(as)
			b.do("SELECT 1")
			b.quit() // there is a connection that another client has used
			a := r.login(as)
			a.every(st.set)
			b = r.login(as)
			expect("B", b, fresh)
			expect("A", a, own)
			b.do("BEGIN") // it keeps its own
			a.quit()
			testnet.WaitFor(t, testWait, "A's connection is free", func() bool { return r.pool.Stats().Leased == 1 })
			expect("who comes after A", r.login(as), fresh)
		})
	}
}

// every sends a text of several statements, each of which is answered well.
func (c *client) every(sql string) {
	c.t.Helper()
	for q := range strings.SplitSeq(sql, "; ") {
		if a := c.query(q); a.code != 0 {
			c.t.Fatalf("%s: %v", q, a)
		}
	}
}
