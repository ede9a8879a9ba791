package accept

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"weir/internal/testnet"
)

// goScenario is go-sql-driver's scenario. It runs in the test itself.
type goScenario struct {
	t   *testing.T
	at  target
	out io.Writer
	ctx context.Context
}

func runGoDriver(t *testing.T, at target, out io.Writer) error {
	g := &goScenario{t: t, at: at, out: out, ctx: t.Context()}
	db := g.open(nil)
	defer db.Close()
	for _, s := range []struct {
		name string
		run  func(*sql.DB) error
	}{
		{"login", g.login}, {"insert", g.insert}, {"transactions", g.transactions}, {"prepared", g.prepared}, {"multi", g.multi},
		{"20 MiB", g.large}, {"local infile", g.infile}, {"charsets", g.charsets}, {"errors", g.errors}, {"flags", g.flags},
		{"kill", g.kill}, {"pool", g.pool},
	} {
		fmt.Fprintf(out, "== %s\n", s.name)
		if err := s.run(db); err != nil {
			g.say("unexpected", err)
		}
	}
	return nil
}

func (g *goScenario) say(key string, values ...any) {
	fmt.Fprintf(g.out, "%s:", key)
	for _, v := range values {
		if b, ok := v.([]byte); ok {
			v = fmt.Sprintf("x%x", b)
		}
		fmt.Fprintf(g.out, " %v", v)
	}
	fmt.Fprintln(g.out)
}

// fails says the error, which must be one that the server sent.
func (g *goScenario) fails(key string, err error) {
	if testnet.ServerError(err) == 0 {
		key = "unexpected: " + key
	}
	g.say(key, err)
}

// open makes a handle with change made to what it is told.
func (g *goScenario) open(change func(*mysql.Config)) *sql.DB {
	g.t.Helper()
	c := mysql.NewConfig()
	c.Net, c.Addr, c.User, c.Passwd, c.DBName = "tcp", g.at.address, g.at.user, g.at.password, g.at.database
	c.Timeout, c.MaxAllowedPacket = 5*time.Second, 64<<20
	c.Logger = &mysql.NopLogger{}
	if g.at.ca != "" {
		pem, err := os.ReadFile(g.at.ca)
		if err != nil {
			g.t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		c.TLS = &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
	}
	if change != nil {
		change(c)
	}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		g.t.Fatal(err)
	}
	return sql.OpenDB(connector)
}

// rows says every row of a query.
func (g *goScenario) rows(key string, db interface {
	Query(string, ...any) (*sql.Rows, error)
}, query string, args ...any) error {
	all, err := testnet.QueryStrings(db, query, args...)
	if err == nil {
		g.say(key, all)
	}
	return err
}

func (g *goScenario) exec(db *sql.DB, statements ...string) error {
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			return fmt.Errorf("%.100s: %w", s, err)
		}
	}
	return nil
}

func (g *goScenario) login(db *sql.DB) error {
	if err := g.rows("who", db, "SELECT CURRENT_USER(), DATABASE(), 1+1"); err != nil {
		return err
	}
	if err := g.rows("tls", db, "SELECT VARIABLE_VALUE <> '' FROM information_schema.session_status WHERE VARIABLE_NAME='Ssl_cipher'"); err != nil {
		return err
	}
	return g.rows("charset", db, "SELECT @@character_set_client, @@character_set_results, @@collation_connection")
}

func (g *goScenario) insert(db *sql.DB) error {
	if err := g.exec(db, "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(40) UNIQUE, n INT NOT NULL DEFAULT 0) ENGINE=InnoDB"); err != nil {
		return err
	}
	for _, s := range []string{"INSERT INTO t (v) VALUES ('a'),('b'),('c')", "UPDATE t SET n=0 WHERE v='a'", "UPDATE t SET n=1 WHERE v IN ('a','b')"} {
		r, err := db.Exec(s)
		if err != nil {
			return err
		}
		id, _ := r.LastInsertId()
		n, _ := r.RowsAffected()
		g.say(s, id, n)
	}
	r, err := db.Exec("INSERT INTO t (v, n) VALUES (?, ?)", "d", 7)
	if err != nil {
		return err
	}
	id, _ := r.LastInsertId()
	g.say("prepared", id)
	return g.rows("rows", db, "SELECT * FROM t WHERE id > ? ORDER BY id", 1)
}

func (g *goScenario) transactions(db *sql.DB) error {
	for _, end := range []func(*sql.Tx) error{(*sql.Tx).Rollback, (*sql.Tx).Commit} {
		tx, err := db.BeginTx(g.ctx, &sql.TxOptions{Isolation: sql.LevelSerializable})
		if err != nil {
			return err
		}
		if err := g.rows("isolation", tx, "SELECT @@tx_isolation, @@in_transaction"); err != nil {
			return err
		}
		if _, err := tx.Exec("UPDATE t SET n=n+10 WHERE v='a'"); err != nil {
			return err
		}
		if err := end(tx); err != nil {
			return err
		}
		if err := g.rows("after", db, "SELECT n, @@in_transaction FROM t WHERE v='a'"); err != nil {
			return err
		}
	}
	tx, err := db.BeginTx(g.ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer tx.Rollback()
	_, err = tx.Exec("DELETE FROM t")
	g.fails("read only", err)
	return nil
}

func (g *goScenario) prepared(db *sql.DB) error {
	if err := g.exec(db, `CREATE TABLE types (i INT, b BIGINT UNSIGNED, d DOUBLE, m DECIMAL(30,10), s VARCHAR(50), x BLOB,
		day DATE, at DATETIME(6), t TIME(3), bits BIT(10), nothing INT)`); err != nil {
		return err
	}
	if _, err := db.Exec("INSERT INTO types VALUES (?,?,?,?,?,?,?,?,?,?,?)", -42, uint64(18446744073709551615), 1.5e300, "12345678901234567890.0123456789",
		"quote ' \\ \x00", []byte{0, 255, 254}, "2026-11-22", time.Date(2026, 11, 22, 12, 34, 56, 789012000, time.UTC), "-30:00:01.500", []byte{2, 170}, nil); err != nil {
		return err
	}
	for _, query := range []struct {
		text string
		args []any
	}{{"SELECT * FROM types", nil}, {"SELECT * FROM types WHERE i=?", []any{-42}}} {
		rows, err := db.Query(query.text, query.args...)
		if err != nil {
			return err
		}
		types, err := rows.ColumnTypes()
		if err != nil {
			return err
		}
		values, into := make([]any, len(types)), make([]any, len(types))
		for i := range values {
			into[i] = &values[i]
		}
		for rows.Next() {
			if err := rows.Scan(into...); err != nil {
				return err
			}
			g.say("row", fmt.Sprintf("%q", values))
		}
		if err := rows.Close(); err != nil {
			return err
		}
		for _, c := range types {
			length, _ := c.Length()
			precision, scale, _ := c.DecimalSize()
			nullable, _ := c.Nullable()
			g.say("column", c.Name(), c.DatabaseTypeName(), length, precision, scale, nullable, c.ScanType())
		}
	}
	s, err := db.Prepare("SELECT v FROM t WHERE n >= ? ORDER BY v")
	if err != nil {
		return err
	}
	defer s.Close()
	for _, n := range []int{0, 1, 100} {
		rows, err := s.Query(n)
		if err != nil {
			return err
		}
		var all []string
		for rows.Next() {
			var v string
			if err := rows.Scan(&v); err != nil {
				return err
			}
			all = append(all, v)
		}
		g.say(fmt.Sprintf("n >= %d", n), all, rows.Close())
	}
	_, err = db.Prepare("SELECT no_such_column FROM t")
	g.fails("prepare", err)
	return nil
}

func (g *goScenario) multi(db *sql.DB) error {
	n := g.open(func(c *mysql.Config) { c.MultiStatements = true })
	defer n.Close()
	if err := g.exec(n, "CREATE PROCEDURE p(IN a INT) BEGIN SELECT a; SELECT a+1, a+2; END"); err != nil {
		return err
	}
	for _, query := range []struct {
		text string
		args []any
	}{{"SELECT 1; SELECT 'a' UNION SELECT 'b'; SELECT 2 WHERE FALSE; SELECT 3", nil}, {"CALL p(5)", nil}, {"CALL p(?)", []any{6}}} {
		rows, err := n.Query(query.text, query.args...)
		if err != nil {
			return err
		}
		for more := true; more; more = rows.NextResultSet() {
			columns, err := rows.Columns()
			if err != nil {
				return err
			}
			g.say("set", columns)
			for rows.Next() {
				values, into := make([]string, len(columns)), make([]any, len(columns))
				for i := range values {
					into[i] = &values[i]
				}
				if err := rows.Scan(into...); err != nil {
					return err
				}
				g.say("row", values)
			}
		}
		if err := rows.Close(); err != nil {
			return err
		}
	}
	r, err := n.Exec("INSERT INTO t (v) VALUES ('multi 1'); INSERT INTO t (v) VALUES ('multi 2'),('multi 3')")
	if err != nil {
		return err
	}
	affected, _ := r.RowsAffected()
	g.say("affected", affected)
	_, err = db.Exec("DO 1; DO 2")
	g.fails("not asked for", err)
	_, err = n.Exec("DO 1; SELECT * FROM no_such_table; DO 2")
	g.fails("in the middle", err)
	return g.rows("after", n, "SELECT 5")
}

func (g *goScenario) large(db *sql.DB) error {
	if err := g.exec(db, "CREATE TABLE big (id INT, x LONGBLOB)"); err != nil {
		return err
	}
	x := []byte(strings.Repeat("0123456789abcdef", 1310720))
	for id, n := range []int{len(x), 1 << 20, 1<<24 - 20, 1<<24 - 10, 1<<24 - 1, 1 << 24} {
		if _, err := db.Exec("INSERT INTO big VALUES (?, ?)", id, x[:n]); err != nil {
			return err
		}
	}
	for _, query := range []struct {
		text string
		args []any
	}{{"SELECT id, x FROM big ORDER BY id", nil}, {"SELECT id, x FROM big WHERE id >= ? ORDER BY id", []any{0}}} {
		rows, err := db.Query(query.text, query.args...)
		if err != nil {
			return err
		}
		for rows.Next() {
			var id int
			var x sql.RawBytes
			if err := rows.Scan(&id, &x); err != nil {
				return err
			}
			g.say("row", id, len(x), crc32.ChecksumIEEE(x))
		}
		if err := rows.Close(); err != nil {
			return err
		}
	}
	return g.exec(db, "TRUNCATE big")
}

func (g *goScenario) infile(db *sql.DB) error {
	name := g.at.database + "_" + g.at.address // a reader of its own for each scenario that runs
	mysql.RegisterReaderHandler(name, func() io.Reader {
		var b strings.Builder
		for i := range 20000 {
			fmt.Fprintf(&b, "%d,row %d\n", i, i)
		}
		return strings.NewReader(b.String())
	})
	defer mysql.DeregisterReaderHandler(name)
	if err := g.exec(db, "CREATE TABLE loaded (id INT, v VARCHAR(20))"); err != nil {
		return err
	}
	r, err := db.Exec("LOAD DATA LOCAL INFILE 'Reader::" + name + "' INTO TABLE loaded FIELDS TERMINATED BY ','")
	if err != nil {
		return err
	}
	n, _ := r.RowsAffected()
	g.say("loaded", n)
	_, err = db.Exec("LOAD DATA LOCAL INFILE '/not/registered' INTO TABLE loaded")
	g.say("not registered", err)
	return g.rows("sum", db, "SELECT COUNT(*), SUM(id), SUM(CRC32(v)) FROM loaded")
}

func (g *goScenario) charsets(*sql.DB) error {
	for _, collation := range []string{"utf8mb4_general_ci", "utf8mb4_bin", "latin1_swedish_ci", "utf8mb3_general_ci"} {
		n := g.open(func(c *mysql.Config) { c.Collation = collation })
		err := g.rows(collation, n, "SELECT @@character_set_client, @@character_set_results, @@collation_connection, HEX('\xc3\xa9')")
		n.Close()
		if err != nil {
			return err
		}
	}
	n := g.open(func(c *mysql.Config) {
		c.Params = map[string]string{"sql_mode": "'ANSI'", "time_zone": "'+05:30'"}
		c.Apply(mysql.Charset("utf8mb4", "utf8mb4_unicode_ci"))
	})
	defer n.Close()
	return g.rows("parameters", n, "SELECT @@sql_mode, @@time_zone, @@collation_connection, '\xf0\x9f\x8c\xb2'")
}

func (g *goScenario) errors(db *sql.DB) error {
	for _, s := range []string{"SELEC 1", "SELECT * FROM no_such_table", "INSERT INTO t (v) VALUES ('a')", "", "DROP DATABASE vault"} {
		_, err := db.Exec(s)
		g.fails(s, err)
	}
	for name, change := range map[string]func(*mysql.Config){"wrong password": func(c *mysql.Config) { c.Passwd = "wrong" }} {
		n := g.open(change)
		g.fails(name, n.Ping())
		n.Close()
	}
	n := g.open(func(c *mysql.Config) { c.DBName += "_nowhere" })
	defer n.Close()
	g.fails("unknown database", n.Ping())
	return nil
}

func (g *goScenario) flags(*sql.DB) error {
	for _, f := range []struct {
		name   string
		change func(*mysql.Config)
	}{
		{"found rows", func(c *mysql.Config) { c.ClientFoundRows = true }}, {"changed rows", nil},
		{"compressed", func(c *mysql.Config) { c.Apply(mysql.EnableCompression(true)) }},
		{"interpolated", func(c *mysql.Config) { c.InterpolateParams = true }},
		{"no database", func(c *mysql.Config) { c.DBName = "" }},
		{"attributes", func(c *mysql.Config) {
			c.ConnectionAttributes = "program_name:a test,other:" + strings.Repeat("x", 300)
		}},
	} {
		n := g.open(f.change)
		r, err := n.Exec("UPDATE "+g.at.database+".t SET n=n WHERE v=?", "a")
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		affected, _ := r.RowsAffected()
		g.say(f.name, affected)
		if err := g.rows(f.name, n, "SELECT LENGTH(REPEAT('x', 100000)), DATABASE()"); err != nil {
			return err
		}
		n.Close()
	}
	return nil
}

func (g *goScenario) kill(db *sql.DB) error {
	for _, how := range []string{"QUERY", "CONNECTION"} {
		c, err := db.Conn(g.ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		var id int64
		if err := c.QueryRowContext(g.ctx, "SELECT CONNECTION_ID()").Scan(&id); err != nil {
			return err
		}
		ended := make(chan error, 1)
		go func() {
			_, err := c.ExecContext(g.ctx, "SELECT SLEEP(17.5)")
			ended <- err
		}()
		// Ids are the proxy's, so the statement is looked for by its text.
		var polled error
		g.say("sleeps", testnet.Poll(5*time.Second, func() bool {
			var n int
			polled = db.QueryRow("SELECT COUNT(*) FROM information_schema.processlist WHERE db=DATABASE() AND info='SELECT SLEEP(17.5)'").Scan(&n)
			return polled != nil || n > 0
		}), polled)
		if err := g.exec(db, fmt.Sprintf("KILL %s %d", how, id)); err != nil {
			return err
		}
		select {
		case err = <-ended:
		case <-time.After(20 * time.Second):
			return fmt.Errorf("KILL %s did not end the statement", how)
		}
		if how == "QUERY" {
			g.fails("killed", err)
		} else {
			g.say("lost", err != nil) // a proxy may say more than the server, which only closes
		}
		g.say("lives", c.PingContext(g.ctx) == nil)
	}
	// The driver gives a connection up whose context ends.
	ctx, cancel := context.WithTimeout(g.ctx, 50*time.Millisecond)
	defer cancel()
	_, err := db.ExecContext(ctx, "SELECT SLEEP(18)")
	g.say("gave up", err)
	return nil
}

// pool opens and closes connections the way a service does.
func (g *goScenario) pool(*sql.DB) error {
	db := g.open(nil)
	defer db.Close()
	db.SetMaxOpenConns(4)
	db.SetMaxIdleConns(0)
	errs := make(chan error, 40)
	for i := range cap(errs) {
		go func() {
			var n int
			err := db.QueryRow("SELECT ? + COUNT(*) FROM t WHERE v='a'", i).Scan(&n)
			if err == nil && n != i+1 {
				err = fmt.Errorf("got %d, want %d", n, i+1)
			}
			errs <- err
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			return err
		}
	}
	c, err := db.Conn(g.ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Raw(func(raw any) error { return raw.(driver.Pinger).Ping(g.ctx) })
}
