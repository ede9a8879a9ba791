//go:build bench

package bench

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	"weir/internal/testnet"
)

// scene is what an overload run happens in: what is spoken, what stands behind
// the proxies, and how many ask.
type scene struct {
	protocol
	clients int
	// lab starts a namespace with the backend. All of it ends with the test.
	lab func(t *testing.T) *overloadLab
	// closed is what the backend answers in a second to clients who wait for their
	// answer and ask anew at once.
	closed  func(t *testing.T, l *overloadLab) float64
	backend string // for the heading
	// after looks at a proxy once the arrivals are over; may be nil.
	after func(t *testing.T, l *overloadLab, p overloadProxy)
}

// overloadLab is a namespace with the backend of an overload run.
type overloadLab struct {
	*lab
	addr netip.AddrPort // of the backend
	pid  int
}

var httpScene = scene{
	protocol: httpProtocol{},
	clients:  2000,
	lab:      newOverloadLab,
	closed:   wrkCapacity,
	backend:  fmt.Sprintf("%d workers, %v a request", workers, service),
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

// wrkCapacity has 16 clients for 10 workers, each with its next request at once.
func wrkCapacity(t *testing.T, l *overloadLab) float64 {
	out, err := l.ns.Command(testnet.NeedProgram(t, "wrk"), "-t1", "-c16", fmt.Sprintf("-d%ds", int(size.duration.Seconds())),
		"http://"+l.addr.String()+"/").CombinedOutput()
	if err != nil {
		t.Fatalf("wrk: %v\n%s", err, out)
	}
	perSecond, _ := strconv.ParseFloat(find(rePerSec, string(out)), 64)
	return perSecond
}

// capacity is what all rows are compared with, and what the steps are multiples
// of. Less than the share least of what the workers could do is none.
func (sc *scene) capacity(t *testing.T, least float64) float64 {
	perSecond := sc.closed(t, sc.lab(t))
	ideal := float64(workers) * float64(time.Second) / float64(service)
	if perSecond < least*ideal || perSecond > 1.02*ideal {
		t.Fatalf("the backend answers %.0f requests a second, want %.0f: the machine is too busy, or the backend is wrong", perSecond, ideal)
	}
	return perSecond
}

// overloadRun takes one kind through the steps, with a namespace and processes
// of its own, so that no queue is another's remainder. All kinds get the same
// arrivals.
func (sc *scene) overloadRun(t *testing.T, k overloadKind, capacity float64, steps []step, first float64) overloadRow {
	for _, s := range steps {
		if s.length < window || s.length%window != 0 {
			t.Fatalf("a step of %v: want a multiple of %v (-step)", s.length, window)
		}
	}
	row := overloadRow{overloadKind: k, capacity: capacity}
	l := sc.lab(t)
	p := overloadProxy{addr: l.addr, pids: func() []int { return nil }}
	if k.start != nil {
		if p, row.refused = k.start(l.lab, l.addr); row.refused != nil {
			return row
		}
	}
	arrivals := draw(1, capacity, steps, first)
	proxyPIDs, backendPIDs, ownPIDs := p.pids(), []int{l.pid}, []int{os.Getpid()}
	var samples []overloadSample
	l.ns.Do(func() {
		c, err := newCrowd(sc.protocol, p.addr, sc.clients)
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
	row.before, row.steps = measure(steps, arrivals, samples, capacity)
	for _, s := range row.steps {
		t.Logf("%gx: answered in time, each %v, of what could be: %.2f", s.times, window, s.windows)
	}
	if sc.after != nil {
		sc.after(t, l, p)
	}
	return row
}

// crowdOf has n clients make requests at the given moments, and returns what
// became of them by result, and how many connections were opened.
func crowdOf(l *lab, p protocol, to netip.AddrPort, n int, at ...time.Duration) (arrivals []arrival, results map[int]int, opened int) {
	l.t.Helper()
	l.ns.Do(func() {
		c, err := newCrowd(p, to, n)
		if err != nil {
			l.t.Fatal(err)
		}
		defer c.close()
		for _, at := range at {
			c.arrivals = append(c.arrivals, arrival{at: at})
		}
		if err := c.run(); err != nil {
			l.t.Fatal(err)
		}
		arrivals, opened = c.arrivals, c.opened
	})
	results = map[int]int{}
	for _, a := range arrivals {
		results[a.result]++
	}
	return arrivals, results, opened
}
