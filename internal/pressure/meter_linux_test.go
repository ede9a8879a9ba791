package pressure

import (
	"math"
	"os"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// hold opens n descriptors until the test ends, and returns how many are open then.
func hold(t *testing.T, n int) (open uint64) {
	t.Helper()
	for range n {
		fd, err := unix.Dup(1)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
	}
	list, err := os.ReadDir(fdDir)
	if err != nil {
		t.Fatal(err)
	}
	return uint64(len(list) - 1) // without the directory's own
}

func TestThisMachineIsRead(t *testing.T) {
	m := NewMeter()
	defer m.Close()
	open := hold(t, 500)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	var took []time.Duration
	var r Reading
	for range 200 {
		began := time.Now()
		r = m.Read()
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	d := r[Descriptors]
	if near := float64(d.Used) - float64(open); d.Bound != limit.Cur || math.Abs(near) > float64(limit.Cur)/samples {
		t.Errorf("descriptors %+v; %d are open, the limit is %d", d, open, limit.Cur)
	}
	if m.files.counts && d.Used != open {
		t.Errorf("%d descriptors are counted, %d are open", d.Used, open)
	}
	if u := r[Memory]; u.Bound > 0 && (u.Used < 1<<20 || u.Used > 2*u.Bound || u.Of == "") {
		t.Errorf("memory %+v", u)
	}
	t.Logf("figure: a look takes %v, at best %v: %+v", took[len(took)/2], took[0], r)
	if took[0] > 100*time.Microsecond { // the best: others use this machine too
		t.Errorf("a look takes %v, want less than 100 us", took[0])
	}
}

func TestWithoutACountASampleIsRightWithinOneInItsSize(t *testing.T) {
	f := newFiles()
	f.counts = false
	open := hold(t, 700)
	for _, limit := range []uint64{100, 256, 600, 800, 1024, 5000, 19999, 1 << 20} {
		n, ok := f.estimate(limit)
		if want := min(open, limit); !ok || math.Abs(float64(n)-float64(want)) > float64(limit)/samples+1 {
			t.Errorf("of a limit of %d: %d, %v; %d are open", limit, n, ok, want)
		}
	}
}

func TestWithoutACgroupsLimitGOMEMLIMITIsTheBound(t *testing.T) {
	old := debug.SetMemoryLimit(math.MaxInt64)
	defer debug.SetMemoryLimit(old)
	m := &Meter{findCgroup(t.TempDir()), newFiles(), newGoLimit()}
	if u := m.Read()[Memory]; u != (Use{}) {
		t.Errorf("without either: %+v", u)
	}
	const limit, size = 1 << 30, 64 << 20
	debug.SetMemoryLimit(limit)
	debug.FreeOSMemory()
	before := m.Read()[Memory]
	live := make([]byte, size)
	debug.FreeOSMemory()
	with := m.Read()[Memory]
	if before.Bound != limit || before.Of != "GOMEMLIMIT" || before.Used < 1<<20 || before.Used > 256<<20 {
		t.Errorf("GOMEMLIMIT is read as %+v", before)
	}
	if grown := int64(with.Used - before.Used); grown < size*9/10 || grown > size*11/10 {
		t.Errorf("%d bytes are in use after %d: %d more were allocated", with.Used, before.Used, size)
	}
	clear(live)
	for range 4 {
		live = make([]byte, 8<<20) // garbage
		clear(live)
	}
	debug.FreeOSMemory()
	if after := m.Read()[Memory]; after.Used > before.Used+16<<20 {
		t.Errorf("%d bytes are in use, of which the most are garbage; before it were %d", after.Used, before.Used)
	}
	m2 := &Meter{findCgroup(tree(t, places[0].files)), newFiles(), newGoLimit()}
	defer m2.Close()
	if u := m2.Read()[Memory]; u != places[0].want {
		t.Errorf("with a cgroup's limit besides: %+v", u)
	}
}
