package accept

import (
	"context"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"weir/internal/testnet"
)

// runMySQLProgram runs a program of MariaDB's against an address.
func runMySQLProgram(t *testing.T, address, name string, args ...string) string {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, append([]string{"--no-defaults", "--host=" + host, "--port=" + port, "--protocol=tcp",
		"--user=" + testnet.UserAll, "--ssl=0"}, args...)...)
	cmd.Env = append(os.Environ(), "MYSQL_PWD="+testnet.MariaDBPassword)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

func TestAcceptMariaDBsLoadProgramIsServed(t *testing.T) {
	m := testnet.StartMariaDB(t)
	w := startMySQLWeir(t, m, mysqlOptions{maxOpen: 8, reset: "always"})
	out := runMySQLProgram(t, w.address, "mariadb-slap", "--create-schema=slap", "--auto-generate-sql", "--auto-generate-sql-load-type=mixed",
		"--concurrency=8", "--iterations=2", "--number-of-queries=2000", "--detach=10")
	if !strings.Contains(out, "Average number of seconds to run all queries") {
		t.Errorf("got %q", out)
	}
	if n := m.Status("Max_used_connections"); n > 8+2+1 { // root's, and those that are reserved
		t.Errorf("%d connections at the server, max_open is 8", n)
	}
	figure(t, "mariadb-slap, 8 clients that reconnect after 10 queries of 4,000: no error")
}

// The binary log is an answer without end: here it is read to the end there is.
func TestAcceptTheBinaryLogComesThroughAsItIs(t *testing.T) {
	m := testnet.StartMariaDB(t, testnet.MariaDBFlags("--log-bin=bin", "--server-id=1", "--binlog-format=row"))
	w := startMySQLWeir(t, m, mysqlOptions{maxOpen: 2, reset: "always"})
	m.Exec("CREATE TABLE app.events (a INT)", "INSERT INTO app.events VALUES (1), (2), (3)")
	first := m.Query("SHOW BINARY LOGS")[0][0]
	read := func(address string) string {
		return runMySQLProgram(t, address, "mariadb-binlog", "--read-from-remote-server", "--base64-output=decode-rows", "--verbose", first)
	}
	direct := read(m.Address())
	if !strings.Contains(direct, "INSERT INTO `app`.`events`") {
		t.Fatalf("the log has not what was written:\n%s", direct)
	}
	for range 3 { // each on a connection that is not used again
		if through := read(w.address); through != direct {
			t.Errorf("through weir:\n%s\ndirect:\n%s", through, direct)
		}
	}
	if err := once(w.address, "DO 1"); err != nil {
		t.Errorf("an ordinary client afterwards: %v", err)
	}
}
