package accept

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"weir/internal/testnet"
)

// sha2Server is a running sha2server, whose only account is UserApp with
// MariaDBPassword and caching_sha2_password.
type sha2Server struct {
	t       *testing.T
	program *testnet.Program
	address string
	ca      string // of its certificate, "" without TLS
}

// sha2Event is a line that it prints.
type sha2Event struct {
	Listening, Login, Way, Refused, Why, Did string
	TLS, Full                                bool
}

// sha2Binary builds the server once. It is a module of its own.
var sha2Binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(binary), "sha2server")
	cmd := exec.Command("go", "build", "-mod=readonly", "-o", path, ".")
	cmd.Dir = "sha2"
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build in accept/sha2: %w\n%s", err, out)
	}
	return path, nil
})

func startSHA2Server(t *testing.T, encrypted bool) *sha2Server {
	t.Helper()
	path, err := sha2Binary()
	if err != nil {
		t.Fatal(err)
	}
	s := &sha2Server{t: t}
	args := []string{"-user", testnet.UserApp, "-password", testnet.MariaDBPassword}
	if encrypted {
		f := testnet.NewTLSFiles(t)
		s.ca = f.CA
		args = append(args, "-cert", f.Cert, "-key", f.Key)
	}
	s.program = testnet.StartProgram(t, testnet.ProgramOptions{Name: path, Args: args})
	testnet.WaitFor(t, 20*time.Second, "the server's address", func() bool {
		all := s.events()
		if len(all) > 0 {
			s.address = all[0].Listening
		}
		return s.address != ""
	})
	return s
}

// events are the whole lines that the server has printed so far. What is not an
// object is a message of the library's.
func (s *sha2Server) events() (all []sha2Event) {
	for line := range strings.Lines(s.program.Output()) {
		var e sha2Event
		if strings.HasSuffix(line, "\n") && json.Unmarshal([]byte(line), &e) == nil {
			all = append(all, e)
		}
	}
	return all
}

// logins are the ways of all logins so far, in order.
func (s *sha2Server) logins() (ways []string) {
	for _, e := range s.events() {
		if e.Login == testnet.UserApp {
			ways = append(ways, e.Way)
		}
	}
	return ways
}

// config is weir before s. secret is what it knows of UserApp.
func (s *sha2Server) config(maxOpen int, auth, secret string) string {
	var encrypt string
	if s.ca != "" {
		encrypt = fmt.Sprintf("\n    tls: {mode: verify_identity, ca: %q}", s.ca)
	}
	return fmt.Sprintf(`
listeners:
  - {name: db, protocol: mysql, address: "127.0.0.1:0", backend: orders}
backends:
  - name: orders
    endpoints: ["%s"]
    pool: {max_open: %d}
    users: [{name: %s, %s}]
    mysql: {reset: always, auth: %s}%s
`, s.address, maxOpen, testnet.UserApp, secret, auth, encrypt)
}

// weirBefore runs weir before s, and waits until the server has let it in or
// refused it once: weir then knows how to greet clients.
func (s *sha2Server) weirBefore(maxOpen int, auth, secret string) *reloadable {
	s.t.Helper()
	w := startReloadable(s.t, s.config(maxOpen, auth, secret))
	testnet.WaitFor(s.t, 20*time.Second, "weir's first login", func() bool {
		return slices.ContainsFunc(s.events(), func(e sha2Event) bool { return e.Login != "" || e.Why != "" })
	})
	return w
}

const knownPassword = "password: " + testnet.MariaDBPassword

// sha2Clients makes connections to weir, and keeps none that its user closes.
func sha2Clients(t *testing.T, w *reloadable, password string) *sql.DB {
	t.Helper()
	c := mysql.NewConfig()
	c.Net, c.Addr, c.User, c.Passwd = "tcp", w.addr["db"], testnet.UserApp, password
	c.Timeout, c.ReadTimeout, c.Logger = 10*time.Second, 10*time.Second, &mysql.NopLogger{}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxIdleConns(-1)
	t.Cleanup(func() { db.Close() })
	return db
}

// sha2Client is one connection to weir, closed with the test.
func sha2Client(t *testing.T, w *reloadable) *sql.Conn {
	t.Helper()
	c, err := sha2Clients(t, w, testnet.MariaDBPassword).Conn(t.Context())
	if err != nil {
		t.Fatalf("%v\n%s", err, w.logged())
	}
	return c
}

// value is the one value that a query gives; NULL is not valid.
func value(t *testing.T, c *sql.Conn, query string) (v sql.NullString) {
	t.Helper()
	if err := c.QueryRowContext(t.Context(), query).Scan(&v); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}

func TestAcceptWeirLogsInWithCachingSHA2(t *testing.T) {
	for _, c := range []struct {
		name, auth, first string
		encrypted         bool
	}{
		{"with the server's RSA key", "native", "full over RSA", false},
		{"over TLS", "native", "full over TLS", true},
		{"for clients that use it too", "sha2", "full over RSA", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := startSHA2Server(t, c.encrypted)
			w := s.weirBefore(2, c.auth, knownPassword)
			// weir has logged in once to see the server. Each of these keeps its
			// connection, so the second needs a login of its own.
			for range 2 {
				if v := value(t, sha2Client(t, w), "SELECT 1"); v.String != "1" {
					t.Errorf("SELECT 1 gave %v", v)
				}
			}
			want := []string{c.first, "fast", "fast"}
			testnet.Poll(10*time.Second, func() bool { return len(s.logins()) >= len(want) })
			if got := s.logins(); !slices.Equal(got, want) {
				t.Errorf("weir has logged in %q, want %q", got, want)
			}
			for _, e := range s.events() {
				if e.Login != "" && e.TLS != c.encrypted {
					t.Errorf("a login with TLS %v, want %v", e.TLS, c.encrypted)
				}
			}
		})
	}
}

// What is set on a connection of MySQL is cleared before the next client has it:
// the role and the character set too, which the reset alone may leave.
func TestAcceptAMySQLServersSessionIsResetForTheNextClient(t *testing.T) {
	s := startSHA2Server(t, false)
	w := s.weirBefore(1, "native", knownPassword)
	a := sha2Client(t, w)
	if _, err := a.ExecContext(t.Context(), "SET @left = 'by A'"); err != nil {
		t.Fatal(err)
	}
	if v := value(t, a, "SELECT @left"); v.String != "by A" {
		t.Fatalf("A set a variable and reads %v", v)
	}
	// And what weir does at the end of each login: that of the connection which looks
	// what the server is may be under way still.
	testnet.WaitFor(t, 10*time.Second, "A's statement, and the end of all logins, in the server's output", func() bool {
		asked, names := false, 0
		for _, e := range s.events() {
			asked = asked || strings.Contains(e.Did, "@left")
			if strings.HasPrefix(e.Did, "SET NAMES") {
				names++
			}
		}
		return asked && names >= len(s.logins())
	})
	seen, before := len(s.events()), len(s.logins())
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	// The pool has room for one, so B waits for A's.
	b := sha2Client(t, w)
	if v := value(t, b, "SELECT @left"); v.Valid {
		t.Errorf("B reads %q, which A has set", v.String)
	}
	if n := len(s.logins()); n != before {
		t.Errorf("%d logins for B, want that it has A's connection", n-before)
	}
	want := []string{"COM_RESET_CONNECTION", "SET ROLE DEFAULT", "SET NAMES utf8mb4 COLLATE utf8mb4_general_ci"}
	var did []string
	testnet.Poll(10*time.Second, func() bool {
		did = nil
		for _, e := range s.events()[seen:] {
			did = append(did, e.Did)
		}
		return len(did) >= len(want)
	})
	if !slices.Equal(did, want) {
		t.Errorf("between A and B the server was told %q, want %q", did, want)
	}
}

func TestAcceptAPasswordThatTheServerDoesNotTakeIsSaidToTheClient(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS=%v", encrypted), func(t *testing.T) {
			s := startSHA2Server(t, encrypted)
			w := s.weirBefore(2, "native", "password: another")
			_, err := sha2Clients(t, w, "another").ExecContext(t.Context(), "SELECT 1")
			if testnet.ServerError(err) != 1045 {
				t.Errorf("the client got %v, want error 1045", err)
			}
			// The one that looks, and the client's.
			refused := 0
			testnet.Poll(10*time.Second, func() bool {
				refused = 0
				for _, e := range s.events() {
					if e.Refused == testnet.UserApp && e.Full {
						refused++
					}
				}
				return refused >= 2
			})
			if refused < 2 || len(s.logins()) > 0 {
				t.Errorf("the server has refused %d full logins and taken %q", refused, s.logins())
			}
			w.write(w.admin(s.config(2, "native", knownPassword)))
			if !w.hangUp() {
				t.Fatalf("reload: %s", w.logged())
			}
			if v := value(t, sha2Client(t, w), "SELECT 1"); v.String != "1" {
				t.Errorf("SELECT 1 gave %v", v)
			}
		})
	}
}

// The hash of mysql_native_password proves nothing to caching_sha2_password.
func TestAcceptANativeHashIsNotEnoughForCachingSHA2(t *testing.T) {
	s := startSHA2Server(t, false)
	hash := "*14E65567ABDB5135D0CFD9A70B3032C179A49EE7" // of MariaDBPassword
	w := s.weirBefore(2, "native", fmt.Sprintf("native_hash: %q", hash))
	_, err := sha2Clients(t, w, testnet.MariaDBPassword).ExecContext(t.Context(), "SELECT 1")
	t.Logf("the client got: %v", err)
	if testnet.ServerError(err) == 0 {
		t.Errorf("the client got %v, want an error of MySQL's", err)
	}
	if !w.says("native_hash is not enough") {
		t.Errorf("the log does not say that the hash is not enough:\n%s", w.logged())
	}
	if got := s.logins(); len(got) > 0 {
		t.Errorf("weir has logged in: %q", got)
	}
}
