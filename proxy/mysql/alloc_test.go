//go:build !race

package mysql_test

import (
	"io"
	"net"
	"testing"

	"weir/proxy/mysql"
	"weir/proxy/mysql/wire"
)

// The race detector allocates on its own, so this holds without it.

// steady answers every command of one frame with the same bytes, and allocates
// nothing while it does.
func steady(answer []byte) func(c *fakeConn, cmd []byte) bool {
	return func(c *fakeConn, cmd []byte) bool {
		b := make([]byte, 64<<10)
		for c.raw(answer) {
			if n, err := c.Conn.Read(b); err != nil || n < wire.HeaderLen+1 || b[wire.HeaderLen] == byte(wire.ComQuit) {
				return false
			}
		}
		return false
	}
}

func TestAForwardedCommandAllocatesNothing(t *testing.T) {
	answer := result(mariadbCaps, 1, []string{"fine", "and", "well"}, []string{"a", "b", "c"})
	f := newFake(t, steady(answer))
	for name, tc := range map[string]struct {
		caps wire.Caps
		more int
		cmd  []byte
		be   func(*mysql.Backend)
	}{
		"a query":             {usual, 0, packet(wire.ComQuery, "SELECT a, b, c FROM t WHERE id = 17"), nil},
		"of mode transaction": {usual, 0, packet(wire.ComQuery, "SELECT a, b, c FROM t WHERE id = 17"), shared},
		"translated": {old, 9 - 2, // an EOF more, and one that is no OK
			packet(wire.ComQuery, "SELECT a, b, c FROM t WHERE id = 17"), nil},
		"an execution": {usual, 0, packet(wire.ComStmtExecute, "\x01\x00\x00\x00\x00\x01\x00\x00\x00"), nil},
		"an update":    {usual, 0, packet(wire.ComQuery, "UPDATE t SET a = 'x' WHERE id = 5"), nil},
		"not a kill":   {usual, 0, packet(wire.ComQuery, "/* k */ KILLED"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigOptions{backend: f.address(), be: tc.be})
			c := r.login(loginAs{caps: tc.caps})
			b := make([]byte, len(answer)+tc.more)
			once := func() {
				if _, err := c.Conn.Write(tc.cmd); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(c.Conn.(*net.TCPConn), b); err != nil {
					t.Fatal(err)
				}
			}
			for range 50 {
				once()
			}
			if n := testing.AllocsPerRun(500, once); n != 0 {
				t.Errorf("%v allocations a command", n)
			}
		})
	}
}
