package testnet_test

import (
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/internal/testnet"
)

// login opens one connection and returns what CURRENT_USER and CURRENT_ROLE say.
func login(t *testing.T, dsn string) (who, role string, err error) {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := testnet.QueryStrings(db, "SELECT CURRENT_USER(), CURRENT_ROLE()")
	if err != nil {
		return "", "", err
	}
	return rows[0][0], rows[0][1], nil
}

func TestMariaDBHasItsUsersAndNoOthers(t *testing.T) {
	m := testnet.StartMariaDB(t)
	for _, tc := range []struct{ user, database, role string }{
		{testnet.UserApp, "app", "NULL"},
		{testnet.UserApp, "other", "NULL"},
		{testnet.UserEd25519, "app", "NULL"},
		{testnet.UserNone, "", "NULL"},
		{testnet.UserRole, "app", "reader"},
		{testnet.UserAll, "vault", "NULL"},
	} {
		who, role, err := login(t, m.DSN(tc.user, tc.database))
		if err != nil || who != tc.user+"@%" || role != tc.role {
			t.Errorf("%s at %q: %q with role %q, %v", tc.user, tc.database, who, role, err)
		}
	}
	for _, tc := range []struct {
		dsn  string
		want uint16
	}{
		{m.DSN(testnet.UserNone, "app"), 1044},
		{m.DSN(testnet.UserApp, "vault"), 1044},
		{m.DSN(testnet.UserApp, "nowhere"), 1044}, // as it may not know
		{m.DSN(testnet.UserAll, "nowhere"), 1049},
		{strings.Replace(m.DSN(testnet.UserApp, "app"), testnet.MariaDBPassword, "wrong", 1), 1045},
		{fmt.Sprintf("tcp(%s)/", m.Address()), 1045},
		{fmt.Sprintf("root@tcp(%s)/", m.Address()), 1045},
	} {
		if _, _, err := login(t, tc.dsn); testnet.ServerError(err) != tc.want {
			t.Errorf("%s: %v, want error %d", tc.dsn, err, tc.want)
		}
	}
}

func TestMariaDBStartsAgainOnItsPortWithItsData(t *testing.T) {
	m := testnet.StartMariaDB(t, testnet.MariaDBFlags("--max-connections=17"))
	m.Exec("CREATE TABLE app.t (a INT)", "INSERT INTO app.t VALUES (1)")
	address, first := m.Address(), m.PID()
	for i, end := range []func(){m.Stop, m.Kill, func() { m.Signal(syscall.SIGTERM) }} {
		end()
		if err := m.Start(); err != nil {
			t.Fatal(err)
		}
		if got := m.Query("SELECT a, NULL FROM app.t"); len(got) != 1 || got[0][0] != "1" || got[0][1] != "NULL" {
			t.Errorf("after end %d: %v", i, got)
		}
		if _, _, err := login(t, m.DSN(testnet.UserApp, "app")); err != nil {
			t.Errorf("after end %d: %v", i, err)
		}
	}
	if m.Address() != address || m.PID() == first {
		t.Errorf("address %s, before %s; process %d, before %d", m.Address(), address, m.PID(), first)
	}
	if got := m.Variable("max_connections"); got != "17" {
		t.Errorf("max_connections is %s, want the flag's 17", got)
	}
	m.Stop()
	m.Stop()
	if c, err := net.Dial("tcp", address); err == nil {
		c.Close()
		t.Error("it still accepts after Stop")
	}
}

func TestMariaDBsDoNotShareAnything(t *testing.T) {
	a, b := testnet.StartMariaDB(t), testnet.StartMariaDB(t)
	a.Exec("CREATE TABLE app.t (a INT)")
	if got := b.Query("SHOW TABLES FROM app"); len(got) != 0 {
		t.Errorf("the other server has %v", got)
	}
	if a.Address() == b.Address() || a.Socket() == b.Socket() {
		t.Error("they listen at the same place")
	}
}

// What counts logins at the server, or broken ones, must start from a known
// figure: waiting for the server leaves neither behind.
func TestMariaDBIsWaitedForWithoutBrokenLogins(t *testing.T) {
	m := testnet.StartMariaDB(t)
	for _, name := range []string{"Aborted_connects", "Aborted_clients", "Connection_errors_internal"} {
		if n := m.Status(name); n != 0 {
			t.Errorf("%s is %d", name, n)
		}
	}
	if n := m.Connections(testnet.UserApp); n != 0 {
		t.Errorf("%d connections of a user who has none", n)
	}
	db, err := sql.Open("mysql", m.DSN(testnet.UserApp, ""))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Ping(); err != nil {
		t.Fatal(err)
	}
	if n := m.Connections(testnet.UserApp); n != 1 {
		t.Errorf("%d connections, want one", n)
	}
	db.Close()
	testnet.WaitFor(t, 5*time.Second, "the server sees the end", func() bool { return m.Connections(testnet.UserApp) == 0 })
}

func TestMariaDBWithTLSHasACertificateOfItsAuthority(t *testing.T) {
	m := testnet.StartMariaDB(t, testnet.MariaDBTLS())
	if got := m.Variable("have_ssl"); got != "YES" {
		t.Errorf("have_ssl is %s", got)
	}
	out := runClient(t, m, "--ssl-verify-server-cert", "--ssl-ca="+m.CA(), "-e", "SHOW STATUS LIKE 'Ssl_version'")
	if !strings.Contains(out, "TLSv1.") {
		t.Errorf("the client says %q", out)
	}
}

// runClient runs the mariadb command line as app over TCP.
func runClient(t *testing.T, m *testnet.MariaDB, args ...string) string {
	t.Helper()
	host, port, err := net.SplitHostPort(m.Address())
	if err != nil {
		t.Fatal(err)
	}
	var ns *testnet.Netns
	cmd := ns.Command(testnet.NeedProgram(t, "mariadb"), append([]string{
		"--no-defaults", "-h", host, "-P", port, "-u", testnet.UserApp, "-p" + testnet.MariaDBPassword,
	}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("mariadb: %v\n%s", err, out)
	}
	return string(out)
}

func TestMariaDBMayListenOnALink(t *testing.T) {
	l := testnet.NewLink(t, testnet.LinkOptions{AtoB: testnet.Impairment{Delay: 5 * time.Millisecond}})
	m := testnet.StartMariaDB(t, testnet.MariaDBIn(l.B, l.AddrB))
	if !strings.HasPrefix(m.Address(), l.AddrB.String()+":") {
		t.Errorf("address %s", m.Address())
	}
	c, err := l.A.Dial("tcp", m.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, 5)
	if _, err := c.Read(b); err != nil || b[4] != 10 {
		t.Errorf("greeting %v, %v, want one of protocol 10", b, err)
	}
}

func TestMariaDBLeavesNothingBehind(t *testing.T) {
	var pid int
	var dir string
	t.Run("stopped by a signal", func(t *testing.T) {
		m := testnet.StartMariaDB(t)
		pid, dir = m.PID(), filepath.Dir(m.Socket())
		m.Signal(syscall.SIGSTOP)
	})
	if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
		t.Errorf("process %d is still there: %v", pid, err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", dir, err)
	}
}

// A panic outside the test's goroutine runs no Cleanup, like a SIGKILL. The
// test runs itself as the process that this happens to.
func TestMariaDBDiesWithTheTestProcess(t *testing.T) {
	const child = "WEIR_TEST_OF_MARIADB_DIES"
	if dir := os.Getenv(child); dir != "" {
		m := testnet.StartMariaDB(t)
		if err := os.WriteFile(filepath.Join(dir, "pid"), []byte(strconv.Itoa(m.PID())), 0o600); err != nil {
			t.Fatal(err)
		}
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.timeout=30s")
	// The killed process leaves its files, so they are put where they go.
	cmd.Env = append(os.Environ(), child+"="+dir, "TMPDIR="+dir)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("%v, want a kill\n%s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		t.Fatal(err)
	}
	testnet.WaitFor(t, 5*time.Second, "mariadbd is gone", func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH })
}

func BenchmarkMariaDBAnswers(b *testing.B) {
	m := testnet.StartMariaDB(b)
	for b.Loop() {
		m.Query("SELECT 1")
	}
}
