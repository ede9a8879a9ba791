package demo

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/internal/storm"
	"weir/internal/testnet"
)

// relay is in place of a weir: one login at the database for each client's, and
// TIME-WAIT as before.
func relay(b Backend) (*Weir, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				to, err := net.Dial("tcp4", b.Address.String())
				if err != nil {
					return
				}
				wg.Go(func() { io.Copy(to, c); to.Close() })
				io.Copy(c, to)
			})
		}
	})
	return &Weir{Address: l.Addr().String(), Stop: func() { l.Close(); wg.Wait() }}, nil
}

// ownTemp gives the test a directory for temporary files, and wants all that was
// started and stored there to be gone at the test's end.
func ownTemp(t *testing.T) (running func() (pid string)) {
	t.Helper()
	testnet.NeedProgram(t, "mariadbd")
	dir, err := os.MkdirTemp("/tmp", "weir-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", dir)
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil { // empty, or it fails
			t.Error(err)
			os.RemoveAll(dir)
		}
	})
	return func() string {
		found, _ := filepath.Glob(dir + "/weir-demo-*/pid")
		if len(found) != 1 {
			return ""
		}
		b, _ := os.ReadFile(found[0])
		return strings.TrimSpace(string(b))
	}
}

// alive says whether there is a process of that number.
func alive(pid string) bool {
	_, err := os.Stat("/proc/" + pid)
	return pid != "" && err == nil
}

func TestADemonstrationWithADatabaseCountsItsLogins(t *testing.T) {
	running := ownTemp(t)
	pid := ""
	var b strings.Builder
	err := Run(t.Context(), Options{MySQL: true, Requests: 200, Concurrency: 4, Out: &b, Start: func(backend Backend) (*Weir, error) {
		if pid = running(); !alive(pid) {
			t.Errorf("no database is running: %q", pid)
		}
		return relay(backend)
	}})
	if !errors.Is(err, errTimeWait) {
		t.Errorf("a relay that leaves TIME-WAIT: %v", err)
	}
	for _, line := range []string{
		`queries answered +200 +200`, `errors +0 +0`, `logins at the database +200 +200`, `connections it counts as aborted +0 +0`,
		`its processor time +[0-9.]+ s +[0-9.]+ s`, `  at weir, towards the database +- +[0-9]+`,
	} {
		if !regexp.MustCompile(`(?m)^  ` + line + `$`).MatchString(b.String()) {
			t.Errorf("no line %q in\n%s", line, b.String())
		}
	}
	if alive(pid) {
		t.Errorf("the database, process %s, is left", pid)
	}
}

func TestADatabaseIsStoppedWhereTheDemonstrationFails(t *testing.T) {
	running := ownTemp(t)
	pid, failure := "", errors.New("no weir today")
	err := Run(t.Context(), Options{MySQL: true, Requests: 10, Concurrency: 1, Out: io.Discard, Start: func(Backend) (*Weir, error) {
		pid = running()
		return nil, failure
	}})
	if !errors.Is(err, failure) || pid == "" || alive(pid) {
		t.Errorf("%v; process %q", err, pid)
	}
}

func TestAnInterruptionStopsADatabaseInEachPartOfItsStart(t *testing.T) {
	ownTemp(t)
	for _, part := range []string{"weir-demo-*/init.sql", "weir-demo-*/pid"} { // before the data is there, and after
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			defer cancel()
			if !testnet.Poll(20*time.Second, func() bool {
				found, _ := filepath.Glob(filepath.Join(os.TempDir(), part))
				return len(found) == 1
			}) {
				t.Errorf("no %s", part)
			}
		})
		err := Run(ctx, Options{MySQL: true, Requests: 1_000_000, Concurrency: 2, Out: io.Discard, Start: relay})
		wg.Wait()
		if left, _ := os.ReadDir(os.TempDir()); !errors.Is(err, ErrInterrupted) || len(left) != 0 {
			t.Errorf("%s: %v, %v left", part, err, left)
		}
	}
}

func TestNobodyElseLogsInToTheDatabase(t *testing.T) {
	ownTemp(t)
	m, err := startMariaDB(t.Context(), 8)
	if err != nil {
		t.Fatal(err)
	}
	defer m.stop()
	if !m.straight.Addr().IsLoopback() || m.straight.Addr() != m.after.Addr() || m.straight == m.after || len(m.password) != 32 {
		t.Errorf("%v, %v, a password of %d bytes", m.straight, m.after, len(m.password))
	}
	for _, place := range []string{m.straight.String(), m.after.String(), "unix(" + m.socket + ")"} {
		for _, login := range []struct {
			user, password string
			answered       int
		}{
			{demoUser, m.password, 1}, {demoUser, "", 0}, {demoUser, "wrong", 0},
			{"root", "", 0}, {"root", m.password, 0}, {"mysql", "", 0}, {"nobody", "", 0},
		} {
			r, err := storm.Run(t.Context(), storm.Options{
				URL: "mysql://" + login.user + "@" + place, Password: login.password,
				Requests: 1, Concurrency: 1, Mode: storm.ClientCloses, Timeout: 10 * time.Second, Limit: 20 * time.Second,
			})
			if err != nil || r.Requests != login.answered || r.Errors[storm.NoPort] != 0 {
				t.Errorf("%s at %s: %d answered, %v, %v", login.user, place, r.Requests, r.Errors, err)
			}
			for kind := range r.Errors {
				if !strings.HasPrefix(kind, "1045 ") && !strings.HasPrefix(kind, "1698 ") {
					t.Errorf("%s at %s: %s", login.user, place, kind)
				}
			}
		}
	}
}

func TestADatabaseWhosePortWasTakenIsToldFromOneThatFails(t *testing.T) {
	ownTemp(t)
	m, err := startMariaDB(t.Context(), 8)
	if err != nil {
		t.Fatal(err)
	}
	defer m.stop()
	free, _, err := freePorts()
	if err != nil {
		t.Fatal(err)
	}
	install, program := testnet.NeedProgram(t, "mariadb-install-db"), testnet.NeedProgram(t, "mariadbd")
	for _, ports := range [][2]netip.AddrPort{{m.straight, free}, {free, m.after}} {
		other := &mariadb{dir: t.TempDir(), straight: ports[0], after: ports[1]}
		other.socket = other.path("sock")
		if err := other.install(t.Context(), install); err != nil {
			t.Fatal(err)
		}
		if err := other.start(t.Context(), program, 8); !errors.Is(err, errTaken) {
			t.Errorf("%v: %v", ports, err)
		}
		other.stop()
	}
	other := &mariadb{dir: t.TempDir(), straight: free}
	if other.open() != nil {
		t.Fatal("no handle")
	}
	err = other.start(t.Context(), program, 8) // without data
	if err == nil || errors.Is(err, errTaken) || !strings.Contains(err.Error(), "mariadbd ended at once: exit status 1\n") {
		t.Errorf("without data: %v", err)
	}
	other.stop()
}

func TestWhatIsMissingIsSaid(t *testing.T) {
	if _, err := find("no-such-program"); !errors.Is(err, errNoMariaDB) || !strings.Contains(err.Error(), "apt-get install mariadb-server") || !strings.HasSuffix(err.Error(), "no program no-such-program") {
		t.Error(err)
	}
	t.Setenv("PATH", "")
	if path, err := find("mariadbd"); err != nil {
		t.Errorf("a server beside the PATH is not found: %s, %v", path, err)
	}
}

func TestAChildThatEndsIsExplainedByItsLastWords(t *testing.T) {
	c, err := startChild("/bin/sh", []string{"-c", "seq 100000; echo the end; exit 3"})
	if err != nil {
		t.Fatal(err)
	}
	<-c.gone
	if c.err == nil || len(c.output()) > maxTail || !strings.HasSuffix(c.output(), "100000\nthe end\n") {
		t.Errorf("%v, %d bytes", c.err, len(c.output()))
	}
	c.kill() // does nothing, and nothing wrong
}

func TestAChildIsKilledWithThoseThatItStarted(t *testing.T) {
	c, err := startChild("/bin/sh", []string{"-c", "sleep 1000 & echo $!; wait"})
	if err != nil {
		t.Fatal(err)
	}
	testnet.WaitFor(t, 10*time.Second, "the child's child", func() bool { return strings.HasSuffix(c.output(), "\n") })
	c.kill()
	if c.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("%v", c.err)
	}
	grandchild := strings.TrimSpace(c.output())
	testnet.WaitFor(t, 10*time.Second, "the end of the child's child", func() bool {
		stat, err := os.ReadFile("/proc/" + grandchild + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ") // nobody may be there to reap it
	})
}
