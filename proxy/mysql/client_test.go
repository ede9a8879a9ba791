package mysql_test

import (
	"bufio"
	"bytes"
	"crypto/rsa"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"weir/proxy/mysql/wire"
)

// client is a client at the wire, for what no driver does. It reads frames as
// they come, so that a test sees the bytes.
type client struct {
	net.Conn
	br    *bufio.Reader // over Conn, whichever that is
	t     testing.TB
	greet wire.Greeting
	caps  wire.Caps
	seq   uint8
	seen  []string // length and first byte of each frame that came
}

// usual is what libraries ask for.
const usual = wire.CapLongFlag | wire.CapConnectWithDB | wire.CapLocalFiles | wire.CapProtocol41 | wire.CapTransactions |
	wire.CapSecureConnection | wire.CapMultiStatements | wire.CapMultiResults | wire.CapPSMultiResults | wire.CapPluginAuth |
	wire.CapAuthLenenc | wire.CapSessionTrack | wire.CapDeprecateEOF

// old is what a client asks for whose answers have to be translated.
const old = usual &^ (wire.CapSessionTrack | wire.CapDeprecateEOF)

// loginAs is how a client logs in. Its zero values are those of most tests.
type loginAs struct {
	user, password, database string
	none                     bool // no password
	caps                     wire.Caps
	plugin                   string // what the client answers with first
	charset                  uint16
	tls                      *tls.Config
}

func (as loginAs) defaults() loginAs {
	if as.user == "" {
		as.user = "app"
	}
	if as.password == "" && !as.none {
		as.password = password
	}
	if as.caps == 0 {
		as.caps = usual
	}
	if as.plugin == "" {
		as.plugin = wire.PluginNative
	}
	if as.charset == 0 {
		as.charset = wire.CollationUTF8MB4
	}
	return as
}

// connect connects and reads the greeting.
func (r *rig) connect() *client {
	r.t.Helper()
	c := greeted(r.t, r.dial())
	return c
}

func newClient(t testing.TB, conn net.Conn) *client {
	c := &client{Conn: conn, t: t}
	c.br = bufio.NewReaderSize(under{c}, 64<<10)
	return c
}

// under reads what c is connected to at the time: TLS comes later.
type under struct{ c *client }

func (u under) Read(b []byte) (int, error) { return u.c.Conn.Read(b) }

func greeted(t testing.TB, conn net.Conn) *client {
	t.Helper()
	c := newClient(t, conn)
	p := c.must()
	if wire.IsERR(p) {
		t.Fatalf("greeted with %q", p)
	}
	var err error
	if c.greet, err = wire.ParseGreeting(p); err != nil {
		t.Fatal(err)
	}
	return c
}

// login connects and logs in, which has to succeed.
func (r *rig) login(as loginAs) *client {
	r.t.Helper()
	c := r.connect()
	if p := c.login(as); wire.IsERR(p) {
		r.t.Fatalf("login: %q", p)
	}
	return c
}

// login logs in and returns the server's last packet, an OK or an ERR.
func (c *client) login(as loginAs) []byte {
	c.t.Helper()
	as = as.defaults()
	c.caps = as.caps & (c.greet.Caps | wire.CapMySQL | wire.CapConnectWithDB)
	l := &wire.Login{Caps: as.caps, MaxPacket: 1 << 24, Charset: as.charset, User: []byte(as.user), Database: []byte(as.database), Plugin: []byte(as.plugin)}
	if as.database == "" {
		l.Caps &^= wire.CapConnectWithDB
	}
	if as.tls != nil {
		l.Caps |= wire.CapSSL
		c.send(wire.AppendSSLRequest(nil, l))
		c.Conn = tls.Client(c.Conn, as.tls)
	}
	l.Proof = proof(as.plugin, as.password, c.greet.Nonce[:])
	c.send(wire.AppendLogin(nil, l))
	return c.steps(as)
}

func proof(plugin, password string, nonce []byte) []byte {
	switch {
	case password == "":
		return nil
	case plugin == wire.PluginNative:
		return wire.NewNativeKey(password).Proof(nonce)
	case plugin == wire.PluginSHA2:
		return wire.NewSHA2Key(password).Proof(nonce)
	}
	return []byte("?")
}

// steps goes through a login until its end.
func (c *client) steps(as loginAs) []byte {
	c.t.Helper()
	nonce := c.greet.Nonce[:]
	for {
		p := c.must()
		switch wire.AuthStepOf(p) {
		case wire.AuthDone, wire.AuthFailed:
			return p
		case wire.AuthOther:
			s, err := wire.ParseAuthSwitch(p)
			if err != nil {
				c.t.Fatal(err)
			}
			nonce = bytes.Clone(s.Data)
			c.send(proof(string(s.Plugin), as.password, nonce))
		case wire.AuthData:
			data, err := wire.ParseAuthMore(p)
			if err != nil {
				c.t.Fatal(err)
			}
			if data[0] == wire.SHA2FastOK {
				continue
			}
			_, overTLS := c.Conn.(*tls.Conn)
			_, unix := c.Conn.(*net.UnixConn)
			if overTLS || unix {
				c.send(wire.AppendClearPassword(nil, as.password))
				continue
			}
			c.send([]byte{wire.SHA2RequestKey})
			pem, err := wire.ParseAuthMore(c.must())
			if err != nil {
				c.t.Fatal(err)
			}
			var key *rsa.PublicKey
			if key, err = wire.ParsePublicKey(pem); err != nil {
				c.t.Fatal(err)
			}
			secret, err := wire.EncryptPassword(key, as.password, nonce)
			if err != nil {
				c.t.Fatal(err)
			}
			c.send(secret)
		default:
			c.t.Fatalf("%q in the login", p)
		}
	}
}

// send sends a packet with the next number.
func (c *client) send(payload []byte) {
	c.t.Helper()
	var b []byte
	b, c.seq = wire.AppendPacket(nil, payload, c.seq)
	c.write(b)
}

func (c *client) write(b []byte) {
	c.t.Helper()
	if _, err := c.Conn.Write(b); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

// frame reads one frame with its header.
func (c *client) frame() ([]byte, error) {
	var head [wire.HeaderLen]byte
	if _, err := io.ReadFull(c.br, head[:]); err != nil {
		return nil, err
	}
	h, _ := wire.ParseHeader(head[:])
	b := append(head[:], make([]byte, h.Len)...)
	if n, err := io.ReadFull(c.br, b[wire.HeaderLen:]); err != nil {
		return b[:wire.HeaderLen+n], err
	}
	if h.Seq != c.seq {
		return b, fmt.Errorf("packet number %d, want %d", h.Seq, c.seq)
	}
	c.seq++
	if len(c.seen) < 100 {
		c.seen = append(c.seen, fmt.Sprintf("%d %x", h.Len, b[wire.HeaderLen:min(len(b), wire.HeaderLen+2)]))
	}
	return b, nil
}

// must reads one packet of one frame, which has to come.
func (c *client) must() []byte {
	c.t.Helper()
	b, err := c.frame()
	if err != nil {
		c.t.Fatalf("after %q: %v", b, err)
	}
	return b[wire.HeaderLen:]
}

// reply is the answer to one command.
type reply struct {
	raw  []byte     // as it came
	rows [][]string // of all results; only where they are text
	code wire.Code  // of the ERR
	text string
	ok   wire.OK // of the last result
	file string  // what the server wants
	prep wire.Prepared
}

func (a reply) String() string {
	if a.code != 0 {
		return fmt.Sprintf("error %d: %s", a.code, a.text)
	}
	return fmt.Sprint(a.rows)
}

// one is the first value of the first row.
func (a reply) one() string {
	if len(a.rows) == 0 || len(a.rows[0]) == 0 {
		return a.String()
	}
	return a.rows[0][0]
}

// command sends a command and reads the answer, which has to come.
func (c *client) command(cmd wire.Command, body string) reply {
	c.t.Helper()
	a, err := c.try(cmd, body)
	if err != nil {
		c.t.Fatalf("%v %.80q: after %.200q: %v", cmd, body, a.raw, err)
	}
	return a
}

func (c *client) query(sql string) reply { c.t.Helper(); return c.command(wire.ComQuery, sql) }

// do gets answers that is no error.
func (c *client) do(sql ...string) (a reply) {
	c.t.Helper()
	for _, q := range sql {
		if a = c.query(q); a.code != 0 {
			c.t.Fatalf("%.200s: %v", q, a)
		}
	}
	return a
}

func (c *client) try(cmd wire.Command, body string) (reply, error) {
	b, next := wire.AppendPacket(nil, append([]byte{byte(cmd)}, body...), 0)
	c.seq = next
	if _, err := c.Conn.Write(b); err != nil {
		return reply{}, err
	}
	return c.answer(cmd)
}

// answer reads an answer to its end, or to a wish for a file.
func (c *client) answer(cmd wire.Command) (a reply, err error) {
	var r wire.Response
	r.Start(cmd, c.seq, c.caps)
	return c.follow(&r, a)
}

func (c *client) follow(r *wire.Response, a reply) (reply, error) {
	for {
		f, err := c.frame()
		a.raw = append(a.raw, f...)
		if err != nil {
			return a, err
		}
		n, ev, err := r.Scan(f)
		if ev == wire.EventNone && err == nil && !r.Ended() {
			a.row(f[wire.HeaderLen:])
		}
		for {
			switch {
			case err != nil:
				return a, err
			case ev == wire.EventEnd:
				if r.By == wire.ByERR {
					a.code, a.text = r.ERR.Code, string(r.ERR.Text)
				}
				a.ok = r.OK
				return a, nil
			case ev == wire.EventInfile:
				a.file = string(r.File)
				return a, nil
			case ev == wire.EventPrepared:
				a.prep = r.Prepared
			}
			if ev == wire.EventNone && n == len(f) {
				break
			}
			f = f[n:]
			n, ev, err = r.Scan(f)
		}
	}
}

// row keeps what looks like a row: definitions and counts do not read as one of
// the same width, so tests look at the last rows only.
func (a *reply) row(p []byte) {
	var row []string
	for len(p) > 0 {
		if p[0] == 0xfb {
			row, p = append(row, "NULL"), p[1:]
			continue
		}
		n, size := wire.Lenenc(p)
		if size == 0 || n > uint64(len(p)-size) {
			return
		}
		row, p = append(row, string(p[size:size+int(n)])), p[size+int(n):]
	}
	if len(row) > 0 && row[0] == "def" { // a definition
		a.rows = nil
		return
	}
	a.rows = append(a.rows, row)
}

// closed expects the end of the connection, and nothing before it.
func (c *client) closed() {
	c.t.Helper()
	rest, err := io.ReadAll(c.br)
	if len(rest) > 0 {
		c.t.Errorf("%q came before the end", rest)
	}
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		c.t.Error("the connection was not closed")
	}
}

// gone ends the client without a word.
func (c *client) gone() { c.Conn.Close() }

// quit ends the client as it should be.
func (c *client) quit() {
	c.Conn.Write([]byte{1, 0, 0, 0, byte(wire.ComQuit)})
	c.Conn.Close()
}

// alive expects that the session goes on and is the client's own.
func (c *client) alive() {
	c.t.Helper()
	mark := fmt.Sprintf("alive %p", c)
	if a := c.query("SELECT '" + mark + "'"); a.one() != mark {
		c.t.Errorf("got %v, want %q", a, mark)
	}
}

// refused expects an ERR with that code and text in it.
func (a reply) refused(t testing.TB, code wire.Code, parts ...string) {
	t.Helper()
	if a.code != code {
		t.Fatalf("got %v, want error %d", a, code)
	}
	for _, p := range parts {
		if !strings.Contains(a.text, p) {
			t.Errorf("got %q, want it to hold %q", a.text, p)
		}
	}
}

// errorOf is the ERR in a packet.
func errorOf(t testing.TB, p []byte) (wire.Code, string) {
	t.Helper()
	e, err := wire.ParseERR(p)
	if err != nil {
		t.Fatalf("%q: %v", p, err)
	}
	return e.Code, string(e.Text)
}

// soon is a deadline that should never be met.
func soon() time.Time { return time.Now().Add(testWait) }
