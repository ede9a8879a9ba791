package mysql_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/testnet"
	"weir/limiter"
	"weir/proxy/fault/overlimit"
	"weir/proxy/mysql"
	"weir/proxy/mysql/wire"
)

// hourly is burst at once and no more within a test.
func hourly(t *testing.T, burst int) limiter.Limit {
	t.Helper()
	l, err := limiter.NewLimit(1, time.Hour, burst)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func newLimit(t *testing.T, o limiter.GateOptions, by limiter.KeyBy) overlimit.Limit {
	t.Helper()
	o.Keys = 1024
	g, err := limiter.NewGate(o)
	if err != nil {
		t.Fatal(err)
	}
	return overlimit.Limit{Gate: g, By: by, Name: "listeners[db]"}
}

var byClient = limiter.KeyBy{IPv4: 32, IPv6: 64}

// transactions answers as echo does, and knows BEGIN and COMMIT.
func transactions(c *fakeConn, cmd []byte) bool {
	switch status := wire.StatusAutocommit; {
	case strings.HasPrefix(string(cmd[1:]), "BEGIN"):
		status |= wire.StatusInTrans
		fallthrough
	case strings.HasPrefix(string(cmd[1:]), "COMMIT"):
		return c.send(wire.AppendOK(nil, &wire.OK{Status: status}, c.caps))
	case strings.HasPrefix(string(cmd[1:]), "UPDATE"):
		return c.send(wire.AppendOK(nil, &wire.OK{Status: status | wire.StatusInTrans}, c.caps))
	}
	return echo(c, cmd)
}

func TestStatementsOverARateAreRefusedAndTheSessionGoesOn(t *testing.T) {
	f := newFake(t, echo)
	r := newRig(t, rigOptions{backend: f.address(), users: []*mysql.User{withPassword("app", password), withPassword("other", password)},
		settings: func(s *mysql.Settings) {
			s.Limit = newLimit(t, limiter.GateOptions{PerRate: hourly(t, 2)}, limiter.KeyBy{User: true})
		}})
	c, d := r.login(loginAs{}), r.login(loginAs{user: "other"})
	c.alive()
	c.alive()
	for range 2 {
		c.query("SELECT 'x'").refused(t, wire.CodeTooManyConnections, "weir: ", "more requests than you may")
	}
	if a := c.command(wire.ComPing, ""); a.code != 0 {
		t.Errorf("a ping is no statement: %v", a)
	}
	c.command(wire.ComStmtPrepare, "SELECT 'x'").refused(t, wire.CodeTooManyConnections)
	d.alive()
	if n := r.outcomes("limit_per_rate"); n != 3 {
		t.Errorf("%d are counted", n)
	}
}

func TestNothingIsRefusedInATransaction(t *testing.T) {
	f := newFake(t, transactions)
	for name, begin := range map[string][]string{"begin": {"BEGIN"}, "autocommit off": {"UPDATE 'first'"}} {
		r := newRig(t, rigOptions{backend: f.address(), be: func(b *mysql.Backend) {
			b.Limit = newLimit(t, limiter.GateOptions{Rate: hourly(t, 1)}, byClient)
		}})
		c := r.login(loginAs{})
		c.do(begin...)
		c.do("UPDATE 'x'", "UPDATE 'x'", "COMMIT", "ROLLBACK", "UNLOCK TABLES", " /* x */ release savepoint a")
		c.query("SELECT 'x'").refused(t, wire.CodeTooManyConnections, "more requests come")
		if n := r.outcomes("limit_rate"); n != 1 {
			t.Errorf("%s: %d were refused", name, n)
		}
	}
}

func TestStatementsOfATransactionCountAsFarAsTheyCan(t *testing.T) {
	f := newFake(t, transactions)
	r := newRig(t, rigOptions{backend: f.address(), be: func(b *mysql.Backend) {
		b.Limit = newLimit(t, limiter.GateOptions{Rate: hourly(t, 4)}, byClient)
	}})
	c := r.login(loginAs{})
	c.do("BEGIN", "UPDATE 'x'", "COMMIT", "SELECT 'x'")
	c.query("SELECT 'x'").refused(t, wire.CodeTooManyConnections)
}

// executeLast is MariaDB's EXECUTE of the statement prepared last.
const executeLast = "\xff\xff\xff\xff\x00\x01\x00\x00\x00"

func TestAfterARefusedPrepareThereIsNoLastStatement(t *testing.T) {
	var executed atomic.Int64
	f := newFake(t, func(c *fakeConn, cmd []byte) bool {
		if wire.Command(cmd[0]) == wire.ComStmtExecute {
			executed.Add(1)
		}
		return transactions(c, cmd)
	})
	r := newRig(t, rigOptions{backend: f.address(), be: func(b *mysql.Backend) {
		b.Limit = newLimit(t, limiter.GateOptions{InFlight: 1}, byClient)
	}})
	c := r.login(loginAs{})
	c.alive()
	var way limiter.Way
	way.Enter(r.be.Limit.Gate, 0, 0) // another one is under way
	c.command(wire.ComStmtPrepare, "SELECT 1").refused(t, wire.CodeTooManyConnections)
	way.Leave()
	c.command(wire.ComStmtExecute, executeLast).refused(t, wire.CodeUnknownStatement)
	c.command(wire.ComStmtReset, executeLast[:4]).refused(t, wire.CodeUnknownStatement)
	c.write(packet(wire.ComStmtSendLongData, executeLast[:4]+"\x00\x00abc"))
	c.write(packet(wire.ComStmtClose, executeLast[:4]))
	c.alive()
	if n := executed.Load(); n != 0 {
		t.Errorf("the server was asked %d times for a statement that it never had", n)
	}
	c.command(wire.ComStmtExecute, "\x01"+executeLast[1:]) // another one
	c.command(wire.ComStmtPrepare, "SELECT 1")
	c.command(wire.ComStmtExecute, executeLast)
	if n := executed.Load(); n != 1+1 {
		t.Errorf("the server was asked %d times to execute, want 2", n)
	}
}

func TestAnExecuteWhoseDataHasGoneIsNotRefused(t *testing.T) {
	f := newFake(t, transactions)
	r := newRig(t, rigOptions{backend: f.address(), be: func(b *mysql.Backend) {
		b.Limit = newLimit(t, limiter.GateOptions{Rate: hourly(t, 1)}, byClient)
	}})
	c := r.login(loginAs{})
	c.alive()
	c.query("SELECT 'x'").refused(t, wire.CodeTooManyConnections)
	c.write(packet(wire.ComStmtSendLongData, "\x01\x00\x00\x00\x00\x00abc"))
	if a := c.command(wire.ComStmtExecute, "\x01"+executeLast[1:]); a.code != 0 {
		t.Errorf("%v", a)
	}
	c.command(wire.ComStmtExecute, "\x01"+executeLast[1:]).refused(t, wire.CodeTooManyConnections)
}

func TestStatementsUnderWayAreBounded(t *testing.T) {
	hold := make(chan struct{})
	f := newFake(t, func(c *fakeConn, cmd []byte) bool {
		if strings.Contains(string(cmd), "slow") {
			<-hold
		}
		return echo(c, cmd)
	})
	r := newRig(t, rigOptions{backend: f.address(), settings: func(s *mysql.Settings) {
		s.Limit = newLimit(t, limiter.GateOptions{InFlight: 1}, byClient)
	}})
	c, d := r.login(loginAs{}), r.login(loginAs{})
	done := make(chan reply, 1)
	go func() {
		a, _ := c.try(wire.ComQuery, "SELECT 'slow'")
		done <- a
	}()
	testnet.WaitFor(t, testWait, "one is under way", func() bool { return r.set.Limit.Gate.InFlight() == 1 })
	d.query("SELECT 'x'").refused(t, wire.CodeTooManyConnections, "under way")
	close(hold)
	if a := <-done; a.one() != "slow" {
		t.Errorf("%v", a)
	}
	d.alive()
}

func TestALongStatementOverALimitIsNotReadToItsEnd(t *testing.T) {
	f := newFake(t, echo)
	r := newRig(t, rigOptions{backend: f.address(), settings: func(s *mysql.Settings) {
		s.Limit = newLimit(t, limiter.GateOptions{Rate: hourly(t, 1)}, byClient)
	}})
	c := r.login(loginAs{})
	c.alive()
	c.query("SELECT '"+strings.Repeat("x", 20<<10)+"'").refused(t, wire.CodeTooManyConnections, "more requests come")
	c.closed()
	r.login(loginAs{}).query("SELECT 'x'").refused(t, wire.CodeTooManyConnections)
}

func TestAClientThatGoesOnAfterThreeRefusalsIsLeftUnread(t *testing.T) {
	soon, err := limiter.NewLimit(2, time.Second, 1)
	if err != nil {
		t.Fatal(err)
	}
	f := newFake(t, echo)
	r := newRig(t, rigOptions{backend: f.address(), settings: func(s *mysql.Settings) {
		s.Limit = newLimit(t, limiter.GateOptions{PerRate: soon}, byClient)
	}})
	c := r.login(loginAs{})
	c.alive()
	for range 3 {
		c.query("SELECT 'x'").refused(t, wire.CodeTooManyConnections)
	}
	testnet.WaitFor(t, testWait, "its socket is left unread", func() bool { return r.l.Stats().LeftUnread == 1 })
	c.alive()
	if n := r.l.Stats().Unread; n != 0 {
		t.Errorf("%d clients are left unread", n)
	}
}

func TestConnectionsOfOneClientAreBounded(t *testing.T) {
	f := newFake(t, echo)
	counts := new(limiter.Counts)
	r := newRig(t, rigOptions{backend: f.address(), settings: func(s *mysql.Settings) {
		s.Connections = overlimit.Connections{All: counts, PerClient: 2, By: byClient}
	}})
	a, b := r.login(loginAs{}), r.connect() // a login counts too
	c := newClient(t, r.dial())
	if code, text := errorOf(t, c.must()); code != wire.CodeTooManyConnections || !strings.Contains(text, "as many connections open") {
		t.Errorf("%d %s", code, text)
	}
	c.closed()
	a.quit()
	b.Close()
	testnet.WaitFor(t, testWait, "both have left", func() bool { return counts.Stats().Open == 0 })
	r.login(loginAs{}).alive()
	if n := r.outcomes("client_connections"); n != 1 {
		t.Errorf("%d are counted", n)
	}
}
