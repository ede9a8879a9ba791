package testnet

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	startTimeout = 10 * time.Second
	stopTimeout  = 5 * time.Second
)

// ProgramOptions says what to start and when it counts as started.
type ProgramOptions struct {
	NS    *Netns // nil: where the test runs
	Name  string // looked up with NeedProgram
	Args  []string
	Ready []netip.AddrPort // all of them accept connections
}

// Program is a running process. It is stopped in the test's Cleanup at the
// latest, and dies with the test process whatever happens to that.
type Program struct {
	cmd  *exec.Cmd
	out  *output
	gone chan struct{} // closed when the process has ended
	err  error         // how it ended; read after gone
	once sync.Once
}

// StartProgram starts a process and waits until it accepts connections. A
// process that ends before that fails the test with its output.
func StartProgram(t testing.TB, o ProgramOptions) *Program {
	t.Helper()
	p, err := startProgram(t, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

func startProgram(t testing.TB, o ProgramOptions) (*Program, error) {
	p := &Program{cmd: o.NS.Command(NeedProgram(t, o.Name), o.Args...), out: new(output), gone: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	// A group of its own, so that its workers can be ended with it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p.cmd.WaitDelay = stopTimeout

	started := make(chan error, 1)
	go func() {
		// The kernel sends the death signal when the thread that forked
		// ends, so this one is kept for as long as the process lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
		}
		close(p.gone)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", o.Name, err)
	}
	ended := false
	ready := Poll(startTimeout, func() bool {
		select {
		case <-p.gone:
			ended = true
			return true
		default:
		}
		for _, a := range o.Ready {
			if !accepts(o.NS, a) {
				return false
			}
		}
		return true
	})
	if ready && !ended {
		return p, nil
	}
	p.Stop()
	if ended {
		return nil, fmt.Errorf("%s ended at once (%v):\n%s", o.Name, p.err, p.Output())
	}
	return nil, fmt.Errorf("%s accepts nothing on %v after %s:\n%s", o.Name, o.Ready, startTimeout, p.Output())
}

// accepts says whether something listens on a. It leaves no TIME_WAIT behind,
// which a test may be about to count.
func accepts(ns *Netns, a netip.AddrPort) bool {
	c, err := ns.Dial("tcp", a.String())
	if err != nil {
		return false
	}
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
	return true
}

// PID is the process's number; of nginx, the master's.
func (p *Program) PID() int { return p.cmd.Process.Pid }

// Output is what the process has printed so far.
func (p *Program) Output() string { return p.out.String() }

// Signal sends a signal to the process.
func (p *Program) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Stop ends the process, with SIGTERM and after 5 s with SIGKILL, and waits for
// it. It may be called more than once.
func (p *Program) Stop() {
	p.once.Do(func() {
		p.cmd.Process.Signal(syscall.SIGTERM)
		timer := time.NewTimer(stopTimeout)
		defer timer.Stop()
		select {
		case <-p.gone:
		case <-timer.C:
		}
		// Also workers that outlived their master.
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.gone
	})
}

// output collects what a process prints, and no more than a bound of it.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

const outputBound = 1 << 20

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if room := outputBound - o.buf.Len(); room > 0 {
		o.buf.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// FreePort returns a port that nothing listens on at addr. Another process may
// take it before it is used; programs that need one are started again then.
func FreePort(t testing.TB, ns *Netns, addr netip.Addr) uint16 {
	t.Helper()
	l, err := ns.Listen("tcp", netip.AddrPortFrom(addr, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// ServerOptions says where nginx or HAProxy listens and what it does.
type ServerOptions struct {
	NS *Netns

	// Addr is the address it listens on, 127.0.0.1 and a free port if zero;
	// a zero port alone means a free one.
	Addr netip.AddrPort

	// Config is the configuration in which {addr} stands for Addr and {dir}
	// for a directory of its own. For nginx it is the inside of the http
	// block, for HAProxy all of the file.
	Config string

	// Main is put before nginx's http block: worker_processes and the like.
	Main string
}

// Server is a running nginx or HAProxy.
type Server struct {
	*Program
	Addr netip.AddrPort
	Dir  string
}

// StartNginx starts nginx with one http block and waits until it accepts.
func StartNginx(t testing.TB, o ServerOptions) *Server {
	t.Helper()
	return startServer(t, o, "nginx", func(dir, config string) (string, []string) {
		var b strings.Builder
		main := o.Main
		if !strings.Contains(main, "worker_processes") {
			main += "\nworker_processes 1;"
		}
		if !strings.Contains(main, "events") {
			main += "\nevents { worker_connections 4096; }"
		}
		if os.Getuid() == 0 {
			main += "\nuser root;" // its temporary files are in the test's directory
		}
		fmt.Fprintf(&b, "%s\npid nginx.pid;\nerror_log stderr warn;\nhttp {\naccess_log off;\n", main)
		for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
			fmt.Fprintf(&b, "%s_temp_path %s_temp;\n", kind, kind)
		}
		fmt.Fprintf(&b, "%s\n}\n", config)
		return b.String(), []string{"-p", dir, "-e", "stderr", "-c", "server.conf", "-g", "daemon off;"}
	})
}

// StartHAProxy starts HAProxy and waits until it accepts.
func StartHAProxy(t testing.TB, o ServerOptions) *Server {
	t.Helper()
	return startServer(t, o, "haproxy", func(dir, config string) (string, []string) {
		return config, []string{"-db", "-f", filepath.Join(dir, "server.conf")}
	})
}

// startServer starts a server again, on another port, where the free port was
// taken in between.
func startServer(t testing.TB, o ServerOptions, name string, build func(dir, config string) (string, []string)) *Server {
	t.Helper()
	if !strings.Contains(o.Config, "{addr}") {
		t.Fatalf("the configuration of %s says nowhere to listen on {addr}", name)
	}
	var err error
	for range 3 {
		var s *Server
		if s, err = tryServer(t, o, name, build); err == nil {
			t.Cleanup(s.Stop)
			return s
		}
		if o.Addr.Port() != 0 || !errors.Is(err, errTaken) {
			break
		}
	}
	t.Fatal(err)
	return nil
}

// errTaken marks a failure that another free port may cure.
var errTaken = errors.New("the port was taken")

func tryServer(t testing.TB, o ServerOptions, name string, build func(dir, config string) (string, []string)) (*Server, error) {
	addr := o.Addr
	if !addr.IsValid() {
		addr = netip.AddrPortFrom(loopback, 0)
	}
	if addr.Port() == 0 {
		addr = netip.AddrPortFrom(addr.Addr(), FreePort(t, o.NS, addr.Addr()))
	} else if l, err := o.NS.Listen("tcp", addr.String()); err != nil {
		// What answers there already would be taken for the server.
		return nil, fmt.Errorf("start %s: %w", name, err)
	} else {
		l.Close()
	}
	dir := t.TempDir()
	text, args := build(dir, strings.NewReplacer("{addr}", addr.String(), "{dir}", dir).Replace(o.Config))
	if err := os.WriteFile(filepath.Join(dir, "server.conf"), []byte(text), 0o644); err != nil {
		return nil, err
	}
	p, err := startProgram(t, ProgramOptions{NS: o.NS, Name: name, Args: args, Ready: []netip.AddrPort{addr}})
	if err != nil {
		if text := strings.ToLower(err.Error()); strings.Contains(text, "address already in use") || strings.Contains(text, "cannot bind") {
			err = fmt.Errorf("%w: %w", errTaken, err)
		}
		return nil, err
	}
	return &Server{Program: p, Addr: addr, Dir: dir}, nil
}
