package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/configs"
	"weir/internal/oplog"
	"weir/internal/testnet"
	"weir/proxy/mysql"
	"weir/proxy/mysql/wire"
)

// output is what a daemon writes to a standard stream.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// testDaemon is a daemon without signals and without admin pages.
type testDaemon struct {
	*daemon
	t      *testing.T
	dir    string
	stderr *output
}

func newTestDaemon(t *testing.T) *testDaemon {
	t.Helper()
	dir := t.TempDir()
	out := &output{}
	d := &daemon{path: filepath.Join(dir, "weir.yaml"), level: new(slog.LevelVar), started: time.Now()}
	if err := os.WriteFile(d.path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d.stdout, d.stderr = newStreams(&output{}, out)
	d.log = oplog.New(d.stderr, d.level, false)
	d.graph = newTestGraph(t)
	d.graph.log = d.log.Logger
	d.makeLines()
	t.Cleanup(func() {
		d.closeLines()
		d.log.Close()
	})
	return &testDaemon{d, t, dir, out}
}

// logs is a configuration with a MySQL backend that nobody is at, and these logs;
// names without a slash are files of the test's directory.
func (d *testDaemon) logs(access, slow string) *configs.Config {
	d.t.Helper()
	return configOf(d.t, fmt.Sprintf(`
listeners: [{name: db, protocol: mysql, address: "127.0.0.1:0", backend: orders, max_clients: 100}]
backends: [{name: orders, endpoints: ["127.0.0.1:1"], users: [{name: app, no_password: true}]}]
log: {access: %q, slow_query: %q}
`, d.file(access), d.file(slow)))
}

func (d *testDaemon) file(name string) string {
	switch name {
	case configs.AccessNone, configs.AccessStderr, configs.AccessStdout:
		return name
	}
	return filepath.Join(d.dir, name)
}

func (d *testDaemon) mustApply(access, slow string) {
	d.t.Helper()
	if err := d.apply(d.logs(access, slow)); err != nil {
		d.t.Fatal(err)
	}
}

// say writes a line to both logs.
func (d *testDaemon) say(what string) {
	for i, l := range d.lines {
		l.log.Write(fmt.Appendf(nil, "%s %d\n", what, i))
	}
}

// want waits until a file of the test's directory has just this.
func (d *testDaemon) want(name, text string) {
	d.t.Helper()
	got := ""
	if !testnet.Poll(10*time.Second, func() bool {
		b, _ := os.ReadFile(d.file(name))
		got = string(b)
		return got == text
	}) {
		d.t.Errorf("%s has %q, want %q", name, got, text)
	}
}

func (d *testDaemon) rename(from, to string) {
	d.t.Helper()
	if err := os.Rename(d.file(from), d.file(to)); err != nil {
		d.t.Fatal(err)
	}
}

func TestBothLogsAreOpenedReopenedReloadedAndClosedAlike(t *testing.T) {
	d := newTestDaemon(t)
	d.mustApply("none", "none")
	d.say("off")
	d.mustApply("a", "s")
	d.say("1")
	d.want("a", "1 0\n")
	d.want("s", "1 1\n")

	d.rename("a", "a.1")
	d.rename("s", "s.1")
	d.say("2")
	d.want("a.1", "1 0\n2 0\n")
	d.want("s.1", "1 1\n2 1\n")
	d.reopen()
	d.say("3")
	d.want("a", "3 0\n")
	d.want("s", "3 1\n")
	if text := d.stderr.text(); strings.Count(text, "was opened anew") != 2 || !strings.Contains(text, "slow-query log was opened anew") {
		t.Errorf("the log has %q", text)
	}

	d.rename("a", "a.2") // a reload opens anew what has kept its name
	d.rename("s", "s.2")
	d.mustApply("a", "s")
	d.say("4")
	d.want("a", "4 0\n")
	d.want("s", "4 1\n")

	d.mustApply("s", "a") // each goes where the other one was
	d.say("5")
	d.want("a", "4 0\n5 1\n")
	d.want("s", "4 1\n5 0\n")

	d.mustApply("none", "s.3")
	d.say("6")
	d.closeLines()
	d.want("s.3", "6 1\n")
	d.want("s", "4 1\n5 0\n")
	for _, l := range d.lines {
		if st := l.log.Stats(); st.Dropped != 0 {
			t.Errorf("%s: %d lines were dropped", l.name, st.Dropped)
		}
	}
}

func TestTheTwoLogsAreNeverOneFile(t *testing.T) {
	d := newTestDaemon(t)
	refused := func(access, slow string) {
		t.Helper()
		err := d.apply(d.logs(access, slow))
		if err == nil || !strings.Contains(err.Error(), "log.slow_query: "+d.file(slow)+": is where log.access goes; name another file") {
			t.Errorf("%s and %s: %v", access, slow, err)
		}
	}
	for _, link := range []string{"link", "ahead"} {
		if err := os.Symlink(d.file("a"), d.file(link)); err != nil {
			t.Fatal(err)
		}
	}
	refused("a", "ahead") // neither was there before
	d.mustApply("a", "s")
	refused("a", "link")
	refused("link", "a")
	if err := os.Link(d.file("a"), d.file("hard")); err != nil {
		t.Fatal(err)
	}
	refused("a", "hard")
	d.say("1") // what was refused has changed nothing
	d.want("a", "1 0\n")
	d.want("s", "1 1\n")

	// It is made one file under weir: then the old one stays.
	if err := os.Remove(d.file("s")); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(d.file("a"), d.file("s")); err != nil {
		t.Fatal(err)
	}
	d.reopen()
	d.say("2")
	d.want("a", "1 0\n2 0\n")
	if text := d.stderr.text(); !strings.Contains(text, "slow-query log was not opened anew; the old file stays open") {
		t.Errorf("the log has %q", text)
	}

	for _, both := range []string{"stderr", "stdout"} {
		d.mustApply(both, both)
	}
	d.say("3")
}

func TestARefusedSlowQueryLogLeavesTheAccessLogAsItWas(t *testing.T) {
	d := newTestDaemon(t)
	for _, first := range []string{"none", "a"} {
		d.mustApply(first, "none")
		err := d.apply(d.logs("b", "nowhere/s"))
		if err == nil || !strings.Contains(err.Error(), "log.slow_query: ") || !strings.Contains(err.Error(), "the directory "+d.file("nowhere")+" must be there") {
			t.Errorf("got %v", err)
		}
		d.say("after " + first)
	}
	d.want("a", "after a 0\n")
	d.want("b", "")
	// What the graph refuses undoes both.
	cfg := d.logs("b", "s")
	cfg.Listeners[0].MaxClients = 1 << 40
	if err := d.apply(cfg); err == nil || !strings.Contains(err.Error(), "descriptors") {
		t.Errorf("got %v", err)
	}
	d.say("last")
	d.want("a", "after a 0\nlast 0\n")
	d.want("s", "")
}

func TestOneLogThatStandsDoesNotCostTheOtherItsEnd(t *testing.T) {
	d := newTestDaemon(t)
	stands := &pipe{shut: make(chan struct{})}
	d.daemon.stderr = newStream(stands)
	d.mustApply("stderr", "s")
	d.say("1")
	testnet.WaitFor(t, 10*time.Second, "for the write that stands", func() bool { return len(d.daemon.stderr.turn) == 0 })
	d.say("2")
	began := time.Now()
	d.closeLines()
	if took := time.Since(began); took > 2*linesPatience {
		t.Errorf("the end took %v, each log has %v", took, linesPatience)
	}
	d.want("s", "1 1\n2 1\n")
	text := d.stderr.text()
	if !strings.Contains(text, "stopped without the end of the access log") || strings.Contains(text, "the end of the slow-query log") {
		t.Errorf("the log has %q", text)
	}
	stands.open()
}

func TestASlowStatementIsALineWithoutItsLiterals(t *testing.T) {
	d := newTestDaemon(t)
	d.mustApply("none", "s")
	write := slowLines("db", d.graph.slow)
	at := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	long := "SELECT a FROM t WHERE " + strings.Repeat("b = 'swordfish' OR ", 1000) + "1"
	for _, sql := range []string{"SELECT a FROM t WHERE pw = 'swordfish' AND n = 4711", "select a from T where PW = \"swordfish\" and n = 4712", "", long} {
		write(&mysql.Slow{At: at, Took: 1500 * time.Millisecond, User: "app", Database: "shop", Backend: "orders", Command: wire.ComQuery, SQL: []byte(sql), Code: 1205})
	}
	d.closeLines()
	b, err := os.ReadFile(d.file("s"))
	if err != nil {
		t.Fatal(err)
	}
	type line struct {
		Time, Listener, Client, User, Database, Backend, Command, Digest, Hash string
		Duration                                                               float64
		Code                                                                   int
	}
	var lines []line
	for text := range strings.Lines(string(b)) {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l)
	}
	if len(lines) != 4 || bytes.Contains(b, []byte("swordfish")) || bytes.Contains(b, []byte("471")) {
		t.Fatalf("%d lines, want 4 without a literal:\n%s", len(lines), b)
	}
	want := line{"2026-11-22T09:00:00.000000Z", "db", "", "app", "shop", "orders", "COM_QUERY", "SELECT a FROM t WHERE pw = ? AND n = ?", lines[0].Hash, 1.5, 1205}
	if lines[0] != want || len(want.Hash) != 16 {
		t.Errorf("got  %+v\nwant %+v", lines[0], want)
	}
	if lines[1].Hash != want.Hash || lines[3].Hash == want.Hash {
		t.Errorf("hashes: %s and %s of statements that differ in values alone, %s of another", want.Hash, lines[1].Hash, lines[3].Hash)
	}
	if lines[2].Digest != "" || lines[2].Hash != "" {
		t.Errorf("of a command without text: %+v", lines[2])
	}
	if n := len(lines[3].Digest); n > mostDigest || n < mostDigest/2 || !strings.HasSuffix(lines[3].Digest, "...") {
		t.Errorf("a long statement's digest has %d bytes and ends in %.20q", n, lines[3].Digest[max(0, n-20):])
	}
}

func TestASlowStatementCostsNothingWhileTheLogIsOff(t *testing.T) {
	d := newTestDaemon(t)
	d.mustApply("none", "none")
	write := slowLines("db", d.graph.slow)
	q := &mysql.Slow{SQL: []byte("SELECT 1"), Command: wire.ComQuery}
	if n := testing.AllocsPerRun(100, func() { write(q) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if st := d.graph.slow.Stats(); st.Written != 0 || st.Dropped != 0 {
		t.Errorf("counted: %+v", st)
	}
}

// A graph without a daemon, as in the demonstration, has neither log.
func TestWithoutALogNoSessionIsAskedForSlowStatements(t *testing.T) {
	g := newTestGraph(t)
	cfg := configOf(t, `
listeners: [{name: db, protocol: mysql, address: "127.0.0.1:0", backend: orders, max_clients: 100}]
backends: [{name: orders, endpoints: ["127.0.0.1:1"], users: [{name: app, no_password: true}]}]
`)
	if err := g.apply(cfg); err != nil {
		t.Fatal(err)
	}
	set, err := g.mysqlSettings(&cfg.Listeners[0], &cfg.Backends[0], g.backends["orders"], newGates(nil))
	if err != nil || set.Backend.OnSlow != nil || set.Backend.Slow != 0 {
		t.Errorf("%v, asked for those over %v", err, set.Backend.Slow)
	}
}
