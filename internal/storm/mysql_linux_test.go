package storm

import (
	"fmt"
	"strconv"
	"testing"

	"weir/internal/testnet"
	"weir/tcpstat"
)

func urlOf(db *testnet.MariaDB, user string) string {
	return fmt.Sprintf("mysql://%s:%s@%s/app", user, testnet.MariaDBPassword, db.Address())
}

// status is a counter of the server's, asked over the one connection that root keeps.
func status(t *testing.T, db *testnet.MariaDB, name string) int {
	t.Helper()
	n, err := strconv.Atoi(db.Query("SHOW GLOBAL STATUS LIKE '" + name + "'")[0][1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAMySQLStormMakesAsManyQueriesAndLoginsAsAsked(t *testing.T) {
	db := testnet.StartMariaDB(t)
	db.Exec("CREATE TABLE app.t (n INT AUTO_INCREMENT PRIMARY KEY)")
	for _, m := range Modes() {
		before := status(t, db, "Connections")
		db.Exec("DELETE FROM app.t")
		o := options(urlOf(db, testnet.UserApp))
		o.Mode, o.Query = m, "INSERT INTO t VALUES ()"
		r, err := Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		want := map[Mode]int{ClientCloses: 300, ServerCloses: 300, Keepalive: 8}[m]
		rows := db.Query("SELECT COUNT(*) FROM app.t")[0][0]
		if r.Requests != 300 || rows != "300" || r.Failed() != 0 || r.Latency.Count() != 300 || r.Unit != "queries" || r.Target != db.Address() {
			t.Errorf("%s: %d %s, %s rows, %v", m, r.Requests, r.Unit, rows, r.Errors)
		}
		if n := status(t, db, "Connections") - before; n != want {
			t.Errorf("%s: %d logins, want %d", m, n, want)
		}
		// Whoever is faster after COM_QUIT has it; with its port kept no other connection has.
		if n := r.After.Client[tcpstat.TimeWait] + r.After.Server[tcpstat.TimeWait]; m != Keepalive && n < 250 {
			t.Errorf("%s: %d TIME-WAIT after 300 connections", m, n)
		}
	}
	if n := status(t, db, "Aborted_clients"); n != 0 {
		t.Errorf("%d connections were not ended by COM_QUIT", n)
	}
}

func TestAMySQLStormGoesOverAUnixSocket(t *testing.T) {
	db := testnet.StartMariaDB(t)
	for _, url := range []string{"mysql://app@unix(" + db.Socket() + ")/app", "mysql://app@/app?socket=" + db.Socket()} {
		o := options(url)
		o.Password = testnet.MariaDBPassword
		r, err := Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if r.Requests != 300 || r.TCP || r.Target != db.Socket() || r.After != (Ends{}) {
			t.Errorf("%s: %d answered, %v", url, r.Requests, r.Errors)
		}
	}
}

func TestAMySQLStormCanBeEncrypted(t *testing.T) {
	db := testnet.StartMariaDB(t, testnet.MariaDBTLS())
	db.Exec("ALTER USER app@'%' REQUIRE SSL")
	const unknown = "x509: certificate signed by unknown authority"
	for _, m := range Modes() {
		for value, kind := range map[string]string{
			"true": unknown, "skip-verify": "", "preferred": "", "false": "1045 Access denied for user 'app'@'127.0.0.1' (using password: YES)",
		} {
			o := options(urlOf(db, testnet.UserApp) + "?tls=" + value)
			o.Requests, o.Mode = 40, m
			r, err := Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if want := map[bool]int{true: 0, false: 40}[kind == ""]; r.Errors[kind] != want || r.Failed() != want {
				t.Errorf("%s, tls=%s: %d answered, %v", m, value, r.Requests, r.Errors)
			}
		}
	}
	if n := status(t, db, "Aborted_clients"); n != 0 {
		t.Errorf("%d connections were not ended by COM_QUIT", n)
	}
}

func TestARealServersRefusalsAreCountedByNumber(t *testing.T) {
	db := testnet.StartMariaDB(t, testnet.MariaDBFlags("--max-connections=10"))
	for kind, change := range map[string]func(*Options){
		"1045 Access denied for user 'app'@'127.0.0.1' (using password: NO)": func(o *Options) { o.URL = "mysql://app@" + db.Address() },
		"1049 Unknown database 'nope'":                                       func(o *Options) { o.URL = "mysql://appall:" + testnet.MariaDBPassword + "@" + db.Address() + "/nope" },
		"1146 Table 'app.nope' doesn't exist":                                func(o *Options) { o.Query = "SELECT * FROM nope" },
	} {
		o := options(urlOf(db, testnet.UserApp))
		o.Requests, o.Concurrency, o.Password = 40, 2, ""
		change(&o)
		r, err := Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if r.Errors[kind] != 40 {
			t.Errorf("%s: %v", kind, r.Errors)
		}
	}
	// The URL's password is the one that counts.
	o := options(urlOf(db, testnet.UserApp))
	o.Requests, o.Concurrency, o.Password = 40, 2, "wrong" // few, as the server is full for a moment after each quits
	if r, err := Run(t.Context(), o); err != nil || r.Requests != 40 {
		t.Errorf("%v, %v", r, err)
	}
	o.Query, o.Requests, o.Concurrency = "DO SLEEP(0.1)", 60, 60
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if n := r.Errors["1040 Too many connections"]; n < 1 || r.Failed() != n || r.Requests < 1 {
		t.Errorf("%d answered, %v", r.Requests, r.Errors)
	}
}
