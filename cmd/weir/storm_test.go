package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/internal/storm"
	"weir/internal/testnet"
)

func TestAStormSaysWhatWasNotBegun(t *testing.T) {
	var b strings.Builder
	r := &storm.Result{Errors: map[string]int{storm.Interrupted: 32}, NotBegun: 993_127, Ended: storm.Interrupted, TCP: true}
	if err := printStorm(&b, r); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"\n  32: interrupted\n", "\n  993,127 not begun (interrupted)\n", "\nsockets by state, before -> at the interruption:\n"} {
		if !strings.Contains(b.String(), line) {
			t.Errorf("no line %q in\n%s", line, b.String())
		}
	}
	if strings.Contains(b.String(), "latency") {
		t.Errorf("latency of nothing:\n%s", b.String())
	}
}

func TestAStormThatCannotBeWrittenSaysSo(t *testing.T) {
	f, err := os.OpenFile(os.DevNull, os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := printStorm(f, &storm.Result{}); err == nil {
		t.Error("no error")
	}
}

// An interrupt ends both commands at once, whatever is outstanding, and is no success.
func TestAnInterruptEndsAStormAndADemonstration(t *testing.T) {
	b := testnet.NewBackend(t, func(c *testnet.BackendConn) {
		if _, err := c.ReadRequest(); err == nil {
			c.Stall()
		}
	})
	url := "http://" + b.Addr().String() + "/"
	for name, test := range map[string]struct {
		args  []string
		ready func(stdout string) bool
		want  string
	}{
		"storm": {[]string{"storm", "-n", "1000", "-c", "8", "-timeout", "60s", url}, func(string) bool { return b.Accepted() >= 8 },
			" not begun (interrupted)\n"},
		"demo": {[]string{"demo", "-once", "-n", "1000000"}, func(out string) bool { return strings.Contains(out, "requests, each") },
			"weir demo: interrupted "},
	} {
		out, err := os.Create(filepath.Join(t.TempDir(), name))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		said := func() string { b, _ := os.ReadFile(out.Name()); return string(b) }
		cmd := exec.Command("weir", test.args...) // TestMain has put it into the path
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ready := testnet.Poll(20*time.Second, func() bool { return test.ready(said()) })
		cmd.Process.Signal(syscall.SIGINT)
		watchdog := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
		err = cmd.Wait()
		watchdog.Stop()
		var exit *exec.ExitError
		if !ready || !errors.As(err, &exit) || exit.ExitCode() != exitFailed || !strings.Contains(said(), test.want) {
			t.Errorf("%s: ready %v, %v\n%s", name, ready, err, said())
		}
	}
}
