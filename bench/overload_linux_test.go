//go:build bench

package bench

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"weir/internal/testnet"
)

var stepLength = flag.Duration("step", 0, "length of a step of the overload runs, in half seconds; 0: 5s, or 1s with -short")

// More than the backend can answer, from clients that do not wait for each
// other's answers: what comes through in time, and how soon after a step.
func TestBenchOverload(t *testing.T) {
	capacity := overloadCapacity(t)
	var rows []overloadRow
	for _, k := range overloadKinds {
		t.Run(k.String(), func(t *testing.T) { rows = append(rows, overloadRun(t, k, capacity, overloadSteps(1, 2, 5, 10, 1), 0)) })
	}
	if t.Failed() {
		return // half a table is none
	}
	printOverload(t, capacity, rows)
}

// The same where a fifth of the requests matter more: they alone are less than
// the capacity.
func TestBenchOverloadPriority(t *testing.T) {
	capacity := overloadCapacity(t)
	var rows []overloadRow
	for _, k := range priorityKinds {
		t.Run(k.String(), func(t *testing.T) { rows = append(rows, overloadRun(t, k, capacity, overloadSteps(1, 2, 4, 1), 0.2)) })
	}
	if t.Failed() {
		return
	}
	printPriority(t, capacity, rows)
}

// overloadSteps are the steps of a run, with one before them that warms up: at
// half the capacity, for long enough that each client asks once.
func overloadSteps(times ...float64) []step {
	length := *stepLength
	switch {
	case length == 0 && testing.Short():
		length = time.Second
	case length == 0:
		length = 5 * time.Second
	}
	list := []step{{times: 0.5, length: min(4*time.Second, length), warm: true}}
	for _, n := range times {
		list = append(list, step{times: n, length: length})
	}
	return list
}

// overloadLab is a namespace with the backend of the overload runs.
type overloadLab struct {
	*lab
	addr netip.AddrPort // of the backend
	pid  int
}

func newOverloadLab(t *testing.T) *overloadLab {
	l := &overloadLab{lab: &lab{t: t, ns: testnet.NewNetns(t)}}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l.addr = l.free()
	p := testnet.StartProgram(t, testnet.ProgramOptions{NS: l.ns, Name: self, Args: []string{backendCommand, l.addr.String()}, Ready: []netip.AddrPort{l.addr}})
	l.pid = p.PID()
	return l
}

// overloadCapacity is what the backend answers in a second when it never lacks a
// request: 16 clients for 10 workers, each with its next request at once.
func overloadCapacity(t *testing.T) float64 {
	l := newOverloadLab(t)
	out, err := l.ns.Command(testnet.NeedProgram(t, "wrk"), "-t1", "-c16", fmt.Sprintf("-d%ds", int(size.duration.Seconds())),
		"http://"+l.addr.String()+"/").CombinedOutput()
	if err != nil {
		t.Fatalf("wrk: %v\n%s", err, out)
	}
	perSecond, _ := strconv.ParseFloat(find(rePerSec, string(out)), 64)
	ideal := float64(workers) * float64(time.Second) / float64(service)
	if perSecond < 0.95*ideal || perSecond > 1.02*ideal {
		t.Fatalf("the backend answers %.0f requests a second, want %.0f: the machine is too busy, or the backend is wrong\n%s", perSecond, ideal, out)
	}
	return perSecond
}

// overloadRun takes one kind through the steps, with a namespace and processes
// of its own, so that no queue is another's remainder. All kinds get the same
// arrivals.
func overloadRun(t *testing.T, k overloadKind, capacity float64, steps []step, first float64) overloadRow {
	for _, s := range steps {
		if s.length < window || s.length%window != 0 {
			t.Fatalf("a step of %v: want a multiple of %v (-step)", s.length, window)
		}
	}
	row := overloadRow{overloadKind: k, capacity: capacity}
	l := newOverloadLab(t)
	addr, pids := l.addr, func() []int { return nil }
	if k.start != nil {
		if addr, pids, row.refused = k.start(l.lab, l.addr); row.refused != nil {
			return row
		}
	}
	arrivals := draw(1, capacity, steps, first)
	proxyPIDs, backendPIDs, ownPIDs := pids(), []int{l.pid}, []int{os.Getpid()}
	var samples []overloadSample
	l.ns.Do(func() {
		c, err := newCrowd(addr, crowdSize)
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		begin := time.Duration(0)
		for _, s := range steps {
			c.marks = append(c.marks, begin)
			begin += s.length
		}
		c.marks = append(c.marks, begin)
		c.arrivals = arrivals
		c.mark = func() {
			samples = append(samples, overloadSample{runTime(t, proxyPIDs), runTime(t, backendPIDs), runTime(t, ownPIDs), c.opened})
		}
		if err := c.run(); err != nil {
			t.Fatal(err)
		}
	})
	row.steps = measure(steps, arrivals, samples, capacity)
	return row
}

// crowdOf has n clients make requests at the given moments, and returns what
// became of them by result, and how many connections were opened.
func crowdOf(t *testing.T, ns *testnet.Netns, to netip.AddrPort, n int, at ...time.Duration) (arrivals []arrival, results map[int]int, opened int) {
	t.Helper()
	ns.Do(func() {
		c, err := newCrowd(to, n)
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		for _, at := range at {
			c.arrivals = append(c.arrivals, arrival{at: at})
		}
		if err := c.run(); err != nil {
			t.Fatal(err)
		}
		arrivals, opened = c.arrivals, c.opened
	})
	results = map[int]int{}
	for _, a := range arrivals {
		results[a.result]++
	}
	return arrivals, results, opened
}

// There are two ways in which a generator of load can lie: it does not ask while
// it waits, or it counts from the moment at which it got to ask.
func TestARequestThatFindsAllConnectionsBusyDoesNotWaitUnseen(t *testing.T) {
	l := newOverloadLab(t)
	// One client, 10 ms for a request: the second one takes 20, and the eleventh
	// has no chance.
	arrivals, results, _ := crowdOf(t, l.ns, l.addr, 1, make([]time.Duration, 14)...)
	if results[200] < 5 || results[200] > 10 || results[200]+results[timedOut]+results[unsent] != 14 || results[unsent] < 3 {
		t.Errorf("14 requests at once became %v, want nearly 10 answers and the rest without a connection", results)
	}
	for i, a := range arrivals {
		if least := time.Duration(i+1) * service; a.good() && a.done-a.at < least {
			t.Errorf("request %d took %v, want %v at least: all before it had to be answered", i, a.done-a.at, least)
		}
	}
}

func TestAClientThatGivesUpOpensAnotherConnection(t *testing.T) {
	ns := testnet.NewNetns(t)
	silent, err := ns.Listen("tcp", "127.0.0.1:0") // the kernel connects, nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	// 30 at once and 20 clients, who are all free again when 20 more come.
	at := append(make([]time.Duration, 30), slices.Repeat([]time.Duration{2 * deadline}, 20)...)
	_, results, opened := crowdOf(t, ns, netip.MustParseAddrPort(silent.Addr().String()), 20, at...)
	if results[timedOut] != 40 || results[unsent] != 10 {
		t.Errorf("50 requests became %v, want 40 given up (%d) and 10 without a connection (%d)", results, timedOut, unsent)
	}
	if opened != 60 {
		t.Errorf("%d connections were opened, want 60: one for each client, and one for each request that was given up", opened)
	}
}
