//go:build bench

package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/internal/testnet"
	"weir/tcpstat"
)

// holders are programs that hold both ends of connections among themselves, as
// many as one process may have descriptors for.
const (
	holders    = 5
	holderPair = 5000
	holder     = `
import socket, sys
l = socket.socket(); l.bind(("127.0.0.1", 0)); l.listen(4096); a = l.getsockname(); kept = []
for i in range(int(sys.argv[1])):
    c = socket.create_connection(a); kept += [c, l.accept()[0]]
print(a[1], flush=True); sys.stdin.read()
`
)

// cost is what one way to see all sockets takes.
type cost struct {
	name      string
	cpu, wall time.Duration // the median
	allocs    uint64        // of one list; where it is this process's
}

// TestBenchSeeing50000Sockets holds the list that weir makes against ss and
// against the text of /proc, with 50,000 sockets in the namespace; and what weir
// itself uses, with nothing else to do, against the half percent that is promised.
func TestBenchSeeing50000Sockets(t *testing.T) {
	pairs := holderPair
	if testing.Short() {
		pairs = 500
	}
	var weir kind
	for _, k := range kinds {
		if k.name == "weir" {
			weir = k
		}
	}
	l := newLab(t, weir)
	p := l.proxies[0]
	quiet := cpuOver(p.pids(), idleTime())
	var plan []tcpstat.BackendPlan
	for range holders {
		dest := l.hold(pairs)
		pair, ok := tcpstat.PairTo(dest.String())
		if !ok {
			t.Fatalf("no way to %v", dest)
		}
		plan = append(plan, tcpstat.BackendPlan{Name: dest.String(), Ledger: tcpstat.NewLedger(), Endpoints: []tcpstat.Pair{pair}})
	}
	sockets := holders * pairs * 2

	var of []cost
	var ports *tcpstat.LocalPorts
	l.ns.Do(func() {
		var err error
		if ports, err = tcpstat.ReadLocalPorts(); err != nil {
			t.Fatal(err)
		}
	})
	survey := tcpstat.NewSurvey(l.stat)
	of = append(of, l.timed("weir's list, by state, owner and port", func() time.Duration {
		return tcpstat.CPUTime(func() {
			r, err := survey.Look(time.Now(), tcpstat.All, ports, nil, plan)
			if err != nil || r.Sockets < sockets {
				t.Fatalf("%+v, %v, want %d sockets", r, err, sockets)
			}
		})
	}))
	of = append(of, l.timed("weir's list of listeners alone", func() time.Duration {
		return tcpstat.CPUTime(func() { l.stat.Counts(tcpstat.Filter{States: tcpstat.MaskOf(tcpstat.Listen)}) })
	}))
	of = append(of, l.timed("reading /proc/net/tcp, unparsed", func() (d time.Duration) {
		l.ns.Do(func() {
			d = tcpstat.CPUTime(func() {
				f, err := os.Open("/proc/thread-self/net/tcp")
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				if n, err := io.Copy(io.Discard, f); err != nil || n < int64(sockets)*100 {
					t.Fatalf("%d bytes, %v", n, err)
				}
			})
		})
		return d
	}))
	of = append(of, l.timed("ss -Htan", func() time.Duration { return l.program("ss", "-Htan") }))
	of = append(of, l.timed("ss -s", func() time.Duration { return l.program("ss", "-s") }))

	// The interval has followed the number of sockets when a list has.
	var s struct {
		Sockets struct {
			Listed   int
			Interval float64 `json:"interval_seconds"`
			Cost     float64
		}
	}
	testnet.WaitFor(t, time.Minute, "a list of weir's with all sockets", func() bool {
		if err := json.Unmarshal([]byte(l.curl("http://"+adminOfWeir+"/api/status")), &s); err != nil {
			t.Fatal(err)
		}
		return s.Sockets.Listed >= sockets
	})
	busy := cpuOver(p.pids(), idleTime())

	var b strings.Builder
	fmt.Fprintf(&b, "\n| all of %s sockets | CPU, ms | time, ms | allocations |\n|---|---|---|---|\n", thousands(sockets))
	for _, c := range of {
		allocs := "-"
		if c.allocs > 0 {
			allocs = strconv.FormatUint(c.allocs, 10)
		}
		fmt.Fprintf(&b, "| %s | %.1f | %.1f | %s |\n", c.name, c.cpu.Seconds()*1e3, c.wall.Seconds()*1e3, allocs)
	}
	fmt.Fprintf(&b, "\nweir that nobody asks anything uses %.3f %% of a processor with %s sockets and %.3f %% with few, a list every %.1f s included (which says of itself %.3f %%)\n",
		100*busy, thousands(sockets), 100*quiet, s.Sockets.Interval, 100*s.Sockets.Cost)
	fmt.Fprint(os.Stdout, b.String())
	if s.Sockets.Cost > 0.005 {
		t.Errorf("the lists take %.4f of a processor, want 0.005 at most", s.Sockets.Cost)
	}
	if of[0].allocs > uint64(sockets)/50 {
		t.Errorf("a list of %d sockets makes %d allocations", sockets, of[0].allocs)
	}
}

func idleTime() time.Duration {
	if testing.Short() {
		return time.Second
	}
	return 20 * time.Second
}

// cpuOver is the part of a processor that processes use in a while.
func cpuOver(pids []int, d time.Duration) float64 {
	before, began := cpu(pids), time.Now()
	testnet.Pace(nil, d)
	return (cpu(pids) - before).Seconds() / time.Since(began).Seconds()
}

// hold starts a holder and returns its address.
func (l *lab) hold(pairs int) netip.AddrPort {
	l.t.Helper()
	cmd := l.ns.Command(testnet.NeedProgram(l.t, "python3"), "-c", holder, strconv.Itoa(pairs))
	in, err := cmd.StdinPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		in.Close() // it ends with its input
		cmd.Wait()
	})
	var port uint16
	if _, err := fmt.Fscan(out, &port); err != nil {
		l.t.Fatalf("a process that holds %d connections: %v", pairs, err)
	}
	return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
}

// program runs one in the namespace and returns the processor time that it took.
func (l *lab) program(name string, args ...string) time.Duration {
	l.t.Helper()
	cmd := l.ns.Command(testnet.NeedProgram(l.t, name), args...)
	if err := cmd.Run(); err != nil { // its output goes nowhere
		l.t.Fatal(err)
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// timed runs f, which returns the processor time that it took, several times.
func (l *lab) timed(name string, f func() time.Duration) cost {
	l.t.Helper()
	const runs = 9
	var cpus, walls []time.Duration
	var before, after runtime.MemStats
	f()
	runtime.ReadMemStats(&before)
	for range runs {
		began := time.Now()
		cpus = append(cpus, f())
		walls = append(walls, time.Since(began))
	}
	runtime.ReadMemStats(&after)
	same := func(d time.Duration) time.Duration { return d }
	c := cost{name: name, cpu: middle(cpus, same), wall: middle(walls, same)}
	if strings.HasPrefix(name, "weir's") {
		c.allocs = (after.Mallocs - before.Mallocs) / runs
	}
	return c
}
