package accept

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"weir/internal/testnet"
)

// target is what a client of MySQL is told.
type target struct {
	address  string
	user     string
	password string
	database string
	ca       string // path of a certificate; "" is no TLS
}

// args are the arguments of every client program.
func (a target) args() []string {
	host, port, _ := net.SplitHostPort(a.address)
	return []string{host, port, a.user, a.password, a.database, a.ca}
}

// mysqlOptions say how weir stands before a server.
type mysqlOptions struct {
	maxOpen int
	mode    string // session or transaction; session if empty
	reset   string // always or proven
	auth    string // what clients are asked for: native or sha2; native if empty
	tls     bool   // to clients, and to the backend, which must have been started with it
}

// mysqlWeir is a weir before a MariaDB.
type mysqlWeir struct {
	*reloadable
	address string
	ca      string // of its own certificate, "" without tls
}

// startMySQLWeir runs weir before m.
func startMySQLWeir(t *testing.T, m *testnet.MariaDB, o mysqlOptions) *mysqlWeir {
	t.Helper()
	w := &mysqlWeir{}
	if o.auth == "" {
		o.auth = "native"
	}
	if o.mode == "" {
		o.mode = "session"
	}
	var listener, backend string
	if o.tls {
		f := testnet.NewTLSFiles(t)
		w.ca = f.CA
		listener = fmt.Sprintf(", tls: {cert: %q, key: %q}", f.Cert, f.Key)
		backend = fmt.Sprintf(", tls: {mode: verify_identity, ca: %q}", m.CA())
	}
	secret := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(secret, []byte(testnet.MariaDBPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var users string
	for i, name := range []string{testnet.UserApp, testnet.UserEd25519, testnet.UserNone, testnet.UserRole, testnet.UserAll} {
		if i > 0 {
			users += ", "
		}
		users += fmt.Sprintf("{name: %s, password_file: %s}", name, secret)
	}
	w.reloadable = startReloadable(t, fmt.Sprintf(`
listeners:
  - {name: db, protocol: mysql, address: "127.0.0.1:0", backend: orders%s}
backends:
  - name: orders
    endpoints: ["%s"]
    pool: {max_open: %d}
    queue: {timeout: 20s}
    users: [%s]
    mysql: {mode: %s, reset: %s, auth: %s}%s
`, listener, m.Address(), o.maxOpen, users, o.mode, o.reset, o.auth, blockKey(backend)))
	w.address = w.addr["db"]
	testnet.WaitFor(t, 10*time.Second, "for weir to know its database", func() bool { code, _ := w.page("/readyz"); return code == 200 })
	return w
}

// blockKey makes a line of a flow mapping's continuation.
func blockKey(s string) string {
	if s == "" {
		return ""
	}
	return "\n    " + s[2:]
}

// mysqlDatabase makes an empty database, where there was one as well.
func mysqlDatabase(m *testnet.MariaDB, name string) {
	m.Exec("DROP DATABASE IF EXISTS "+name, "CREATE DATABASE "+name+" CHARACTER SET utf8mb4")
}
