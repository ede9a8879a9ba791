package testnet

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Netns is a network namespace of its own: its own loopback, ports, TIME_WAIT
// table and sysctls. It leaves no file behind; it is gone when its descriptor
// and the last socket and process in it are.
//
// A nil *Netns stands for the namespace the test runs in, so that helpers take
// one without asking. Its methods may be called from any goroutine.
type Netns struct {
	t    testing.TB
	file *os.File // /proc/thread-self/ns/net, nil in a nil Netns only
}

// NewNetns makes a namespace whose loopback is up. It needs root.
func NewNetns(t testing.TB) *Netns {
	t.Helper()
	ns := &Netns{t: t}
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w (run the test as root, or under `unshare --user --map-root-user --net`)", err)
		}
		var err error
		if ns.file, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		return setUp("lo")
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.file.Close() })
	return ns
}

// Do runs f inside the namespace, on a thread of its own that ends with f. What
// f calls directly is inside; goroutines it starts are not. Sockets stay where
// they were made, so a listener made in f accepts there wherever Accept is
// called. f may use t.Fatal: Do then ends the calling goroutine as well.
func (ns *Netns) Do(f func()) {
	if ns == nil {
		f()
		return
	}
	returned := false
	err := onThread(func() error {
		if err := ns.enter(); err != nil {
			return err
		}
		f()
		returned = true
		return nil
	})
	if err != nil {
		panic(err) // the namespace is open as long as the test is
	}
	if !returned {
		runtime.Goexit()
	}
}

func (ns *Netns) enter() error {
	if err := unix.Setns(int(ns.file.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter a network namespace: %w", err)
	}
	return nil
}

// onThread runs f on a new locked thread, which is thrown away after: a thread
// that has changed its namespace must never run another goroutine.
func onThread(f func() error) error {
	type result struct {
		err   error
		panic any
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked
		var r result
		defer func() {
			r.panic = recover()
			done <- r
		}()
		r.err = f()
	}()
	r := <-done
	if r.panic != nil {
		panic(r.panic)
	}
	return r.err
}

func (ns *Netns) context() context.Context {
	if ns == nil {
		return context.Background()
	}
	return ns.t.Context()
}

// Listen is net.Listen inside the namespace, without MPTCP. address is a literal.
func (ns *Netns) Listen(network, address string) (net.Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	var l net.Listener
	var err error
	ns.Do(func() { l, err = lc.Listen(ns.context(), network, address) })
	return l, err
}

// Dial is net.Dial inside the namespace. address is a literal.
func (ns *Netns) Dial(network, address string) (net.Conn, error) {
	var d net.Dialer
	var c net.Conn
	var err error
	ns.Do(func() { c, err = d.DialContext(ns.context(), network, address) })
	return c, err
}

// Command is exec.Command inside the namespace. The program is a child of
// the test itself, so a signal reaches it.
func (ns *Netns) Command(name string, args ...string) *exec.Cmd {
	if ns == nil {
		return exec.Command(name, args...)
	}
	path := NeedProgram(ns.t, "nsenter")
	return exec.Command(path, append([]string{"--net=" + ns.path(), "--", name}, args...)...)
}

// path names the namespace for programs. It is good while the test runs.
func (ns *Netns) path() string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.file.Fd())
}

// Sysctl sets a kernel parameter of the namespace, net.ipv4.tcp_timestamps for
// example. It refuses to touch the machine's own.
func (ns *Netns) Sysctl(key, value string) {
	if ns == nil {
		panic("testnet: a sysctl of the machine is not a test's to change")
	}
	ns.t.Helper()
	var err error
	ns.Do(func() { err = os.WriteFile(sysctlFile(key), []byte(value), 0) })
	if err != nil {
		ns.t.Fatalf("set %s to %s: %v", key, value, err)
	}
}

// ReadSysctl returns the value of a kernel parameter in the namespace.
func (ns *Netns) ReadSysctl(t testing.TB, key string) string {
	t.Helper()
	var b []byte
	var err error
	ns.Do(func() { b, err = os.ReadFile(sysctlFile(key)) })
	if err != nil {
		t.Fatalf("read %s: %v", key, err)
	}
	return strings.TrimSpace(string(b))
}

func sysctlFile(key string) string {
	return filepath.Join("/proc/sys", strings.ReplaceAll(key, ".", "/"))
}

// setUp brings up an interface of the calling thread's namespace.
func setUp(name string) error {
	return withIfreq(unix.AF_INET, name, func(fd int, ifr *unix.Ifreq) error {
		if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, ifr); err != nil {
			return fmt.Errorf("read the flags of %s: %w", name, err)
		}
		ifr.SetUint16(ifr.Uint16() | unix.IFF_UP)
		if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr); err != nil {
			return fmt.Errorf("bring up %s: %w", name, err)
		}
		return nil
	})
}

// withIfreq opens a socket to configure an interface through.
func withIfreq(family int, name string, f func(fd int, ifr *unix.Ifreq) error) error {
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	return f(fd, ifr)
}
