package testnet_test

import (
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/internal/testnet"
)

// recorder is a test whose failure is looked at.
type recorder struct {
	testing.TB
	said string
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.said = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Fatal(args ...any) {
	r.said = fmt.Sprint(args...)
	runtime.Goexit()
}

// failure runs f with a test of its own and returns what that failed with.
func failure(t *testing.T, f func(t testing.TB)) string {
	t.Helper()
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(r)
	}()
	<-done
	return r.said
}

func TestAMissingProgramFailsWithItsPackage(t *testing.T) {
	t.Setenv("PATH", "")
	got := failure(t, func(t testing.TB) { testnet.NeedProgram(t, "no-such-program") })
	if !strings.Contains(got, "apt-get install no-such-program") {
		t.Errorf("%q", got)
	}
	if path := testnet.NeedProgram(t, "nginx"); path != "/usr/sbin/nginx" {
		t.Errorf("%q with an empty PATH, want nginx in /usr/sbin", path)
	}
}

func TestAServerThatDoesNotStartFailsWithItsOutput(t *testing.T) {
	got := failure(t, func(t testing.TB) {
		testnet.StartNginx(t, testnet.ServerOptions{Config: "server { listen {addr}; no_such_directive; }"})
	})
	if !strings.Contains(got, "no_such_directive") || !strings.Contains(got, "ended at once") {
		t.Errorf("%q, want nginx's own words", got)
	}
	got = failure(t, func(t testing.TB) { testnet.StartHAProxy(t, testnet.ServerOptions{Config: "defaults"}) })
	if !strings.Contains(got, "{addr}") {
		t.Errorf("%q, want the missing {addr} named", got)
	}
}

func TestAServerOnATakenPortFails(t *testing.T) {
	b := testnet.NewBackend(t, testnet.Good)
	got := failure(t, func(t testing.TB) {
		testnet.StartHAProxy(t, testnet.ServerOptions{Addr: b.Addr(), Config: haproxySays})
	})
	if !strings.Contains(got, "address already in use") {
		t.Errorf("%q, want that the port is taken", got)
	}
}

func TestAProgramIsSignalledAndItsOutputKept(t *testing.T) {
	b := testnet.NewBackend(t, testnet.Good) // something that is ready already
	p := testnet.StartProgram(t, testnet.ProgramOptions{
		Name: "sh", Args: []string{"-c", `trap 'echo told; exit 0' USR1; echo up; while :; do sleep 0.02; done`},
		Ready: []netip.AddrPort{b.Addr()},
	})
	testnet.WaitFor(t, 5*time.Second, "the program is up", func() bool { return strings.Contains(p.Output(), "up") })
	if err := p.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	testnet.WaitFor(t, 5*time.Second, "the program was told", func() bool { return strings.Contains(p.Output(), "told") })
}

func TestWaitForFailsWithWhatItWaitedFor(t *testing.T) {
	got := failure(t, func(t testing.TB) {
		testnet.WaitFor(t, time.Millisecond, "the moon", func() bool { return false })
	})
	if !strings.Contains(got, "the moon") || !strings.Contains(got, "1ms") {
		t.Errorf("%q", got)
	}
}
