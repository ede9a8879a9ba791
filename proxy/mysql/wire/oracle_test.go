package wire

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

// The tests here let a client that we did not write log in to what this package
// writes: what go-sql-driver/mysql understands, others do.

// door is a server that knows one account, "app" with the password "secret",
// and answers queries with what MariaDB said in a capture.
type door struct {
	first  string // plugin of the greeting
	plugin string // plugin of the account; another than first makes a switch
	full   bool   // sha2: the proof is not enough
	key    *rsa.PrivateKey
	cert   *tls.Certificate
	drop   Caps // not offered

	conn net.Conn
	seq  uint8
	caps Caps
}

const patience = 10 * time.Second

func (d *door) read() ([]byte, error) {
	var head [HeaderLen]byte
	if _, err := io.ReadFull(d.conn, head[:]); err != nil {
		return nil, err
	}
	h, _ := ParseHeader(head[:])
	if h.Seq != d.seq || h.Continues() {
		return nil, fmt.Errorf("%+v, want sequence number %d", h, d.seq)
	}
	d.seq++
	p := make([]byte, h.Len)
	_, err := io.ReadFull(d.conn, p)
	return p, err
}

func (d *door) write(p []byte) error {
	b, next := AppendPacket(nil, p, d.seq)
	d.seq = next
	_, err := d.conn.Write(b)
	return err
}

func (d *door) serve(c net.Conn, answers map[string][]byte, backend Caps) error {
	d.conn = c
	defer func() { d.conn.Close() }()
	d.conn.SetDeadline(time.Now().Add(patience))
	if refused, err := d.login(); refused || err != nil {
		return err
	}
	for {
		d.seq = 0
		p, err := d.read()
		if err != nil {
			return nil // the client has gone
		}
		var tr Translate
		tr.Start(Command(p[0]), d.seq, backend, d.caps, StatusAutocommit)
		answer, known := answers[string(p)]
		switch {
		case Command(p[0]) == ComQuit:
			return nil
		case Command(p[0]) == ComPing:
			answer = frames(okPacket)
		case !known:
			answer, _ = AppendPacket(nil, AppendERR(nil, d.caps, CodeUnknownCommand, "not in the capture: "+string(p[1:])), 1)
		}
		var out []byte
		for ev := EventNone; ev != EventEnd; {
			var n int
			out, n, ev, err = tr.Append(out, answer)
			if answer = answer[n:]; err != nil || ev == EventNone {
				return fmt.Errorf("%q: event %d, %d bytes are left, %w", p, ev, len(answer), err)
			}
		}
		if _, err := d.conn.Write(out); err != nil {
			return err
		}
	}
}

func (d *door) login() (refused bool, err error) {
	nonce := NewNonce()
	g := Greeting{Version: []byte("5.5.5-10.11.19-MariaDB"), ConnID: 1, Nonce: nonce, Charset: 45, Status: StatusAutocommit,
		Caps: Offer(Caps(0x1d_81fff7fe), d.cert != nil) &^ d.drop, Plugin: []byte(d.first)}
	if err := d.write(AppendGreeting(nil, &g)); err != nil {
		return false, err
	}
	p, err := d.read()
	if err != nil {
		return false, err
	}
	if IsSSLRequest(p) {
		t := tls.Server(d.conn, &tls.Config{Certificates: []tls.Certificate{*d.cert}})
		if err := t.Handshake(); err != nil {
			return false, err
		}
		d.conn = t
		if p, err = d.read(); err != nil {
			return false, err
		}
	}
	l, err := ParseLogin(p, g.Caps)
	if err != nil {
		return false, err
	}
	d.caps = l.Caps
	if string(l.User) != "app" || string(l.Database) != "shop" {
		return false, fmt.Errorf("login of %q to %q", l.User, l.Database)
	}
	challenge := nonce[:]
	if string(l.Plugin) != d.plugin {
		if d.plugin == PluginEd25519 {
			challenge = append(challenge, nonce[:12]...)
		}
		if err := d.write(AppendAuthSwitch(nil, d.plugin, challenge)); err != nil {
			return false, err
		}
		if l.Proof, err = d.read(); err != nil {
			return false, err
		}
	}
	good, err := d.check(l.Proof, challenge)
	if err != nil {
		return false, err
	}
	if !good {
		return true, d.write(AppendERR(nil, d.caps, CodeAccessDenied, "Access denied for user 'app'"))
	}
	return false, d.write(AppendOK(nil, &OK{Status: StatusAutocommit}, d.caps))
}

func (d *door) check(proof, nonce []byte) (bool, error) {
	switch d.plugin {
	case PluginNative:
		_, ok := VerifyNative(proof, nonce, NewNativeKey("secret").Hash())
		return ok, nil
	case PluginEd25519:
		public, err := ParseEd25519Public(storedEd25519)
		return VerifyEd25519(proof, nonce, public), err
	}
	if !d.full {
		_, ok := VerifySHA2(proof, nonce, NewSHA2Key("secret").Hash())
		if !ok {
			return false, nil
		}
		return true, d.write(AppendAuthMore(nil, SHA2FastOK))
	}
	if err := d.write(AppendAuthMore(nil, SHA2FullAuth)); err != nil {
		return false, err
	}
	p, err := d.read()
	if err != nil {
		return false, err
	}
	var password []byte
	if d.cert != nil {
		password, err = ClearPassword(p)
		return VerifyPassword(password, NewSHA2Key("secret").Hash()), err
	}
	if len(p) != 1 || p[0] != SHA2RequestKey {
		return false, fmt.Errorf("%x, want a request for the key", p)
	}
	pem, err := AppendPublicKey(nil, &d.key.PublicKey)
	if err != nil {
		return false, err
	}
	if err := d.write(AppendAuthMore(nil, pem...)); err != nil {
		return false, err
	}
	if p, err = d.read(); err != nil {
		return false, err
	}
	password, err = DecryptPassword(d.key, p, nonce)
	return VerifyPassword(password, NewSHA2Key("secret").Hash()), err
}

// open connects go-sql-driver to d. What d had to complain of comes on faults.
func (d *door) open(t *testing.T, password string, edit func(*mysql.Config)) (db *sql.DB, faults <-chan error) {
	t.Helper()
	s := readStory(t, "query-full")
	answers := make(map[string][]byte)
	for _, e := range s.exchanges(t) {
		if len(e.parts) == 1 {
			answers[string(e.first)] = e.parts[0]
		}
	}
	done := make(chan error, 1)
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.DBName = "app", password, "shop"
	cfg.MultiStatements = true
	cfg.Logger = &mysql.NopLogger{}
	cfg.DialFunc = func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() { done <- d.serve(server, answers, s.caps) }()
		return client, nil
	}
	if edit != nil {
		edit(cfg)
	}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	db = sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	return db, done
}

func TestADriverLogsInByEveryPlugin(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	cert := selfSigned(t)
	withTLS := func(c *mysql.Config) { c.TLS = &tls.Config{InsecureSkipVerify: true} }
	for _, test := range []struct {
		name string
		door door
		edit func(*mysql.Config)
	}{
		{"native", door{first: PluginNative, plugin: PluginNative}, nil},
		{"native in TLS", door{first: PluginNative, plugin: PluginNative, cert: cert}, withTLS},
		{"native by a switch", door{first: PluginSHA2, plugin: PluginNative}, nil},
		{"sha2, fast", door{first: PluginSHA2, plugin: PluginSHA2}, nil},
		{"sha2, fast, by a switch", door{first: PluginNative, plugin: PluginSHA2}, nil},
		{"sha2, in full in TLS", door{first: PluginSHA2, plugin: PluginSHA2, full: true, cert: cert}, withTLS},
		{"sha2, in full by RSA", door{first: PluginSHA2, plugin: PluginSHA2, full: true, key: key}, nil},
		{"ed25519", door{first: PluginNative, plugin: PluginEd25519}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, password := range []string{"secret", "wrong"} {
				d := test.door
				db, faults := d.open(t, password, test.edit)
				err := db.PingContext(t.Context())
				var denied *mysql.MySQLError
				switch {
				case password == "secret" && err != nil:
					t.Errorf("the driver says %v", err)
				case password == "wrong" && (!errors.As(err, &denied) || denied.Number != CodeAccessDenied || string(denied.SQLState[:]) != "28000"):
					t.Errorf("with a wrong password the driver says %v", err)
				}
				if err := db.Close(); err != nil {
					t.Error(err)
				}
				if err := <-faults; err != nil {
					t.Errorf("the server says %v", err)
				}
			}
		})
	}
}

// The driver reads captured answers as they came if it was offered what the
// backend has, and translated if not.
func TestADriverReadsPassedAndTranslatedAnswers(t *testing.T) {
	for _, drop := range []Caps{0, CapDeprecateEOF, CapSessionTrack, CapDeprecateEOF | CapSessionTrack} {
		t.Run("without "+drop.String(), func(t *testing.T) {
			d := door{first: PluginNative, plugin: PluginNative, drop: drop}
			db, faults := d.open(t, "secret", nil)
			got, err := readAll(t, db, "SELECT id, name FROM t ORDER BY id")
			if want := "1 one, 2 two, 3 NULL; "; err != nil || got != want {
				t.Errorf("got %s, %v; want %s", got, err, want)
			}
			got, err = readAll(t, db, "CALL p()")
			if want := "1; 1 one, 2 two; "; err != nil || got != want {
				t.Errorf("got %s, %v; want %s", got, err, want)
			}
			got, err = readAll(t, db, "SELECT 1; SELECT nowhere")
			var unknown *mysql.MySQLError
			if got != "1; " || !errors.As(err, &unknown) || unknown.Number != 1054 {
				t.Errorf("got %s, %v", got, err)
			}
			res, err := db.ExecContext(t.Context(), "INSERT INTO t (name) VALUES ('x'),('y')")
			if err != nil {
				t.Fatal(err)
			}
			if n, _ := res.RowsAffected(); n != 2 {
				t.Errorf("%d rows", n)
			}
			if id, _ := res.LastInsertId(); id != 4 {
				t.Errorf("last insert id %d", id)
			}
			if _, err := db.ExecContext(t.Context(), "SET NAMES utf8mb4"); err != nil {
				t.Error(err)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
			if err := <-faults; err != nil {
				t.Errorf("the server says %v", err)
			}
		})
	}
}

func readAll(t *testing.T, db *sql.DB, query string) (string, error) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var out strings.Builder
	for more := true; more; more = rows.NextResultSet() {
		names, err := rows.Columns()
		if err != nil || len(names) == 0 {
			break
		}
		for i := 0; rows.Next(); i++ {
			values := make([]sql.NullString, len(names))
			into := make([]any, len(names))
			for i := range values {
				into[i] = &values[i]
			}
			if err := rows.Scan(into...); err != nil {
				return out.String(), err
			}
			if i > 0 {
				out.WriteString(", ")
			}
			for i, v := range values {
				if !v.Valid {
					v.String = "NULL"
				}
				out.WriteString(strings.Repeat(" ", min(i, 1)) + v.String)
			}
		}
		out.WriteString("; ")
	}
	return out.String(), rows.Err()
}

func selfSigned(t *testing.T) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{bytes.Clone(der)}, PrivateKey: key}
}
