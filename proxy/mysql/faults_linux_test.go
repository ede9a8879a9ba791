package mysql_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"weir/internal/testnet"
	"weir/limiter"
	"weir/proxy/mysql"
	"weir/proxy/mysql/wire"
)

// awaited lets a time pass that something else is measured by.
func awaited(d time.Duration) {
	end := time.Now().Add(d)
	testnet.Poll(d+testWait, func() bool { return time.Now().After(end) })
}

func (r *rig) parked(n int64) {
	r.t.Helper()
	testnet.WaitFor(r.t, testWait, "clients are parked", func() bool { return r.l.Stats().Parked == n })
}

func TestAnEmptyPacketInTheBackendsLoginIsAnError(t *testing.T) {
	f := newFake(t, nil)
	f.odd.Store(&oddity{at: oddLogin, frames: true, say: [][]byte{{}}})
	r := newRig(t, rigOptions{backend: f.address(), version: fakeVersion, unknown: true})
	c := r.connect()
	if code, text := errorOf(t, c.login(loginAs{})); code != wire.CodeTooManyConnections || !strings.Contains(text, "takes no connections") {
		t.Errorf("got %d %q", code, text)
	}
}

// A client may be silent for long before it changes its user, and far away.
func TestAParkedClientMayChangeItsUser(t *testing.T) {
	m := testnet.StartMariaDB(t)
	r := newRig(t, rigOptions{backend: m.Address(), users: accounts("app", "appall"), settings: func(s *mysql.Settings) { s.LoginTimeout = 2 * time.Second }})
	c := r.login(loginAs{})
	r.parked(1)
	l := &wire.Login{Caps: c.caps, Charset: 45, User: []byte("appall"), Plugin: []byte(wire.PluginNative)}
	b, next := wire.AppendPacket(nil, wire.AppendChangeUser(nil, l), 0)
	c.seq = next
	c.write(b)
	awaited(300 * time.Millisecond) // the way there and back
	if p := c.steps(loginAs{password: password}); p[0] != 0 {
		t.Fatalf("COM_CHANGE_USER: %q", p)
	}
	if a := c.do("SELECT CURRENT_USER()"); !strings.HasPrefix(a.one(), "appall@") {
		t.Errorf("is %v", a)
	}
}

func TestACollationThatNoLoginHasRoomForIsRefused(t *testing.T) {
	f := newFake(t, echo)
	r := newRig(t, rigOptions{backend: f.address()})
	c := r.login(loginAs{})
	l := &wire.Login{Caps: c.caps, Charset: 303, User: []byte("app"), Plugin: []byte(wire.PluginNative)}
	b, next := wire.AppendPacket(nil, wire.AppendChangeUser(nil, l), 0)
	c.seq = next
	c.write(b)
	if code, text := errorOf(t, c.must()); code != wire.CodeHandshake || !strings.Contains(text, "collation 303") {
		t.Errorf("got %d %q", code, text)
	}
	c.closed()
}

// Half of a command that has no answer must be followed neither by what is left
// of it nor by another client.
func TestALongCommandThatIsNotTakenEndsItsConnection(t *testing.T) {
	f := newFake(t, echo, func(f *fake) { f.deafTo = wire.ComStmtSendLongData })
	r := newRig(t, rigOptions{backend: f.address(), maxOpen: 1, settings: func(s *mysql.Settings) { s.SendTimeout = 200 * time.Millisecond }})
	c := r.login(loginAs{})
	c.alive()
	blob := strings.Repeat("\x05\x00\x00\x00\x03DO 1", 1<<20)
	go c.Conn.Write(packet(wire.ComStmtSendLongData, "\x01\x00\x00\x00\x00\x00"+blob))
	testnet.WaitFor(t, testWait, "its connection is closed", func() bool { return r.pool.Stats().Open == 0 })
	for _, s := range f.all() {
		if _, cmds := s.got(); strings.Contains(strings.Join(cmds, ";"), "DO 1") {
			t.Errorf("data was taken for a command: %q", cmds)
		}
	}
	r.idle()
	r.login(loginAs{}).alive()
}

func TestATimeToSendDoesNotOutliveItsCommand(t *testing.T) {
	m := testnet.StartMariaDB(t, testnet.MariaDBTLS())
	r := newRig(t, rigOptions{backend: m.Address(), tls: noCheck, maxOpen: 1, settings: func(s *mysql.Settings) { s.SendTimeout = 200 * time.Millisecond }})
	c := r.login(loginAs{})
	id := c.serverID()
	p := c.prepare("SELECT 1")
	c.write(packet(wire.ComStmtClose, head(p.ID)))
	awaited(400 * time.Millisecond)
	if got := c.serverID(); got != id {
		t.Errorf("connection %s, had %s", got, id)
	}
	p = c.prepare("SELECT 1")
	c.write(packet(wire.ComStmtClose, head(p.ID)))
	c.quit()
	r.idle()
	awaited(400 * time.Millisecond)
	c = r.login(loginAs{})
	if got := c.serverID(); got != id {
		t.Errorf("the next client has connection %s, want %s", got, id)
	}
}

func TestDatabaseNamesThatCannotBeAreRefusedWithoutTheServer(t *testing.T) {
	m := testnet.StartMariaDB(t)
	r := newRig(t, rigOptions{backend: m.Address()})
	c := r.login(loginAs{})
	r.idle()
	before := r.opened()
	for _, name := range []string{strings.Repeat("x", 300), "a\x00b", strings.Repeat("y", 15000)} {
		c.command(wire.ComInitDB, name).refused(t, wire.CodeWrongDatabaseName)
	}
	if n := r.opened() - before; n != 0 {
		t.Errorf("%d connections were made for it", n)
	}
	c.alive()
}

// A server counts those that connect and do not log in, and shuts them out.
func TestNoConnectionIsMadeForALoginThatCannotBe(t *testing.T) {
	f := newFake(t, echo)
	r := newRig(t, rigOptions{backend: f.address(), users: []*mysql.User{withPassword("app", password), withHash("hashed", password)}})
	r.login(loginAs{}).alive()
	before := len(f.all())
	if _, err := r.pool.Acquire(t.Context(), mysql.WarmKey("hashed", ""), limiter.ClassDefault); err == nil || !strings.Contains(err.Error(), "native_hash") {
		t.Errorf("got %v", err)
	}
	if n := len(f.all()) - before; n != 0 {
		t.Errorf("%d connections were made", n)
	}
	// Its first login tells what is needed, once the hold-down of that user is over.
	testnet.WaitFor(t, testWait, "a login", func() bool {
		c := r.connect()
		defer c.gone()
		return c.login(loginAs{user: "hashed"})[0] == 0
	})
}

// After a restart of the server, silent clients must not keep its places.
func TestASilentClientWhoseConnectionDiedIsEnded(t *testing.T) {
	t.Parallel()
	m := testnet.StartMariaDB(t)
	r := newRig(t, rigOptions{backend: m.Address(), maxOpen: 2})
	a, b := r.login(loginAs{}), r.login(loginAs{})
	id := a.serverID()
	b.do("BEGIN")
	r.parked(2)
	awaited(2500 * time.Millisecond) // looked at, and left alone
	if n := r.l.Stats().Open; n != 2 {
		t.Fatalf("%d clients are open, want 2", n)
	}
	if n := r.front.Stats().IdleAttached; n != 2 {
		t.Errorf("%d clients are counted as attached, want 2", n)
	}
	m.Exec("KILL " + id)
	a.closed()
	testnet.WaitFor(t, testWait, "its place is free", func() bool { return r.pool.Stats().Leased == 1 })
	b.do("COMMIT")
	if n := r.outcomes("session_lost"); n != 1 {
		t.Errorf("outcomes: %v", r.front.Stats().Requests)
	}
}

func TestAKillOfAConnectionThatNobodyHoldsIsNotSent(t *testing.T) {
	m := testnet.StartMariaDB(t)
	r := newRig(t, rigOptions{backend: m.Address(), users: accounts("appall")})
	as := loginAs{user: "appall"}
	c := r.login(as)
	id := c.serverID()
	c.quit()
	r.idle()
	killer := r.login(as)
	killer.query("KILL "+id).refused(t, wire.CodeUnknownThread)
	killer.query("KILL QUERY "+id).refused(t, wire.CodeUnknownThread)
	if got := r.login(as).serverID(); got != id {
		t.Errorf("connection %s, want %s again", got, id)
	}
	// One that is not weir's is the server's to know.
	killer.query("KILL 999999").refused(t, wire.CodeUnknownThread)
	direct := direct(t, m, loginAs{user: "appall"})
	if k := killer.query("KILL " + direct.serverID()); k.code != 0 {
		t.Errorf("got %v", k)
	}
}

func TestAKilledClientIsEndedWhereverItWaits(t *testing.T) {
	t.Parallel()
	m := testnet.StartMariaDB(t)
	m.Exec("CREATE TABLE app.t (a INT)")
	for _, under := range []bool{false, true} { // TLS
		o := rigOptions{backend: m.Address(), maxOpen: 1}
		as := loginAs{database: "app"}
		if under {
			o.settings = func(s *mysql.Settings) { s.TLS = serverTLS(t) }
			as.tls = noCheck
		}
		r := newRig(t, o)
		idle, killer := r.login(as), r.login(as)
		r.parked(2)
		if k := killer.query(fmt.Sprintf("KILL %d", idle.greet.ConnID)); k.code != 0 {
			t.Errorf("got %v", k)
		}
		idle.closed()
		holder, waits := r.login(as), r.login(as)
		holder.do("SELECT 1")
		waits.write(packet(wire.ComQuery, "INSERT INTO t VALUES (1)"))
		testnet.WaitFor(t, testWait, "it waits for a connection", func() bool { return r.pool.Stats().Waiting == 1 })
		if k := killer.query(fmt.Sprintf("KILL %d", waits.greet.ConnID)); k.code != 0 {
			t.Errorf("got %v", k)
		}
		holder.quit()
		waits.closed()
		r.idle()
		if got := m.Query("SELECT COUNT(*) FROM app.t"); got[0][0] != "0" {
			t.Errorf("%s rows: a killed client's statement has run", got[0][0])
		}
	}
}

// A listener that a reload takes away ends its clients, whatever they wait for.
func TestAnInterruptEndsTheWaitForAnAnswer(t *testing.T) {
	m := testnet.StartMariaDB(t)
	r := newRig(t, rigOptions{backend: m.Address()})
	c := r.login(loginAs{})
	c.alive()
	c.write(packet(wire.ComQuery, "SELECT SLEEP(60)"))
	testnet.WaitFor(t, testWait, "it runs", func() bool {
		return m.Query("SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP(60)%'")[0][0] == "1"
	})
	r.front.Interrupt()
	began := time.Now()
	c.seq = 1
	if a, err := c.answer(wire.ComQuery); err == nil && a.code == 0 {
		t.Errorf("got %v", a)
	}
	c.closed()
	r.idle()
	if took := time.Since(began); took > testWait {
		t.Errorf("it took %v", took)
	}
}

// The words may stand anywhere in a statement that is not held whole.
func TestLongStatementsAreReadForWhatAResetLeaves(t *testing.T) {
	m := testnet.StartMariaDB(t)
	r := newRig(t, rigOptions{backend: m.Address(), maxOpen: 1, users: accounts("appall")})
	as := loginAs{user: "appall"}
	for _, tc := range []struct {
		sql  func(pad string) string
		same bool // the connection may go to another client
	}{
		{func(pad string) string { return "SELECT 1 -- " + pad }, true},
		{func(pad string) string { return "SET @p = '" + pad + "'; SET profiling = 1" }, false},
		{func(pad string) string { return "SET profiling = 1; SET @p = '" + pad + "'" }, false},
		{func(pad string) string { return "SET @p = '" + pad + "'; XA START 'x'; XA END 'x'; XA ROLLBACK 'x'" }, false},
	} {
		for _, n := range []int{17 << 10, 16<<10 - 40, 16<<10 - 30, 32 << 10} {
			c := r.login(as)
			id := c.serverID()
			c.query(tc.sql(strings.Repeat("x", n)))
			c = r.next(c, as)
			if got := c.serverID() == id; got != tc.same {
				t.Errorf("%.30s... with %d bytes: the same connection: %v, want %v", tc.sql(""), n, got, tc.same)
			}
			c.quit()
			r.idle()
		}
	}
	// Data is no statement.
	c := r.login(as)
	id := c.serverID()
	p := c.prepare("SELECT LENGTH(?)")
	c.write(packet(wire.ComStmtSendLongData, head(p.ID, 0, 0)+strings.Repeat(" XA ", 10000)))
	c.alive()
	c = r.next(c, as)
	if got := c.serverID(); got != id {
		t.Errorf("after long data: connection %s, want %s again", got, id)
	}
	c.do("SELECT 1 UNION SELECT 2 UNION SELECT 3")
	c = r.next(c, as)
	if a := c.query("SELECT FOUND_ROWS(), '" + strings.Repeat("x", 20000) + "'"); len(a.rows) != 1 || a.rows[0][0] == "3" {
		t.Errorf("FOUND_ROWS is that of the client before: %.40v", a)
	}
}
