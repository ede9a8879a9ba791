package accept

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/internal/testnet"
	"weir/tcpstat"
)

// diagnosis is the part of weir doctor -json that tests ask about.
type diagnosis struct {
	Checks []struct{ Name, Verdict, Found string }
	Counts map[string]int

	Measured []struct {
		Side             string
		Sockets          int
		Bytes, Low, High float64
		Sure             bool
	}
	NotMeasured string `json:"not_measured"`
}

// diagnose runs doctor, and returns its exit code.
func diagnose(t *testing.T, cmd *exec.Cmd) (d diagnosis, code int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	if err := json.Unmarshal(stdout.Bytes(), &d); err != nil {
		t.Fatalf("%v: %v\n%s%s", cmd.Args, err, stdout.Bytes(), stderr.Bytes())
	}
	return d, cmd.ProcessState.ExitCode()
}

// forNobody is the binary, and a configuration of one backend, where any user
// finds them.
func forNobody(t *testing.T) (program, config string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir-doctor-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	program, config = filepath.Join(dir, "weir"), filepath.Join(dir, "weir.yaml")
	yaml := strings.Replace(oneBackend("127.0.0.1:9001", "max_clients: 100", ""), "127.0.0.1:0", "127.0.0.1:8080", 1)
	err = errors.Join(os.Chmod(dir, 0o755), os.WriteFile(program, b, 0o755), os.WriteFile(config, []byte(yaml), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	return program, config
}

// asNobody is what a program is run under to be user 65534 without a capability
// and without a way to one, as in the image.
func asNobody(t *testing.T) []string {
	return []string{testnet.NeedProgram(t, "setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"}
}

// In a network namespace as it comes nothing is wrong, and nobody may look.
func TestAcceptDoctorFindsNothingWrongWhereNothingIsAndNeedsNoPrivilege(t *testing.T) {
	program, config := forNobody(t)
	ns := testnet.NewNetns(t)
	for _, args := range [][]string{{"-json"}, {"-json", "-config", config}} {
		args = append(append(asNobody(t), program, "doctor"), args...)
		d, code := diagnose(t, ns.Command(args[0], args[1:]...))
		if code != 0 || d.Counts["fail"] != 0 || len(d.Checks) < 20 {
			t.Errorf("exit code %d: %+v", code, d)
		}
		for _, c := range d.Checks {
			if c.Verdict == "unknown" {
				t.Errorf("nobody cannot see %+v", c)
			}
		}
	}

	// A setting of this namespace, by its effect.
	ns.Sysctl("net.ipv4.tcp_timestamps", "0")
	args := append(asNobody(t), program, "doctor", "-json", "-config", config)
	d, code := diagnose(t, ns.Command(args[0], args[1:]...))
	if code != 1 || d.Counts["fail"] != 1 {
		t.Errorf("without timestamps: exit code %d, %+v", code, d)
	}
}

// Most of a small range has been used, and the kernel would use it again: weir's
// own status calls such ports free, and so does doctor. A backend that is a name
// is found by its addresses, and one without an address stands for no other
// destination.
func TestAcceptDoctorCallsPortsInUseThatNoDialCanHave(t *testing.T) {
	program, _ := forNobody(t)
	ns := testnet.NewNetns(t)
	l, err := ns.Listen("tcp4", "127.0.0.1:9001")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ns.Sysctl("net.ipv4.ip_local_port_range", "45000 45399")
	ns.Sysctl("net.ipv4.tcp_tw_reuse", "0")
	for range 360 {
		c, err := ns.Dial("tcp4", "127.0.0.1:9001")
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(c.Close(), s.Close()); err != nil {
			t.Fatal(err)
		}
	}
	ports := func(backend string) (verdict, found string) {
		args := []string{"doctor", "-json"}
		if backend != "" {
			file := filepath.Join(t.TempDir(), "weir.yaml")
			if err := os.WriteFile(file, []byte(oneBackend(backend, "", "")), 0o600); err != nil {
				t.Fatal(err)
			}
			args = append(args, "-config", file)
		}
		d, _ := diagnose(t, ns.Command(program, args...))
		return d.says(t, "ports_now")
	}
	for _, tc := range []struct{ backend, verdict, says string }{
		{"", "fail", "360 of 400 ports in use from 127.0.0.1 to 127.0.0.1:9001 (90 %), 360 of them TIME_WAIT"},
		{"localhost:9001", "fail", "360 of 400 ports in use from 127.0.0.1 to 127.0.0.1:9001"},
		{"localhost:9002", "pass", "no outgoing connection to a backend of the configuration"},
		{"no.such.invalid:9001", "unknown", "no address is known for no.such.invalid:9001"},
	} {
		if verdict, found := ports(tc.backend); verdict != tc.verdict || !strings.Contains(found, tc.says) {
			t.Errorf("backend %q: %s, %s; want %s, with %q", tc.backend, verdict, found, tc.verdict, tc.says)
		}
	}
	ns.Sysctl("net.ipv4.tcp_tw_reuse", "2")
	var verdict, found string
	testnet.WaitFor(t, 10*time.Second, "ports that are a second old to be free again", func() bool {
		verdict, found = ports("")
		return strings.Contains(found, "360 more in TIME_WAIT are free")
	})
	if verdict != "pass" || !strings.HasPrefix(found, "0 of 400 ports in use") {
		t.Errorf("%s: %s", verdict, found)
	}
}

// says returns what a check of weir doctor came to.
func (d diagnosis) says(t *testing.T, check string) (verdict, found string) {
	t.Helper()
	for _, c := range d.Checks {
		if c.Name == check {
			return c.Verdict, c.Found
		}
	}
	t.Fatalf("no %s in %+v", check, d)
	return "", ""
}

// The kernel's count of handshakes that found a queue full never goes down. While
// it grows doctor warns, and when it has stopped doctor tells it and does not.
func TestAcceptDoctorWarnsOfOverflowsOnlyWhileTheyHappen(t *testing.T) {
	program, config := forNobody(t)
	ns := testnet.NewNetns(t)
	const backlog = 1 // which lets two wait

	to := &unix.SockaddrInet4{Port: 9003, Addr: [4]byte{127, 0, 0, 1}} // of a namespace of our own
	socket := func(more int) (fd int, err error) {
		ns.Do(func() { fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|more, 0) })
		return fd, err
	}
	l, err := socket(0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Bind(l, to), unix.Listen(l, backlog)); err != nil {
		t.Fatal(err)
	}

	// A client every few milliseconds, each of which goes away again.
	stop, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		open := []int{l}
		defer func() {
			for _, fd := range open {
				unix.Close(fd)
			}
		}()
		for {
			fd, err := socket(unix.SOCK_NONBLOCK)
			if err != nil {
				t.Error(err)
				return
			}
			if err := unix.Connect(fd, to); err != nil && err != unix.EINPROGRESS {
				t.Errorf("connect: %v", err)
			}
			if len(open) < 8 { // these fill the queue
				open = append(open, fd)
			} else {
				unix.Close(fd)
			}
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	end := sync.OnceFunc(func() { close(stop); <-gone })
	t.Cleanup(end)
	overflows := func() (n uint64) {
		ns.Do(func() {
			totals, err := tcpstat.ReadTotals()
			if err != nil {
				t.Error(err)
			}
			n = totals.ListenOverflows
		})
		return n
	}
	testnet.WaitFor(t, 10*time.Second, "a queue that overflows", func() bool { return overflows() > 5 })

	args := []string{"doctor", "-json", "-config", config} // which has no listener on that port
	d, _ := diagnose(t, ns.Command(program, args...))
	if verdict, found := d.says(t, "accept_queue"); verdict != "warn" || !strings.Contains(found, " found a queue full since the network namespace was made, ") || !strings.HasSuffix(found, " of them while doctor looked") {
		t.Errorf("while it happens: %s, %s", verdict, found)
	}
	end()
	n := overflows()
	began := time.Now()
	d, code := diagnose(t, ns.Command(program, args...))
	figure(t, "doctor took %v where %d handshakes had found a queue full", time.Since(began), n)
	if verdict, found := d.says(t, "accept_queue"); verdict != "pass" || !strings.Contains(found, fmt.Sprintf("; %d handshakes", n)) || !strings.Contains(found, ", none of them while doctor looked: long past, or in bursts") {
		t.Errorf("afterwards: %s, %s", verdict, found)
	}
	if code != 0 {
		t.Errorf("afterwards: exit code %d, %v", code, d.Counts)
	}
}

// Where the kernel has MPTCP a listener of Go's gives it to clients that ask, and
// weir's does not, nor does weir ask a backend for it. Two things see to that:
// weir does not want it, and the TCP_USER_TIMEOUT that it sets is not to be had of
// an MPTCP socket (Linux 6.18), whereupon Go makes a plain one. What doctor says
// of such connections is what the kernel lets it see: that they are there, and not
// that their program forgot to close them.
func TestAcceptWeirIsPlainTCPWhereTheKernelHasMPTCP(t *testing.T) {
	program, _ := forNobody(t)
	ns := testnet.NewNetns(t)
	var backend net.Listener
	var err error
	ns.Do(func() { backend, err = net.Listen("tcp", "127.0.0.1:0") }) // as a Go program has it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { backend.Close() })
	dial := func(address string) *net.TCPConn {
		t.Helper()
		d := net.Dialer{Timeout: 10 * time.Second}
		d.SetMultipathTCP(true)
		var c net.Conn
		ns.Do(func() { c, err = d.Dial("tcp", address) })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c.(*net.TCPConn)
	}
	accept := func() *net.TCPConn {
		t.Helper()
		backend.(*net.TCPListener).SetDeadline(time.Now().Add(10 * time.Second))
		c, err := backend.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c.(*net.TCPConn)
	}
	isMPTCP := func(c *net.TCPConn) bool {
		t.Helper()
		is, err := c.MultipathTCP()
		if err != nil {
			t.Fatal(err)
		}
		return is
	}

	prefix := ns.Command("x").Args
	w := start(t, oneBackend(backend.Addr().String(), "", ""), prefix[:len(prefix)-1]...)
	for name, address := range map[string]string{"admin": w.admin, "web": w.addr["web"]} {
		client := dial(address)
		if _, err := io.WriteString(client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if isMPTCP(client) {
			t.Errorf("weir's listener %s gave a client MPTCP", name)
		}
	}
	if isMPTCP(accept()) {
		t.Error("weir asked a backend for MPTCP")
	}

	const pairs = 60
	var dialled []*net.TCPConn
	has := false // the kernel, and it is on
	for range pairs {
		dialled = append(dialled, dial(backend.Addr().String()))
		has = isMPTCP(accept())
	}
	d, _ := diagnose(t, ns.Command(program, "doctor", "-json"))
	verdict, found := d.says(t, "mptcp")
	figure(t, "MPTCP is there: %v; %s", has, found)
	// Not every kernel that has it counts it. Weir's clients have sockets that asked.
	n := 0
	if before, _, ok := strings.Cut(found, " MPTCP sockets now"); ok {
		n, _ = strconv.Atoi(before[strings.LastIndexByte(before, ' ')+1:])
	}
	if counted := n >= 2*pairs; has != strings.HasPrefix(found, "net.mptcp.enabled = 1: ") || counted && !has || counted != (verdict == "warn") {
		t.Errorf("%s, %s", verdict, found)
	}
	for _, c := range dialled {
		c.Close()
	}
	// Forgotten, by the program that accepted them.
	want := strconv.Itoa(pairs)
	if has {
		want = "0"
	}
	testnet.WaitFor(t, 10*time.Second, want+" in CLOSE-WAIT", func() bool {
		d, _ := diagnose(t, ns.Command(program, "doctor", "-json"))
		_, found = d.says(t, "close_wait")
		return strings.HasPrefix(found, want+" in CLOSE-WAIT")
	})
}

// What articles tell is 3.155 KB.
func TestAcceptDoctorMeasuresATimeWaitAndLeavesNothingBehind(t *testing.T) {
	program, _ := forNobody(t)
	of := map[string][]string{"root": nil}
	if *hold { // half a minute more
		of["nobody"] = asNobody(t)
	}
	for who, prefix := range of {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		args := append(prefix, program, "doctor", "-json", "-measure")
		d, code := diagnose(t, exec.CommandContext(ctx, args[0], args[1:]...))
		if d.NotMeasured != "" {
			// Not every machine gives others than root a namespace, or is quiet
			// enough for what they can read.
			if code != 1 || who == "root" {
				t.Errorf("%s: exit code %d, %s", who, code, d.NotMeasured)
			}
			figure(t, "a TIME_WAIT, for %s: %s", who, d.NotMeasured)
			continue
		}
		if len(d.Measured) != 2 || d.Measured[0].Side != "connecting" || d.Measured[1].Side != "accepting" {
			t.Errorf("%s: %+v", who, d.Measured)
		}
		for _, c := range d.Measured {
			// Beside other tests the steps may be far apart, and then it says so.
			if c.Sockets < 1000 || c.Sure && c.Bytes > 1500 {
				t.Errorf("%s: %+v", who, c)
			}
			figure(t, "a TIME_WAIT, for %s, at the %s side: %.0f bytes (steps from %.0f to %.0f, sure: %v)", who, c.Side, c.Bytes, c.Low, c.High, c.Sure)
		}
	}
	if left := running(t, program); len(left) > 0 {
		t.Errorf("processes that are left: %v", left)
	}

	// Also when it is killed in the middle.
	cmd := exec.Command(program, "doctor", "-measure")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	testnet.WaitFor(t, 20*time.Second, "the process that makes the sockets", func() bool { return len(running(t, program)) == 2 })
	cmd.Process.Kill()
	cmd.Wait()
	testnet.WaitFor(t, 20*time.Second, "that process to end with doctor", func() bool { return len(running(t, program)) == 0 })
}

// running returns the processes that are of a program.
func running(t *testing.T, program string) (pids []int) {
	t.Helper()
	all, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if exe, err := os.Readlink(filepath.Join("/proc", e.Name(), "exe")); err == nil && exe == program {
			pids = append(pids, pid)
		}
	}
	return pids
}
