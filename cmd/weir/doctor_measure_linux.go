package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"weir/tcpstat/audit"
)

const (
	// warmSockets are made before the first sample: they fill the places that
	// are free in pages the kernel has already.
	warmSockets = 4096
	stepSockets = 2048
	steps       = 5 // so that one or two that something else disturbed do not count
)

// measureTimeWaits makes TIME_WAIT sockets in a network namespace that goes with
// the process that made it, and reads from outside what the kernel's memory has
// grown by. A cost may be among the results although there is an error too.
func measureTimeWaits(ctx context.Context) (costs []audit.Cost, err error) {
	ctx, cancel := context.WithTimeout(ctx, measureLimit)
	defer cancel()
	for _, side := range []string{connectingSide, acceptingSide} {
		c, err := measureWell(ctx, side, measureLimit/2)
		if err != nil {
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				err = fmt.Errorf("given up after %v: %w", measureLimit, err)
			}
			return costs, err
		}
		costs = append(costs, c)
	}
	return costs, nil
}

// measureWell measures until the steps agree, as other work on the machine is in
// the numbers too, or until there is no time for one more try. It returns the try
// whose steps agree best.
func measureWell(ctx context.Context, side string, limit time.Duration) (best audit.Cost, err error) {
	began, tries := time.Now(), 0
	for {
		c, e := measureSide(ctx, side)
		if e == nil && (best.Sockets == 0 || c.Spread() < best.Spread()) {
			best = c
		}
		if e != nil {
			err = e
		}
		tries++
		used := time.Since(began)
		if best.Sure || ctx.Err() != nil || errors.Is(e, errNoNamespace) || used+used/time.Duration(tries) > limit {
			break
		}
	}
	if best.Sockets > 0 {
		return best, nil
	}
	return best, err
}

func measureSide(ctx context.Context, side string) (audit.Cost, error) {
	mem := bestMemory()
	p, err := startTimeWaits(ctx, side)
	if err != nil {
		return audit.Cost{}, err
	}
	defer p.stop()
	var samples []audit.Sample
	small := smaller()
	for i := range 1 + steps {
		n := stepSockets / small
		if i == 0 {
			n = warmSockets / small
		}
		s := audit.Sample{}
		if s.Sockets, err = p.add(n); err != nil {
			return audit.Cost{}, err
		}
		if err := mem.settle(ctx); err != nil {
			return audit.Cost{}, err
		}
		if s.Bytes, err = mem.read(); err != nil {
			return audit.Cost{}, err
		}
		samples = append(samples, s)
	}
	return audit.CostOf(side, mem.name, samples)
}

// smaller is what the numbers are divided by on a machine of so little memory
// that the kernel allows fewer: by itself half the buckets of its hash table.
func smaller() int {
	const most = warmSockets + steps*stepSockets
	n, err := firstNumber("/proc/sys/net/ipv4/tcp_ehash_entries")
	if n = max(n, -n) / 2; err != nil || n == 0 {
		return 1
	}
	return min(1+int(most/n), stepSockets)
}

// timeWaits is the process that holds the sockets.
type timeWaits struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

var errNoNamespace = errors.New("no network namespace to measure in")

// startTimeWaits runs this program again, in a network namespace of its own:
// root makes one, and others have the right to within a user namespace of their
// own, where the machine allows one.
func startTimeWaits(ctx context.Context, side string) (*timeWaits, error) {
	plain := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	user := &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
	var errs []error
	for _, attr := range []*syscall.SysProcAttr{plain, user} {
		p, err := startTimeWaitsAs(ctx, side, attr)
		if err == nil {
			return p, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("%w: %w; %s", errNoNamespace, errs[1], whyNoNamespace())
}

func startTimeWaitsAs(ctx context.Context, side string, attr *syscall.SysProcAttr) (*timeWaits, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &timeWaits{cmd: exec.CommandContext(ctx, exe, "doctor", timeWaitWord, side)}
	p.cmd.Args[0] = os.Args[0]
	p.cmd.SysProcAttr = attr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.out = bufio.NewScanner(stdout)
	if _, err := p.line(); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// line reads an answer: a number, or what went wrong. It does not outlast the
// context that the process was started with.
func (p *timeWaits) line() (int, error) {
	if !p.out.Scan() {
		return 0, errors.Join(errors.New("the process that makes the sockets ended"), p.out.Err())
	}
	n, err := strconv.Atoi(p.out.Text())
	if err != nil {
		return 0, errors.New(p.out.Text())
	}
	return n, nil
}

// add makes n more sockets and returns how many there are now.
func (p *timeWaits) add(n int) (int, error) {
	if _, err := fmt.Fprintln(p.in, n); err != nil {
		return 0, err
	}
	return p.line()
}

// stop ends the process, and with it the namespace and its sockets.
func (p *timeWaits) stop() {
	p.in.Close()
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// whyNoNamespace names what forbids user namespaces on this machine.
func whyNoNamespace() string {
	for _, s := range []struct{ file, value, says string }{
		{"/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces is 0"},
		{"/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone is 0"},
		{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns is 1"},
	} {
		if b, err := os.ReadFile(s.file); err == nil && strings.TrimSpace(string(b)) == s.value {
			return s.says + ": run it as root"
		}
	}
	return "a container's seccomp profile or its missing capabilities forbid it: run it on the host, or as root"
}

// memory is a way to read how much the kernel uses for sockets.
type memory struct {
	name string
	wait time.Duration // until what was made is in the numbers
	read func() (int64, error)
}

// bestMemory takes the sizes of the caches themselves, which only root may read,
// or else the sum over all caches. Neither cgroups nor process sizes would do: a
// TIME_WAIT socket belongs to nobody, and is charged to nobody.
func bestMemory() memory {
	if _, err := cacheBytes(); err == nil {
		return memory{name: "the slab caches of TIME_WAIT sockets and ports", wait: 300 * time.Millisecond, read: cacheBytes}
	}
	// Processors add up their own counts every second: vm.stat_interval.
	return memory{name: "SUnreclaim of /proc/meminfo, in which all else of the kernel is too", wait: 1500 * time.Millisecond, read: unreclaimable}
}

func (m memory) settle(ctx context.Context) error {
	t := time.NewTimer(m.wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// cacheBytes is what the objects in use take, each with its share of a slab, in
// the caches that a TIME_WAIT socket and its port come from. Caches of like
// objects are merged: two names may be one.
func cacheBytes() (int64, error) {
	total, seen := int64(0), map[string]bool{}
	for _, name := range []string{"tw_sock_TCP", "tcp_bind_bucket", "tcp_bind2_bucket"} {
		dir, err := filepath.EvalSymlinks("/sys/kernel/slab/" + name)
		if errors.Is(err, os.ErrNotExist) && name != "tw_sock_TCP" {
			continue // tcp_bind2_bucket came with 6.1
		}
		if err != nil {
			return 0, err
		}
		if seen[dir] {
			continue
		}
		seen[dir] = true
		var v [3]int64
		for i, file := range []string{"objects", "objs_per_slab", "order"} {
			if v[i], err = firstNumber(filepath.Join(dir, file)); err != nil {
				return 0, err
			}
		}
		if v[1] <= 0 {
			return 0, fmt.Errorf("%s: %d objects in a slab", dir, v[1])
		}
		total += v[0] * (int64(os.Getpagesize()) << v[2]) / v[1]
	}
	return total, nil
}

// unreclaimable is SUnreclaim: the kernel's own objects.
func unreclaimable() (int64, error) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "SUnreclaim:"); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return n << 10, err
		}
	}
	return 0, errors.New("/proc/meminfo has no SUnreclaim")
}

func firstNumber(path string) (int64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(b))
	if len(f) == 0 {
		return 0, fmt.Errorf("%s is empty", path)
	}
	return strconv.ParseInt(f[0], 10, 64)
}
