//go:build bench

package bench

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"weir/internal/testnet"
)

// mysqlKind is a proxy before a MariaDB that can be started. start is nil for
// none at all.
type mysqlKind struct {
	name  string
	start func(l *mysqlLab, backend netip.AddrPort) (addr netip.AddrPort, pids func() []int)
}

// HAProxy passes bytes: a client's connection is one to the server too.
func startHAProxyTCP(l *mysqlLab, backend netip.AddrPort) (netip.AddrPort, func() []int) {
	s := testnet.StartHAProxy(l.t, testnet.ServerOptions{NS: l.ns, Addr: l.free(), Config: fmt.Sprintf(`
global
  nbthread 2
  maxconn 9000
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend f
  bind {addr}
  default_backend b
backend b
  server s %s
`, backend)})
	return s.Addr, func() []int { return tree(s.PID()) }
}

// startMySQLWeir returns a start function. With server_version clients are
// greeted from the first moment.
func startMySQLWeir(reset string) func(*mysqlLab, netip.AddrPort) (netip.AddrPort, func() []int) {
	return func(l *mysqlLab, backend netip.AddrPort) (netip.AddrPort, func() []int) {
		addr := l.free()
		config := filepath.Join(l.t.TempDir(), "weir.yaml")
		err := os.WriteFile(config, fmt.Appendf(nil, `
listeners:
  - {name: db, protocol: mysql, address: "%s", backend: mariadb, timeouts: {idle: 1h}}
backends:
  - name: mariadb
    endpoints: ["%s"]
    pool: {max_open: %d, idle_timeout: 1h}
    users: [{name: %s, password: %s}]
    mysql: {reset: %s, server_version: %s}
admin: {address: "%s"}
`, addr, backend, mysqlOpen, testnet.UserApp, testnet.MariaDBPassword, reset, l.m.Variable("version"), l.free()), 0o600)
		if err != nil {
			l.t.Fatal(err)
		}
		w := testnet.StartProgram(l.t, testnet.ProgramOptions{NS: l.ns, Name: binary, Args: []string{"run", "-config", config}, Ready: []netip.AddrPort{addr}})
		return addr, func() []int { return tree(w.PID()) }
	}
}

// version is the server's and sysbench's own words.
func (l *mysqlLab) version() string { return "MariaDB " + l.m.Variable("version") + "." }

// selectRows are in the table that is read.
const selectRows = 10_000

// fill makes the table: a row is what sysbench's own scripts have in theirs.
func (l *mysqlLab) fill() {
	l.t.Helper()
	l.m.Exec(
		"CREATE TABLE app.bench (id INT NOT NULL PRIMARY KEY, k INT NOT NULL, c CHAR(120) NOT NULL, pad CHAR(60) NOT NULL) ENGINE=InnoDB",
		fmt.Sprintf("INSERT INTO app.bench SELECT seq, seq*7919%%%d, RPAD(MD5(seq), 120, MD5(seq+1)), RPAD(MD5(seq+2), 60, 'x') FROM app.seq_1_to_%d", selectRows, selectRows),
		"ANALYZE TABLE app.bench")
}
