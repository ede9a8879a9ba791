// Command capture talks to a MariaDB server and writes what went over the
// wire, as hexadecimal text, one file for each story. The tests of package
// wire read those files; nothing runs this program but a person who wants them
// from another version of the server:
//
//	mariadb-install-db --no-defaults --datadir=D --auth-root-authentication-method=normal --skip-test-db
//	mariadbd --no-defaults --datadir=D --socket=D/s --port=33907 --log-bin=bin --server-id=7 \
//	    --local-infile=1 --plugin-load-add=auth_ed25519
//	go run ./proxy/mysql/wire/testdata/capture -addr 127.0.0.1:33907 -out DIR
//
// It shares no code with the package: what it writes must not depend on what
// the package believes.
package main

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"
	"time"
)

var (
	addr = flag.String("addr", "127.0.0.1:33907", "the server's `address`; root has no password there")
	out  = flag.String("out", ".", "`directory` to write to")
)

const (
	connectWithDB = 1 << 3
	localFiles    = 1 << 7
	interactive   = 1 << 10
	sessionTrack  = 1 << 23
	deprecateEOF  = 1 << 24
	connectAttrs  = 1 << 20
	// LONG_FLAG, PROTOCOL_41, TRANSACTIONS, SECURE_CONNECTION, MULTI_STATEMENTS,
	// MULTI_RESULTS, PS_MULTI_RESULTS, PLUGIN_AUTH, and not LONG_PASSWORD.
	base = 1<<2 | localFiles | 1<<9 | 1<<13 | 1<<15 | 1<<16 | 1<<17 | 1<<18 | 1<<19
	bulk = 1 << 34
	meta = 1 << 35
)

var setup = []string{
	"DROP DATABASE IF EXISTS shop", "CREATE DATABASE shop",
	"CREATE TABLE shop.t (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(40))",
	"INSERT INTO shop.t (name) VALUES ('one'),('two'),(NULL)",
	"CREATE TABLE shop.l (a INT, b VARCHAR(20))",
	"CREATE OR REPLACE USER app@'%' IDENTIFIED BY 'secret'", "GRANT ALL ON *.* TO app@'%'",
	"CREATE OR REPLACE USER ed@'%' IDENTIFIED VIA ed25519 USING PASSWORD('secret')",
	"CREATE PROCEDURE shop.p() BEGIN SELECT 1; SELECT id, name FROM shop.t WHERE id<3; SET @a=1; END",
	"CREATE PROCEDURE shop.q(OUT o INT) BEGIN SET o = 7; END",
}

type peer struct {
	conn net.Conn
	log  bytes.Buffer
	caps uint64
	err  error
}

func dial() *peer {
	c, err := net.Dial("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	return &peer{conn: c}
}

func (p *peer) note(s string) { fmt.Fprintf(&p.log, "# %s\n", s) }

// send frames payloads from seq on and logs them.
func (p *peer) send(seq byte, payloads ...[]byte) {
	var b []byte
	for _, x := range payloads {
		b = append(b, byte(len(x)), byte(len(x)>>8), byte(len(x)>>16), seq)
		b = append(b, x...)
	}
	fmt.Fprintf(&p.log, "> %x\n", b)
	if _, err := p.conn.Write(b); err != nil {
		log.Fatal(err)
	}
}

// recv logs and returns what arrives until the server has been quiet for a while.
func (p *peer) recv() []byte {
	var b []byte
	buf := make([]byte, 1<<16)
	wait := 2 * time.Second
	for {
		p.conn.SetReadDeadline(time.Now().Add(wait))
		n, err := p.conn.Read(buf)
		b = append(b, buf[:n]...)
		if err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) && err != io.EOF {
				p.err = err
			}
			break
		}
		wait = 120 * time.Millisecond
	}
	fmt.Fprintf(&p.log, "< %x\n", b)
	return b
}

func scramble(nonce []byte, password string) []byte {
	one := sha1.Sum([]byte(password))
	two := sha1.Sum(one[:])
	three := sha1.Sum(append(bytes.Clone(nonce), two[:]...))
	for i := range one {
		one[i] ^= three[i]
	}
	return one[:]
}

func nonce(greeting []byte) []byte {
	g := greeting[4:]
	v := 1 + bytes.IndexByte(g[1:], 0) + 1 + 4
	n := bytes.Clone(g[v : v+8])
	return append(n, g[v+8+1+2+1+2+2+1+10:][:12]...)
}

func (p *peer) login(caps uint64, user, password, db, plugin string) []byte {
	p.caps = caps
	fmt.Fprintf(&p.log, "caps %016x\n", caps)
	g := p.recv()
	if g[4] == 0xff {
		return g // it is full
	}
	n := nonce(g)
	var b []byte
	b = binary.LittleEndian.AppendUint32(b, uint32(caps))
	b = binary.LittleEndian.AppendUint32(b, 1<<24)
	b = append(append(b, 45), make([]byte, 19)...)
	b = binary.LittleEndian.AppendUint32(b, uint32(caps>>32))
	b = append(append(b, user...), 0)
	var proof []byte
	if plugin == "mysql_native_password" && password != "" {
		proof = scramble(n, password)
	}
	b = append(append(b, byte(len(proof))), proof...)
	if caps&connectWithDB != 0 {
		b = append(append(b, db...), 0)
	}
	b = append(append(b, plugin...), 0)
	if caps&connectAttrs != 0 {
		a := []byte("\x0c_client_name\x07capture\x04_pid\x0242")
		b = append(append(b, byte(len(a))), a...)
	}
	p.send(1, b)
	return p.recv()
}

func (p *peer) query(s string) []byte { return p.command(3, s) }

func (p *peer) command(cmd byte, body string) []byte {
	p.send(0, append([]byte{cmd}, body...))
	return p.recv()
}

func (p *peer) save(name string) {
	p.conn.Close()
	if p.err != nil {
		p.note("the connection ended: " + p.err.Error())
	}
	if err := os.WriteFile(filepath.Join(*out, name+".txt"), p.log.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
}

func u32(n uint32) string { return string(binary.LittleEndian.AppendUint32(nil, n)) }

// prepare returns the statement's id.
func (p *peer) prepare(sql string) string {
	b := p.command(0x16, sql)
	return string(b[5:9])
}

func main() {
	flag.Parse()
	root := dial()
	root.login(base, "root", "", "", "mysql_native_password")
	root.prepareTables()
	logins()
	for _, v := range []struct {
		name string
		caps uint64
	}{{"full", base | sessionTrack | deprecateEOF}, {"plain", base}, {"track", base | sessionTrack}, {"noeof", base | deprecateEOF}} {
		root.prepareTables() // so that all variants tell the same story
		queries(v.name, v.caps|connectWithDB)
		root.prepareTables()
		statements(v.name, v.caps|connectWithDB|bulk)
		others(v.name, v.caps|connectWithDB)
	}
	trackers()
	crowd(root)
}

func (p *peer) prepareTables() {
	for _, s := range setup {
		if b := p.query(s); b[4] == 0xff {
			log.Fatalf("%s: %s", s, b[7:])
		}
	}
}

func logins() {
	const native = "mysql_native_password"
	p := dial()
	p.login(base|sessionTrack|deprecateEOF|connectWithDB|connectAttrs|meta, "app", "secret", "shop", native)
	p.command(1, "")
	p.save("login-native")

	p = dial()
	p.note("a plugin that the account does not use")
	b := p.login(base, "app", "", "", "caching_sha2_password")
	i := bytes.IndexByte(b[5:], 0) + 6
	p.send(3, scramble(b[i:i+20], "secret"))
	p.recv()
	p.save("login-switch")

	p = dial()
	p.note("the server asks for ed25519, password 'secret'; the answer here is wrong")
	p.login(base, "ed", "", "", native)
	p.send(3, make([]byte, 64))
	p.recv()
	p.save("login-ed25519")

	p = dial()
	p.login(base, "app", "wrong", "", native)
	p.save("login-denied")

	p = dial()
	p.login(base|connectWithDB, "app", "secret", "nowhere", native)
	p.save("login-unknown-database")
}

func queries(name string, caps uint64) {
	p := dial()
	p.login(caps, "app", "secret", "shop", "mysql_native_password")
	for _, s := range []string{
		"SELECT 1",
		"SELECT id, name FROM t ORDER BY id",
		"SELECT id FROM t WHERE id > 100",
		"INSERT INTO t (name) VALUES ('x'),('y')",
		"UPDATE t SET name='z' WHERE id > 3",
		"DELETE FROM t WHERE id > 3",
		"SELEKT",
		"SELECT 1; UPDATE t SET name='two' WHERE id=2; SELECT id FROM t",
		"SELECT 1; SELECT nowhere",
		"CALL p()",
		"SET NAMES utf8mb4",
		"BEGIN", "INSERT INTO t (name) VALUES ('x')", "ROLLBACK",
		"DO 1", "SET autocommit=0", "SELECT id FROM t LIMIT 1", "SET autocommit=1",
		"SELECT 1 AS a, 2 AS b, 3 AS c, 4 AS d UNION ALL SELECT NULL, REPEAT('a', 300), '', 5",
	} {
		p.note(s)
		p.query(s)
	}
	p.note("LOAD DATA LOCAL INFILE")
	p.query("LOAD DATA LOCAL INFILE 'a.csv' INTO TABLE l FIELDS TERMINATED BY ','")
	p.send(2, []byte("1,one\n2,two\n"))
	p.send(3, nil)
	p.recv()
	p.note("LOAD DATA LOCAL INFILE, second statement")
	p.query("SELECT 1; LOAD DATA LOCAL INFILE 'b.csv' INTO TABLE l FIELDS TERMINATED BY ','; SELECT 2")
	last := byte(7)
	if caps&deprecateEOF != 0 {
		last = 6
	}
	p.send(last, nil)
	p.recv()
	p.save("query-" + name)
}

func statements(name string, caps uint64) {
	p := dial()
	p.login(caps, "app", "secret", "shop", "mysql_native_password")
	p.note("prepare without parameters or columns")
	p.prepare("SET @x = 1")
	p.note("prepare, one parameter and two columns")
	id := p.prepare("SELECT id, name FROM t WHERE id >= ? ORDER BY id")
	p.note("execute")
	arg := "\x00\x01\x03\x00" + u32(1)
	p.command(0x17, id+"\x00"+u32(1)+arg)
	p.note("execute with a cursor")
	p.command(0x17, id+"\x01"+u32(1)+arg)
	p.note("fetch two rows")
	p.command(0x1c, id+u32(2))
	p.note("fetch the rest")
	p.command(0x1c, id+u32(2))
	p.note("fetch behind the end")
	p.command(0x1c, id+u32(2))
	p.note("reset statement")
	p.command(0x1a, id)
	p.note("prepare an insert")
	ins := p.prepare("INSERT INTO t (name) VALUES (?)")
	p.note("long data, then execute")
	p.send(0, []byte("\x18"+ins+"\x00\x00long"))
	p.command(0x17, ins+"\x00"+u32(1)+"\x00\x01\xfe\x00")
	p.note("bulk execute of two rows")
	p.command(0xfa, ins+"\x80\x00"+"\xfe\x00"+"\x00\x01a"+"\x00\x01b")
	p.note("prepare an error")
	p.command(0x16, "SELEKT")
	p.note("execute an unknown id")
	p.command(0x17, u32(99999)+"\x00"+u32(1))
	p.note("prepare and execute id -1 in one write")
	p.send(0, []byte("\x16SELECT 5"), []byte("\x17\xff\xff\xff\xff\x00"+u32(1)))
	p.recv()
	p.note("call with OUT parameter")
	call := p.prepare("CALL q(?)")
	p.command(0x17, call+"\x00"+u32(1)+"\x01\x01\x06\x00")
	p.note("call that returns two results")
	call = p.prepare("CALL p()")
	p.command(0x17, call+"\x00"+u32(1))
	p.note("execute with a cursor that finds no row")
	p.command(0x17, id+"\x01"+u32(1)+"\x00\x01\x03\x00"+u32(1000))
	p.note("close, which is not answered, and ping")
	p.send(0, []byte("\x19"+id))
	p.command(0x0e, "")
	p.save("statement-" + name)
}

func others(name string, caps uint64) {
	p := dial()
	p.login(caps, "app", "secret", "shop", "mysql_native_password")
	for _, c := range []struct {
		name string
		cmd  byte
		body string
	}{
		{"ping", 0x0e, ""}, {"statistics", 0x09, ""}, {"init db", 0x02, "shop"}, {"init unknown db", 0x02, "nowhere"},
		{"set option", 0x1b, "\x00\x00"}, {"debug", 0x0d, ""}, {"field list", 0x04, "t\x00%"}, {"field list of no table", 0x04, "nowhere\x00"},
		{"process info", 0x0a, ""}, {"process kill", 0x0c, u32(1 << 30)}, {"refresh", 0x07, "\x01"}, {"create db", 0x05, "x"}, {"drop db", 0x06, "x"},
		{"reset connection", 0x1f, ""}, {"unknown command", 0x1d, ""}, {"time", 0x0f, ""}, {"register slave", 0x15, u32(9) + "\x00\x00\x00\x00\x00" + u32(0) + u32(0)},
	} {
		p.note(c.name)
		p.command(c.cmd, c.body)
	}
	p.note("change user")
	b := p.command(0x11, "app\x00\x00shop\x00\x2d\x00mysql_native_password\x00")
	i := bytes.IndexByte(b[5:], 0) + 6
	p.send(b[3]+1, scramble(b[i:i+20], "secret"))
	p.recv()
	p.note("change user, denied")
	b = p.command(0x11, "app\x00\x00shop\x00\x2d\x00mysql_native_password\x00")
	p.send(b[3]+1, make([]byte, 20))
	p.recv()
	p.save("command-" + name)

	p = dial()
	p.login(caps, "app", "secret", "shop", "mysql_native_password")
	// Without the first the server has nothing to tell a replica that knows no checksums.
	p.query("SET @master_binlog_checksum = @@global.binlog_checksum")
	p.query("FLUSH BINARY LOGS")
	b = p.query("SHOW MASTER STATUS")
	i = bytes.Index(b, []byte(".00")) // the row is lengths and strings, a name of ten bytes first
	file := string(b[i-3 : i+7])
	p.note("binlog dump of " + file + " that ends at its end")
	p.command(0x12, u32(4)+"\x01\x00"+u32(9)+file)
	p.save("binlog-" + name)
}

func trackers() {
	p := dial()
	p.login(base|sessionTrack|deprecateEOF|interactive, "app", "secret", "", "mysql_native_password")
	for _, s := range []string{
		"SET session_track_system_variables='*', session_track_state_change=ON, session_track_transaction_info='CHARACTERISTICS', session_track_schema=ON",
		"USE shop",
		"SET NAMES latin1",
		"SET time_zone='+01:00', sql_mode='', character_set_results=NULL",
		"SET @a = 1",
		"BEGIN", "INSERT INTO t (name) VALUES ('x')", "SELECT id FROM t LIMIT 1", "ROLLBACK",
		"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY", "SELECT COUNT(*) FROM t",
		"CREATE TEMPORARY TABLE tmp (a INT)", "LOCK TABLES t READ", "UNLOCK TABLES",
		"SELECT 1", "CALL p()",
		"START TRANSACTION WITH CONSISTENT SNAPSHOT", "COMMIT",
		"SET sql_mode='" + "STRICT_TRANS_TABLES,ONLY_FULL_GROUP_BY,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,ANSI_QUOTES,PIPES_AS_CONCAT,IGNORE_SPACE,NO_AUTO_VALUE_ON_ZERO,NO_BACKSLASH_ESCAPES,HIGH_NOT_PRECEDENCE" + "'",
	} {
		p.note(s)
		p.query(s)
	}
	p.note("init db")
	p.command(2, "mysql")
	p.note("reset connection")
	p.command(0x1f, "")
	p.save("trackers")
}

// crowd shows the greeting of a server that is full.
func crowd(root *peer) {
	root.query("SET GLOBAL max_connections=10")
	var held []net.Conn
	defer func() {
		for _, c := range held {
			c.Close()
		}
		root.query("SET GLOBAL max_connections=151")
	}()
	for range 12 {
		p := dial()
		b := p.login(base, "root", "", "", "mysql_native_password")
		if len(b) > 4 && b[4] == 0xff {
			p.save("login-too-many")
			return
		}
		held = append(held, p.conn)
	}
	log.Print("the server never said that it is full")
}
