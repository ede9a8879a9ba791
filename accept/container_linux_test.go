//go:build !weir_netconn

package accept

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/internal/testnet"
)

// container is an image's process that runs as a strict runtime would have it:
// the image as its read-only root and nothing else of this machine, process 1 of
// its own namespace, the image's user, no capability, no way to gain one.
type container struct {
	t    *testing.T
	ns   *testnet.Netns
	cmd  *exec.Cmd
	gone chan struct{} // closed when the process has ended

	stdout, stderr lockedBuffer
}

// containerOptions say what a container gets beside its image.
type containerOptions struct {
	Net   *testnet.Netns
	Proc  bool              // a /proc, as every runtime gives; weir must do without
	Binds map[string]string // files and directories of this machine, by their path in it; read-only
}

// run starts an image: its ENTRYPOINT with args, or with its CMD if there are
// none. Paths that are mounted on are made first, as a runtime does.
func (i *image) run(t *testing.T, o containerOptions, args ...string) *container {
	t.Helper()
	c := &container{t: t, ns: o.Net, gone: make(chan struct{})}
	p := plan{Root: filepath.Join(t.TempDir(), "root"), Proc: o.Proc, Binds: o.Binds, Args: slices.Concat(i.entry, args)}
	if len(args) == 0 {
		p.Args = slices.Concat(i.entry, i.command)
	}
	if _, err := fmt.Sscanf(i.user, "%d:%d", &p.UID, &p.GID); err != nil {
		t.Fatalf("USER %s: is not UID:GID in numbers: %v", i.user, err)
	}
	if err := copyTree(i.root, p.Root, nil); err != nil {
		t.Fatal(err)
	}
	if err := p.makeMountPoints(); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	c.cmd = exec.Command("/proc/self/exe")
	c.cmd.Env = []string{planVariable + "=" + string(text)}
	c.cmd.Stdout, c.cmd.Stderr = &c.stdout, &c.stderr
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS}

	started := make(chan error, 1)
	go o.Net.Do(func() { // the cleanup waits for it
		// The child dies with the thread that made it: this one stays.
		err := c.cmd.Start()
		started <- err
		if err == nil {
			c.cmd.Wait()
		}
		close(c.gone)
	})
	if err := <-started; err != nil {
		t.Fatalf("start a container: %v (it needs root)", err)
	}
	t.Cleanup(func() {
		c.cmd.Process.Kill()
		<-c.gone
		if t.Failed() {
			t.Logf("%v printed:\n%s%s", p.Args, c.stdout.String(), c.stderr.String())
		}
	})
	return c
}

// wait waits for the container's end and returns its exit code.
func (c *container) wait(limit time.Duration) int {
	c.t.Helper()
	select {
	case <-c.gone:
	case <-time.After(limit):
		c.t.Fatalf("%v still runs after %v", c.cmd, limit)
	}
	return c.cmd.ProcessState.ExitCode()
}

// started waits until weir in the container says that it serves.
func (c *container) started() {
	c.t.Helper()
	testnet.WaitFor(c.t, 20*time.Second, "weir in a container starts", func() bool {
		select {
		case <-c.gone:
			c.t.Fatal("the container ended")
		default:
		}
		return strings.Contains(c.stderr.String(), `"msg":"started"`)
	})
}

func (c *container) signal(s syscall.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}

// file is a path under /proc of the container's process, seen from here.
func (c *container) file(name string) string {
	return fmt.Sprintf("/proc/%d/%s", c.cmd.Process.Pid, name)
}

// client makes requests in the container's network, on connections of their own.
func (c *container) client() *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(_ context.Context, network, address string) (net.Conn, error) { return c.ns.Dial(network, address) },
	}}
}

// lockedBuffer is a buffer that is read while a process writes to it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// plan is what the test tells the process that becomes the container: the test
// binary itself, which finds it in its environment before any test runs.
type plan struct {
	Root     string
	Proc     bool
	Binds    map[string]string
	UID, GID int
	Args     []string
}

const planVariable = "WEIR_ACCEPT_CONTAINER"

func init() {
	text := os.Getenv(planVariable)
	if text == "" {
		return
	}
	runtime.LockOSThread() // capabilities are a thread's
	var p plan
	err := json.Unmarshal([]byte(text), &p)
	if err == nil {
		err = p.become()
	}
	fmt.Fprintln(os.Stderr, "enter the container:", err)
	os.Exit(125)
}

func (p *plan) makeMountPoints() error {
	if p.Proc {
		if err := os.Mkdir(filepath.Join(p.Root, "proc"), 0o555); err != nil {
			return err
		}
	}
	for to, from := range p.Binds {
		to = filepath.Join(p.Root, to)
		if info, err := os.Stat(from); err != nil {
			return err
		} else if info.IsDir() {
			if err := os.MkdirAll(to, 0o755); err != nil {
				return err
			}
		} else if err := os.WriteFile(to, nil, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// become turns the calling process, which is in new namespaces, into the
// container's. It returns only if it failed.
func (p *plan) become() error {
	// Nothing that is mounted here may show outside.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount(p.Root, p.Root, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind the root: %w", err)
	}
	if p.Proc {
		if err := unix.Mount("proc", filepath.Join(p.Root, "proc"), "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
			return fmt.Errorf("mount /proc: %w", err)
		}
	}
	const readOnly = unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV
	for to, from := range p.Binds {
		to = filepath.Join(p.Root, to)
		if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind %s: %w", from, err)
		}
		if err := unix.Mount("", to, "", readOnly, ""); err != nil {
			return fmt.Errorf("make %s read-only: %w", to, err)
		}
	}
	if err := unix.Mount("", p.Root, "", readOnly, ""); err != nil {
		return fmt.Errorf("make the root read-only: %w", err)
	}
	// The old root is put over the new one and taken off, see pivot_root(2).
	if err := os.Chdir(p.Root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("change the root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("take the old root off: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if err := p.dropPrivileges(); err != nil {
		return err
	}
	return unix.Exec(p.Args[0], p.Args, []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/"})
}

func (p *plan) dropPrivileges() error {
	for c := uintptr(0); ; c++ {
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if err == unix.EINVAL && c > unix.CAP_BLOCK_SUSPEND {
			break // beyond the last that this kernel has
		}
		if err != nil {
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("clear the ambient capabilities: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	if err := syscall.Setgroups(nil); err != nil {
		return fmt.Errorf("clear the groups: %w", err)
	}
	if err := syscall.Setresgid(p.GID, p.GID, p.GID); err != nil {
		return fmt.Errorf("become group %d: %w", p.GID, err)
	}
	if err := syscall.Setresuid(p.UID, p.UID, p.UID); err != nil {
		return fmt.Errorf("become user %d: %w", p.UID, err)
	}
	var none [2]unix.CapUserData
	if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0]); err != nil {
		return fmt.Errorf("drop the capabilities: %w", err)
	}
	// Last, as a change of user clears it.
	return unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
}
