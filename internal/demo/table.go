package demo

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/internal/storm"
	"weir/tcpstat"
)

// comparison is what the table shows.
type comparison struct {
	words                   words
	requests                int
	direct, through         *storm.Result
	backend                 storm.Ends // of the connections between weir and its backend
	directSeen, throughSeen seen       // by the backend
	noTimestamps            bool       // this machine has TCP timestamps turned off
}

// words are what a subject's things are called.
type words struct {
	unit     string // "requests"
	backend  string // "the backend"
	opened   string // what seen.opened counts, in a row of the table
	database bool   // it counts aborted clients and processor time too
}

// What a table does not show. The words are under it.
var (
	errFailed   = errors.New("not every request was answered: see under the table")
	errTimeWait = errors.New("weir left sockets in TIME-WAIT: see under the table")
)

// print writes the table and what follows from it, or what went wrong, which is
// the error too.
func (c *comparison) print(out io.Writer) error {
	c.table(out)
	failed := c.explain(out, "direct", c.direct)
	failed = c.explain(out, "through weir", c.through) || failed
	left := c.left()
	many := left*100 > c.requests
	if many {
		c.explainTimeWait(out, left)
	}
	switch {
	case failed:
		fmt.Fprintln(out)
		return errFailed
	case many:
		fmt.Fprintln(out)
		return errTimeWait
	}
	d, tw := c.direct.After, tcpstat.TimeWait
	fmt.Fprintf(out, "  A socket in TIME-WAIT keeps its port for 60 s: %s of the about 28,000 that one client\n"+
		"  has towards one address are gone for a minute. Through weir it is %s, since each client's\n"+
		"  close is answered so that neither side keeps one, and %s sees %s connections.\n\n",
		storm.Number(d.Client[tw]+d.Server[tw]), storm.Number(left), c.words.backend, storm.Number(int(c.throughSeen.opened)))
	return nil
}

// left is how many sockets in TIME-WAIT the storm through weir left, at all ends.
func (c *comparison) left() int {
	t, tw := c.through.After, tcpstat.TimeWait
	return t.Client[tw] + t.Server[tw] + c.backend.Client[tw] + c.backend.Server[tw]
}

func (c *comparison) table(out io.Writer) {
	row := func(label, direct, through string) {
		line := fmt.Sprintf("  %-34s %12s %14s", label, direct, through)
		fmt.Fprintln(out, strings.TrimRight(line, " "))
	}
	number := storm.Number
	row("", "direct", "through weir")
	unit := c.words.unit
	row(unit+" answered", number(c.direct.Requests), number(c.through.Requests))
	row("errors", number(c.direct.Failed()), number(c.through.Failed()))
	row(unit+" per second", number(int(c.direct.PerSecond())), number(int(c.through.PerSecond())))
	row("latency, median", latency(c.direct, 0.5), latency(c.through, 0.5))
	row("latency, 99th percentile", latency(c.direct, 0.99), latency(c.through, 0.99))
	row(c.words.opened, number(int(c.directSeen.opened)), number(int(c.throughSeen.opened)))
	if c.words.database {
		row("connections it counts as aborted", number(int(c.directSeen.aborted)), number(int(c.throughSeen.aborted)))
		row("its processor time", seconds(c.directSeen.cpu), seconds(c.throughSeen.cpu))
	}
	fmt.Fprintln(out)
	row("sockets left in TIME-WAIT, 1 s later", "", "")
	tw := tcpstat.TimeWait
	d, t := c.direct.After, c.through.After
	row("  at the clients", number(d.Client[tw]), number(t.Client[tw]))
	row("  at weir, towards the clients", "-", number(t.Server[tw]))
	row("  at weir, towards "+c.words.backend, "-", number(c.backend.Client[tw]))
	row("  at "+c.words.backend, number(d.Server[tw]), number(c.backend.Server[tw]))
	for _, s := range tcpstat.States() {
		if s == tw || s == tcpstat.Listen {
			continue
		}
		n, m := d.Client[s]+d.Server[s], t.Client[s]+t.Server[s]+c.backend.Client[s]+c.backend.Server[s]
		if n+m > 0 {
			row("sockets in "+s.String()+", all ends", number(n), number(m))
		}
	}
	fmt.Fprintln(out)
}

// explain says which requests of a storm were not answered, and whether there are any.
func (c *comparison) explain(out io.Writer, name string, r *storm.Result) (failed bool) {
	for _, kind := range slices.Sorted(maps.Keys(r.Errors)) {
		n := r.Errors[kind]
		if kind == storm.CutByLimit {
			kind = "cut, as the storm was not through"
		}
		fmt.Fprintf(out, "  %s: %s of %s %s failed: %s\n", name, storm.Number(n), storm.Number(c.requests), c.words.unit, kind)
	}
	if r.NotBegun > 0 {
		fmt.Fprintf(out, "  %s: %s of %s %s not begun after %v, the most that such a storm may take\n",
			name, storm.Number(r.NotBegun), storm.Number(c.requests), c.words.unit, r.Elapsed.Round(time.Millisecond))
	}
	if r.Errors[storm.NoPort] > 0 {
		fmt.Fprintf(out, "  Sockets in TIME-WAIT hold this machine's ports towards that address; make fewer %s with -n.\n", c.words.unit)
	}
	return r.Failed()+r.NotBegun > 0
}

func (c *comparison) explainTimeWait(out io.Writer, left int) {
	fmt.Fprintf(out, "  through weir: %s sockets in TIME-WAIT are left by %s %s, where there should be almost none.\n",
		storm.Number(left), storm.Number(c.requests), c.words.unit)
	if c.noTimestamps {
		fmt.Fprint(out, "  TCP timestamps are turned off here, and without them weir cannot answer a client's close so that\n"+
			"  neither side keeps the socket. To have them: sysctl -w net.ipv4.tcp_timestamps=1\n")
		return
	}
	fmt.Fprint(out, "  A client's close is answered so that neither side keeps the socket, but only where it comes within a\n"+
		"  few milliseconds after the response. This machine was too busy for that; try a lower -c.\n")
}

// timestampsOff says whether this network namespace has TCP timestamps turned off.
func timestampsOff() bool {
	b, err := os.ReadFile("/proc/sys/net/ipv4/tcp_timestamps")
	return err == nil && strings.TrimSpace(string(b)) == "0"
}

// latency is a quantile of the answered requests'.
func latency(r *storm.Result, q float64) string {
	if r.Requests == 0 {
		return "-"
	}
	return strconv.FormatFloat(float64(r.Latency.Quantile(q))/float64(time.Millisecond), 'f', 2, 64) + " ms"
}

// seconds is processor time, where it is known.
func seconds(d time.Duration) string {
	if d <= 0 {
		return "-"
	}
	return strconv.FormatFloat(d.Seconds(), 'f', 2, 64) + " s"
}
