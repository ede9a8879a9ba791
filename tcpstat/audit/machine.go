package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"weir/tcpstat"
)

// maxFile bounds what is read of one file. /proc/net/netstat has about 10 KiB.
const maxFile = 256 << 10

// Machine is what may be looked at.
type Machine struct {
	FS      fs.FS    // the root directory: proc/..., etc/...
	Sockets *Sockets // nil: sockets could not be listed
	NoList  error    // why, if Sockets is nil
	Pod     bool     // the process is in a pod of Kubernetes

	// before has the counters that Watch can tell the growth of, as they were
	// when it began.
	before map[string]uint64
}

// Place says who can change a setting, and how.
type Place string

const (
	Host       Place = "host" // or what looks like one
	Container  Place = "container"
	Kubernetes Place = "kubernetes"
)

// place goes by the marks that runtimes leave. Where they leave none the remedy
// for a host is shown, which root of a container finds out soon enough.
func (m *Machine) place() Place {
	if m.Pod {
		return Kubernetes
	}
	for _, mark := range []string{".dockerenv", "run/.containerenv"} {
		if _, err := fs.Stat(m.FS, mark); err == nil {
			return Container
		}
	}
	if text, err := m.text("proc/1/cgroup"); err == nil {
		for _, word := range []string{"/docker", "/kubepods", "/containerd", "/libpod", "/lxc"} {
			if strings.Contains(text, word) {
				return Container
			}
		}
	}
	return Host
}

// text reads a file. Its error is an *fs.PathError.
func (m *Machine) text(name string) (string, error) {
	f, err := m.FS.Open(name)
	if err != nil {
		return "", named(name, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return "", named(name, err)
	}
	return string(b), nil
}

func named(name string, err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = path.Err
	}
	return &fs.PathError{Op: "read", Path: name, Err: err}
}

// sysctlFile is where the kernel shows a setting, without the leading slash.
func sysctlFile(key string) string { return path.Join("proc/sys", strings.ReplaceAll(key, ".", "/")) }

// numbers reads a setting of exactly n numbers.
func (m *Machine) numbers(key string, n int) ([]int64, error) {
	name := sysctlFile(key)
	text, err := m.text(name)
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(text)
	out := make([]int64, 0, n)
	for _, f := range fields {
		v, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			break
		}
		out = append(out, v)
	}
	if len(fields) != n || len(out) != n {
		return nil, fmt.Errorf("/%s: %q is not what the kernel writes there: %d numbers", name, clip(text), n)
	}
	return out, nil
}

// number reads a setting of one number.
func (m *Machine) number(key string) (int64, error) {
	v, err := m.numbers(key, 1)
	if err != nil {
		return 0, err
	}
	return v[0], nil
}

// there says whether the kernel has a setting.
func (m *Machine) there(key string) bool {
	_, err := fs.Stat(m.FS, sysctlFile(key))
	return err == nil
}

// shown says whether anything of net.ipv4 is to be seen. Every Linux has it, so
// that without it settings are hidden, and none can be said to be missing.
func (m *Machine) shown() bool {
	const dir = "proc/sys/net/ipv4"
	f, err := m.FS.Open(dir)
	if err != nil {
		return false
	}
	defer f.Close()
	d, ok := f.(fs.ReadDirFile)
	if !ok {
		return false
	}
	all, _ := d.ReadDir(1) // an empty directory may be mounted over it
	return len(all) > 0
}

// lacks says whether err, of reading a setting, means that this kernel does not
// have it.
func (m *Machine) lacks(err error) bool { return errors.Is(err, fs.ErrNotExist) && m.shown() }

// groupFiles says where a group of counters is.
var groupFiles = map[string]string{"Tcp": "proc/self/net/snmp", "TcpExt": "proc/self/net/netstat", "MPTcpExt": "proc/self/net/netstat"}

// group is a group of counters at one moment. A kernel may lack any of them, and
// the group itself.
type group struct {
	file          string
	names, values []string
}

// group reads a file in which each group is a line of names and a line of values.
func (m *Machine) group(name string) (group, error) {
	g := group{file: groupFiles[name]}
	text, err := m.text(g.file)
	if err != nil {
		return g, err
	}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != name+":" {
			continue
		}
		if g.names != nil {
			g.values = f
			break
		}
		g.names = f
	}
	return g, nil
}

// number is 0 where the kernel does not count.
func (g group) number(name string) (uint64, error) {
	at := slices.Index(g.names, name)
	if at < 0 || at >= len(g.values) {
		return 0, nil
	}
	v, err := strconv.ParseUint(g.values[at], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("/%s: %s: %q is no number", g.file, name, clip(g.values[at]))
	}
	return v, nil
}

// counter reads one number of a group.
func (m *Machine) counter(group, name string) (uint64, error) {
	g, err := m.group(group)
	if err != nil {
		return 0, err
	}
	return g.number(name)
}

// sockstat reads a number of the line TCP of /proc/net/sockstat: inuse, orphan,
// tw, alloc or mem.
func (m *Machine) sockstat(name string) (int64, error) {
	const file = "proc/self/net/sockstat"
	text, err := m.text(file)
	if err != nil {
		return 0, err
	}
	if n, ok := tcpstat.Sockstat([]byte(text), "TCP", name); ok {
		return int64(n), nil
	}
	return 0, fmt.Errorf("/%s shows no number for %s of TCP", file, name)
}

// release is the kernel's, "" if it does not say.
func (m *Machine) release() string {
	text, err := m.text(sysctlFile("kernel.osrelease"))
	if err != nil {
		return ""
	}
	return clip(text)
}

// clip shortens a foreign text for a message: one line of printable ASCII.
func clip(s string) string {
	const most = 60
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > most {
		s = s[:most] + "..."
	}
	return s
}

// many writes a number with commas.
func many[T int | int64 | uint64](n T) string {
	s := strconv.FormatInt(int64(n), 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// part writes n of total as a percentage.
func part(n, total int64) string {
	if total <= 0 {
		return "100 %"
	}
	p := float64(n) * 100 / float64(total)
	if p > 0 && p < 0.1 {
		return "less than 0.1 %"
	}
	if p > 0 && p < 10 {
		return strconv.FormatFloat(p, 'f', 1, 64) + " %"
	}
	return strconv.FormatFloat(p, 'f', 0, 64) + " %"
}
