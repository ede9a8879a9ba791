//go:build bench

package bench

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/internal/testnet"
)

// call is a system call and how often it is made, and how often in vain: there
// was nothing to read, most of all.
type call struct {
	name      string
	n, failed float64 // for each request
}

// calls counts the system calls of a request, most frequent first: strace is
// attached to all threads of the proxy while wrk makes requests.
func calls(t *testing.T, k kind, closing bool) (list []call) {
	t.Helper()
	t.Run(fmt.Sprintf("calls-closing=%v", closing), func(t *testing.T) {
		l := newLab(t, k)
		p := l.proxies[0]
		l.wrk(p, closing, time.Second) // fills the pool
		pids := p.pids()

		file := filepath.Join(t.TempDir(), "calls")
		args := []string{"-c", "-f", "-o", file}
		for _, pid := range pids {
			args = append(args, "-p", strconv.Itoa(pid))
		}
		s := testnet.StartProgram(t, testnet.ProgramOptions{Name: "strace", Args: args})
		testnet.WaitFor(t, 10*time.Second, "strace attached to every thread", func() bool { return traced(t, pids) })
		text := l.wrk(p, closing, size.traced)
		s.Stop() // it detaches and writes

		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatalf("%v\n%s", err, s.Output())
		}
		counts := summary(string(b))
		if len(counts) == 0 {
			t.Fatalf("strace saw nothing:\n%s%s", b, s.Output())
		}
		requests := float64(l.answered(text))
		for _, c := range counts {
			list = append(list, call{c.name, c.n / requests, c.failed / requests})
		}
		slices.SortFunc(list, func(a, b call) int { return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.name, b.name)) })
	})
	return list
}

// traced says whether every thread of the processes has a tracer.
func traced(t *testing.T, pids []int) bool {
	t.Helper()
	for _, pid := range pids {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		if len(files) == 0 {
			t.Fatalf("process %d has ended", pid)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err == nil && strings.Contains(string(b), "TracerPid:\t0\n") {
				return false
			}
		}
	}
	return true
}

// summary reads strace -c: % time, seconds, usecs/call, calls, errors where there
// are any, name.
func summary(text string) (list []call) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 5 || f[len(f)-1] == "total" {
			continue
		}
		n, err := strconv.Atoi(f[3])
		if err != nil {
			continue // the heading
		}
		failed := 0
		if len(f) > 5 {
			failed, _ = strconv.Atoi(f[4])
		}
		list = append(list, call{f[len(f)-1], float64(n), float64(failed)})
	}
	return list
}

func TestSummaryOfStraceIsReadByColumn(t *testing.T) {
	got := summary(`% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.003000           3      1000       250 read
 40.00    0.002000           2      1001           write
------ ----------- ----------- --------- --------- ----------------
100.00    0.005000           2      2001       250 total
`)
	if want := []call{{"read", 1000, 250}, {"write", 1001, 0}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
