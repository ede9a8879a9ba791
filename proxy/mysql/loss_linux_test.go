package mysql_test

import (
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"weir/internal/testnet"
	"weir/pool"
	"weir/proxy/mysql/wire"
)

func TestAConnectionThatDiedIdleIsNotNoticed(t *testing.T) {
	t.Parallel()
	m := testnet.StartMariaDB(t)
	m.Exec("CREATE TABLE app.t (a INT AUTO_INCREMENT PRIMARY KEY)")
	r := newRig(t, rigOptions{backend: m.Address(), maxOpen: 4})
	for round := range 10 {
		var all []*client
		for range 4 {
			c := r.login(loginAs{database: "app"})
			c.alive()
			all = append(all, c)
		}
		for _, c := range all {
			c.quit()
		}
		r.idle()
		m.Exec("KILL USER app")
		c := r.login(loginAs{database: "app"})
		c.do("INSERT INTO t VALUES (NULL)")
		if got := m.Query("SELECT COUNT(*) FROM app.t"); got[0][0] != strconv.Itoa(round+1) {
			t.Fatalf("%s rows after %d statements", got[0][0], round+1)
		}
		c.quit()
		r.idle()
	}
}

func TestASessionWhoseConnectionDiedIsToldAndNothingIsSent(t *testing.T) {
	m := testnet.StartMariaDB(t)
	m.Exec("CREATE TABLE app.t (a INT)")
	r := newRig(t, rigOptions{backend: m.Address()})
	for _, caps := range []wire.Caps{usual, old} {
		c := r.login(loginAs{database: "app", caps: caps})
		id := c.serverID()
		m.Exec("KILL " + id)
		testnet.WaitFor(t, testWait, "it is dead", func() bool {
			return m.Query("SELECT COUNT(*) FROM information_schema.processlist WHERE id=?", id)[0][0] == "0"
		})
		c.query("INSERT INTO t VALUES (1)").refused(t, wire.CodeConnectionKilled)
		c.closed()
		// Under a statement.
		c = r.login(loginAs{database: "app", caps: caps})
		id = c.serverID()
		c.sleeping(m)
		m.Exec("KILL " + id)
		a, err := c.answer(wire.ComQuery)
		if err != nil || a.code != wire.CodeConnectionKilled {
			t.Errorf("got %v, %v", a, err)
		}
		c.closed()
	}
	if got := m.Query("SELECT COUNT(*) FROM app.t"); got[0][0] != "0" {
		t.Errorf("%s rows", got[0][0])
	}
}

// Every statement has run once or not at all, and those that were answered well
// have run, whatever becomes of the server meanwhile.
func TestNothingRunsTwiceWhenTheServerDies(t *testing.T) {
	t.Parallel()
	m := testnet.StartMariaDB(t, testnet.MariaDBFlags("--innodb-flush-log-at-trx-commit=1"))
	m.Exec("CREATE TABLE app.ledger (id INT, KEY (id)) ENGINE=InnoDB")
	r := newRig(t, rigOptions{backend: m.Address(), maxOpen: 4, pool: func(o *pool.Options) { o.QueueTimeout = time.Second }})
	var mu sync.Mutex
	good := map[int]bool{}
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				c, ok := r.maybe(loginAs{database: "app"})
				if !ok {
					testnet.Pace(stop, 10*time.Millisecond) // as a client would
					continue
				}
				for j := range 3 {
					id := w*1_000_000 + i*10 + j
					a, err := c.try(wire.ComQuery, fmt.Sprintf("INSERT INTO ledger VALUES (%d)", id))
					if err != nil {
						break
					}
					if a.code == 0 {
						mu.Lock()
						good[id] = true
						mu.Unlock()
					}
				}
				c.quit()
			}
		})
	}
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(good) }
	for range 3 {
		n := count()
		testnet.WaitFor(t, testWait, "writes go on", func() bool { return count() > n+50 })
		m.Kill()
		if err := m.Start(); err != nil {
			t.Fatal(err)
		}
	}
	n := count()
	testnet.WaitFor(t, testWait, "writes go on", func() bool { return count() > n+50 })
	close(stop)
	writers.Wait()
	if twice := m.Query("SELECT id, COUNT(*) FROM app.ledger GROUP BY id HAVING COUNT(*) > 1"); len(twice) > 0 {
		t.Errorf("written more than once: %v", twice)
	}
	there := map[string]bool{}
	for _, row := range m.Query("SELECT id FROM app.ledger") {
		there[row[0]] = true
	}
	for id := range good {
		if !there[strconv.Itoa(id)] {
			t.Errorf("%d was answered well and is not there", id)
		}
	}
}

// maybe logs in where that may fail.
func (r *rig) maybe(as loginAs) (*client, bool) {
	network, address := r.address()
	conn, err := net.Dial(network, address)
	if err != nil {
		return nil, false
	}
	conn.SetDeadline(soon())
	c := newClient(r.t, conn)
	f, err := c.frame()
	if err == nil {
		c.greet, err = wire.ParseGreeting(f[wire.HeaderLen:])
	}
	if err == nil {
		as = as.defaults()
		c.caps = as.caps & c.greet.Caps
		l := &wire.Login{Caps: as.caps, MaxPacket: 1 << 24, Charset: as.charset, User: []byte(as.user), Database: []byte(as.database),
			Plugin: []byte(as.plugin), Proof: proof(as.plugin, as.password, c.greet.Nonce[:])}
		b, next := wire.AppendPacket(nil, wire.AppendLogin(nil, l), 1)
		conn.Write(b)
		c.seq = next
		f, err = c.frame()
	}
	if err != nil || f[wire.HeaderLen] != 0 {
		conn.Close()
		return nil, false
	}
	return c, true
}

func TestAServerThatIsFullIsToldAndTheSessionGoesOn(t *testing.T) {
	m := testnet.StartMariaDB(t, testnet.MariaDBFlags("--max-connections=10"))
	r := newRig(t, rigOptions{backend: m.Address(), maxOpen: 20, pool: func(o *pool.Options) { o.QueueTimeout = 300 * time.Millisecond }})
	var all []*client
	for range 9 { // and root's own
		c := r.login(loginAs{})
		c.alive()
		all = append(all, c)
	}
	c, d := r.login(loginAs{}), r.login(loginAs{})
	c.query("SELECT 1") // whether root's counts is the server's affair
	d.query("SELECT 1").refused(t, wire.CodeTooManyConnections, "weir: ")
	for _, x := range all[:2] {
		x.quit()
	}
	testnet.WaitFor(t, testWait, "there is a place again", func() bool { return d.query("SELECT 1").code == 0 })
	all[5].alive()
}

func TestPoliteEndsDoNotCountAsAborted(t *testing.T) {
	m := testnet.StartMariaDB(t)
	r := newRig(t, rigOptions{backend: m.Address(), maxOpen: 4, users: accounts("app", "appall")})
	for range 3 {
		c := r.login(loginAs{})
		c.alive()
		c.gone()
		d := r.connect()
		d.login(loginAs{user: "appall", database: "nowhere"})
		d.gone()
	}
	r.idle()
	for _, name := range []string{"Aborted_clients", "Aborted_connects_preauth"} {
		if n := m.Status(name); n != 0 {
			t.Errorf("%s is %d", name, n)
		}
	}
}
