package mysql_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"weir/internal/testnet"
	"weir/pool"
	"weir/proxy/mysql"
	"weir/proxy/mysql/wire"
)

// light and heavy are what the programs below are made of: what leaves nothing but
// its answer, and what pins or what weir looks at closer. A number is put in for %d.
var light = []string{
	"SELECT 1", "SELECT 1 UNION SELECT 2 UNION SELECT 3", "SELECT * FROM t ORDER BY id", "SELECT COUNT(*) FROM t", "SELECT v FROM t WHERE id=1 FOR UPDATE",
	"INSERT INTO t (v) VALUES (%d)", "INSERT INTO t (v) VALUES (%d),(%d)", "INSERT INTO t (v) VALUES (%d)", "INSERT INTO t (id, v) VALUES (%d00, 7)",
	"INSERT INTO t (id, v) VALUES (1, 7)", "INSERT INTO plain VALUES (%d)", "INSERT INTO plain VALUES (LAST_INSERT_ID())",
	"UPDATE t SET v=v+1 WHERE id<5", "UPDATE t SET v=v WHERE id=1", "DELETE FROM t WHERE id>6", "REPLACE INTO t VALUES (2, %d)", "INSERT INTO t (v) VALUES ('x%d')",
	"SELECT LAST_INSERT_ID()", "SELECT @@last_insert_id, @@identity", "SELECT ROW_COUNT()", "SELECT FOUND_ROWS()", "SELECT ROW_COUNT(), FOUND_ROWS()",
	"SELECT LAST_INSERT_ID(), ROW_COUNT()", "SHOW WARNINGS", "SHOW ERRORS", "SELECT @@warning_count, @@error_count", "SHOW COUNT(*) WARNINGS",
	"SELECT 1/0", "SELECT nothing", "SELECT (", "SELECT * FROM t WHERE v='a%d'", "SELECT 1; SELECT nothing; SELECT 2", "INSERT INTO t (v) VALUES (%d); SELECT LAST_INSERT_ID()",
	"BEGIN", "BEGIN", "COMMIT", "SELECT DATABASE()", "SELECT @x", "SELECT IS_FREE_LOCK('l')", "SELECT 1/7", "SELECT @@tx_isolation", "SELECT @@character_set_client",
}

var heavy = []string{
	"SELECT LAST_INSERT_ID(%d)", "GET DIAGNOSTICS @n = ROW_COUNT", "INSERT INTO fired VALUES (%d)",
	"BEGIN", "START TRANSACTION READ ONLY", "COMMIT", "ROLLBACK", "COMMIT AND CHAIN", "SAVEPOINT a", "ROLLBACK TO a",
	"SET autocommit=0", "SET autocommit=1", "SET @x=%d", "SELECT @x, @by_trigger", "SELECT @x:=%d", "SELECT v INTO @x FROM t LIMIT 1", "SET div_precision_increment=9", "SELECT 1/7",
	"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", "SET TRANSACTION READ ONLY", "SELECT @@tx_isolation", "SET NAMES latin1", "SELECT @@character_set_client",
	"CREATE TEMPORARY TABLE IF NOT EXISTS tmp (a INT)", "INSERT INTO tmp VALUES (%d)", "SELECT * FROM tmp", "DROP TEMPORARY TABLE IF EXISTS tmp",
	"SELECT GET_LOCK('l', 0)", "SELECT RELEASE_LOCK('l')", "SELECT IS_FREE_LOCK('l')", "LOCK TABLES t WRITE", "UNLOCK TABLES",
	"PREPARE p FROM 'SELECT ROW_COUNT(), LAST_INSERT_ID()'", "EXECUTE p", "DEALLOCATE PREPARE p", "EXECUTE IMMEDIATE 'SELECT FOUND_ROWS()'",
	"USE other", "USE app", "SELECT DATABASE()", "CALL leaves(%d)", "SELECT widens()", "SELECT NEXTVAL(s)", "SELECT LASTVAL(s)", "DO 1",
	"SELECT SQL_CALC_FOUND_ROWS * FROM t LIMIT 1", "/*!50000 SET @x=5 */", "HANDLER t OPEN",
}

// commands that are no statement, and what else a client does.
const (
	stepPing = iota
	stepInitDB
	stepReset
	stepPrepared
	stepLong
	stepPause // for longer than a connection lingers
	steps
)

// defined gives FOUND_ROWS a value: a new session has what its thread had before, and
// a reset leaves that.
const defined = "SELECT 1"

// seeds is for how many programs.
const seeds = uint64(16)

const long, anew = "a long INSERT", "COM_RESET_CONNECTION"

// world is the clients of a server: of one directly, of the other through weir.
type world []*client

func sameServer(t *testing.T) *testnet.MariaDB {
	m := testnet.StartMariaDB(t)
	m.Exec("SET GLOBAL lock_wait_timeout=0", "SET GLOBAL innodb_lock_wait_timeout=0")
	return m
}

// fill makes the tables anew.
func fill(m *testnet.MariaDB) {
	for _, s := range []string{
		"CREATE OR REPLACE TABLE app.t (id INT AUTO_INCREMENT PRIMARY KEY, v INT) ENGINE=InnoDB",
		"INSERT INTO app.t VALUES (1,10),(2,20),(3,30)", "CREATE OR REPLACE TABLE app.plain (v INT)", "CREATE OR REPLACE TABLE app.fired (v INT)",
		"CREATE OR REPLACE TRIGGER app.tr BEFORE INSERT ON app.fired FOR EACH ROW SET @by_trigger=NEW.v", "CREATE OR REPLACE SEQUENCE app.s",
		"CREATE OR REPLACE PROCEDURE app.leaves(x INT) SET @x=x", "CREATE OR REPLACE FUNCTION app.widens() RETURNS INT BEGIN SET div_precision_increment=8; RETURN 1; END",
	} {
		m.Exec("SET STATEMENT lock_wait_timeout=10, innodb_lock_wait_timeout=10 FOR " + s)
	}
}

// seen is what of an answer has to be the same. What the trackers add is not in it.
func (a reply) seen() string {
	const state = wire.StatusInTrans | wire.StatusAutocommit | wire.StatusMoreResults | wire.StatusInTransReadOnly
	if a.code != 0 {
		return fmt.Sprintf("error %d %s", a.code, a.text)
	}
	return fmt.Sprintf("%v affected %d id %d warnings %d status %04x %s", a.rows, a.ok.Affected, a.ok.InsertID, a.ok.Warnings, a.ok.Status&state, a.ok.Info)
}

func (c *client) sees(cmd wire.Command, body string) string {
	a, err := c.try(cmd, body)
	if err != nil {
		return "the end: " + err.Error()
	}
	return a.seen()
}

// Programs of several clients, one statement after the other, have the same
// answers behind weir as without, or weir says itself why not.
func TestEveryAnswerInModeTransactionIsTheServersOrARefusal(t *testing.T) {
	t.Parallel()
	m, n := sameServer(t), sameServer(t)
	var ran, refused int
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			fill(m)
			fill(n)
			a, b := aProgram(t, seed, m, n)
			ran, refused = ran+a, refused+b
		})
	}
	if ran < 5*refused {
		t.Errorf("only %d of %d steps were not refused", ran, ran+refused)
	}
	t.Logf("%d steps, %d refused", ran+refused, refused)
}

func aProgram(t *testing.T, seed uint64, m, n *testnet.MariaDB) (ran, refused int) {
	r := newRig(t, rigOptions{backend: n.Address(), maxOpen: 3 - int(seed%5)/4, be: func(b *mysql.Backend) { b.Sharing, b.Proven = true, seed%4 == 3 }, pool: func(o *pool.Options) { o.QueueTimeout = 130 * time.Millisecond }})
	rng := rand.New(rand.NewPCG(seed, 5))
	one, two := make(world, 3), make(world, 3)
	for i := range one {
		as := loginAs{database: "app"}
		if i == 2 && seed%3 == 1 {
			as.caps = old
		}
		one[i], two[i] = direct(t, m, as), r.login(as)
		one[i].do(defined)
		two[i].do(defined)
	}
	var story []string
	who := 0
	for range 60 {
		if rng.IntN(3) == 0 {
			who = rng.IntN(len(one))
		}
		name, step := aStep(rng, []int{4, 40}[seed%2])
		story = append(story, fmt.Sprintf("%d: %s", who, name))
		got := step(two[who])
		if strings.Contains(got, "(weir: ") {
			story[len(story)-1] += "  -- refused"
			refused++
			if name == long || name == anew {
				break // the client is at its end, or half done
			}
			continue
		}
		ran++
		if want := step(one[who]); got != want {
			t.Errorf("%s\n through weir %s\n directly     %s", strings.Join(story, "\n"), got, want)
			break
		}
	}
	for i := range one {
		one[i].quit()
		two[i].quit()
	}
	r.idle()
	return ran, refused
}

// aStep is something for a client to do, which returns what it has seen. One in
// rare is heavy.
func aStep(rng *rand.Rand, rare int) (name string, do func(c *client) string) {
	number := rng.IntN(50)
	if rng.IntN(10) > 0 {
		list := light
		if rng.IntN(rare) == 0 {
			list = heavy
		}
		sql := list[rng.IntN(len(list))]
		sql = strings.ReplaceAll(sql, "%d", fmt.Sprint(number))
		return sql, func(c *client) string { return c.sees(wire.ComQuery, sql) }
	}
	switch rng.IntN(steps) {
	case stepPing:
		return "COM_PING", func(c *client) string { return c.sees(wire.ComPing, "")[:2] }
	case stepInitDB:
		return "COM_INIT_DB", func(c *client) string { return c.sees(wire.ComInitDB, "app") }
	case stepPrepared:
		sql := []string{"SELECT LAST_INSERT_ID(), ROW_COUNT()", "INSERT INTO t (v) VALUES (5)", "SELECT * FROM t"}[rng.IntN(3)]
		return "COM_STMT_PREPARE " + sql, func(c *client) string {
			a := c.command(wire.ComStmtPrepare, sql)
			if a.code != 0 {
				return a.seen()
			}
			b := c.command(wire.ComStmtExecute, head(a.prep.ID, 0, 1, 0, 0, 0))
			c.write(packet(wire.ComStmtClose, head(a.prep.ID)))
			return b.seen()
		}
	case stepLong:
		sql := fmt.Sprintf("INSERT INTO t (v) VALUES (%d) /* %s */", number, strings.Repeat("x ", 9000))
		return long, func(c *client) string { return c.sees(wire.ComQuery, sql) }
	case stepPause:
		return "pause", func(*client) string { testnet.Pace(nil, 80*time.Millisecond); return "" } // there and here
	}
	return anew, func(c *client) string {
		c.sees(wire.ComResetConnection, "")
		return c.sees(wire.ComQuery, defined)
	}
}
