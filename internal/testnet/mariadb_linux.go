package testnet

import (
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// MariaDB is a mariadbd of the test's own, with a data directory of its own
// that holds the users and databases of MariaDBUsers. It listens on a TCP port
// and on a unix socket; nobody but root reaches root's account, and only over
// the socket.
//
// Address, Socket, PID, Signal, Kill, Stop and Start may be called from any
// goroutine, the methods that ask the server from the test's only: they end the
// test where the server does not do what it is told.
type MariaDB struct {
	t     testing.TB
	o     mariadbOptions
	dir   string // short: a socket's path is at most 107 bytes
	files TLSFiles
	root  *sql.DB // over the socket

	// mu is held while the server starts or stops.
	mu      sync.Mutex
	addr    netip.AddrPort // its port is zero until it has started once
	program *Program
}

type mariadbOptions struct {
	ns    *Netns
	addr  netip.Addr
	flags []string
	tls   bool
}

// MariaDBOption changes how StartMariaDB starts the server.
type MariaDBOption func(*mariadbOptions)

// MariaDBFlags gives mariadbd more command line options. They come last, so
// they win over those that StartMariaDB sets. MariaDB takes no max_connections
// under 10, and keeps one more for users with UserAll's rights.
func MariaDBFlags(flags ...string) MariaDBOption {
	return func(o *mariadbOptions) { o.flags = append(o.flags, flags...) }
}

// MariaDBTLS gives the server a certificate for 127.0.0.1 and localhost, which
// a throw-away authority has signed; MariaDB.CA is that one's certificate.
func MariaDBTLS() MariaDBOption { return func(o *mariadbOptions) { o.tls = true } }

// MariaDBIn has the server listen on addr inside ns.
func MariaDBIn(ns *Netns, addr netip.Addr) MariaDBOption {
	return func(o *mariadbOptions) { o.ns, o.addr = ns, addr }
}

// StartMariaDB starts a server and waits until it answers. The first one in a
// process takes about a second, the next ones a tenth of that. It is stopped
// and its directory removed in the test's Cleanup at the latest.
func StartMariaDB(t testing.TB, options ...MariaDBOption) *MariaDB {
	t.Helper()
	m := &MariaDB{t: t, o: mariadbOptions{addr: loopback}}
	for _, o := range options {
		o(&m.o)
	}
	m.dir = shortDir(t)
	if err := mariadbTemplate(t).unpack(m.dataDir()); err != nil {
		t.Fatalf("copy mariadbd's data directory: %v", err)
	}
	if m.o.tls {
		m.files = NewTLSFiles(t)
	}
	m.root = openMariaDB(t, m.rootDSN())
	t.Cleanup(func() {
		m.root.Close()
		m.Stop()
		if t.Failed() && m.program != nil {
			t.Logf("mariadbd's log:\n%s", m.program.Output())
		}
	})
	if err := m.startOnFreePort(); err != nil {
		t.Fatal(err)
	}
	return m
}

// shortDir is a directory in which a unix socket's path is short enough, even
// where temporary files are kept in a deep place.
func shortDir(t testing.TB) string {
	t.Helper()
	base := os.TempDir()
	if len(base) > 70 {
		base = "/tmp"
	}
	dir, err := os.MkdirTemp(base, "weir-db-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// startOnFreePort tries ports below those that the kernel gives to clients: the
// server must get its port back when it is started again.
func (m *MariaDB) startOnFreePort() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var err error
	for range 10 {
		m.addr = netip.AddrPortFrom(m.o.addr, uint16(20000+rand.IntN(12000)))
		if err = m.start(); !errors.Is(err, errTaken) {
			break
		}
	}
	return err
}

// start starts the server on m.addr. mu is held.
func (m *MariaDB) start() error {
	l, err := m.o.ns.Listen("tcp", m.addr.String())
	if err != nil {
		return fmt.Errorf("%w: start mariadbd: %w", errTaken, err)
	}
	l.Close()
	// No address to wait for: a connection without a login would count as an
	// aborted one at the server.
	p, err := startProgram(m.t, ProgramOptions{NS: m.o.ns, Name: "mariadbd", Args: m.args()})
	if err != nil {
		return err
	}
	m.program = p
	ended := false
	answers := Poll(startTimeout, func() bool {
		select {
		case <-p.gone:
			ended = true
			return true
		default:
			return m.root.Ping() == nil
		}
	})
	if answers && !ended {
		return nil
	}
	p.Stop()
	if text := p.Output(); strings.Contains(text, "Bind on TCP/IP port") {
		return fmt.Errorf("%w: start mariadbd on %v", errTaken, m.addr)
	} else if ended {
		return fmt.Errorf("mariadbd ended at once (%v):\n%s", p.err, text)
	}
	return fmt.Errorf("mariadbd answers nothing on %s after %s:\n%s", m.Socket(), startTimeout, p.Output())
}

func (m *MariaDB) args() []string {
	args := []string{
		"--no-defaults",
		"--datadir=" + m.dataDir(),
		"--tmpdir=" + m.dir, // what is left in one is removed by the next server that starts there
		"--socket=" + m.Socket(),
		"--pid-file=" + filepath.Join(m.dir, "pid"),
		"--bind-address=" + m.addr.Addr().String(),
		fmt.Sprintf("--port=%d", m.addr.Port()),
		"--skip-name-resolve",
		"--plugin-load-add=auth_ed25519",
		"--max-allowed-packet=64M",
	}
	args = append(args, asRoot()...)
	args = append(args, mariadbSmall...)
	if m.o.tls {
		args = append(args, "--ssl-ca="+m.files.CA, "--ssl-cert="+m.files.Cert, "--ssl-key="+m.files.Key)
	}
	return append(args, m.o.flags...)
}

// asRoot is what mariadbd wants to be told before it runs as root.
func asRoot() []string {
	if os.Getuid() == 0 {
		return []string{"--user=root"}
	}
	return nil
}

// mariadbSmall keeps a server small and its writes cheap: dozens run in one
// test run, and none has to survive a power cut.
var mariadbSmall = []string{
	"--innodb-buffer-pool-size=32M",
	mariadbLogFile,
	"--innodb-flush-log-at-trx-commit=0",
	"--innodb-flush-method=nosync",
	"--debug-no-sync",
	"--innodb-temp-data-file-path=ibtmp1:4M:autoextend",
	"--key-buffer-size=1M",
	"--aria-pagecache-buffer-size=4M",
}

// Address is host:port of the TCP listener. It stays when the server is
// started again.
func (m *MariaDB) Address() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.addr.String()
}

// Socket is the path of the unix socket.
func (m *MariaDB) Socket() string { return filepath.Join(m.dir, "sock") }

func (m *MariaDB) dataDir() string { return filepath.Join(m.dir, "data") }

// CA is the path of the certificate that signed the server's, in PEM; "" where
// the server was started without MariaDBTLS.
func (m *MariaDB) CA() string { return m.files.CA }

func (m *MariaDB) running() *Program {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.program
}

// PID is the number of the process that was started last.
func (m *MariaDB) PID() int { return m.running().PID() }

// Signal sends a signal to the server.
func (m *MariaDB) Signal(s os.Signal) error { return m.running().Signal(s) }

// Output is what the server has logged since it was started last.
func (m *MariaDB) Output() string { return m.running().Output() }

// Stop shuts the server down in order, or kills it where that takes more than
// 5 s, and waits for its end. The data stays. It may be called more than once.
func (m *MariaDB) Stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.program != nil {
		m.program.Signal(syscall.SIGCONT) // a stopped process sees no SIGTERM
		m.program.Stop()
	}
}

// Kill kills the server, which closes all its connections at once, and waits
// for its end. The data stays as it is.
func (m *MariaDB) Kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.program.Signal(syscall.SIGKILL)
	m.program.Stop()
}

// Start starts the server again, on the same data and the same port, after Stop
// or Kill, and waits until it answers.
func (m *MariaDB) Start() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.program.Stop() // it may have ended by itself
	return m.start()
}
