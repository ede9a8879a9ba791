package testnet

import (
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"testing"

	"github.com/go-sql-driver/mysql"
)

// openMariaDB makes a handle that keeps one idle connection, and says nothing
// of its own when a server is gone: that is what many tests are about.
func openMariaDB(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	config, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	config.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxIdleConns(1)
	return db
}

// rootDSN bounds every wait, so that a stopped process fails a test and does not
// hang it. Parameters are put into the text: root's questions add nothing to the
// server's count of prepared statements.
func (m *MariaDB) rootDSN() string {
	return fmt.Sprintf("root@unix(%s)/?timeout=5s&readTimeout=30s&writeTimeout=30s&interpolateParams=true", m.Socket())
}

// DSN is what go-sql-driver takes to log a user of MariaDBUsers in over TCP.
func (m *MariaDB) DSN(user, database string) string {
	return fmt.Sprintf("%s:%s@tcp(%s)/%s", user, MariaDBPassword, m.Address(), database)
}

// Root is a handle for root over the socket, which keeps one idle connection.
// The server's counters show that one. It is closed with the server.
func (m *MariaDB) Root() *sql.DB { return m.root }

// Exec executes statements as root, each of which may use any connection.
func (m *MariaDB) Exec(statements ...string) {
	m.t.Helper()
	for _, s := range statements {
		if _, err := m.root.Exec(s); err != nil {
			m.t.Fatalf("%.200s: %v", s, err)
		}
	}
}

// Query returns the rows of a query that root makes, as the server writes them;
// NULL is "NULL".
func (m *MariaDB) Query(query string, args ...any) [][]string {
	m.t.Helper()
	rows, err := QueryStrings(m.root, query, args...)
	if err != nil {
		m.t.Fatalf("%.200s: %v", query, err)
	}
	return rows
}

// QueryStrings makes a query on db, a *sql.DB or *sql.Conn's, and returns the
// rows of its first result as strings; NULL is "NULL".
func QueryStrings(db interface {
	Query(query string, args ...any) (*sql.Rows, error)
}, query string, args ...any) ([][]string, error) {
	rows, err := db.Query(query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var all [][]string
	for rows.Next() {
		values := make([]sql.NullString, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		row := make([]string, len(columns))
		for i, v := range values {
			row[i] = v.String
			if !v.Valid {
				row[i] = "NULL"
			}
		}
		all = append(all, row)
	}
	return all, rows.Err()
}

// Variable is the global value of a system variable.
func (m *MariaDB) Variable(name string) string {
	m.t.Helper()
	return m.pair("SHOW GLOBAL VARIABLES LIKE ?", name)
}

// Status is the global value of a status variable that is a number.
func (m *MariaDB) Status(name string) int64 {
	m.t.Helper()
	text := m.pair("SHOW GLOBAL STATUS LIKE ?", name)
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		m.t.Fatalf("status variable %s is %q, which is no number", name, text)
	}
	return n
}

func (m *MariaDB) pair(query, name string) string {
	m.t.Helper()
	rows := m.Query(query, name)
	if len(rows) != 1 {
		m.t.Fatalf("%s %q: %d rows, want one", query, name, len(rows))
	}
	return rows[0][1]
}

// Connections counts the connections that a user has, logged in or about to be.
func (m *MariaDB) Connections(user string) int {
	m.t.Helper()
	rows := m.Query("SELECT COUNT(*) FROM information_schema.processlist WHERE user=?", user)
	n, _ := strconv.Atoi(rows[0][0])
	return n
}

// ServerError is the number of an error that the server sent, 0 if err is none.
func ServerError(err error) uint16 {
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return e.Number
	}
	return 0
}
