//go:build bench

package bench

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// plan is how much is run.
type plan struct {
	rounds   int           // of wrk, after one that warms up
	duration time.Duration // of one wrk
	storm    int           // connections of which TIME_WAIT is counted
	idle     int           // clients that wait
	labs     int           // how often the memory of idle clients is measured
	traced   time.Duration // of one wrk with strace attached
}

var (
	full  = plan{rounds: 5, duration: 4 * time.Second, storm: 20_000, idle: 5_000, labs: 3, traced: 4 * time.Second}
	short = plan{rounds: 1, duration: time.Second, storm: 2_000, idle: 500, labs: 1, traced: time.Second}

	size   = full
	binary string // of weir, built once
)

// With -short everything runs once and briefly: that shows that the runs work,
// and its figures mean nothing.
func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		size = short
	}
	dir, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "weir")
	if err := build(binary); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// build makes the binary as the Makefile does, so that what is measured is what
// people get. Outside of a git tree it has no version.
func build(to string) error {
	revision, _ := exec.Command("git", "describe", "--tags", "--always", "--dirty").Output()
	flags := "-s -w -X main.version=" + strings.TrimSpace(string(revision))
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", flags, "-o", to, "weir/cmd/weir")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// The cost of requests: CPU time, latency, and connections that the backend has
// to take.
func TestBenchRequests(t *testing.T) {
	l := newLab(t, kinds...)
	fmt.Printf("\n%s\nwrk: one thread, %d connections, a body of %d bytes; medians of %d rounds of %v.\n",
		machine(t), connections, len(body), size.rounds, size.duration)
	for _, closing := range []bool{true, false} {
		printRequests(l, closing, l.requests(closing))
	}
}

// What is there between and after requests: memory, system calls, sockets. Each
// figure has a namespace and processes of its own, so that none is another's
// remainder.
func TestBenchFootprint(t *testing.T) {
	var rows []footprint
	for _, k := range kinds {
		f := footprint{kind: k}
		// The subtest's end stops what it started.
		t.Run(k.name, func(t *testing.T) {
			f.firstLeft = left(t, k, false)
			f.lastLeft = left(t, k, true)
			if k.start == nil {
				return
			}
			f.idle = idleClients(t, k)
			f.short = calls(t, k, true)
			f.keepalive = calls(t, k, false)
		})
		rows = append(rows, f)
	}
	if t.Failed() {
		return // half a table is none
	}
	printFootprint(t, rows)
	printCalls(t, rows)
}
