package pressure

import (
	"bytes"
	"errors"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroup reads the memory limits that this process is under: its cgroup's and
// those of all above, as far as its mount shows them (cgroups(7)). In a container
// that is mostly one.
type cgroup struct {
	root   string // "", or a test's tree
	kind   *kind
	levels []level
	failed bool // look for the levels anew: one could not be read, or there was no descriptor for it
	buf    [8 << 10]byte
}

// kind is what differs between the versions.
type kind struct {
	fstype, limit, current string
	cache                  []string // of memory.stat
}

// The page cache is not counted, as the kernel drops it before it kills; where it
// is most of the cgroup, as for whoever writes logs that others read, a proxy with
// all the memory it wants would look short. That is both lists of it: which one a
// page is on says only how often it was read.
// Shared memory is on neither (Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst).
var (
	v2 = &kind{"cgroup2", "memory.max", "memory.current", []string{"inactive_file", "active_file"}}
	v1 = &kind{"cgroup", "memory.limit_in_bytes", "memory.usage_in_bytes", []string{"total_inactive_file", "total_active_file"}}
)

// level is a cgroup that can have a limit. Its files stay open: when descriptors
// are short it is too late to open them.
type level struct {
	limit, current, stat int
	of                   string
}

// maxLevels bounds the descriptors held; deeper trees are seen from the inside out.
const maxLevels = 8

func findCgroup(root string) *cgroup {
	g := &cgroup{root: root}
	g.find()
	return g
}

// find opens the levels; without any there is no limit to be read.
func (g *cgroup) find() {
	g.failed = false
	own, kind := ownCgroup(g.file("/proc/self/cgroup"))
	if kind == nil {
		return
	}
	g.kind = kind
	mount, dir, ok := where(g.file("/proc/self/mountinfo"), kind, own)
	if !ok {
		return
	}
	for len(g.levels) < maxLevels {
		l, err := kind.open(g.root, dir)
		if err == nil {
			g.levels = append(g.levels, l)
		}
		g.note(err) // the topmost has no limit, nor have those without the controller
		if dir == mount {
			return
		}
		dir = path.Dir(dir)
	}
}

func (g *cgroup) file(name string) []byte {
	b, err := os.ReadFile(g.root + name)
	g.note(err)
	return b
}

// note takes an error that may be over the next time.
func (g *cgroup) note(err error) {
	for _, passing := range []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM} {
		g.failed = g.failed || errors.Is(err, passing)
	}
}

// ownCgroup finds the path of this process's cgroup in /proc/self/cgroup: that of
// version 1 if it has the memory controller, since it is then in no other.
func ownCgroup(b []byte) (own string, k *kind) {
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		switch {
		case len(f) < 3 || !strings.HasPrefix(f[2], "/"):
		case f[0] == "0" && k == nil:
			own, k = f[2], v2
		case has(f[1], "memory"):
			own, k = f[2], v1
		}
	}
	return own, k
}

func has(list, word string) bool {
	for w := range strings.SplitSeq(list, ",") {
		if w == word {
			return true
		}
	}
	return false
}

// where finds in /proc/self/mountinfo (proc_pid_mountinfo(5)) the directory of the
// cgroup own, and the mount it is in. What is mounted may be a part of the tree.
func where(b []byte, k *kind, own string) (mount, dir string, ok bool) {
	for line := range strings.Lines(string(b)) {
		before, after, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if len(f) < 5 || len(g) < 3 || g[0] != k.fstype || k == v1 && !has(g[2], "memory") {
			continue
		}
		rest, ok := below(own, unescape(f[3]))
		if !ok {
			continue // of other cgroups
		}
		mount = path.Clean(unescape(f[4]))
		return mount, path.Join(mount, rest), true
	}
	return "", "", false
}

// below returns where dir lies below root.
func below(dir, root string) (rest string, ok bool) {
	if strings.Contains(dir, "/..") { // outside of our cgroup namespace
		return "", false
	}
	rest, ok = strings.CutPrefix(dir, strings.TrimSuffix(root, "/"))
	return rest, ok && (rest == "" || rest[0] == '/')
}

// unescape undoes the octal escapes of blanks and backslashes.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				out.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

func (k *kind) open(root, dir string) (l level, err error) {
	fds := [3]int{-1, -1, -1}
	for i, name := range []string{k.limit, k.current, "memory.stat"} {
		if fds[i], err = unix.Open(root+path.Join(dir, name), unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			for _, fd := range fds[:i] {
				unix.Close(fd)
			}
			return level{}, err
		}
	}
	return level{fds[0], fds[1], fds[2], path.Join(dir, k.limit)}, nil
}

func (g *cgroup) close() {
	for _, l := range g.levels {
		unix.Close(l.limit)
		unix.Close(l.current)
		unix.Close(l.stat)
	}
	g.levels = nil
}

// read returns the use of the cgroup whose limit is nearest; none if there is no
// limit.
func (g *cgroup) read() (nearest Use) {
	if g.failed {
		g.close()
		g.find()
	}
	for i := range g.levels {
		u, err := g.use(&g.levels[i])
		if err != nil {
			g.failed = true // this process was moved, and the cgroup removed
			continue
		}
		if u.Bound > 0 && (nearest.Bound == 0 || u.Share() > nearest.Share()) {
			nearest = u
		}
	}
	return nearest
}

// unlimited is less than what stands for no limit in version 1: the largest number
// of whole pages.
const unlimited = 1 << 62

func (g *cgroup) use(l *level) (Use, error) {
	limit, err := g.number(l.limit)
	if err != nil || limit == 0 || limit >= unlimited {
		return Use{}, err
	}
	current, err := g.number(l.current)
	if err != nil {
		return Use{}, err
	}
	stat, err := g.text(l.stat)
	if err != nil {
		return Use{}, err
	}
	var cache uint64
	for _, name := range g.kind.cache {
		cache += field(stat, name)
	}
	return Use{Used: current - min(current, cache), Bound: limit, Of: l.of}, nil
}

// number reads a file of one number; "max" is unlimited.
func (g *cgroup) number(fd int) (uint64, error) {
	b, err := g.text(fd)
	if err != nil {
		return 0, err
	}
	b = bytes.TrimSpace(b)
	if string(b) == "max" {
		return unlimited, nil
	}
	return strconv.ParseUint(string(b), 10, 64)
}

func (g *cgroup) text(fd int) ([]byte, error) {
	for {
		n, err := unix.Pread(fd, g.buf[:], 0)
		if err == nil {
			return g.buf[:n], nil
		}
		if err != unix.EINTR {
			return nil, err
		}
	}
}

// field returns the number behind name in memory.stat, 0 without it.
func field(stat []byte, name string) uint64 {
	for len(stat) > 0 {
		var line []byte
		line, stat, _ = bytes.Cut(stat, []byte("\n"))
		if rest, ok := bytes.CutPrefix(line, []byte(name)); ok && len(rest) > 1 && rest[0] == ' ' {
			n, _ := strconv.ParseUint(string(rest[1:]), 10, 64)
			return n
		}
	}
	return 0
}
