package mysql_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"weir/proxy/mysql/wire"
)

// fake is a server for the faults that a real one does not have. It lets
// everybody in and answers what weir itself asks; the rest is its script's.
type fake struct {
	t      testing.TB
	l      net.Listener
	script func(c *fakeConn, cmd []byte) bool // false: close

	deafTo wire.Command // not 0: when it has begun to come, nothing is read any more

	odd atomic.Pointer[oddity] // of the next connection

	mu    sync.Mutex
	conns []*fakeConn
	wg    sync.WaitGroup
}

// oddity is what a connection's server says in the place of something.
type oddity struct {
	at     int      // a stage
	frames bool     // say is sent in packets of the right numbers, else as it is
	holds  bool     // and no end: it is silent until its peer has closed
	say    [][]byte // one after each packet that comes; all of an answer to a command at once
}

// Stages of a connection, for oddity.
const (
	oddGreeting = iota
	oddLogin    // the answer to the login
	oddQuestion // the answer to the first thing that weir asks
	oddCommand  // the answer to a client's command
	oddStages
)

// play says what is odd, and then its end.
func (c *fakeConn) play() bool {
	for i, b := range c.odd.say {
		if i > 0 && c.odd.at < oddCommand {
			if _, ok := c.read(); !ok {
				return false
			}
		}
		if c.odd.frames {
			c.send(b)
		} else {
			c.raw(b)
		}
	}
	if !c.odd.holds {
		c.Conn.(*net.TCPConn).CloseWrite()
	}
	io.Copy(io.Discard, c)
	return false
}

func (c *fakeConn) isOdd(at int) bool { return c.odd != nil && c.odd.at == at }

// fakeConn is one connection to a fake.
type fakeConn struct {
	net.Conn
	f    *fake
	id   int // from 1
	odd  *oddity
	caps wire.Caps
	buf  []byte
	seq  uint8

	mu    sync.Mutex
	reads [][]byte // each read, since the login's end
	cmds  []string // each command, since the login's end
}

// mariadbCaps are those of MariaDB 10.11.
const mariadbCaps = wire.Caps(0x1d_81fff7fe)

const fakeVersion = "5.5.5-10.11.99-MariaDB"

// newFake starts a server. A nil script answers every command with OK.
func newFake(t testing.TB, script func(c *fakeConn, cmd []byte) bool, more ...func(*fake)) *fake {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if script == nil {
		script = func(c *fakeConn, _ []byte) bool { return c.ok() }
	}
	f := &fake{t: t, l: l, script: script}
	for _, set := range more {
		set(f)
	}
	f.wg.Go(f.accept)
	t.Cleanup(func() {
		f.l.Close()
		f.mu.Lock()
		for _, c := range f.conns {
			c.Close()
		}
		f.mu.Unlock()
		f.wg.Wait()
	})
	return f
}

func (f *fake) address() string { return f.l.Addr().String() }

func (f *fake) accept() {
	for {
		conn, err := f.l.Accept()
		if err != nil {
			return
		}
		f.mu.Lock()
		c := &fakeConn{Conn: conn, f: f, id: len(f.conns) + 1, odd: f.odd.Swap(nil)}
		f.conns = append(f.conns, c)
		f.mu.Unlock()
		f.wg.Go(func() {
			defer c.Close()
			if c.login() {
				c.serve()
			}
		})
	}
}

func (f *fake) all() []*fakeConn {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*fakeConn(nil), f.conns...)
}

// login lets the client in.
func (c *fakeConn) login() bool {
	if c.isOdd(oddGreeting) {
		return c.play()
	}
	g := &wire.Greeting{Version: []byte(fakeVersion), ConnID: uint32(c.id), Nonce: wire.NewNonce(), Caps: mariadbCaps, Charset: 45,
		Status: wire.StatusAutocommit, Plugin: []byte(wire.PluginNative)}
	c.send(wire.AppendGreeting(nil, g))
	p, ok := c.read()
	if !ok {
		return false
	}
	l, err := wire.ParseLogin(p, mariadbCaps)
	if err != nil {
		c.f.t.Errorf("login: %v", err)
		return false
	}
	c.caps = l.Caps
	if c.isOdd(oddLogin) {
		return c.play()
	}
	return c.ok()
}

func (c *fakeConn) serve() {
	for n := 0; ; n++ {
		c.seq = 0
		p, ok := c.read()
		if !ok {
			return
		}
		c.mu.Lock()
		c.cmds = append(c.cmds, wire.Command(p[0]).String()+" "+string(p[1:]))
		c.mu.Unlock()
		text := string(p[1:])
		switch {
		case wire.Command(p[0]) == wire.ComQuit:
			return
		case n == 0 && c.isOdd(oddQuestion):
			ok = c.play()
		case strings.HasPrefix(text, "SELECT CURRENT_ROLE()"):
			ok = c.rows([]string{"NONE", "28800", "1", "", "utf8mb4_general_ci", "utf8mb4_general_ci"})
		case !wire.Command(p[0]).Answered():
		case n < 3 && (wire.Command(p[0]) == wire.ComResetConnection || strings.HasPrefix(text, "SET ROLE")):
			ok = c.ok()
		case c.isOdd(oddCommand):
			ok = c.play()
		default:
			ok = c.f.script(c, p)
		}
		if !ok {
			return
		}
	}
}

// read reads one packet of one frame.
func (c *fakeConn) read() ([]byte, bool) {
	for {
		if d := c.f.deafTo; d != 0 && len(c.buf) > wire.HeaderLen && wire.Command(c.buf[wire.HeaderLen]) == d {
			<-c.f.t.Context().Done()
			return nil, false
		}
		if h, p, rest, ok := wire.NextFrame(c.buf); ok {
			c.buf, c.seq = rest, h.Seq+1
			return p, len(p) > 0 || c.caps == 0
		}
		b := make([]byte, 64<<10)
		n, err := c.Read(b)
		if err != nil {
			return nil, false
		}
		c.mu.Lock()
		c.reads = append(c.reads, b[:n])
		c.mu.Unlock()
		c.buf = append(c.buf, b[:n]...)
	}
}

// forget forgets what was read so far.
func (c *fakeConn) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads, c.cmds = nil, nil
}

func (c *fakeConn) got() (reads int, cmds []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.reads), append([]string(nil), c.cmds...)
}

// send sends a packet with the next number.
func (c *fakeConn) send(payload []byte) bool {
	var b []byte
	b, c.seq = wire.AppendPacket(nil, payload, c.seq)
	return c.raw(b)
}

func (c *fakeConn) raw(b []byte) bool {
	_, err := c.Conn.Write(b)
	return err == nil
}

func (c *fakeConn) ok() bool {
	return c.send(wire.AppendOK(nil, &wire.OK{Status: wire.StatusAutocommit}, c.caps))
}

func (c *fakeConn) fails(code wire.Code, text string) bool {
	return c.send(wire.AppendERR(nil, c.caps, code, text))
}

// rows answers with a result of texts.
func (c *fakeConn) rows(rows ...[]string) bool {
	return c.raw(result(c.caps, c.seq, rows...))
}

// result is a result of texts in one piece.
func result(caps wire.Caps, seq uint8, rows ...[]string) (b []byte) {
	add := func(p []byte) { b, seq = wire.AppendPacket(b, p, seq) }
	add(wire.AppendLenenc(nil, uint64(len(rows[0]))))
	for i := range rows[0] {
		add(definition(fmt.Sprint("c", i)))
	}
	eof := &wire.OK{Status: wire.StatusAutocommit}
	if !caps.Has(wire.CapDeprecateEOF) {
		add(wire.AppendEOF(nil, eof, caps))
	}
	for _, r := range rows {
		var p []byte
		for _, v := range r {
			p = append(wire.AppendLenenc(p, uint64(len(v))), v...)
		}
		add(p)
	}
	add(wire.AppendEOF(nil, eof, caps))
	return b
}

func definition(name string) (p []byte) {
	for _, s := range []string{"def", "", "", "", name, ""} {
		p = append(wire.AppendLenenc(p, uint64(len(s))), s...)
	}
	return append(p, 12, 45, 0, 0, 1, 0, 0, 253, 0, 0, 0, 0, 0)
}

// echo answers a SELECT with its text in quotes, with OK what is answered so, and
// all else with an error.
func echo(c *fakeConn, cmd []byte) bool {
	if _, text, ok := bytes.Cut(cmd, []byte("'")); ok && wire.Command(cmd[0]) == wire.ComQuery {
		text, _, _ = bytes.Cut(text, []byte("'"))
		return c.rows([]string{string(text)})
	}
	switch wire.Command(cmd[0]) {
	case wire.ComQuery, wire.ComPing, wire.ComInitDB, wire.ComResetConnection, wire.ComSetOption, wire.ComStmtReset, wire.ComStmtExecute:
		return c.ok()
	}
	return c.fails(wire.CodeUnknownCommand, "")
}
