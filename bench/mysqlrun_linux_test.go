//go:build bench

package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/internal/testnet"
)

// sysbenchScript is what a thread of sysbench does, in Lua. A failed event ends
// the run.
type sysbenchScript struct {
	name string
	lua  string
}

var connectSelectQuit = sysbenchScript{"short connections: connect, SELECT 1, quit", testnet.SysbenchConnects}

var selectText = sysbenchScript{"point selects as text", fmt.Sprintf(`
function thread_init() c = sysbench.sql.driver():connect() end
function event() c:query("SELECT c FROM bench WHERE id=" .. sysbench.rand.uniform(1, %d)) end
function thread_done() c:disconnect() end
`, selectRows)}

var selectPrepared = sysbenchScript{"point selects, prepared", fmt.Sprintf(`
function thread_init()
  c = sysbench.sql.driver():connect()
  s = c:prepare("SELECT c FROM bench WHERE id=?")
  id = s:bind_create(sysbench.sql.type.INT)
  s:bind_param(id)
end
function event()
  id:set(sysbench.rand.uniform(1, %d))
  s:execute()
end
function thread_done() s:close() c:disconnect() end
`, selectRows)}

// mysqlSample is one run of sysbench against one kind.
type mysqlSample struct {
	events        int
	perSecond     float64
	dbCPU         float64 // microseconds an event
	proxyCPU      float64 // 0 for direct
	p50, p95, p99 time.Duration
	fresh         float64 // connections that the server took, per 1,000 events
}

// rounds runs a script at each kind in turn, round by round. Each round begins
// with another one, so that none always comes after the same neighbour.
func (l *mysqlLab) rounds(script sysbenchScript) map[string][]mysqlSample {
	l.t.Helper()
	samples := map[string][]mysqlSample{}
	for round := range mysqlRounds() + 1 {
		for i := range l.proxies {
			p := l.proxies[(i+round)%len(l.proxies)]
			s := l.sample(p, script)
			if round > 0 { // the first one warms up
				samples[p.name] = append(samples[p.name], s)
			}
		}
	}
	return samples
}

func (l *mysqlLab) sample(p *proxy, script sysbenchScript) (s mysqlSample) {
	l.t.Helper()
	var own []int
	if p.pids != nil {
		own = p.pids()
	}
	database := []int{l.m.PID()}
	taken := l.m.Status("Connections")
	before, beforeDB := runTime(l.t, own), runTime(l.t, database)
	text := l.sysbench(p, script, fmt.Sprintf("--time=%d", int(size.duration.Seconds())), "--events=0", "--histogram=on")
	after, afterDB := runTime(l.t, own), runTime(l.t, database)

	s.events, _ = strconv.Atoi(find(reEvents, text))
	seconds, _ := strconv.ParseFloat(find(reSeconds, text), 64)
	n := float64(s.events)
	s.perSecond = n / seconds
	s.proxyCPU = float64(after-before) / 1e3 / n
	s.dbCPU = float64(afterDB-beforeDB) / 1e3 / n
	s.fresh = float64(l.m.Status("Connections")-taken) / n * 1000
	h := readHistogram(text)
	s.p50, s.p95, s.p99 = h.quantile(0.5), h.quantile(0.95), h.quantile(0.99)
	if s.events == 0 || seconds == 0 || s.dbCPU == 0 || p.pids != nil && s.proxyCPU == 0 || h.total() != s.events {
		l.t.Fatalf("%s: something was not measured: %+v, %d in the histogram\n%s", p.name, s, h.total(), text)
	}
	return s
}

var (
	reEvents  = regexp.MustCompile(`total number of events:\s+(\d+)`)
	reSeconds = regexp.MustCompile(`total time:\s+([\d.]+)s`)
	reIgnored = regexp.MustCompile(`(?:ignored errors|reconnects):\s+([1-9]\d*)`)
)

// sysbench drives p and returns what it prints. A client's error ends it, with an
// exit code.
func (l *mysqlLab) sysbench(p *proxy, script sysbenchScript, more ...string) string {
	l.t.Helper()
	file := filepath.Join(l.t.TempDir(), "script.lua")
	if err := os.WriteFile(file, []byte(script.lua), 0o644); err != nil {
		l.t.Fatal(err)
	}
	args := append([]string{file, fmt.Sprintf("--threads=%d", mysqlThreads), // unless more says otherwise: the last one counts

		"--mysql-host=" + p.addr.Addr().String(), fmt.Sprintf("--mysql-port=%d", p.addr.Port()), "--mysql-db=app",
		"--mysql-user=" + testnet.UserApp, "--mysql-password=" + testnet.MariaDBPassword}, more...)
	cmd := l.ns.Command(testnet.NeedProgram(l.t, "sysbench"), append(args, "run")...)
	stop := context.AfterFunc(l.t.Context(), func() { cmd.Process.Kill() })
	defer stop()
	out, err := cmd.CombinedOutput()
	if err != nil || find(reIgnored, string(out)) != "" {
		l.t.Fatalf("sysbench at %s: %v\n%s", p.name, err, out)
	}
	return string(out)
}

// runTime is the time that processes have run so far, by their CPU clocks: user
// space and kernel, exact, and with the threads that have ended, which
// /proc/PID/task does not have any more. A database may end a thread with its
// connection.
func runTime(t *testing.T, pids []int) (sum time.Duration) {
	t.Helper()
	for _, pid := range pids {
		// clock_getcpuclockid(3): the scheduler's clock of a process.
		const scheduler = 2
		var now unix.Timespec
		if err := unix.ClockGettime(int32(^pid<<3|scheduler), &now); err != nil {
			t.Fatalf("the CPU clock of process %d: %v", pid, err)
		}
		sum += time.Duration(now.Nano())
	}
	return sum
}

// histogram is sysbench's: events by the upper end of their bucket, which is
// 1.8 % above the one before.
type histogram []struct {
	upTo time.Duration
	n    int
}

var reBucket = regexp.MustCompile(`^\s*([\d.]+) \|.* (\d+)\s*$`)

func readHistogram(text string) (h histogram) {
	for line := range strings.Lines(text) {
		m := reBucket.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		ms, _ := strconv.ParseFloat(m[1], 64)
		n, _ := strconv.Atoi(m[2])
		h = append(h, struct {
			upTo time.Duration
			n    int
		}{time.Duration(ms * float64(time.Millisecond)), n})
	}
	return h
}

func (h histogram) total() (n int) {
	for _, b := range h {
		n += b.n
	}
	return n
}

// quantile is linear within a bucket, so that small differences between two runs
// do not come in steps of a bucket.
func (h histogram) quantile(q float64) time.Duration {
	rest := q * float64(h.total())
	for _, b := range h {
		if n := float64(b.n); rest <= n {
			const width = 0.018
			return time.Duration(float64(b.upTo) * (1 - width*(1-rest/n)))
		} else {
			rest -= n
		}
	}
	return 0
}

func TestHistogramOfSysbenchIsRead(t *testing.T) {
	h := readHistogram(`Latency histogram (values are in milliseconds)
       value  ------------- distribution ------------- count
       1.000 |*                                        10
       2.000 |**************************************** 80
      10.000 |*                                        10

SQL statistics:
`)
	if got := h.total(); got != 100 {
		t.Errorf("%d events, want 100", got)
	}
	if got := h.quantile(0.9); got != 2*time.Millisecond {
		t.Errorf("p90 is %v, want 2ms", got)
	}
	if got := h.quantile(0.99); got <= 9*time.Millisecond || got > 10*time.Millisecond {
		t.Errorf("p99 is %v, want a little less than 10ms", got)
	}
}
