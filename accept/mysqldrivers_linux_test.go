package accept

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	// once says that one way to log in is enough: it is about what comes after.
	once bool
}

func mysqlClients(t *testing.T) []mysqlClient {
	node := nodeModules(t, script("node"))
	return []mysqlClient{
		{name: "mariadb", run: program("bash", script("cli.sh")), ed25519: true},
		{name: "mariadb-dump", run: program("bash", script("dump.sh")), once: true},
		{name: "mysqli", run: program("php", "-d", "mysqli.allow_local_infile=1", script("mysqli.php"))},
		{name: "pdo", run: program("php", script("pdo.php"))},
		// Not the python that stands first on the path: Debian's has Debian's packages.
		{name: "pymysql", run: program("/usr/bin/python3", script("with_pymysql.py"))},
		{name: "node-mysql2", run: program("node", filepath.Join(node, "mysql2.js"))},
		{name: "node-mariadb", run: program("node", filepath.Join(node, "mariadb.js")), ed25519: true},
		// Without ed25519: one in a few hundred of its direct logins fails, as it
		// cuts a zero off the end of the server's nonce.
		{name: "go-sql-driver", run: runGoDriver},
	}
}

// nodeModules makes a directory that has the files of from and, beside them, the
// modules that package-lock.json there names. They come from npm's cache where it
// has them, else from where npm is configured to fetch.
func nodeModules(t *testing.T, from string) string {
	t.Helper()
	testnet.NeedProgram(t, "node")
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), mostScenario)
	defer cancel()
	cmd := exec.CommandContext(ctx, testnet.NeedProgram(t, "npm"), "ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund")
	cmd.Dir = dir
	cmd.WaitDelay = 5 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v: what accept/%s names comes from npm's cache, or, the first time, from its registry: see that npm reaches it (npm config get registry)\n%s",
			err, filepath.Join(from, "package-lock.json"), out)
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
func scenario(t *testing.T, m *testnet.MariaDB, d mysqlClient, direct, via target) {
	t.Helper()
	want, got := transcript(t, m, d, direct), transcript(t, m, d, via)
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
	if t.Failed() {
		t.Logf("direct:\n%s", want)
	}
}

// difference shows the first lines in which each step of two transcripts differs.
func difference(a, b string) string {
	if a == b {
		return ""
	}
	as, bs := strings.SplitAfter(a, "\n== "), strings.SplitAfter(b, "\n== ")
	var out strings.Builder
	for i := range max(len(as), len(bs)) {
		var x, y []string
		if i < len(as) {
			x = strings.Split(as[i], "\n")
		}
		if i < len(bs) {
			y = strings.Split(bs[i], "\n")
		}
		for j := range max(len(x), len(y)) {
			if j >= len(x) || j >= len(y) || x[j] != y[j] {
				fmt.Fprintf(&out, "step %s\n- %s\n+ %s\n", slices.Concat(x, y)[0],
					strings.Join(x[min(j, len(x)):min(j+4, len(x))], "\n- "), strings.Join(y[min(j, len(y)):min(j+4, len(y))], "\n+ "))
				break
			}
		}
	}
	return out.String()
}

// tail is the last n lines of s.
func tail(s string, n int) string {
	lines := strings.Split(s, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// The same user and password direct and through weir; how they are proved may
// differ: weir has a plugin of its own toward clients, and TLS of its own.
func TestAcceptDriversSeeTheSameThroughWeirAsDirect(t *testing.T) {
	m := testnet.StartMariaDB(t, testnet.MariaDBTLS(), testnet.MariaDBFlags("--interactive-timeout=1234"))
	m.Exec("GRANT ALL ON `drv\\_%`.* TO app@'%', apped@'%'")
	clients := mysqlClients(t)
	variants := []struct {
		name, user string
		weir       mysqlOptions
		only       func(mysqlClient) bool
	}{
		{"native", testnet.UserApp, mysqlOptions{reset: "always", auth: "native"}, func(mysqlClient) bool { return true }},
		{"sha2 with TLS", testnet.UserApp, mysqlOptions{reset: "proven", auth: "sha2", tls: true}, func(d mysqlClient) bool { return !d.once }},
		{"ed25519", testnet.UserEd25519, mysqlOptions{reset: "always", auth: "native"}, func(d mysqlClient) bool { return d.ed25519 }},
	}
	if len(buildTags) > 0 {
		variants = variants[:2] // how weir logs in has nothing to do with the path to its clients
	}
	for i, v := range variants {
		direct := target{address: m.Address(), user: v.user, password: testnet.MariaDBPassword}
		if v.weir.tls {
			direct.ca = m.CA()
		}
		v.weir.maxOpen = 30 // the clients of all scenarios at once have fewer
		w := startMySQLWeir(t, m, v.weir)
		via := direct
		via.address, via.ca = w.address, w.ca
		for _, d := range clients {
			if !v.only(d) {
				continue
			}
			t.Run(v.name+"/"+d.name, func(t *testing.T) {
				t.Parallel()
				direct, via := direct, via
				direct.database = fmt.Sprintf("drv_%d_%s", i, strings.ReplaceAll(d.name, "-", "_"))
				via.database = direct.database
				scenario(t, m, d, direct, via)
			})
		}
	}
}
