package accept

import (
	"bytes"
	"context"
	"database/sql"
	endian "encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"weir/internal/testnet"
)

// leakClient is one connection of go-sql-driver whose socket is at hand: for
// commands that the driver does not have, and to leave without COM_QUIT. The
// driver sends nothing of its own after the login.
type leakClient struct {
	t    *testing.T
	db   *sql.DB
	conn *sql.Conn
	wire net.Conn
	left bool
}

// login says who logs in, and how; the zero value is app at database app.
type login struct {
	user      string
	database  string // none: no database
	collation string // of the handshake; the driver's if empty
	multi     bool   // multi-statements
	foundRows bool
}

const none = "none"

// dialLeak logs in. Every wait of the client is bounded.
func dialLeak(t *testing.T, address string, as login) (*leakClient, error) {
	t.Helper()
	l := &leakClient{t: t}
	c := mysql.NewConfig()
	c.Net, c.Addr, c.User, c.Passwd, c.DBName = "tcp", address, testnet.UserApp, testnet.MariaDBPassword, "app"
	if as.user != "" {
		c.User = as.user
	}
	switch as.database {
	case "":
	case none:
		c.DBName = ""
	default:
		c.DBName = as.database
	}
	c.Collation, c.MultiStatements, c.ClientFoundRows = as.collation, as.multi, as.foundRows
	c.Timeout, c.ReadTimeout, c.WriteTimeout = 10*time.Second, 20*time.Second, 10*time.Second
	c.Logger = &mysql.NopLogger{}
	c.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		n, err := new(net.Dialer).DialContext(ctx, network, address)
		l.wire = n
		return n, err
	}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		t.Fatal(err)
	}
	l.db = sql.OpenDB(connector)
	if l.conn, err = l.db.Conn(t.Context()); err != nil {
		l.db.Close()
		return nil, err
	}
	return l, nil
}

// Query is for testnet.QueryStrings.
func (l *leakClient) Query(query string, args ...any) (*sql.Rows, error) {
	return l.conn.QueryContext(l.t.Context(), query, args...)
}

// view is what a connection sees: the rows of each query, or the number of the
// error.
func (l *leakClient) view(queries []string) []string {
	var all []string
	for _, q := range queries {
		rows, err := testnet.QueryStrings(l, q)
		switch n := testnet.ServerError(err); {
		case n != 0:
			all = append(all, fmt.Sprintf("%s: error %d", q, n))
		case err != nil:
			all = append(all, fmt.Sprintf("%s: %v", q, err))
		default:
			all = append(all, fmt.Sprintf("%s: %v", q, rows))
		}
	}
	return all
}

// way is how a client leaves.
type way string

const (
	quits  way = "quits"  // COM_QUIT
	closes way = "closes" // a FIN and no more
	resets way = "resets" // a RST
)

var allWays = []way{quits, closes, resets}

// leave ends the connection. It may be called again, which does nothing.
func (l *leakClient) leave(how way) {
	if l.left {
		return
	}
	l.left = true
	switch how {
	case closes:
		l.wire.Close()
	case resets:
		l.wire.(*net.TCPConn).SetLinger(0)
		l.wire.Close()
	}
	l.conn.Close()
	l.db.Close()
}

// Commands that a text has none for.
const (
	comInitDB    = 0x02
	comQuery     = 0x03
	comPrepare   = 0x16
	comExecute   = 0x17
	comLongData  = 0x18
	comSetOption = 0x1b
	comFetch     = 0x1c
	comReset     = 0x1f
)

// send writes one command behind the driver's back, which is idle.
func (l *leakClient) send(command byte, payload ...byte) error {
	l.wire.SetDeadline(time.Now().Add(10 * time.Second))
	head := endian.LittleEndian.AppendUint32(nil, uint32(1+len(payload))) // the fourth byte is the sequence, 0
	_, err := l.wire.Write(append(append(head, command), payload...))
	return err
}

// read reads one packet.
func (l *leakClient) read() ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(l.wire, head[:]); err != nil {
		return nil, err
	}
	packet := make([]byte, int(head[0])|int(head[1])<<8|int(head[2])<<16)
	if _, err := io.ReadFull(l.wire, packet); err != nil {
		return nil, err
	}
	if len(packet) > 2 && packet[0] == 0xff {
		return packet, fmt.Errorf("error %d: %s", endian.LittleEndian.Uint16(packet[1:]), packet[3:])
	}
	return packet, nil
}

// ask sends a command that is answered by one packet.
func (l *leakClient) ask(command byte, payload ...byte) error {
	if err := l.send(command, payload...); err != nil {
		return err
	}
	_, err := l.read()
	return err
}

// prepare prepares a statement and leaves it open. The driver has negotiated
// CLIENT_DEPRECATE_EOF, so nothing follows the column definitions.
func (l *leakClient) prepare(text string) (id []byte, err error) {
	if err := l.send(comPrepare, []byte(text)...); err != nil {
		return nil, err
	}
	p, err := l.read()
	if err != nil {
		return nil, err
	}
	if len(p) < 9 {
		return nil, fmt.Errorf("prepare %q: answered by %x", text, p)
	}
	for range endian.LittleEndian.Uint16(p[5:]) + endian.LittleEndian.Uint16(p[7:]) {
		if _, err := l.read(); err != nil {
			return nil, err
		}
	}
	return bytes.Clone(p[1:5]), nil
}

// cursor opens a cursor on a query of one column and takes two of its rows.
func (l *leakClient) cursor(text string) error {
	id, err := l.prepare(text)
	if err != nil {
		return err
	}
	const readOnly = 1
	if err := l.send(comExecute, append(id, readOnly, 1, 0, 0, 0)...); err != nil {
		return err
	}
	// The number of columns, the column where it is told once more, the end.
	const end = 0xfe
	for p := []byte{0}; p[0] != end; {
		if p, err = l.read(); err != nil {
			return err
		}
	}
	if err := l.send(comFetch, append(id, 2, 0, 0, 0)...); err != nil {
		return err
	}
	for range 3 { // two rows and their end
		if _, err := l.read(); err != nil {
			return err
		}
	}
	return nil
}

// shorten keeps a failure readable.
func shorten(all []string) string {
	s := strings.Join(all, "\n    ")
	if len(s) > 2000 {
		s = s[:2000] + "..."
	}
	return s
}
