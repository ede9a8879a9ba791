package demo

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// The user and the database of a demonstration.
const (
	demoUser     = "demo"
	demoDatabase = "demo"
)

// What the parts of a start may take.
const (
	installTimeout = time.Minute
	startTimeout   = time.Minute
)

// maxTries bounds how often other free ports are looked for.
const maxTries = 5

// mariadb is a MariaDB server on this machine's loopback address, with a
// directory of its own that goes when it stops. Nothing that it stores is kept.
type mariadb struct {
	*child
	dir, socket     string
	password        string         // of demoUser, who is the only user
	straight, after netip.AddrPort // the same server's
	db              *sql.DB        // one connection to the socket
}

// errNoMariaDB says what to install.
var errNoMariaDB = errors.New("-mysql starts a MariaDB server of its own, and that is not installed here; " +
	"install it (Debian and Ubuntu: apt-get install mariadb-server)")

// errTaken says that another process took a free port first.
var errTaken = errors.New("mariadbd: the port was taken")

// startMariaDB starts a server for that many clients at a time, and waits until
// it answers.
func startMariaDB(ctx context.Context, clients int) (m *mariadb, err error) {
	program, err := find("mariadbd")
	if err != nil {
		return nil, err
	}
	install, err := find("mariadb-install-db")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(shortTemp(), "weir-demo-") // nobody else may look into it
	if err != nil {
		return nil, err
	}
	m = &mariadb{dir: dir, socket: filepath.Join(dir, "sock")}
	err = m.install(ctx, install)
	for try := 1; err == nil; try++ {
		if m.straight, m.after, err = freePorts(); err != nil {
			break
		}
		if err = m.start(ctx, program, clients); err == nil {
			return m, nil
		}
		if errors.Is(err, errTaken) && try < maxTries {
			err = nil
		}
	}
	m.stop()
	return nil, err
}

// askTimeout bounds each question over the socket.
const askTimeout = 10 * time.Second

// open makes a handle for the socket that keeps one connection.
func (m *mariadb) open() error {
	cfg := mysql.NewConfig()
	cfg.Logger = &mysql.NopLogger{}
	cfg.User, cfg.Passwd = demoUser, m.password
	cfg.Net, cfg.Addr = "unix", m.socket
	cfg.Timeout, cfg.ReadTimeout, cfg.WriteTimeout = askTimeout, askTimeout, askTimeout
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return err
	}
	m.db = sql.OpenDB(connector)
	m.db.SetMaxOpenConns(1)
	return nil
}

// find looks where packages put the server's programs, too: that is not in
// everybody's PATH.
func find(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/usr/libexec", "/usr/bin", "/usr/local/sbin", "/usr/local/libexec", "/usr/local/bin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%w; there is no program %s", errNoMariaDB, name)
}

// shortTemp is where temporary files go, unless the path of a unix socket there
// would be longer than the 107 bytes it may have.
func shortTemp() string {
	if dir := os.TempDir(); len(dir) <= 70 {
		return dir
	}
	return "/tmp"
}

// install makes the data directory, the statements that the server begins with,
// and the handle: before it accepts a connection there is one user, with a password.
func (m *mariadb) install(ctx context.Context, program string) (err error) {
	var secret [16]byte
	rand.Read(secret[:])
	m.password = hex.EncodeToString(secret[:])
	if err = m.open(); err != nil {
		return err
	}
	statements := fmt.Sprintf("DELETE FROM mysql.global_priv;\nFLUSH PRIVILEGES;\nCREATE DATABASE %[1]s;\n"+
		"CREATE USER %[2]s@localhost IDENTIFIED BY '%[3]s', %[2]s@'127.0.0.1' IDENTIFIED BY '%[3]s';\n"+
		"GRANT ALL ON %[1]s.* TO %[2]s@localhost, %[2]s@'127.0.0.1';\n", demoDatabase, demoUser, m.password)
	if err := os.WriteFile(m.path("init.sql"), []byte(statements), 0o600); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	c, err := startChild(program, append(m.common(), "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"))
	if err != nil {
		return err
	}
	defer c.kill()
	select {
	case <-c.gone:
	case <-ctx.Done():
		return fmt.Errorf("mariadb-install-db: not done within %v", installTimeout)
	}
	if c.err != nil {
		return fmt.Errorf("mariadb-install-db: %w\n%s", c.err, c.output())
	}
	return nil
}

// common are the arguments of both programs.
func (m *mariadb) common() []string {
	args := []string{
		"--no-defaults", "--datadir=" + m.path("data"), "--tmpdir=" + m.dir, "--innodb-log-file-size=16M",
	}
	if os.Getuid() == 0 {
		args = append(args, "--user=root") // the server wants to be told
	}
	return args
}

func (m *mariadb) path(name string) string { return filepath.Join(m.dir, name) }

// start starts the server on its two ports, and waits until it answers. The
// second one, which is for those whom max_connections has left no room, has
// limits of its own.
func (m *mariadb) start(ctx context.Context, program string, clients int) (err error) {
	most := min(2*clients+64, 100_000) // one that has quit counts until the server has seen that
	m.child, err = startChild(program, append(m.common(),
		"--socket="+m.socket, "--pid-file="+m.path("pid"), "--init-file="+m.path("init.sql"),
		"--bind-address=127.0.0.1", fmt.Sprintf("--port=%d", m.straight.Port()), fmt.Sprintf("--extra-port=%d", m.after.Port()),
		fmt.Sprintf("--max-connections=%d", most), fmt.Sprintf("--extra-max-connections=%d", most),
		fmt.Sprintf("--thread-cache-size=%d", min(most, 16384)), // processorTime does not see threads that have ended
		"--skip-name-resolve", "--skip-log-bin", "--local-infile=0", "--innodb-buffer-pool-size=32M", "--innodb-flush-log-at-trx-commit=0",
	))
	if err != nil {
		return err
	}
	return m.await(ctx)
}

// await returns when the server answers. Its ports are bound then, too.
func (m *mariadb) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := m.db.PingContext(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-m.gone:
			text := m.output()
			if strings.Contains(text, "Address already in use") {
				return errTaken
			}
			return fmt.Errorf("mariadbd ended at once: %v\n%s", m.err, text)
		case <-ctx.Done():
			return fmt.Errorf("mariadbd: not ready within %v: %w\n%s", startTimeout, err, m.output())
		}
	}
}

// stop ends the server without asking it, as nothing of it is kept, and removes
// its directory. It may have got no further than to that.
func (m *mariadb) stop() {
	if m.db != nil {
		m.db.Close()
	}
	if m.child != nil {
		m.kill()
	}
	os.RemoveAll(m.dir)
}

// freePorts finds two ports that are free now.
func freePorts() (a, b netip.AddrPort, err error) {
	var l [2]net.Listener
	for i := range l {
		if l[i], err = net.Listen("tcp4", "127.0.0.1:0"); err != nil {
			return a, b, err
		}
		defer l[i].Close()
	}
	return l[0].Addr().(*net.TCPAddr).AddrPort(), l[1].Addr().(*net.TCPAddr).AddrPort(), nil
}
