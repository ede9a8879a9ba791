// Package pressure tells how near this process is to the bounds of what it runs on:
// to the memory of its cgroup, and to its limit of open files. Beyond the first the
// kernel kills it, and with it all who are served; beyond the second nothing that
// needs a descriptor works, the dials to backends among it.
//
// It needs no privilege, and works on what a container shows of /proc and /sys.
// A look is meant to be taken some four times a second.
//
// It is a leaf: it imports nothing of ours.
package pressure

// Resource is what may run short.
type Resource uint8

const (
	Memory      Resource = iota
	Descriptors          // open files and sockets

	Resources // how many there are
)

var names = [Resources]string{"memory", "descriptors"}

// String is the word for logs and labels.
func (r Resource) String() string { return names[r] }

// Use is how much of a resource is in use, of how much: bytes, or descriptors.
// The zero value is what has no bound.
type Use struct {
	Used, Bound uint64
	Of          string // what sets the bound: a file, a limit or a variable; empty without one
}

// Share is the part that is in use, 0 where there is no bound. It can be over 1:
// limits are lowered while a process runs.
func (u Use) Share() float64 {
	if u.Bound == 0 {
		return 0
	}
	return float64(u.Used) / float64(u.Bound)
}

// Reading is one look at all of them.
type Reading [Resources]Use
