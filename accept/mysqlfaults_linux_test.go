package accept

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"weir/internal/testnet"
)

// ledger is a table of numbers, each of which its writer has sent once, and what
// the writers were told.
type ledger struct {
	m       *testnet.MariaDB
	address string
	next    atomic.Int64
	stop    chan struct{}
	writers sync.WaitGroup

	mu     sync.Mutex
	good   map[int64]bool
	codes  map[uint16]int // of errors that the server or weir sent
	others map[string]int // errors without a number
	texts  map[string]bool
}

// keepLedger lets writers write through address, each number on a connection of
// its own, until settle.
func keepLedger(t *testing.T, m *testnet.MariaDB, address string, writers int, pause time.Duration) *ledger {
	t.Helper()
	m.Exec("CREATE TABLE IF NOT EXISTS app.ledger (id BIGINT, KEY (id)) ENGINE=InnoDB", "TRUNCATE app.ledger")
	l := &ledger{m: m, address: address, stop: make(chan struct{}), good: map[int64]bool{}, codes: map[uint16]int{}, others: map[string]int{}, texts: map[string]bool{}}
	for range writers {
		l.writers.Go(func() {
			for testnet.Pace(l.stop, pause) {
				l.write()
			}
		})
	}
	return l
}

// write sends one number, and never a second time.
func (l *ledger) write() {
	id := l.next.Add(1)
	err := once(l.address, fmt.Sprintf("INSERT INTO ledger VALUES (%d)", id))
	l.mu.Lock()
	defer l.mu.Unlock()
	switch code := testnet.ServerError(err); {
	case err == nil:
		l.good[id] = true
	case code != 0:
		l.codes[code]++
		l.texts[err.Error()] = true
	default:
		l.others[err.Error()]++
	}
}

// once connects, runs one statement and quits.
func once(address, query string) error {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.User, cfg.Passwd, cfg.DBName = "tcp", address, testnet.UserApp, testnet.MariaDBPassword, "app"
	cfg.Timeout, cfg.ReadTimeout, cfg.WriteTimeout = 10*time.Second, 30*time.Second, 10*time.Second
	cfg.InterpolateParams = true
	cfg.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return err
	}
	c, err := connector.Connect(context.Background())
	if err != nil {
		return err
	}
	defer c.Close()
	return execOn(c, query)
}

func (l *ledger) count() int { l.mu.Lock(); defer l.mu.Unlock(); return len(l.good) }

// settle ends the writers and holds what they were told against the table.
func (l *ledger) settle(t *testing.T) {
	t.Helper()
	close(l.stop)
	l.writers.Wait()
	if twice := l.m.Query("SELECT id, COUNT(*) FROM app.ledger GROUP BY id HAVING COUNT(*) > 1"); len(twice) > 0 {
		t.Errorf("written more than once: %v", twice)
	}
	there := map[int64]bool{}
	for _, row := range l.m.Query("SELECT id FROM app.ledger") {
		id, _ := strconv.ParseInt(row[0], 10, 64)
		there[id] = true
	}
	missing := 0
	for id := range l.good {
		if !there[id] {
			missing++
		}
	}
	if missing > 0 {
		t.Errorf("%d numbers were answered well and are not there", missing)
	}
	figure(t, "%d numbers sent, %d answered well, %d in the table; errors by number %v, others %v",
		l.next.Load(), len(l.good), len(there), l.codes, l.others)
}

// goesOn waits for more good answers, and returns how long the first took.
func (l *ledger) goesOn(t *testing.T, more int) time.Duration {
	t.Helper()
	n, began := l.count(), time.Now()
	testnet.WaitFor(t, 30*time.Second, "for a good answer", func() bool { return l.count() > n })
	first := time.Since(began)
	testnet.WaitFor(t, 60*time.Second, "for more of them", func() bool { return l.count() >= n+more })
	return first
}

// known are the numbers that a client may be told when the server goes.
func (l *ledger) onlyKnown(t *testing.T, codes ...uint16) {
	t.Helper()
	allowed := map[uint16]bool{}
	for _, c := range codes {
		allowed[c] = true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for c, n := range l.codes {
		if !allowed[c] {
			t.Errorf("%d times error %d: %v", n, c, l.texts)
		}
	}
}

func TestAcceptAKilledDatabaseCostsNoWriteAndIsBackAtOnce(t *testing.T) {
	m := testnet.StartMariaDB(t, testnet.MariaDBFlags("--innodb-flush-log-at-trx-commit=1"))
	w := startMySQLWeir(t, m, mysqlOptions{maxOpen: 8, reset: "always"})
	l := keepLedger(t, m, w.address, 16, time.Millisecond)
	for round := range 3 {
		l.goesOn(t, 100)
		if round == 1 {
			m.Stop()
		} else {
			m.Kill()
		}
		if err := m.Start(); err != nil {
			t.Fatal(err)
		}
		if back := l.goesOn(t, 100); back > time.Second {
			t.Errorf("the first good answer came %v after the server was back", back)
		} else {
			figure(t, "first good answer %v after the database was back", back.Round(time.Millisecond))
		}
	}
	l.settle(t)
	l.onlyKnown(t, 1040, 1053, 1927)
}

func TestAcceptADatabaseThatStandsStillLosesNothing(t *testing.T) {
	m := testnet.StartMariaDB(t)
	w := startMySQLWeir(t, m, mysqlOptions{maxOpen: 8, reset: "always"})
	l := keepLedger(t, m, w.address, 16, time.Millisecond)
	l.goesOn(t, 100)
	if err := m.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	testnet.Pace(nil, 2*time.Second) // the standstill itself
	if err := m.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	back := l.goesOn(t, 100)
	figure(t, "first good answer %v after the database went on", back.Round(time.Millisecond))
	if back > time.Second {
		t.Errorf("that is late")
	}
	l.settle(t)
	l.onlyKnown(t) // queue.timeout is longer than the standstill
	if len(l.others) > 0 {
		t.Errorf("errors: %v", l.others)
	}
}

func TestAcceptAShortWaitTimeoutIsNotNoticed(t *testing.T) {
	t.Parallel()
	m := testnet.StartMariaDB(t, testnet.MariaDBFlags("--wait-timeout=1", "--interactive-timeout=1"))
	w := startMySQLWeir(t, m, mysqlOptions{maxOpen: 8, reset: "always"})
	l := keepLedger(t, m, w.address, 4, 700*time.Millisecond) // around the time at which connections are closed
	testnet.WaitFor(t, 60*time.Second, "for 40 good answers", func() bool { return l.count() >= 40 })
	l.settle(t)
	l.onlyKnown(t)
	if len(l.others) > 0 {
		t.Errorf("errors: %v", l.others)
	}
}

func TestAcceptADatabaseWithFewerPlacesThanThePoolServesAll(t *testing.T) {
	m := testnet.StartMariaDB(t, testnet.MariaDBFlags("--max-connections=10"))
	w := startMySQLWeir(t, m, mysqlOptions{maxOpen: 40, reset: "always"})
	l := keepLedger(t, m, w.address, 40, time.Millisecond)
	l.goesOn(t, 2000)
	l.settle(t)
	l.onlyKnown(t, 1040)
	if len(l.others) > 0 {
		t.Errorf("errors: %v", l.others)
	}
	if sent := l.next.Load(); int64(l.count()) < sent*9/10 {
		t.Errorf("%d of %d were answered well", l.count(), sent)
	}
}

func TestAcceptNothingThatClientsDoGetsWeirShutOut(t *testing.T) {
	m := testnet.StartMariaDB(t, testnet.MariaDBFlags("--max-connect-errors=10"))
	w := startMySQLWeir(t, m, mysqlOptions{maxOpen: 4, reset: "always"})
	before := m.Status("Aborted_connects")
	for range 50 {
		if c, err := net.Dial("tcp", w.address); err == nil { // a port check
			c.Close()
		}
		if c, err := net.Dial("tcp", w.address); err == nil { // not MySQL
			c.Write([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
			c.Close()
		}
		bad := mysql.NewConfig()
		bad.Net, bad.Addr, bad.User, bad.Passwd, bad.Logger = "tcp", w.address, testnet.UserApp, "wrong", &mysql.NopLogger{}
		if connector, err := mysql.NewConnector(bad); err != nil {
			t.Fatal(err)
		} else if _, err = connector.Connect(t.Context()); testnet.ServerError(err) != 1045 {
			t.Fatalf("a wrong password: %v", err)
		}
	}
	if err := once(w.address, "SELECT 1"); err != nil {
		t.Errorf("a right one afterwards: %v", err)
	}
	if n := m.Status("Aborted_connects") - before; n != 0 {
		t.Errorf("the server counts %d aborted connects", n)
	}
	if m.Status("Aborted_clients") != 0 {
		t.Errorf("the server counts %d aborted clients", m.Status("Aborted_clients"))
	}
}

var errNoExecer = errors.New("the driver executes nothing")

// execOn runs a statement on a connection of the driver.
func execOn(c driver.Conn, query string) error {
	e, ok := c.(driver.ExecerContext)
	if !ok {
		return errNoExecer
	}
	_, err := e.ExecContext(context.Background(), query, nil)
	return err
}
