//go:build bench

package bench

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/internal/testnet"
)

// mysqlScene is MySQL with clients that log in once and stay, as those of an
// application's pools do, and ask for SELECT SLEEP(0.01).
//
// SLEEP takes no processor time: a server with a thread for each connection runs
// as many at once as there are connections, and has no capacity at all. So this
// one has a pool of ten threads, which is what a bound within the server is, and
// its other clients' queries wait there, first in first out. All rows have the
// same server.
//
// HAProxy has no row. In TCP mode a client is a connection to the server: without
// a bound that is the row direct, and with maxconn 10 the first ten clients are
// in for as long as they live and nobody else is.
var mysqlScene = scene{
	protocol: mysqlProtocol{},
	clients:  1000,
	lab:      newOverloadMySQLLab,
	closed:   sysbenchCapacity,
	backend:  fmt.Sprintf("MariaDB with a pool of %d threads, SELECT SLEEP(0.01)", workers),
	after:    nonePinned,
}

// What MySQL's clients get when more comes than ten threads can answer.
func TestBenchOverloadMySQL(t *testing.T) {
	// The server sleeps a little longer than it is told, and has some work too.
	capacity := mysqlScene.capacity(t, 0.9)
	var rows []overloadRow
	for _, k := range overloadMySQLKinds {
		t.Run(k.String(), func(t *testing.T) {
			rows = append(rows, mysqlScene.overloadRun(t, k, capacity, overloadSteps(1, 2, 5, 10, 1), 0))
		})
	}
	if t.Failed() {
		return // half a table is none
	}
	mysqlScene.printOverload(t, capacity, rows)
}

// newOverloadMySQLLab starts a server that works on as many statements at a time
// as there are workers, whatever the number of its clients. One group has one
// queue; a listener of its own leaves the other threads to statements.
func newOverloadMySQLLab(t *testing.T) *overloadLab {
	l := &overloadLab{lab: &lab{t: t, ns: testnet.NewNetns(t)}}
	m := testnet.StartMariaDB(t, testnet.MariaDBIn(l.ns, netip.MustParseAddr("127.0.0.1")), testnet.MariaDBFlags(
		"--thread-handling=pool-of-threads", "--thread-pool-size=1", "--thread-pool-dedicated-listener=ON",
		fmt.Sprintf("--thread-pool-max-threads=%d", workers+1), "--thread-pool-idle-timeout=3600",
		"--max-connections=8000", "--back-log=4096", "--log-warnings=0")) // a line for each client that gives up
	l.addr, l.pid = netip.MustParseAddrPort(m.Address()), m.PID()
	// The server makes its threads one by one, when it has lacked one for a while.
	crowdOf(l.lab, mysqlProtocol{}, l.addr, 50, spread(2*time.Second, 2000)...)
	return l
}

var selectSleep = sysbenchScript{"SELECT SLEEP(0.01)", `
function thread_init() c = sysbench.sql.driver():connect() end
function event() c:query("SELECT SLEEP(0.01)") end
function thread_done() c:disconnect() end
`}

// sysbenchCapacity is what clients get who have a connection each, as many as
// there are threads, and who ask anew at once. That is what can come out of so
// many connections: between two statements of one there is always the way to
// who asks and back. What more clients get of the same server is in the log.
func sysbenchCapacity(t *testing.T, l *overloadLab) float64 {
	b := &mysqlLab{lab: l.lab}
	p := &proxy{kind: kind{name: "direct"}, addr: l.addr}
	perSecond := func(clients int) float64 {
		text := b.sysbench(p, selectSleep, fmt.Sprintf("--threads=%d", clients), fmt.Sprintf("--time=%d", int(size.duration.Seconds())), "--events=0")
		events, _ := strconv.ParseFloat(find(reEvents, text), 64)
		seconds, _ := strconv.ParseFloat(find(reSeconds, text), 64)
		return events / seconds
	}
	t.Logf("%d clients, who wait for each other: %.0f/s", 2*workers, perSecond(2*workers))
	return perSecond(workers)
}

// nonePinned sees that weir's clients have shared its connections: one that is
// pinned has one for itself. What weir did besides is in the log.
func nonePinned(t *testing.T, l *overloadLab, p overloadProxy) {
	if !p.admin.IsValid() {
		return
	}
	pins := 0
	for line := range strings.Lines(l.curl("http://" + p.admin.String() + "/metrics")) {
		name, _, _ := strings.Cut(line, "{")
		none := strings.HasSuffix(line, " 0\n")
		switch name {
		case "weir_mysql_pinned", "weir_mysql_pins_total":
			pins++
			if !none {
				t.Errorf("SELECT SLEEP must not pin: %s", line)
			}
		case "weir_backend_dials_total", "weir_backend_closed_total", "weir_mysql_resets_total", "weir_shed_total", "weir_mode_changes_total":
			if !none {
				t.Log(strings.TrimSpace(line))
			}
		}
	}
	if pins == 0 {
		t.Error("weir tells nothing of pins: is it in mode transaction?")
	}
}

// As in HTTP, and two things more: that the real server is bounded, and that who
// gives up logs in again.
func TestTheServersThreadsBoundItAndWhoGivesUpLogsInAgain(t *testing.T) {
	l := newOverloadMySQLLab(t)
	const n = 300
	arrivals, results, opened := crowdOf(l.lab, mysqlProtocol{}, l.addr, n, make([]time.Duration, n)...)
	most := int(deadline/service) * workers
	if results[fine] < 2*workers || results[fine] > most || results[fine]+results[timedOut] != n {
		t.Errorf("%d queries at once became %v, want %d to %d answers, and the rest given up (%d)", n, results, 2*workers, most, timedOut)
	}
	if opened != n+results[timedOut] {
		t.Errorf("%d connections were opened, want one for each client and one for each of %d that gave up", opened, results[timedOut])
	}
	begun := 0
	for _, a := range arrivals {
		if a.result == fine && a.done < 2*service {
			begun++
		}
	}
	if begun > workers {
		t.Errorf("%d queries were answered within %v, want %d at most: one for each thread", begun, 2*service, workers)
	}
}

// spread are n moments, evenly.
func spread(over time.Duration, n int) (at []time.Duration) {
	for i := range n {
		at = append(at, over*time.Duration(i)/time.Duration(n))
	}
	return at
}
