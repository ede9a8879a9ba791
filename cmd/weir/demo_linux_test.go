package main

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/internal/testnet"
)

// demoTemp is a directory for temporary files whose path is short enough for a
// socket, and the number of the database's process that a demonstration runs there.
func demoTemp(t *testing.T) (dir string, database func() string) {
	t.Helper()
	testnet.NeedProgram(t, "mariadbd")
	dir, err := os.MkdirTemp("/tmp", "weir-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir, func() string {
		found, _ := filepath.Glob(dir + "/weir-demo-*/pid")
		if len(found) != 1 {
			return ""
		}
		b, _ := os.ReadFile(found[0])
		return strings.TrimSpace(string(b))
	}
}

func gone(pid string) bool {
	_, err := os.Stat("/proc/" + pid)
	return errors.Is(err, os.ErrNotExist)
}

// endless is a demonstration whose first storm takes longer than any test.
func endless(dir string) *exec.Cmd {
	cmd := exec.Command("weir", "demo", "-mysql", "-n", "1000000", "-c", "2") // TestMain has put it into the path
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	return cmd
}

func TestNoSignalLeavesADatabaseBehind(t *testing.T) {
	signals := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL}
	if !signal.Ignored(syscall.SIGHUP) { // else it means nothing to the child either
		signals = append(signals, syscall.SIGHUP)
	}
	for _, s := range signals {
		dir, database := demoTemp(t)
		cmd := endless(dir)
		var said strings.Builder
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		pid := ""
		ready := testnet.Poll(20*time.Second, func() bool { pid = database(); return pid != "" })
		cmd.Process.Signal(s)
		watchdog := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
		err := cmd.Wait()
		watchdog.Stop()
		if !ready {
			t.Fatalf("%v: no database began\n%s", s, said.String())
		}
		if s == syscall.SIGKILL { // only the kernel can do something then, and it removes no files
			testnet.WaitFor(t, 10*time.Second, "the database's end", func() bool { return gone(pid) })
			continue
		}
		left, _ := os.ReadDir(dir)
		if cmd.ProcessState.ExitCode() != exitFailed || !gone(pid) || len(left) != 0 || !strings.Contains(said.String(), "weir demo: interrupted ") {
			t.Errorf("%v: %v, database %s gone: %v, left: %v\n%s", s, err, pid, gone(pid), left, said.String())
		}
	}
}

func TestAReaderThatLeavesLeavesNoDatabaseBehind(t *testing.T) {
	dir, _ := demoTemp(t)
	cmd := endless(dir)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = w, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	r.Close() // before the first line
	watchdog := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
	defer watchdog.Stop()
	err = cmd.Wait()
	left, _ := os.ReadDir(dir)
	if cmd.ProcessState.ExitCode() != exitFailed || len(left) != 0 || !strings.HasSuffix(said.String(), "broken pipe\n") {
		t.Errorf("%v, left: %v\n%s", err, left, said.String())
	}
}

func TestADemonstrationWithADatabaseShowsTheGain(t *testing.T) {
	dir, _ := demoTemp(t)
	cmd := exec.Command("weir", "demo", "-mysql", "-once", "-n", "300", "-c", "4")
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, line := range []string{
		`queries answered +300 +300`, `errors +0 +0`, `logins at the database +300 +[0-9]{1,2}`, `connections it counts as aborted +0 +0`,
		`its processor time +[0-9.]+ s +[0-9.]+ s`, `  at weir, towards the clients +- +[0-3]`, `  at weir, towards the database +- +[0-3]`,
	} {
		if !regexp.MustCompile(`(?m)^  ` + line + `$`).Match(out) {
			t.Errorf("no line %q in\n%s", line, out)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestADemonstrationEndsWithItsDatabase(t *testing.T) {
	dir, database := demoTemp(t)
	cmd := exec.Command("weir", "demo", "-mysql", "-n", "1000", "-c", "4")
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := func() string { b, _ := os.ReadFile(out.Name()); return string(b) }
	serves := testnet.Poll(30*time.Second, func() bool { return strings.Contains(said(), "in a browser") })
	if pid, err := strconv.Atoi(database()); err == nil {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	watchdog := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
	defer watchdog.Stop()
	err = cmd.Wait()
	if !serves || cmd.ProcessState.ExitCode() != exitFailed || !strings.HasSuffix(said(), "weir demo: the database has ended\n") {
		t.Errorf("serves: %v, %v\n%s", serves, err, said())
	}
}
