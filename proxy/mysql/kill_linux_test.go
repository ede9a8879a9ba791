package mysql_test

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/testnet"
	"weir/proxy/mysql"
	"weir/proxy/mysql/wire"
)

// sleeping sends a statement that takes long, and waits until it runs.
func (c *client) sleeping(m *testnet.MariaDB) {
	c.t.Helper()
	c.write(packet(wire.ComQuery, "SELECT SLEEP(30)"))
	testnet.WaitFor(c.t, testWait, "the statement runs", func() bool {
		return m.Query("SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP(30)%'")[0][0] == "1"
	})
	c.seq = 1
}

func TestKillEndsWhatItsNumberNames(t *testing.T) {
	t.Parallel()
	m := testnet.StartMariaDB(t)
	r := newRig(t, rigOptions{backend: m.Address(), users: accounts("app", "appall")})
	for name, number := range map[string]func(*client) string{
		"greeting":          func(c *client) string { return fmt.Sprint(c.greet.ConnID) },
		"CONNECTION_ID()":   func(c *client) string { return c.do("SELECT CONNECTION_ID()").one() },
		"the server's":      func(c *client) string { return c.serverID() },
		"through a comment": func(c *client) string { return "/* this one */ " + fmt.Sprint(c.greet.ConnID) },
	} {
		for _, what := range []string{"KILL QUERY ", "KILL ", "KILL HARD CONNECTION ", "COM_PROCESS_KILL"} {
			for _, user := range []string{"app", "appall"} {
				t.Run(name+" "+what+" "+user, func(t *testing.T) {
					if what == "COM_PROCESS_KILL" && name == "through a comment" {
						return
					}
					a, killer := r.login(loginAs{}), r.login(loginAs{user: user})
					a.alive()
					id := number(a)
					a.sleeping(m)
					var k reply
					if what == "COM_PROCESS_KILL" {
						n := uint32(0)
						fmt.Sscan(id, &n)
						k = killer.command(wire.ComProcessKill, string(binary.LittleEndian.AppendUint32(nil, n)))
					} else {
						k = killer.query(what + id)
					}
					if k.code != 0 {
						t.Fatalf("got %v", k)
					}
					got, err := a.answer(wire.ComQuery)
					if what == "KILL QUERY " {
						if err != nil || got.code != wire.CodeQueryInterrupted && got.one() != "1" {
							t.Errorf("got %v, %v", got, err)
						}
						a.alive()
					} else {
						if err == nil && got.code != wire.CodeConnectionKilled {
							t.Errorf("got %v", got)
						}
						a.closed()
					}
					killer.alive()
					a.gone()
					killer.quit()
					r.idle()
				})
			}
		}
	}
	if n := r.closes()["killed"]; n == 0 {
		t.Errorf("closed: %v", r.closes())
	}
}

func TestTheServerSaysWhoMayKillWhom(t *testing.T) {
	m := testnet.StartMariaDB(t)
	r := newRig(t, rigOptions{backend: m.Address(), users: accounts("app", "appnone")})
	idle, busy, other := r.login(loginAs{}), r.login(loginAs{}), r.login(loginAs{user: "appnone"})
	busy.alive()
	for _, kill := range []string{"KILL ", "KILL QUERY "} {
		for name, c := range map[string]*client{"holds nothing": idle, "holds a connection": busy} {
			a := other.query(kill + fmt.Sprint(c.greet.ConnID))
			if a.code != wire.CodeKillDenied {
				t.Errorf("%s, %s: %v", kill, name, a)
			}
		}
		other.query(kill+"4000000000").refused(t, wire.CodeUnknownThread)
	}
	// What weir cannot put the server's number into could hit anybody.
	for _, kill := range []string{"KILL 99999999999999999999", "KILL 1+1", "SELECT 1; KILL 5", "KILL 'x'"} {
		busy.query(kill).refused(t, wire.CodeUnknownCommand)
	}
	other.alive()
	busy.alive()
	idle.alive()
}

func TestAKilledSessionThatHoldsNothingRunsNoMore(t *testing.T) {
	m := testnet.StartMariaDB(t)
	m.Exec("CREATE TABLE app.t (a INT)")
	r := newRig(t, rigOptions{backend: m.Address()})
	for _, parked := range []bool{false, true} {
		before := r.l.Stats().Parked
		a, killer := r.login(loginAs{}), r.login(loginAs{})
		if parked {
			testnet.WaitFor(t, testWait, "it is parked", func() bool { return r.l.Stats().Parked == before+2 })
		}
		if k := killer.query(fmt.Sprintf("KILL QUERY %d", a.greet.ConnID)); k.code != 0 {
			t.Errorf("got %v", k)
		}
		a.alive()
		if x := a.command(wire.ComResetConnection, ""); x.code != 0 {
			t.Errorf("got %v", x)
		}
		if k := killer.query(fmt.Sprintf("KILL %d", a.greet.ConnID)); k.code != 0 {
			t.Errorf("got %v", k)
		}
		if x, err := a.try(wire.ComQuery, "INSERT INTO app.t VALUES (1)"); err == nil {
			t.Errorf("got %v", x)
		}
		a.gone()
		killer.quit()
		r.idle()
	}
	if got := m.Query("SELECT COUNT(*) FROM app.t"); got[0][0] != "0" {
		t.Errorf("%s rows", got[0][0])
	}
}

func TestAClientMayKillItself(t *testing.T) {
	m := testnet.StartMariaDB(t)
	r := newRig(t, rigOptions{backend: m.Address(), maxOpen: 1})
	for _, how := range []string{"number", "expression"} {
		c := r.login(loginAs{})
		c.alive()
		id := fmt.Sprint(c.greet.ConnID)
		if how == "expression" {
			id = "CONNECTION_ID()"
		}
		if a, err := c.try(wire.ComQuery, "KILL "+id); err == nil && a.code == 0 {
			t.Errorf("%s: %v", how, a)
		}
		c.gone()
		r.idle()
		r.login(loginAs{}).next(t, r)
	}
}

// A KILL QUERY may arrive when its statement is over. Then it may hit a later one
// of the same client's, and never another's.
func TestRacingKillsNeverHitAnotherClient(t *testing.T) {
	m := testnet.StartMariaDB(t)
	for name, be := range map[string]func(*mysql.Backend){"session": proven, "transaction": shared} {
		t.Run(name, func(t *testing.T) { raceKills(t, newRig(t, rigOptions{backend: m.Address(), maxOpen: 4, be: be})) })
	}
}

func raceKills(t *testing.T, r *rig) {
	stop := make(chan struct{})
	var bystanders sync.WaitGroup
	var served atomic.Int64
	for range 2 {
		bystanders.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				c := r.login(loginAs{})
				for range 3 {
					if a, err := c.try(wire.ComQuery, "SELECT SLEEP(0.0005)"); err != nil || a.code != 0 || a.one() != "0" {
						t.Errorf("a bystander got %v, %v", a, err)
						return
					}
				}
				c.quit()
				served.Add(1)
			}
		})
	}
	killer := r.login(loginAs{})
	hit := 0
	for range 200 {
		victim := r.login(loginAs{})
		victim.write(packet(wire.ComQuery, "SELECT SLEEP(0.0005)"))
		if k := killer.query(fmt.Sprintf("KILL QUERY %d", victim.greet.ConnID)); k.code != 0 {
			t.Fatalf("got %v", k)
		}
		victim.seq = 1
		if a, err := victim.answer(wire.ComQuery); err != nil {
			t.Fatal(err)
		} else if a.code != 0 || a.one() == "1" {
			hit++
		}
		victim.quit()
	}
	close(stop)
	bystanders.Wait()
	t.Logf("%d of 200 kills hit, %d bystanders", hit, served.Load())
	if served.Load() == 0 {
		t.Error("no bystander was served")
	}
}

func TestAStatementThatTakesTooLongIsKilled(t *testing.T) {
	t.Parallel()
	m := testnet.StartMariaDB(t)
	for _, sharing := range []bool{false, true} {
		tooLong(t, newRig(t, rigOptions{backend: m.Address(), maxOpen: 1, be: func(b *mysql.Backend) { b.QueryTimeout, b.Sharing = 300*time.Millisecond, sharing }}))
	}
}

func tooLong(t *testing.T, r *rig) {
	for name, caps := range kinds {
		c := r.login(loginAs{caps: caps})
		c.do("SET @a = 1")
		if a := c.query("SELECT SLEEP(20)"); a.code != wire.CodeQueryInterrupted && a.one() != "1" {
			t.Errorf("%s: got %v", name, a)
		}
		// It is the client's still, and nobody's after it.
		c.alive()
		c.quit()
		r.idle()
		// With a prefix before it.
		c = r.login(loginAs{caps: caps})
		c.do("SET @a = 1")
		c = r.next(c, loginAs{caps: caps})
		if a := c.query("SELECT SLEEP(20)"); a.code != wire.CodeQueryInterrupted && a.one() != "1" && a.code != wire.CodeConnectionKilled {
			t.Errorf("%s: got %v", name, a)
		}
		c.gone()
		r.idle()
	}
	if n := r.closes()["killed"]; n < 4 {
		t.Errorf("closed: %v", r.closes())
	}
	if n := r.outcomes("query_timeout"); n < 4 {
		t.Errorf("outcomes: %v", r.front.Stats().Requests)
	}
}
