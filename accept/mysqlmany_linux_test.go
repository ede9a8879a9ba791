package accept

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/internal/testnet"
)

// runSysbench runs a script with 16 threads for n events and returns what it
// printed. None of them may have failed.
func runSysbench(t *testing.T, script, address string, n int) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "script.lua")
	if err := os.WriteFile(file, []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	host, port, _ := strings.Cut(address, ":")
	out := runProgram(t, "sysbench", file, "--threads=16", fmt.Sprintf("--events=%d", n), "--time=0",
		"--mysql-host="+host, "--mysql-port="+port, "--mysql-db=app",
		"--mysql-user="+testnet.UserApp, "--mysql-password="+testnet.MariaDBPassword, "run")
	for re, want := range map[*regexp.Regexp]int{sysbenchEvents: n, sysbenchErrors: 0, sysbenchReconnects: 0} {
		m := re.FindStringSubmatch(out)
		if m == nil {
			t.Fatalf("sysbench printed no line like %v:\n%s", re, out)
		}
		if got, _ := strconv.Atoi(m[1]); got != want {
			t.Errorf("sysbench: %s, want %d", m[0], want)
		}
	}
	return out
}

var (
	sysbenchEvents     = regexp.MustCompile(`total number of events: +(\d+)`)
	sysbenchErrors     = regexp.MustCompile(`ignored errors: +(\d+)`)
	sysbenchReconnects = regexp.MustCompile(`reconnects: +(\d+)`)
)

// runMySQLStorm has weir storm make n connections, 16 at a time. It says COM_QUIT
// and closes without waiting for anything.
func runMySQLStorm(t *testing.T, address string, n int) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, "storm", "-n", strconv.Itoa(n), "-c", "16",
		fmt.Sprintf("mysql://%s@%s/app", testnet.UserApp, address))
	cmd.Env = append(os.Environ(), "WEIR_STORM_PASSWORD="+testnet.MariaDBPassword)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), strconv.Itoa(n)+" ") || !strings.Contains(string(out), " 0 failed\n") {
		t.Errorf("weir storm: %v\n%s", err, out)
	}
	return string(out)
}

// databaseConnections samples how many connections a server has for anybody but
// root, by its own list, until stop is called, which returns the most it saw and
// how often it looked. Those that are logging in count.
//
// It asks with SHOW: MariaDB 10.11 was seen to crash when
// information_schema.processlist was read so often.
func databaseConnections(t *testing.T, m *testnet.MariaDB) (stop func() (most, looked int)) {
	t.Helper()
	var most, looked int
	end := sampled(5*time.Millisecond, func() bool {
		rows, err := testnet.QueryStrings(m.Root(), "SHOW PROCESSLIST")
		if err != nil {
			t.Errorf("ask the server for its connections: %v", err)
			return false
		}
		n := 0
		for _, row := range rows { // Id, User, ...
			if !slices.Contains([]string{"root", "system user", "event_scheduler"}, row[1]) {
				n++
			}
		}
		most = max(most, n)
		looked++
		return true
	})
	return func() (int, int) {
		end()
		return most, looked
	}
}

func TestAcceptShortMySQLConnectionsLeaveNoTimeWaitAndAreFewAtTheServer(t *testing.T) {
	const maxOpen, reserved = 8, 2
	sysbench := func(t *testing.T, address string, n int) string {
		return runSysbench(t, testnet.SysbenchConnects, address, n)
	}
	alone := directMySQLTimeWaits(t, 2000, sysbench)
	for _, c := range []struct {
		name, reset string
		n           int
		run         func(t *testing.T, address string, n int) string
	}{
		{"sysbench, reset always", "always", 20000, sysbench},
		{"sysbench, reset proven", "proven", 5000, sysbench},
		{"storm, reset always", "always", 20000, runMySQLStorm},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := testnet.StartMariaDB(t)
			w := startMySQLWeir(t, m, mysqlOptions{maxOpen: maxOpen, reset: c.reset})
			mysqlReady(t, w)
			m.Exec("FLUSH STATUS") // Max_used_connections begins again
			made, opened := m.Status("Connections"), w.status().opened()
			listener, backend := portOf(t, w.address), portOf(t, m.Address())
			before := timeWaits(t, listener, backend)
			stop := databaseConnections(t, m)
			began := time.Now()
			out := c.run(t, w.address, c.n)
			last := time.Now()
			most, looked := stop()
			settled(t, last)
			left := timeWaits(t, listener, backend).minus(before)
			ever, taken := int(m.Status("Max_used_connections")), int(m.Status("Connections")-made)
			s := w.status()
			opened = s.opened() - opened

			figure(t, "%d short MySQL connections (%s): TIME_WAIT %v; %s", c.n, c.name, left, alone)
			figure(t, "%.0f connections/s; at the server: most %d in %d looks, ever %d with root's, %d new in all; bound %d; clients closed %v",
				float64(c.n)/last.Sub(began).Seconds(), most, looked, ever, taken, maxOpen, s.Listeners[0].Closed)
			fewTimeWaits(t, left, c.n)
			if most > maxOpen || most == 0 {
				t.Errorf("the server had %d connections at one time, max_open is %d", most, maxOpen)
			}
			if ever > maxOpen+reserved+1 { // one is root's
				t.Errorf("the server had up to %d connections, want at most %d, %d reserved and root's", ever, maxOpen, reserved)
			}
			if opened > maxOpen || taken > maxOpen+reserved {
				t.Errorf("weir has opened %d connections for %d clients, and the server has taken %d; max_open is %d", opened, c.n, taken, maxOpen)
			}
			if t.Failed() {
				t.Logf("the client printed:\n%s", out)
			}
		})
	}
}

// directMySQLTimeWaits says how many TIME_WAIT n clients of a server leave, which
// must be one each: else the count is not to be trusted.
func directMySQLTimeWaits(t *testing.T, n int, run func(t *testing.T, address string, n int) string) string {
	t.Helper()
	m := testnet.StartMariaDB(t)
	run(t, m.Address(), n)
	settled(t, time.Now())
	left := timeWaits(t, portOf(t, m.Address()), 0)
	m.Stop()
	if left.sum() < n*9/10 {
		t.Errorf("without weir only %d of %d were counted: the count is not to be trusted", left.sum(), n)
	}
	return fmt.Sprintf("%d of MariaDB alone left %d", n, left.sum())
}

// mysqlReady waits until weir knows the server, so that it can greet clients: it
// logs in to it once. A client that comes before that is refused, and would leave
// a TIME_WAIT among those that are counted.
func mysqlReady(t *testing.T, w *mysqlWeir) {
	t.Helper()
	testnet.WaitFor(t, 20*time.Second, "weir's first login", func() bool { return w.status().opened() > 0 })
}
