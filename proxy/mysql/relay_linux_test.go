package mysql_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"

	"weir/internal/testnet"
	"weir/proxy/mysql"
	"weir/proxy/mysql/wire"
)

// direct logs in to the server itself.
func direct(t *testing.T, m *testnet.MariaDB, as loginAs) *client {
	t.Helper()
	conn, err := net.Dial("tcp", m.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(soon().Add(testWait))
	c := greeted(t, conn)
	if p := c.login(as); wire.IsERR(p) {
		t.Fatalf("login: %q", p)
	}
	return c
}

// kinds of clients: one whose answers pass as they are, and those whose are
// translated.
var kinds = map[string]wire.Caps{
	"as they are": usual, "translated": old, "without trackers": usual &^ wire.CapSessionTrack, "without DEPRECATE_EOF": usual &^ wire.CapDeprecateEOF,
}

func TestAnswersAreTheServersByteForByte(t *testing.T) {
	t.Parallel()
	m := testnet.StartMariaDB(t)
	r := newRig(t, rigOptions{backend: m.Address()})
	for name, caps := range kinds {
		t.Run(name, func(t *testing.T) {
			as := loginAs{database: "app", caps: caps}
			a, b := direct(t, m, as), r.login(as)
			same := func(cmd wire.Command, body string) {
				t.Helper()
				x, y := a.command(cmd, body), b.command(cmd, body)
				if !bytes.Equal(blankEOF(caps, x.raw), blankEOF(caps, y.raw)) {
					t.Errorf("%v %.80q: %d bytes, %d direct: %.300q, %.300q", cmd, body, len(y.raw), len(x.raw), y.raw, x.raw)
				}
			}
			for _, q := range []string{
				"DO 0", "SELECT 1", "SELECT 1 FROM DUAL WHERE 0", "SELECT NULL, '', REPEAT('x', 300)",
				"SELECT seq FROM app.nothing", "SELECT (", "",
				"SELECT seq, REPEAT('y', seq % 100) FROM seq_1_to_1000", "SELECT * FROM seq_1_to_3000",
				"SELECT REPEAT('z', 200000) FROM seq_1_to_5",
				"SELECT 1; SELECT 2; DO 3; SELECT 4", "SELECT 1; SELECT nothing", "DO 1; DO 2",
				"SET @a = 5, @b = 'x'", "SELECT @a, @b", "SET time_zone = '+01:00'", "SELECT 1/0", "SHOW WARNINGS",
				"CREATE TEMPORARY TABLE tt (a INT, b VARCHAR(10))", "INSERT INTO tt VALUES (1,'a'),(2,'b')", "UPDATE tt SET b='c'", "SELECT * FROM tt",
				"BEGIN", "SELECT 1", "ROLLBACK", "USE other", "SELECT DATABASE()", "USE app", "EXPLAIN SELECT 1", "SHOW VARIABLES LIKE 'version'",
				"CREATE OR REPLACE PROCEDURE p() BEGIN SELECT 1; SELECT 2, 3; END", "CALL p()", "CALL p(); SELECT 9",
				"SET NAMES latin1", "SELECT 'ä', _utf8mb4 'ö'",
			} {
				same(wire.ComQuery, q)
			}
			if caps == usual || caps == old {
				same(wire.ComQuery, "SELECT * FROM seq_1_to_300000")
			}
			same(wire.ComPing, "")
			same(wire.ComInitDB, "other")
			same(wire.ComInitDB, "nowhere")
			same(wire.ComInitDB, "app")
			same(wire.ComFieldList, "nothing\x00%")
			same(wire.ComSetOption, "\x00\x00")
			same(wire.ComDebug, "") // not allowed
			same(wire.ComStmtExecute, "\x09\x00\x00\x00\x00\x01\x00\x00\x00")
			same(wire.ComResetConnection, "")
		})
	}
}

// blankEOF takes the status out of the EOFs behind definitions: what is said
// there of rows that are yet to come, a server with DEPRECATE_EOF does not say.
func blankEOF(caps wire.Caps, raw []byte) []byte {
	if caps.Has(wire.CapDeprecateEOF) {
		return raw
	}
	raw = bytes.Clone(raw)
	meta := true
	for rest := raw; ; {
		_, p, next, ok := wire.NextFrame(rest)
		if !ok {
			return raw
		}
		if len(p) == 5 && p[0] == 0xfe {
			if meta {
				p[3], p[4] = 0, 0
			}
			meta = !meta
		}
		rest = next
	}
}

// prepared is a statement of c's.
func (c *client) prepare(sql string) wire.Prepared {
	c.t.Helper()
	a := c.command(wire.ComStmtPrepare, sql)
	if a.code != 0 {
		c.t.Fatalf("%s: %v", sql, a)
	}
	return a.prep
}

func head(id uint32, rest ...byte) string {
	return string(append(binary.LittleEndian.AppendUint32(nil, id), rest...))
}

func TestPreparedStatementsWorkAsDirect(t *testing.T) {
	m := testnet.StartMariaDB(t)
	r := newRig(t, rigOptions{backend: m.Address(), maxOpen: 1})
	for name, caps := range kinds {
		t.Run(name, func(t *testing.T) {
			as := loginAs{database: "app", caps: caps}
			a, b := direct(t, m, as), r.login(as)
			blank := func(x reply) []byte { // the number differs
				raw := bytes.Clone(x.raw)
				if len(raw) > 9 && x.prep.ID != 0 {
					copy(raw[5:9], "####")
				}
				return raw
			}
			for _, sql := range []string{"SELECT 1", "SELECT ?, ?", "SELECT * FROM seq_1_to_100", "DO 0", "SELECT nothing"} {
				x, y := a.command(wire.ComStmtPrepare, sql), b.command(wire.ComStmtPrepare, sql)
				if !bytes.Equal(blank(x), blank(y)) {
					t.Errorf("%s: %.300q, %.300q direct", sql, y.raw, x.raw)
				}
			}
			// A long value in pieces.
			long := strings.Repeat("long ", 10_000)
			run := func(c *client) (all [][]byte) {
				p := c.prepare("SELECT LENGTH(?)")
				for i := 0; i < len(long); i += 1000 {
					c.write(packet(wire.ComStmtSendLongData, head(p.ID, 0, 0)+long[i:i+1000]))
				}
				x := c.command(wire.ComStmtExecute, head(p.ID, 0, 1, 0, 0, 0, 0, 1, 0xfb, 0))
				if !bytes.Contains(x.raw, []byte{0x50, 0xc3, 0, 0}) { // 50,000
					t.Errorf("long data: %q", x.raw)
				}
				all = append(all, x.raw)
				c.write(packet(wire.ComStmtClose, head(p.ID)))
				// A cursor, and another query while it is open.
				p = c.prepare("SELECT seq FROM seq_1_to_50")
				all = append(all, c.command(wire.ComStmtExecute, head(p.ID, 1, 1, 0, 0, 0)).raw)
				all = append(all, c.command(wire.ComStmtFetch, head(p.ID, 20, 0, 0, 0)).raw)
				all = append(all, c.command(wire.ComQuery, "SELECT 'between'").raw)
				all = append(all, c.command(wire.ComStmtFetch, head(p.ID, 200, 0, 0, 0)).raw)
				all = append(all, c.command(wire.ComStmtReset, head(p.ID)).raw)
				c.write(packet(wire.ComStmtClose, head(p.ID)))
				all = append(all, c.command(wire.ComPing, "").raw)
				return all
			}
			x, y := run(a), run(b)
			for i := range x {
				if !bytes.Equal(x[i], y[i]) {
					t.Errorf("step %d: %.300q, %.300q direct", i, y[i], x[i])
				}
			}
			b.quit()
			r.idle()
		})
	}
}

func TestPacketsOf16MiBAndMoreGoBothWays(t *testing.T) {
	t.Parallel()
	m := testnet.StartMariaDB(t)
	const frame = wire.MaxPayload
	r := newRig(t, rigOptions{backend: m.Address(), maxOpen: 1})
	for _, caps := range []wire.Caps{usual, old} {
		c := r.login(loginAs{caps: caps})
		ask := func(c *client, size int) reply {
			q := "SELECT '"
			q += strings.Repeat("x", size-len(q)-1-1) + "'" // with the command's byte
			return c.query(q)
		}
		sizes := []int{frame - 1, frame, frame + 1, 2 * frame}
		if caps == old { // the way back is what differs
			sizes = sizes[1:3]
		}
		for _, size := range sizes {
			a := ask(c, size)
			if a.code != 0 || len(a.raw) < size-10 {
				t.Fatalf("%d bytes: %d bytes, %v", size, len(a.raw), a.text)
			}
		}
		// As the first command of a session, behind another's state.
		c.do("SET @a = 1")
		c = r.next(c, loginAs{caps: caps})
		if a := ask(c, frame+1); a.code != 0 || len(a.raw) < frame-10 {
			t.Errorf("%d bytes, %v", len(a.raw), a.text)
		}
		// Longer than the server takes: it closes, and the client is told.
		if caps != usual {
			continue
		}
		if a, err := c.try(wire.ComQuery, "SELECT '"+strings.Repeat("x", 65<<20)+"'"); err == nil && a.code != 1153 && a.code != wire.CodeConnectionKilled {
			t.Errorf("got %v", a)
		}
		c.gone()
		r.idle()
		r.login(loginAs{caps: caps}).next(t, r)
	}
}

// next checks that c works, and ends it.
func (c *client) next(t *testing.T, r *rig) {
	t.Helper()
	c.alive()
	c.quit()
	r.idle()
}

func TestLocalFilesAreUploaded(t *testing.T) {
	t.Parallel()
	m := testnet.StartMariaDB(t)
	m.Exec("CREATE TABLE app.load_t (a LONGTEXT)", "SET GLOBAL local_infile=1")
	r := newRig(t, rigOptions{backend: m.Address(), maxOpen: 1})
	for name, caps := range kinds {
		t.Run(name, func(t *testing.T) {
			as := loginAs{database: "app", caps: caps}
			c := r.login(as)
			load := func(parts ...string) reply {
				t.Helper()
				a := c.query("LOAD DATA LOCAL INFILE 'any' INTO TABLE load_t")
				if a.file != "any" {
					t.Fatalf("got %v", a)
				}
				for _, p := range parts {
					c.send([]byte(p))
				}
				c.send(nil)
				a, err := c.answer(wire.ComPing) // an OK or an ERR
				if err != nil {
					t.Fatal(err)
				}
				return a
			}
			for _, tc := range []struct {
				parts []string
				lines uint64
			}{
				{nil, 0}, // refused by the client, or an empty file
				{[]string{"one\ntwo\n"}, 2},
				{[]string{"one\n", "two\n", "thr", "ee\n"}, 3},
				{[]string{strings.Repeat("line\n", 20_000)}, 20_000},
				{[]string{strings.Repeat("x", wire.MaxPayload-1) + "\n"}, 1}, // a full frame
				{[]string{strings.Repeat("y", wire.MaxPayload+9) + "\n", "z\n"}, 2},
			} {
				if len(tc.parts) > 0 && len(tc.parts[0]) > 1<<20 && caps != usual && caps != old {
					continue // the others are alike
				}
				if a := load(tc.parts...); a.code != 0 || a.ok.Affected != tc.lines {
					t.Errorf("%d parts: %v, %d lines, want %d", len(tc.parts), a, a.ok.Affected, tc.lines)
				}
				c.do("TRUNCATE load_t")
				c.alive()
			}
			c.quit()
			r.idle()
		})
	}
}

func TestAClientThatDiesInAnUploadTakesItsConnectionAlong(t *testing.T) {
	m := testnet.StartMariaDB(t)
	m.Exec("CREATE TABLE app.load_t (a LONGTEXT) ENGINE=InnoDB", "SET GLOBAL local_infile=1")
	r := newRig(t, rigOptions{backend: m.Address(), maxOpen: 1})
	for _, how := range []string{"file", "wrong number", "long command"} {
		c := r.login(loginAs{database: "app"})
		if how == "long command" {
			c.alive()
			b, _ := wire.AppendPacket(nil, []byte("\x03SELECT '"+strings.Repeat("x", 100_000)), 0)
			c.write(b[:60_000])
		} else {
			c.query("LOAD DATA LOCAL INFILE 'any' INTO TABLE load_t")
			c.send([]byte("half\nof"))
			if how == "wrong number" {
				c.seq = 200
				c.send([]byte("more"))
			}
		}
		c.gone()
		r.idle()
		if got := m.Query("SELECT COUNT(*) FROM app.load_t"); got[0][0] != "0" {
			t.Errorf("%s: %s rows", how, got[0][0])
		}
		r.login(loginAs{database: "app"}).next(t, r)
	}
	if n := r.closes()["client_gone"]; n != 3 {
		t.Errorf("closed: %v", r.closes())
	}
}

func TestALongQueryIsGivenToTheSlowLogWithWhatIsKnown(t *testing.T) {
	m := testnet.StartMariaDB(t)
	said := make(chan string, 10)
	r := newRig(t, rigOptions{backend: m.Address(), be: func(b *mysql.Backend) {
		b.Slow = 1
		b.OnSlow = func(s *mysql.Slow) {
			said <- fmt.Sprintf("%s %s %s %s %v %s %d %v", s.User, s.Database, s.Backend, s.Client, s.Command, s.SQL, s.Code, s.Took > 0)
		}
	}})
	c := r.login(loginAs{database: "app"})
	c.do("SELECT 1")
	c.query("SELECT nothing")
	for _, w := range []string{"app app db 127.0.0.1 COM_QUERY SELECT 1 0 true", "app app db 127.0.0.1 COM_QUERY SELECT nothing 1054 true"} {
		if got := <-said; got != w {
			t.Errorf("got %q, want %q", got, w)
		}
	}
}
