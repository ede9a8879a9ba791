//go:build bench

package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// tree is a process and its children.
func tree(pid int) []int {
	pids := []int{pid}
	out, _ := exec.Command("pgrep", "-P", strconv.Itoa(pid)).Output() // exits with 1 where there are none
	for f := range strings.FieldsSeq(string(out)) {
		if n, err := strconv.Atoi(f); err == nil {
			pids = append(pids, n)
		}
	}
	return pids
}

// cpu is the time that processes have run so far, all threads, in user space
// and in the kernel. It is exact, where utime and stime are sampled at ticks.
func cpu(pids []int) (sum time.Duration) {
	for _, pid := range pids {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				continue // the thread has ended
			}
			first, _, _ := strings.Cut(string(b), " ")
			n, _ := strconv.ParseInt(first, 10, 64)
			sum += time.Duration(n)
		}
	}
	return sum
}

// memory is what processes hold of their own, in bytes: anonymous and shared
// pages that are resident, those of several processes divided among them. Pages
// of the program's file are left out: the kernel drops and reads them again as
// it likes, and no client is the cause.
func memory(t *testing.T, pids []int) (sum int) {
	t.Helper()
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for line := range strings.Lines(string(b)) {
			var kb int
			if n, _ := fmt.Sscanf(line, "Pss_Anon: %d kB", &kb); n == 1 {
				found = true
			} else if n, _ := fmt.Sscanf(line, "Pss_Shmem: %d kB", &kb); n == 0 {
				continue
			}
			sum += kb << 10
		}
		if !found {
			t.Fatalf("/proc/%d/smaps_rollup has no line Pss_Anon: Linux 5.4 or later is needed", pid)
		}
	}
	return sum
}

// How long memory must stand still to count as settled, what may still move,
// and how long that is waited for.
const (
	stillFor   = 3 * time.Second
	stillBytes = 16 << 10
	stillLimit = 30 * time.Second
)

// settled waits until memory stands still, and returns what it is then. A
// runtime that gives pages back does so in the background, slowly. Where it
// does not end, still is false.
func settled(t *testing.T, pids []int) (bytes int, still bool) {
	t.Helper()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	began, since := time.Now(), time.Now()
	last := memory(t, pids)
	for time.Since(began) < stillLimit {
		<-tick.C
		now := memory(t, pids)
		if d := now - last; d > stillBytes || d < -stillBytes {
			last, since = now, time.Now()
		}
		if time.Since(since) >= stillFor {
			return now, true
		}
	}
	return memory(t, pids), false
}
