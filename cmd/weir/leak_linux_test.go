package main

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"weir/internal/testnet"
)

// What overwrites a statement while it is answered must not be taken for it.
func TestAFileThatAClientSendsIsNotInTheSlowQueryLog(t *testing.T) {
	d := databaseDaemon(t, testnet.StartMariaDB(t), "mysql: {slow: 100ms}")
	c := d.client("db")
	text := strings.Repeat(hiddenRow+" "+hiddenRow+"\n", 3)
	driver.RegisterReaderHandler("rows", func() io.Reader { return strings.NewReader(text) })
	execute(t, c, "CREATE TABLE app.t (a TEXT, b INT)")
	if err := execute(t, c, "LOAD DATA LOCAL INFILE 'Reader::rows' INTO TABLE app.t (a) SET b = SLEEP(0.2)"); err != nil {
		t.Fatal(err)
	}
	testnet.WaitFor(t, 10*time.Second, "for a line", func() bool { return d.status().SlowQueryLog.Written > 0 })
	b, err := os.ReadFile(d.file("slow.log"))
	if err != nil || strings.Contains(string(b), hiddenRow) {
		t.Errorf("%s, %v", b, err)
	}
	t.Logf("%s", b)
}

const hiddenRow = "row_of_a_file"

func TestNoDigestIsMadeOfTextThatCannotBeRead(t *testing.T) {
	d := databaseDaemon(t, testnet.StartMariaDB(t), "mysql: {slow: 100ms}")
	for _, set := range []string{"", "SET NAMES gbk"} {
		c := d.client("db")
		if set != "" {
			execute(t, c, set)
		}
		// In gbk \x81\x60 is one letter of a name; read as ASCII a name in quotes begins.
		execute(t, c, "SELECT SLEEP(0.2) AS \x81\x60, 'hidden_in_gbk' AS \x81\x60")
	}
	testnet.WaitFor(t, 10*time.Second, "for a line", func() bool { return d.status().SlowQueryLog.Written > 0 })
	b, err := os.ReadFile(d.file("slow.log"))
	t.Logf("%s", b)
	if err != nil || strings.Contains(string(b), "hidden_in_gbk") {
		t.Errorf("%s, %v", b, err)
	}
}
