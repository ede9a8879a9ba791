package accept

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/internal/testnet"
)

// mysqlClient is a client of MySQL that runs its scenario and prints what it saw.
type mysqlClient struct {
	name string
	run  func(t *testing.T, at target, out io.Writer) error

	// ed25519 says that it can log in with that plugin where it is asked to.
	ed25519 bool
}

func mysqlClients(t *testing.T) []mysqlClient {
	node := nodeModules(t)
	return []mysqlClient{
		{name: "mariadb", run: program("bash", script("cli.sh")), ed25519: true},
		{name: "mariadb-dump", run: program("bash", script("dump.sh")), ed25519: true},
		{name: "mysqli", run: program("php", "-d", "mysqli.allow_local_infile=1", script("mysqli.php"))},
		{name: "pdo", run: program("php", script("pdo.php"))},
		// Not the python that stands first on the path: Debian's has Debian's packages.
		{name: "pymysql", run: program("/usr/bin/python3", script("with_pymysql.py"))},
		{name: "node-mysql2", run: program("node", filepath.Join(node, "mysql2.js"))},
		{name: "node-mariadb", run: program("node", filepath.Join(node, "mariadb.js")), ed25519: true},
		{name: "go-sql-driver", run: runGoDriver, ed25519: true},
	}
}

// nodeModules makes a directory that has node's scripts and, beside them, the
// modules that package-lock.json names. They come from npm's cache where it has
// them, else from where npm is configured to fetch.
func nodeModules(t *testing.T) string {
	t.Helper()
	testnet.NeedProgram(t, "node")
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(script("node"))); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), mostScenario)
	defer cancel()
	cmd := exec.CommandContext(ctx, testnet.NeedProgram(t, "npm"), "ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund")
	cmd.Dir = dir
	cmd.WaitDelay = 5 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	return dir
}

func script(name string) string { return filepath.Join("testdata", "mysql", name) }

// mostScenario bounds one run of a client. It takes about a second.
const mostScenario = 2 * time.Minute

// program is a client that is a program of its own.
func program(name string, args ...string) func(*testing.T, target, io.Writer) error {
	return func(t *testing.T, at target, out io.Writer) error {
		ctx, cancel := context.WithTimeout(t.Context(), mostScenario)
		defer cancel()
		cmd := exec.CommandContext(ctx, testnet.NeedProgram(t, name), append(args, at.args()...)...)
		// Its children too: a shell's clients are not left to wait for ever.
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		cmd.WaitDelay = 5 * time.Second
		var stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = out, &stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w\n%s", cmd, err, stderr.Bytes())
		}
		if stderr.Len() > 0 {
			fmt.Fprintf(out, "== stderr\n%s", stderr.Bytes())
		}
		return nil
	}
}

// transcript is what a driver prints in a database that was empty.
func transcript(t *testing.T, m *testnet.MariaDB, d mysqlClient, at target) string {
	t.Helper()
	mysqlDatabase(m, at.database)
	var out bytes.Buffer
	if err := d.run(t, at, &out); err != nil {
		t.Errorf("%v\nafter:\n%s", err, tail(out.String(), 20))
	}
	return out.String()
}

// scenario runs a driver direct and through via, and compares what it prints.
func scenario(t *testing.T, m, behind *testnet.MariaDB, d mysqlClient, direct, via target) {
	t.Helper()
	want, got := transcript(t, m, d, direct), transcript(t, behind, d, via)
	if n := strings.Count(want, "\n== "); n < 5 {
		t.Errorf("the transcript has %d steps only:\n%s", n, tail(want, 20))
	}
	if _, line, found := strings.Cut(want, "\nunexpected: "); found {
		line, _, _ = strings.Cut(line, "\n")
		t.Errorf("direct, a step failed: %s", line)
	}
	if d := difference(want, got); d != "" {
		t.Errorf("direct (-) and through weir (+) differ:\n%s", d)
	}
	if t.Failed() || testing.Verbose() {
		t.Logf("direct:\n%s", want)
	}
}

// difference shows the first lines in which two transcripts differ, below the
// step that they are in.
func difference(a, b string) string {
	if a == b {
		return ""
	}
	as, bs := strings.Split(a, "\n"), strings.Split(b, "\n")
	var step string
	for i := range max(len(as), len(bs)) {
		if i >= len(as) || i >= len(bs) || as[i] != bs[i] {
			return fmt.Sprintf("%s\n- %s\n+ %s", step,
				strings.Join(as[min(i, len(as)):min(i+5, len(as))], "\n- "),
				strings.Join(bs[min(i, len(bs)):min(i+5, len(bs))], "\n+ "))
		}
		if strings.HasPrefix(as[i], "== ") {
			step = as[i]
		}
	}
	return ""
}

// tail is the last n lines of s.
func tail(s string, n int) string {
	lines := strings.Split(s, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func TestAcceptDriversSeeTheSameThroughWeirAsDirect(t *testing.T) {
	m := testnet.StartMariaDB(t, testnet.MariaDBFlags("--interactive-timeout=1234"))
	m.Exec("GRANT ALL ON `drv\\_%`.* TO app@'%', apped@'%'")
	for _, d := range mysqlClients(t) {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			at := target{address: m.Address(), user: testnet.UserApp, password: testnet.MariaDBPassword, database: "drv_" + strings.ReplaceAll(d.name, "-", "_")}
			scenario(t, m, m, d, at, at)
		})
	}
}
