package mysql_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"weir/internal/testnet"
	"weir/pool"
	"weir/proxy/mysql"
	"weir/proxy/mysql/wire"
)

// packet is one command as it is sent.
func packet(cmd wire.Command, body string) []byte {
	b, _ := wire.AppendPacket(nil, append([]byte{byte(cmd)}, body...), 0)
	return b
}

func TestPipelinedCommandsAreAnsweredInOrder(t *testing.T) {
	f := newFake(t, echo)
	for _, caps := range []wire.Caps{usual, old} {
		r := newRig(t, rigOptions{backend: f.address()})
		c := r.login(loginAs{caps: caps})
		var b []byte
		for i := range 50 {
			b = append(b, packet(wire.ComQuery, fmt.Sprintf("SELECT '%d'", i))...)
			b = append(b, packet(wire.ComPing, "")...)
		}
		c.write(b)
		for i := range 50 {
			c.seq = 1
			if a, err := c.answer(wire.ComQuery); err != nil || a.one() != fmt.Sprint(i) {
				t.Fatalf("answer %d is %v, %v", i, a, err)
			}
			c.seq = 1
			if a, err := c.answer(wire.ComPing); err != nil || a.code != 0 {
				t.Fatalf("answer %d to COM_PING is %v, %v", i, a, err)
			}
		}
	}
}

// Some clients send their first command without waiting for the login's OK, and
// the goodbye behind the last one.
func TestCommandsMayComeWithTheLoginAndTheGoodbye(t *testing.T) {
	f := newFake(t, echo)
	r := newRig(t, rigOptions{backend: f.address()})
	c := r.connect()
	c.caps = usual
	l := &wire.Login{Caps: usual &^ wire.CapConnectWithDB, MaxPacket: 1 << 24, Charset: 45, User: []byte("app"), Plugin: []byte(wire.PluginNative),
		Proof: proof(wire.PluginNative, password, c.greet.Nonce[:])}
	b, _ := wire.AppendPacket(nil, wire.AppendLogin(nil, l), 1)
	b = append(b, packet(wire.ComQuery, "SELECT 'first'")...)
	c.write(append(b, packet(wire.ComQuit, "")...))
	c.seq = 2
	if p := c.must(); p[0] != 0 {
		t.Fatalf("got %q", p)
	}
	c.seq = 1
	if a, err := c.answer(wire.ComQuery); err != nil || a.one() != "first" {
		t.Errorf("got %v, %v", a, err)
	}
	c.closed()
}

// A client may wait for an answer with half of its next command sent.
func TestAnAnswerDoesNotWaitForTheRestOfTheNextCommand(t *testing.T) {
	f := newFake(t, echo)
	r := newRig(t, rigOptions{backend: f.address()})
	c := r.login(loginAs{})
	next := packet(wire.ComQuery, "SELECT 'next'")
	for cut := 1; cut < len(next); cut += 3 {
		c.write(append(packet(wire.ComQuery, "SELECT 'this'"), next[:cut]...))
		c.seq = 1
		if a, err := c.answer(wire.ComQuery); err != nil || a.one() != "this" {
			t.Fatalf("cut at %d: %v, %v", cut, a, err)
		}
		c.write(next[cut:])
		c.seq = 1
		if a, err := c.answer(wire.ComQuery); err != nil || a.one() != "next" {
			t.Fatalf("cut at %d: %v, %v", cut, a, err)
		}
	}
}

func TestACommandMayComeByteByByte(t *testing.T) {
	f := newFake(t, echo)
	r := newRig(t, rigOptions{backend: f.address()})
	c := r.login(loginAs{})
	for _, b := range packet(wire.ComQuery, "SELECT 'in pieces'") {
		c.write([]byte{b})
	}
	c.seq = 1
	if a, err := c.answer(wire.ComQuery); err != nil || a.one() != "in pieces" {
		t.Fatalf("got %v, %v", a, err)
	}
}

func TestUnknownCommandsAreRefusedAndTheSessionGoesOn(t *testing.T) {
	f := newFake(t, echo)
	r := newRig(t, rigOptions{backend: f.address()})
	c := r.login(loginAs{})
	for n := range 256 {
		if cmd := wire.Command(n); !cmd.Known() {
			b, next := wire.AppendPacket(nil, []byte{byte(n), 'x'}, 0)
			c.write(b)
			c.seq = next
			code, _ := errorOf(t, c.must())
			if code != wire.CodeUnknownCommand {
				t.Errorf("%v: error %d", cmd, code)
			}
		}
	}
	c.alive()
}

func TestBrokenFramesEndTheirSessionWithAnError(t *testing.T) {
	f := newFake(t, echo)
	for name, tc := range map[string]struct {
		raw  string
		seq  uint8
		code wire.Code
	}{
		"wrong number":                    {"\x02\x00\x00\x05\x0ex", 6, wire.CodeMalformedPacket},
		"no bytes":                        {"\x00\x00\x00\x00", 1, wire.CodeMalformedPacket},
		"COM_PROCESS_KILL without number": {"\x01\x00\x00\x00\x0c", 1, wire.CodeMalformedPacket},
		"COM_CHANGE_USER without a name":  {"\x03\x00\x00\x00\x11ab", 1, wire.CodeMalformedPacket},
		"long command that is unknown":    {"\xff\xff\x00\x00\xee", 1, wire.CodeUnknownCommand},
		"long database":                   {"\xff\xff\x00\x00\x02", 1, wire.CodeMalformedPacket},
		"long COM_CHANGE_USER":            {"\xff\xff\x00\x00\x11", 1, wire.CodeMalformedPacket},
	} {
		for _, attached := range []bool{false, true} {
			r := newRig(t, rigOptions{backend: f.address()})
			c := r.login(loginAs{})
			if attached {
				c.alive()
			}
			c.write([]byte(tc.raw))
			c.seq = tc.seq
			if code, text := errorOf(t, c.must()); code != tc.code {
				t.Errorf("%s: error %d %q", name, code, text)
			}
			c.closed()
			r.idle()
		}
	}
}

func TestAFullQueueIsToldAndTheSessionGoesOn(t *testing.T) {
	f := newFake(t, echo)
	for name, tc := range map[string]struct {
		max     int
		timeout time.Duration
		outcome string
	}{
		"full":    {0, testWait, "queue_full"},
		"timeout": {10, 50 * time.Millisecond, "queue_timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigOptions{backend: f.address(), maxOpen: 1, pool: func(o *pool.Options) { o.QueueMax, o.QueueTimeout = tc.max, tc.timeout }})
			a, b := r.login(loginAs{}), r.login(loginAs{})
			a.alive()
			b.query("SELECT 1").refused(t, wire.CodeTooManyConnections, "Too many connections", "weir: ", "busy")
			if n := r.outcomes(tc.outcome); n != 1 {
				t.Errorf("outcomes: %v", r.front.Stats().Requests)
			}
			a.quit()
			r.idle()
			b.alive()
		})
	}
}

func TestABackendThatRefusesIsToldAndTheSessionGoesOn(t *testing.T) {
	f := newFake(t, echo)
	r := newRig(t, rigOptions{backend: f.address()})
	c := r.login(loginAs{})
	f.l.Close()
	for _, b := range f.all() {
		b.Close()
	}
	c.query("SELECT 1").refused(t, wire.CodeTooManyConnections, "weir: ")
	c.query("SELECT 1").refused(t, wire.CodeTooManyConnections, "weir: ")
	c.command(wire.ComPing, "").refused(t, wire.CodeTooManyConnections, "weir: ")
}

func TestPingNeedsNoConnection(t *testing.T) {
	f := newFake(t, echo)
	r := newRig(t, rigOptions{backend: f.address()})
	c := r.login(loginAs{})
	for range 10 {
		if a := c.command(wire.ComPing, ""); a.code != 0 {
			t.Errorf("got %v", a)
		}
	}
	if n := r.pool.Stats().Leased; n != 0 {
		t.Errorf("%d leases", n)
	}
}

func TestResetConnectionGivesTheConnectionBack(t *testing.T) {
	f := newFake(t, echo)
	r := newRig(t, rigOptions{backend: f.address(), maxOpen: 1})
	a, b := r.login(loginAs{}), r.login(loginAs{})
	for range 5 {
		a.alive()
		if x := a.command(wire.ComResetConnection, ""); x.code != 0 {
			t.Fatalf("got %v", x)
		}
		b.alive()
		if x := b.command(wire.ComResetConnection, ""); x.code != 0 {
			t.Fatalf("got %v", x)
		}
	}
}

func TestIdleClientsAreClosedInTime(t *testing.T) {
	t.Parallel()
	f := newFake(t, echo)
	for _, attached := range []bool{false, true} {
		r := newRig(t, rigOptions{backend: f.address(), settings: func(s *mysql.Settings) { s.IdleTimeout = 300 * time.Millisecond }})
		c := r.login(loginAs{})
		if attached {
			c.alive()
		}
		c.closed()
		r.idle()
	}
}

func TestAttachedClientsThatAreSilentLoseTheirConnection(t *testing.T) {
	t.Parallel()
	f := newFake(t, echo)
	r := newRig(t, rigOptions{backend: f.address(), be: func(b *mysql.Backend) { b.IdleAttached = 300 * time.Millisecond }})
	free, held := r.login(loginAs{}), r.login(loginAs{})
	held.alive()
	held.closed()
	r.idle()
	if n := r.outcomes("idle_attached"); n != 1 {
		t.Errorf("outcomes: %v", r.front.Stats().Requests)
	}
	free.alive()
}

func TestADrainEndsIdleSessionsAndAwaitsTransactions(t *testing.T) {
	t.Parallel()
	f := newFake(t, func(c *fakeConn, cmd []byte) bool {
		status := wire.StatusAutocommit
		if bytes.Contains(cmd, []byte("BEGIN")) {
			status |= wire.StatusInTrans
		}
		return c.send(wire.AppendOK(nil, &wire.OK{Status: status}, c.caps))
	})
	for i, parked := range []bool{true, false, true} {
		r := newRig(t, rigOptions{backend: f.address(), be: []func(*mysql.Backend){nil, nil, shared}[i]})
		idle, attached, open, stuck := r.login(loginAs{}), r.login(loginAs{}), r.login(loginAs{}), r.login(loginAs{})
		attached.do("SELECT 1")
		open.do("BEGIN")
		stuck.do("BEGIN")
		if parked {
			testnet.WaitFor(t, testWait, "all clients are parked", func() bool { return r.l.Stats().Parked == 4 })
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- r.l.Drain(ctx) }()
		idle.closed()
		attached.closed()
		for range 3 {
			c := open.query("BEGIN")
			if c.code != 0 {
				t.Errorf("in a transaction: %v", c)
			}
		}
		open.do("COMMIT")
		open.closed()
		stuck.do("BEGIN")
		cancel()
		if err := <-done; err == nil {
			t.Error("the drain has ended with a transaction open")
		}
		r.front.Interrupt()
		r.l.Close()
		if _, err := io.ReadAll(stuck.br); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("a transaction outlives the stop's patience")
		}
	}
}

// What a client that holds nothing says must not be kept waiting by others.
func TestStatementsOfNoConnectionAreNotForwarded(t *testing.T) {
	f := newFake(t, echo)
	r := newRig(t, rigOptions{backend: f.address()})
	c := r.login(loginAs{})
	c.write(packet(wire.ComStmtClose, "\x01\x00\x00\x00"))
	c.write(packet(wire.ComStmtSendLongData, "\x01\x00\x00\x00\x00\x00x"))
	if a := c.command(wire.ComPing, ""); a.code != 0 {
		t.Errorf("got %v", a)
	}
	if n := r.pool.Stats().Leased; n != 0 {
		t.Errorf("%d leases", n)
	}
	c.alive()
}

func TestSettingsOfAReloadDoNotTouchWhatRuns(t *testing.T) {
	t.Parallel()
	f := newFake(t, echo)
	r := newRig(t, rigOptions{backend: f.address(), maxOpen: 1, be: func(b *mysql.Backend) { b.QueryTimeout = 300 * time.Millisecond }})
	a := r.login(loginAs{})
	a.alive()
	a.quit()
	r.idle()
	set, be := *r.set, *r.be
	be.QueryTimeout = 0
	set.Backend = &be
	r.front.Apply(&set)
	b := r.login(loginAs{})
	b.alive()
	testnet.Pace(nil, 400*time.Millisecond) // the old bound passes
	b.alive()
	if strings.Contains(fmt.Sprint(r.front.Stats().Requests), "stalled") {
		t.Errorf("outcomes: %v", r.front.Stats().Requests)
	}
}
