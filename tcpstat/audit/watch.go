package audit

import (
	"context"
	"fmt"
	"maps"
	"time"
)

// watchFor is how long Watch looks whether counters that are not zero still grow.
// All of them share the one wait.
const watchFor = time.Second

// Counters of the group TcpExt that run since the network namespace was made. How
// many they are says little: it is whether they grow that counts.
const (
	listenOverflows = "ListenOverflows"     // handshakes that found an accept queue full
	listenDrops     = "ListenDrops"         // these, and SYNs dropped for other causes
	twSkipped       = "TCPTimeWaitOverflow" // sockets that found tcp_max_tw_buckets reached
	cookiesSent     = "SyncookiesSent"
	synsDropped     = "TCPReqQFullDrop" // with tcp_syncookies = 0: their queue was full
	twRecycled      = "TWRecycled"      // ports that connect took out of TIME_WAIT
)

// watched are those that a check tells of or judges by.
var watched = []string{listenOverflows, listenDrops, twSkipped, cookiesSent, synsDropped, twRecycled}

// Watch notes the counters, so that a later Run can tell what happens now from
// what is long past. Where there is something to tell it waits for a second, or
// for the end of ctx; after that of a counter that was running it is not known
// whether it still is.
func (m *Machine) Watch(ctx context.Context) {
	g, err := m.group("TcpExt")
	if err != nil {
		return // the checks say it
	}
	m.before = map[string]uint64{}
	running := false
	for _, name := range watched {
		n, err := g.number(name)
		if err != nil || name == twRecycled && !m.reuses() { // loopback alone makes it run
			continue
		}
		m.before[name] = n
		running = running || n > 0
	}
	if !running {
		return // any that are found later are new
	}
	t := time.NewTimer(watchFor)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		maps.DeleteFunc(m.before, func(_ string, n uint64) bool { return n > 0 })
	}
}

// reuses says whether ports are taken out of TIME_WAIT towards any destination.
func (m *Machine) reuses() bool {
	n, err := m.number("net.ipv4.tcp_tw_reuse")
	return err == nil && n == 1
}

// tally is what a watched counter came to.
type tally struct {
	total uint64
	fresh uint64 // of these, since Watch began
	known bool   // fresh is
}

// tally reads a watched counter of TcpExt. One that cannot be read is zero.
func (m *Machine) tally(g group, name string) tally {
	n, _ := g.number(name)
	t := tally{total: n}
	if before, ok := m.before[name]; ok {
		t.fresh, t.known = n-min(n, before), true
	}
	return t
}

// without takes those away that another counter has too.
func (t tally) without(u tally) tally {
	return tally{t.total - min(t.total, u.total), t.fresh - min(t.fresh, u.fresh), t.known && u.known}
}

// when goes behind a number and what it is a number of.
func (t tally) when() string {
	const since = "since the network namespace was made, "
	switch {
	case !t.known:
		return since + "and when is not known"
	case t.fresh == 0:
		return since + "none of them while doctor looked: long past, or in bursts"
	}
	return since + fmt.Sprintf("%s of them while doctor looked", many(t.fresh))
}
