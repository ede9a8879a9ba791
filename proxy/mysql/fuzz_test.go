package mysql_test

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"weir/internal/testnet"
	"weir/pool"
	"weir/proxy/mysql"
	"weir/proxy/mysql/wire"
)

// clientSeeds are what clients say after their login, and what they should not.
var clientSeeds = [][]byte{
	packet(wire.ComQuery, "SELECT 'x'"),
	append(packet(wire.ComPing, ""), packet(wire.ComQuery, "SELECT 'y'; SELECT 2")...),
	packet(wire.ComQuery, "KILL QUERY 1073741825"),
	packet(wire.ComQuery, "select connection_id()"),
	packet(wire.ComProcessKill, "\x01\x00\x00\x40"),
	packet(wire.ComInitDB, "other"),
	packet(wire.ComChangeUser, "app\x00\x14aaaaaaaaaaaaaaaaaaaaother\x00\x2d\x00mysql_native_password\x00"),
	packet(wire.ComStmtPrepare, "SELECT ?"),
	packet(wire.ComStmtExecute, "\x01\x00\x00\x00\x00\x01\x00\x00\x00"),
	packet(wire.ComStmtSendLongData, "\x01\x00\x00\x00\x00\x00zz"),
	packet(wire.ComSetOption, "\x00\x00"),
	packet(wire.ComResetConnection, ""),
	packet(wire.ComBinlogDump, "\x04\x00\x00\x00\x00\x00\x01\x00\x00\x00log"),
	packet(wire.ComQuit, ""),
	[]byte("\xff\xff\xff\x00\x03SELECT '"),
	[]byte("\xff\xff\x00\x00\x17"),
	[]byte("\x00\x00\x00\x00"),
	[]byte("\x05\x00\x00\x07\x03abcd"),
	[]byte("GET / HTTP/1.1\r\n\r\n"),
	bytes.Repeat([]byte{1, 0, 0, 0, 0x0e}, 200),
}

// FuzzClientBytes sends bytes in the place of a login, or behind one, and sees
// that neither the front nor another client minds.
func FuzzClientBytes(f *testing.F) {
	for _, b := range clientSeeds {
		f.Add(b, true)
		f.Add(b, false)
	}
	l := &wire.Login{Caps: usual, MaxPacket: 1 << 24, Charset: 45, User: []byte("app"), Database: []byte("app"), Plugin: []byte(wire.PluginNative)}
	login, _ := wire.AppendPacket(nil, wire.AppendLogin(nil, l), 1)
	f.Add(login, false)
	request, _ := wire.AppendPacket(nil, wire.AppendSSLRequest(nil, l), 1)
	f.Add(append(request, login...), false)
	back := newFake(f, echo)
	r := newRig(f, rigOptions{backend: back.address(), maxOpen: 4, settings: func(s *mysql.Settings) {
		s.LoginTimeout, s.SendTimeout, s.IdleTimeout = 200*time.Millisecond, 200*time.Millisecond, 200*time.Millisecond
	}})
	f.Fuzz(func(t *testing.T, b []byte, in bool) {
		r := *r
		r.t = t
		var c *client
		if in {
			c = r.login(loginAs{database: "app"})
		} else {
			c = r.connect()
		}
		c.Conn.SetWriteDeadline(time.Now().Add(time.Second))
		c.Conn.Write(b) // what is not taken is no matter
		c.Conn.(*net.TCPConn).CloseWrite()
		other := r.login(loginAs{})
		other.alive()
		other.quit()
		c.closedSomehow()
		testnet.WaitFor(t, testWait, "nothing is held", func() bool { return r.pool.Stats().Leased == 0 })
	})
}

// FuzzServerBytes has a server say anything at any stage of a connection, and sees
// that the client's session ends and the next connection serves.
func FuzzServerBytes(f *testing.F) {
	greeting := wire.AppendGreeting(nil, &wire.Greeting{Version: []byte(fakeVersion), ConnID: 7, Caps: mariadbCaps, Charset: 45, Plugin: []byte(wire.PluginNative)})
	ok := wire.AppendOK(nil, &wire.OK{Status: wire.StatusAutocommit}, usual)
	refusal := wire.AppendERR(nil, usual, wire.CodeAccessDenied, "no")
	for stage := range oddStages {
		for _, say := range [][3][]byte{
			{nil, nil, nil}, {greeting, ok, ok}, {ok, ok, ok}, {refusal, nil, nil}, {{0xfe}, nil, nil},
			{wire.AppendAuthSwitch(nil, wire.PluginSHA2, bytes.Repeat([]byte{'n'}, 21)), append(wire.AppendAuthMore(nil), wire.SHA2FullAuth), []byte("-----BEGIN PUBLIC KEY-----")},
			{wire.AppendAuthSwitch(nil, "dialog", nil), refusal, nil},
			{result(usual, 1, []string{"a", "b"}), nil, nil}, {{0xfb, 'f'}, ok, nil}, {{1}, definition("c"), {0xfe, 0, 0, 2, 0}},
			{{0xfc, 0xff, 0xff}, nil, nil}, {bytes.Repeat([]byte{0xff}, 70000), nil, nil},
		} {
			f.Add(uint8(stage), true, say[0], say[1], say[2])
			f.Add(uint8(stage), false, say[0], say[1], say[2])
		}
	}
	f.Add(uint8(oddGreeting), false, []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), []byte(nil), []byte(nil))
	back := newFake(f, echo)
	r := newRig(f, rigOptions{
		backend: back.address(), maxOpen: 2, version: fakeVersion,
		users: []*mysql.User{withPassword("app", "")},
		pool:  func(o *pool.Options) { o.DialTimeout = 100 * time.Millisecond },
		settings: func(s *mysql.Settings) {
			s.LoginTimeout, s.SendTimeout, s.IdleTimeout = time.Second, time.Second, time.Second
		},
	})
	l := &wire.Login{Caps: usual, MaxPacket: 1 << 24, Charset: 45, User: []byte("app"), Plugin: []byte(wire.PluginNative)}
	talk, _ := wire.AppendPacket(nil, wire.AppendLogin(nil, l), 1)
	talk = append(append(talk, packet(wire.ComQuery, "SELECT 'x'")...), packet(wire.ComQuit, "")...)
	f.Fuzz(func(t *testing.T, stage uint8, frames bool, a, b, c []byte) {
		r := *r
		r.t = t
		for _, s := range back.all() {
			s.Close() // so that one more is made, which is odd
		}
		r.forgetDatabases()
		back.odd.Store(&oddity{at: int(stage) % oddStages, frames: frames, say: [][]byte{a, b, c}})
		odd := r.connect()
		odd.write(talk)
		odd.closedSomehow()
		back.odd.Store(nil)
		testnet.WaitFor(t, testWait, "nothing is held, and another client is served", func() bool {
			next := r.connect()
			next.write(talk)
			got, _ := io.ReadAll(next.br)
			next.gone()
			return bytes.Contains(got, []byte("\x01x")) && r.pool.Stats().Leased == 0
		})
	})
}

// closedSomehow reads until the connection ends, whatever comes.
func (c *client) closedSomehow() {
	c.t.Helper()
	c.Conn.SetReadDeadline(soon())
	b := make([]byte, 64<<10)
	for {
		if _, err := c.br.Read(b); err != nil {
			if ne, ok := err.(net.Error); ok && ne.Timeout() {
				c.t.Fatal("the connection was not closed")
			}
			c.Conn.Close()
			return
		}
	}
}

// Every seed, cut anywhere: no byte may be taken for granted.
func TestCommandsThatBreakOffHarmNobody(t *testing.T) {
	back := newFake(t, echo)
	r := newRig(t, rigOptions{backend: back.address(), maxOpen: 4, settings: func(s *mysql.Settings) {
		s.LoginTimeout, s.SendTimeout, s.IdleTimeout = 200*time.Millisecond, 200*time.Millisecond, 200*time.Millisecond
	}})
	other := 0
	for _, seed := range clientSeeds {
		for cut := 0; cut <= min(len(seed), 40); cut++ {
			c := r.login(loginAs{})
			c.Conn.Write(seed[:cut])
			c.Conn.(*net.TCPConn).CloseWrite()
			if other++; other%10 == 0 {
				o := r.login(loginAs{})
				o.alive()
				o.quit()
			}
			c.closedSomehow()
		}
	}
	r.idle()
	r.login(loginAs{}).alive()
}
