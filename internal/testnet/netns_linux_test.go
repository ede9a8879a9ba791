package testnet_test

import (
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"weir/internal/testnet"
)

func TestNamespacesDoNotShareTheirPorts(t *testing.T) {
	a, b := testnet.NewNetns(t), testnet.NewNetns(t)
	la, err := a.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer la.Close()
	addr := la.Addr().String()
	lb, err := b.Listen("tcp4", addr)
	if err != nil {
		t.Fatalf("the same port in another namespace: %v", err)
	}
	lb.Close()
	if c, err := b.Dial("tcp4", addr); err == nil {
		c.Close()
		t.Error("a listener of one namespace was reached from another")
	}
	c, err := a.Dial("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestASysctlStaysInItsNamespace(t *testing.T) {
	const key = "net.ipv4.ip_local_port_range"
	var outside *testnet.Netns
	before := outside.ReadSysctl(t, key)
	ns := testnet.NewNetns(t)
	ns.Sysctl(key, "40000 40009")
	if got := strings.Join(strings.Fields(ns.ReadSysctl(t, key)), " "); got != "40000 40009" {
		t.Errorf("inside: %s", got)
	}
	if got := outside.ReadSysctl(t, key); got != before {
		t.Errorf("outside: %s, was %s", got, before)
	}
}

func TestACommandRunsInsideItsNamespace(t *testing.T) {
	ns := testnet.NewNetns(t)
	var want string
	ns.Do(func() { want, _ = os.Readlink("/proc/thread-self/ns/net") })
	got, err := ns.Command("readlink", "/proc/self/ns/net").Output()
	if err != nil || strings.TrimSpace(string(got)) != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	here, err := exec.Command("readlink", "/proc/self/ns/net").Output()
	if err != nil || strings.TrimSpace(string(here)) == want {
		t.Errorf("outside: %q, %v", here, err)
	}
}

func TestDoNeverLeavesAThreadInTheWrongNamespace(t *testing.T) {
	outside, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	ns := testnet.NewNetns(t)
	for range 50 {
		ns.Do(func() {})
		done := make(chan string)
		go func() {
			s, _ := os.Readlink("/proc/thread-self/ns/net")
			done <- s
		}()
		if got := <-done; got != outside {
			t.Fatalf("a goroutine after Do runs in %s, want %s", got, outside)
		}
	}
}

func TestAPanicInsideDoReachesItsCaller(t *testing.T) {
	ns := testnet.NewNetns(t)
	defer func() {
		if got := recover(); got != "told" {
			t.Errorf("recovered %v, want told", got)
		}
	}()
	ns.Do(func() { panic("told") })
}

func TestAFailureInsideDoEndsItsCaller(t *testing.T) {
	ns := testnet.NewNetns(t)
	inner := make(chan bool)
	go func() {
		after := false
		defer func() { inner <- after }()
		ns.Do(func() { runtime.Goexit() })
		after = true
	}()
	if <-inner {
		t.Error("the caller went on after a failure inside Do")
	}
}

func TestANilNamespaceIsTheTestsOwn(t *testing.T) {
	var ns *testnet.Netns
	l, err := ns.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}
