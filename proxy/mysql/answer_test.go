package mysql_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/testnet"
	"weir/proxy/mysql"
	"weir/proxy/mysql/wire"
)

func TestThePrefixGoesOutInOneWriteWithTheFirstCommand(t *testing.T) {
	f := newFake(t, echo)
	r := newRig(t, rigOptions{backend: f.address(), maxOpen: 1})
	a := r.login(loginAs{})
	a.alive()
	a.quit()
	r.idle()
	back := f.all()[len(f.all())-1]
	back.forget()
	b := r.login(loginAs{})
	b.alive()
	reads, cmds := back.got()
	if reads != 1 || len(cmds) != 3 || !strings.HasPrefix(cmds[0], "COM_RESET_CONNECTION") || cmds[1] != "COM_QUERY SET ROLE NONE" {
		t.Errorf("%d reads of %q, want a reset, the role and the command in one", reads, cmds)
	}
	back.forget()
	b.alive()
	if reads, cmds := back.got(); reads != 1 || len(cmds) != 1 {
		t.Errorf("%d reads of %q, want the command alone", reads, cmds)
	}
}

func TestAnErrorInThePrefixClosesBothSides(t *testing.T) {
	var broken atomic.Bool
	f := newFake(t, func(c *fakeConn, cmd []byte) bool {
		if broken.Load() && bytes.Contains(cmd, []byte("SET ROLE")) {
			return c.fails(1959, "Invalid role specification")
		}
		return echo(c, cmd)
	})
	for _, caps := range []wire.Caps{usual, old} {
		t.Run(fmt.Sprint(caps.Has(wire.CapDeprecateEOF)), func(t *testing.T) {
			broken.Store(false)
			r := newRig(t, rigOptions{backend: f.address(), maxOpen: 1})
			a := r.login(loginAs{caps: caps})
			a.alive()
			a.quit()
			r.idle()
			broken.Store(true)
			b := r.login(loginAs{caps: caps})
			b.query("SELECT 'x'").refused(t, wire.CodeConnectionKilled)
			b.closed()
			r.idle()
			if n := r.closes()["backend_error"] + r.closes()["bad_response"]; n != 1 {
				t.Errorf("closed: %v", r.closes())
			}
		})
	}
}

// A server that fails, or says what cannot be understood, must cost the client
// that asked an error or a cut, and no other anything.
func TestAnAnswerThatIsNotUnderstoodReachesNobody(t *testing.T) {
	good := result(mariadbCaps, 1, []string{"fine"})
	packet := func(seq uint8, p ...byte) []byte { b, _ := wire.AppendPacket(nil, p, seq); return b }
	for name, raw := range map[string][]byte{
		"nothing and a close":    nil,
		"wrong number":           packet(7, 0, 0, 0, 2, 0, 0, 0),
		"number 0, as of a 4031": packet(0, append([]byte{0xff, 0xbf, 0x0f}, "#HY000The client was disconnected"...)...),
		"empty packet":           packet(1),
		"short OK":               packet(1, 0),
		"OK with a bad length":   packet(1, 0, 0xfc),
		"short ERR":              packet(1, 0xff),
		"EOF in place of OK":     packet(1, 0xfe, 0, 0, 2, 0),
		"0 columns":              packet(1, 0xfc, 0, 0),
		"too many columns":       packet(1, 0xfe, 255, 255, 255, 255, 255, 255, 255, 255),
		"a file is wanted":       packet(1, 0xfb, '/'),
		"half a header":          {9, 0},
		"half a packet":          {9, 0, 0, 1, 0xff},
		"half a result":          good[:len(good)/2],
		"end missing":            good[:len(good)-11],
		"a number out of turn":   append(bytes.Clone(good[:5]), packet(3, 1)...),
		"HTTP":                   []byte("HTTP/1.1 400 Bad Request\r\n\r\n"),
		"noise":                  bytes.Repeat([]byte{0xa5, 0x5a, 1}, 9000),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, func(c *fakeConn, cmd []byte) bool {
				if string(cmd[1:]) == "bad" {
					c.raw(raw)
					return false
				}
				return echo(c, cmd)
			})
			for _, caps := range []wire.Caps{usual &^ wire.CapLocalFiles, old &^ wire.CapLocalFiles} {
				r := newRig(t, rigOptions{backend: f.address(), maxOpen: 2})
				other := r.login(loginAs{})
				other.alive()
				c := r.login(loginAs{caps: caps})
				a, err := c.try(wire.ComQuery, "bad")
				switch {
				case err == nil && a.code != wire.CodeConnectionKilled:
					t.Errorf("got %v", a)
				case err == nil:
					c.closed()
				case len(a.raw) > len(raw)+9 || len(a.raw) == 0 && len(raw) < 10 || strings.Contains(err.Error(), "packet number") && !strings.HasPrefix(name, "a number"):
					t.Errorf("got %q, %v", a.raw, err)
				}
				other.alive()
				c.gone()
				d := r.login(loginAs{caps: caps})
				d.alive()
				d.gone()
				if n := r.pool.Stats().Leased; n > 2 {
					t.Errorf("%d leases", n)
				}
			}
		})
	}
}

func TestBytesBehindAnAnswerNeverReachTheNextClient(t *testing.T) {
	for name, more := range map[string]string{
		"an OK":    "\x07\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00",
		"one byte": "x",
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, func(c *fakeConn, cmd []byte) bool {
				if bytes.Contains(cmd, []byte("more")) {
					return c.raw(append(result(c.caps, 1, []string{"more"}), more...))
				}
				return echo(c, cmd)
			})
			r := newRig(t, rigOptions{backend: f.address(), maxOpen: 1})
			c := r.login(loginAs{})
			if a := c.query("SELECT 'more'"); a.one() != "more" {
				t.Errorf("got %v", a)
			}
			c.closed()
			d := r.login(loginAs{})
			d.alive()
			if n := r.closes()["extra_bytes"]; n != 1 {
				t.Errorf("closed: %v", r.closes())
			}
		})
	}
}

// What the server says unasked between two clients is not the next one's.
func TestAnIdleConnectionThatIsNotQuietIsNotUsed(t *testing.T) {
	said := "\x23\x00\x00\x00\xff\xbf\x0f#HY000The client was disconnected"
	for name, end := range map[string]func(*fakeConn){
		"4031":           func(c *fakeConn) { c.raw([]byte(said)); c.Close() },
		"4031 and open":  func(c *fakeConn) { c.raw([]byte(said)) },
		"one byte":       func(c *fakeConn) { c.raw([]byte("x")) },
		"FIN":            func(c *fakeConn) { c.Close() },
		"a whole answer": func(c *fakeConn) { c.raw(result(c.caps, 1, []string{"stale"})) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, echo)
			r := newRig(t, rigOptions{backend: f.address(), maxOpen: 3})
			all := []*client{r.login(loginAs{}), r.login(loginAs{}), r.login(loginAs{})}
			for _, c := range all {
				c.alive()
			}
			for _, c := range all {
				c.quit()
			}
			r.idle()
			for _, c := range f.all() {
				c.forget()
				end(c)
			}
			d := r.login(loginAs{})
			d.alive()
			for _, c := range f.all()[:4] {
				if _, cmds := c.got(); len(cmds) > 1 {
					t.Errorf("connection %d was sent %q", c.id, cmds)
				}
			}
			if n := r.outcomes("backend_closed") + r.outcomes("session_lost") + r.outcomes("bad_response"); n != 0 {
				t.Errorf("%v", r.front.Stats().Requests)
			}
		})
	}
}

func TestACommandAfterTheBackendLeftIsNotSent(t *testing.T) {
	f := newFake(t, echo)
	r := newRig(t, rigOptions{backend: f.address()})
	c := r.login(loginAs{})
	c.alive()
	back := f.all()[len(f.all())-1]
	back.Close()
	testnet.WaitFor(t, testWait, "the FIN is there", func() bool {
		c.query("SELECT 'lost'").refused(t, wire.CodeConnectionKilled)
		return true
	})
	c.closed()
	for _, b := range f.all() {
		if _, cmds := b.got(); strings.Contains(strings.Join(cmds, " "), "lost") {
			t.Errorf("connection %d was sent %q", b.id, cmds)
		}
	}
}

// An answer that stops under a long result: the client is cut, as text cannot
// follow what has begun.
func TestAResultThatBreaksOffCutsItsClient(t *testing.T) {
	row := strings.Repeat("x", 1000)
	f := newFake(t, func(c *fakeConn, cmd []byte) bool {
		if !bytes.Contains(cmd, []byte("long")) {
			return echo(c, cmd)
		}
		var rows [][]string
		for range 100 {
			rows = append(rows, []string{row})
		}
		b := result(c.caps, c.seq, rows...)
		c.raw(b[:len(b)-200])
		return false
	})
	for _, caps := range []wire.Caps{usual, old} {
		r := newRig(t, rigOptions{backend: f.address()})
		c := r.login(loginAs{caps: caps})
		a, err := c.try(wire.ComQuery, "long")
		if err == nil || len(a.raw) < 50_000 || bytes.Contains(a.raw, []byte("weir")) {
			t.Errorf("%d bytes, %v", len(a.raw), err)
		}
		if n := r.outcomes("backend_closed"); n != 1 {
			t.Errorf("outcomes: %v", r.front.Stats().Requests)
		}
	}
}

func TestAClientThatDoesNotReadLosesItsConnection(t *testing.T) {
	row := strings.Repeat("x", 10_000)
	f := newFake(t, func(c *fakeConn, cmd []byte) bool {
		if !bytes.Contains(cmd, []byte("flood")) {
			return echo(c, cmd)
		}
		b := result(c.caps, c.seq, []string{row})
		end := len(b) - 11
		c.raw(b[:end-len(row)-7])
		for seq := b[end-len(row)-4]; ; seq++ {
			b[end-len(row)-4] = seq
			if !c.raw(b[end-len(row)-7 : end]) {
				return false
			}
		}
	})
	r := newRig(t, rigOptions{backend: f.address(), settings: func(s *mysql.Settings) { s.SendTimeout = 200 * time.Millisecond }})
	c := r.login(loginAs{})
	b, _ := wire.AppendPacket(nil, []byte("\x03flood"), 0)
	c.write(b)
	r.idle()
	testnet.WaitFor(t, testWait, "the client is cut", func() bool { return r.closes()["slow"] == 1 && r.l.Stats().Open == 0 })
}
