//go:build bench

package bench

import (
	"flag"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"weir/internal/testnet"
	"weir/tcpstat"
)

var (
	rounds = flag.Int("rounds", 0, "rounds of the MySQL runs, after one that warms up; 0: 5, or 1 with -short")
	hold   = flag.Bool("hold", false, "fail where a bar of the MySQL runs is missed")
)

// mysqlThreads are sysbench's, each with one connection at a time, and the
// connections that a proxy may have: none has to queue.
const mysqlThreads, mysqlOpen = 16, 32

func mysqlRounds() int {
	if *rounds > 0 {
		return *rounds
	}
	return size.rounds
}

// mysqlKinds are those compared, in the order of the tables.
var mysqlKinds = []mysqlKind{
	{"direct", nil},
	{"HAProxy", startHAProxyTCP},
	{"weir, reset always", startMySQLWeir("always")},
	{"weir, reset proven", startMySQLWeir("proven")},
}

// selectKinds are without the last: on a long connection nothing is reset.
var selectKinds = mysqlKinds[:3]

// mysqlLab is a namespace with a MariaDB and proxies before it. Each proxy
// reaches the server by an address of its own, and direct clients too, so that
// sockets are told apart, and no one's TIME_WAIT takes another's ports.
type mysqlLab struct {
	*lab
	m *testnet.MariaDB
}

func newMySQLLab(t *testing.T, of ...mysqlKind) *mysqlLab {
	l := &mysqlLab{lab: &lab{t: t, ns: testnet.NewNetns(t)}}
	// Room for a TIME_WAIT of each of the connections that are counted.
	l.ns.Sysctl("net.ipv4.ip_local_port_range", "1024 65535")
	l.ns.Do(func() {
		var err error
		if l.stat, err = tcpstat.Open(); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { l.stat.Close() })

	// Threads are kept for the next connection, all of them: that spares a direct
	// client's login what a new thread costs. The character set is that of Debian's
	// own configuration, and so the database's too: where the two differ a reset
	// takes one more statement.
	l.m = testnet.StartMariaDB(t, testnet.MariaDBIn(l.ns, netip.MustParseAddr("127.0.0.1")),
		testnet.MariaDBFlags("--bind-address=0.0.0.0", "--thread-cache-size=256",
			"--character-set-server=utf8mb4", "--collation-server=utf8mb4_general_ci"))
	port := netip.MustParseAddrPort(l.m.Address()).Port()
	for i, k := range of {
		a := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 1, byte(1 + i)}), port)
		p := &proxy{kind: kind{name: k.name}, addr: a, backend: a}
		if k.start != nil {
			p.addr, p.pids = k.start(l, a)
		}
		l.proxies = append(l.proxies, p)
	}
	return l
}

// Short connections: the costs of a login and of what is left of it behind a
// proxy.
func TestBenchMySQLConnections(t *testing.T) {
	left := map[string][4]int{}
	for _, k := range mysqlKinds {
		t.Run("time-wait/"+k.name, func(t *testing.T) { left[k.name] = mysqlLeft(t, k) })
	}
	if t.Failed() {
		return // half a table is none
	}
	l := newMySQLLab(t, mysqlKinds...)
	samples := l.rounds(connectSelectQuit)
	fmt.Printf("\n%s %s\nsysbench: %d threads, %v; medians of %d rounds.\n", machine(t), l.version(), mysqlThreads, size.duration, mysqlRounds())
	printMySQLConnections(l, samples, left)
	for _, b := range connectionBars(samples) {
		b.print(t)
	}
}

// Queries over connections that stay: what a proxy adds to each.
func TestBenchMySQLSelects(t *testing.T) {
	l := newMySQLLab(t, selectKinds...)
	l.fill()
	fmt.Printf("\n%s %s\nsysbench: %d threads, %v; medians of %d rounds.\n", machine(t), l.version(), mysqlThreads, size.duration, mysqlRounds())
	for _, s := range []sysbenchScript{selectText, selectPrepared} {
		samples := l.rounds(s)
		printMySQLSelects(l, s, samples)
		for _, b := range selectBars(s, samples) {
			b.print(t)
		}
	}
}

// mysqlLeft counts TIME_WAIT at the four ends, a second after the last of many
// short connections, whose clients close first. Each count has a namespace and
// processes of its own.
func mysqlLeft(t *testing.T, k mysqlKind) (tw [4]int) {
	l := newMySQLLab(t, k)
	l.ns.Sysctl("net.ipv4.tcp_tw_reuse", "0") // else a port whose TIME_WAIT is a second old may come again
	p := l.proxies[0]
	l.sysbench(p, connectSelectQuit, fmt.Sprintf("--events=%d", size.storm), "--time=0")
	settle := time.NewTimer(time.Second) // closes come through; TIME_WAIT lasts for 60
	<-settle.C
	for i, c := range l.count(p) {
		tw[i] = c[tcpstat.TimeWait]
	}
	// Where the server's FIN is first the client's port is free at once: its next
	// connection takes the place of the TIME_WAIT.
	if sum := tw[0] + tw[1]; k.start == nil && sum < size.storm*95/100 {
		t.Errorf("%d connections without a proxy have left %d TIME_WAIT, want one each: the count is wrong", size.storm, sum)
	}
	return tw
}
