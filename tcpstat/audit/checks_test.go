package audit

import (
	"errors"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"weir/tcpstat"
)

// files is a tree of files by their path below the root.
type files map[string]string

func (f files) tree() fstest.MapFS {
	out := fstest.MapFS{}
	for name, text := range f {
		out[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o444}
	}
	return out
}

func (f files) set(key, value string) { f[sysctlFile(key)] = value + "\n" }

// healthy is a kernel as it comes.
func healthy() files {
	f := files{
		"proc/self/limits":       "Limit                     Soft Limit           Hard Limit           Units     \nMax processes             96365                96365                processes \nMax open files            1048576              1048576              files     \n",
		"proc/self/net/sockstat": "sockets: used 213\nTCP: inuse 197 orphan 31 tw 540 alloc 496 mem 345\nUDP: inuse 0 mem 0\n",
		"proc/self/net/snmp":     "Ip: Forwarding\nIp: 1\nTcp: ActiveOpens PassiveOpens\nTcp: 5 1000000\n",
		"proc/self/net/netstat":  netstat("ListenOverflows 0 TCPTimeWaitOverflow 0 SyncookiesSent 0 TWRecycled 0"),
	}
	for key, value := range map[string]string{
		"kernel.osrelease":                                 "6.18.44-cloud-amd64",
		"fs.file-nr":                                       "1911\t0\t9223372036854775807",
		"fs.nr_open":                                       "1048576",
		"net.core.somaxconn":                               "4096",
		rangeKey:                                           "32768\t60999",
		reservedKey:                                        "",
		"net.ipv4.tcp_tw_reuse":                            "2",
		"net.ipv4.tcp_tw_reuse_delay":                      "1000",
		"net.ipv4.tcp_timestamps":                          "1",
		"net.ipv4.tcp_max_tw_buckets":                      "131072",
		"net.ipv4.tcp_ehash_entries":                       "262144",
		"net.ipv4.tcp_fin_timeout":                         "60",
		"net.ipv4.tcp_syncookies":                          "1",
		"net.ipv4.tcp_max_syn_backlog":                     "2048",
		"net.ipv4.tcp_abort_on_overflow":                   "0",
		"net.ipv4.tcp_max_orphans":                         "131072",
		"net.ipv4.tcp_keepalive_time":                      "7200",
		"net.ipv4.tcp_fack":                                "0",
		"net.ipv4.tcp_low_latency":                         "0",
		"net.mptcp.enabled":                                "1",
		"net.netfilter.nf_conntrack_count":                 "100",
		"net.netfilter.nf_conntrack_max":                   "262144",
		"net.netfilter.nf_conntrack_tcp_timeout_time_wait": "120",
	} {
		f.set(key, value)
	}
	return f
}

// netstat writes pairs of names and values as the kernel does.
func netstat(pairs string) string {
	names, values := "TcpExt:", "TcpExt:"
	for p := range slices.Chunk(strings.Fields(pairs), 2) {
		names += " " + p[0]
		values += " " + p[1]
	}
	return names + "\n" + values + "\nIpExt: InNoRoutes\nIpExt: 7\n"
}

// scene is what a check is given.
type scene struct {
	files
	sockets *Sockets
	plan    *Plan
}

func aScene() *scene {
	s := &Sockets{Listens: []Queue{{netip.MustParseAddrPort("[::]:8080"), 3, 4096}}}
	s.States[tcpstat.Established] = 2000
	s.towards("10.0.0.5:3306", 50)
	return &scene{files: healthy(), sockets: s, plan: &Plan{
		Listeners:   []Listener{{Name: "web", Port: 8080, MaxClients: 10000, Quiet: true}},
		Backends:    []Backend{{Name: "db", Endpoint: "10.0.0.5:3306", MaxOpen: 66, DialRate: 256, IdleTimeout: 50 * time.Second}},
		Descriptors: 12000,
	}}
}

func (s *Sockets) towards(remote string, n int) {
	s.Outbound = []Tuple{{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddrPort(remote), n, n / 2, 0}}
}

func (s *scene) run() map[string]Finding {
	r := Run(&Machine{FS: s.tree(), Sockets: s.sockets}, s.plan)
	out := map[string]Finding{}
	for _, f := range r.Findings {
		out[f.Name] = f
	}
	return out
}

// Each row breaks one thing of a healthy machine, and names what its check says
// then, and a part of how.
var broken = []struct {
	check   string
	want    Verdict
	says    string // in found
	remedy  string // in the remedy for a host
	breakIt func(s *scene)
}{
	{"port_budget", Warn, "at worst 15,426", "sysctl -w net.ipv4.ip_local_port_range='10240 65535'", func(s *scene) { s.set(rangeKey, "60000 65535") }},
	{"port_budget", Warn, "needs 15,000", "", func(s *scene) { s.plan.Backends[0].MaxOpen, s.plan.Backends[0].DialRate = 15000, 1 }},
	{"port_budget", Fail, "needs 66", "", func(s *scene) { s.set(rangeKey, "65500 65535") }},
	{"port_budget", Fail, "28 ports", "", func(s *scene) { s.set(reservedKey, "32768-60971") }},
	{"port_budget", Fail, "needs 132,000", "", func(s *scene) { // two backends on one endpoint share its ports
		b := s.plan.Backends[0]
		b.MaxOpen = 66000
		s.plan.Backends = []Backend{b, b}
	}},
	{"port_budget", Warn, "20 % of the kernel's own", "", func(s *scene) { s.plan = nil; s.set(rangeKey, "60000 65535") }},
	{"port_budget", Fail, "1,000 ports", "", func(s *scene) { s.plan = nil; s.set(rangeKey, "64536 65535") }},
	{"ports_now", Warn, "14,116 of 28,232 ports in use from 10.0.0.1 to 10.0.0.5:3306 (50 %), 7,058 of them TIME_WAIT", "", func(s *scene) { s.sockets.towards("10.0.0.5:3306", 14116) }},
	{"ports_now", Fail, "27,000", "", func(s *scene) { s.plan = nil; s.sockets.towards("10.0.0.9:80", 27000) }},
	{"ports_now", Fail, "27,000", "", func(s *scene) { // by the addresses of a name
		s.named("db.internal:3306", "10.0.0.8:3306", "[::ffff:10.0.0.9]:3306")
		s.sockets.towards("10.0.0.9:3306", 27000)
	}},
	{"ports_now", Pass, "no outgoing connection to a backend of the configuration", "", func(s *scene) {
		s.named("db.internal:3306", "10.0.0.9:3306")
		s.sockets.towards("10.0.0.9:3307", 27000)
	}},
	{"ports_now", Pass, "no outgoing connection to a backend of the configuration", "", func(s *scene) { s.sockets.towards("10.0.0.9:3306", 27000) }},
	{"ports_now", Fail, "24,000 of 28,232 ports in use from 10.0.0.1 to 10.0.0.5:3306 (85 %), 2,000 of them TIME_WAIT, 20,000 that sockets listen on or are bound to; 7 more in TIME_WAIT are free", "", func(s *scene) {
		s.sockets.towards("10.0.0.5:3306", 4000)
		s.sockets.Outbound[0].Again, s.sockets.Bound = 7, 20000
	}},
	{"port_parity", Warn, "32768 to 61000", "sysctl -w net.ipv4.ip_local_port_range='32768 61001'", func(s *scene) { s.set(rangeKey, "32768 61000") }},
	{"port_parity", Warn, "1025 to 65535", "sysctl -w net.ipv4.ip_local_port_range='1026 65535'", func(s *scene) { s.set(rangeKey, "1025 65535") }},
	{"ports_reserved", Warn, "port 40000 inside", "sysctl -w net.ipv4.ip_local_reserved_ports=50000,40000", func(s *scene) {
		s.set(reservedKey, "50000")
		s.plan.Listeners = append(s.plan.Listeners, Listener{Name: "x", Port: 40000}, Listener{Name: "y", Port: 50000})
	}},
	{"idle_timeout", Warn, "backend db is 30ns", "", func(s *scene) { s.plan.Backends[0].IdleTimeout = 30 }},
	{"descriptors", Fail, "1,024", "", func(s *scene) { s.openFiles("1024") }},
	{"descriptors", Warn, "12,001: no room", "", func(s *scene) { s.openFiles("12001") }},
	{"descriptors", Warn, "1,024", "", func(s *scene) { s.openFiles("1024"); s.plan = nil }},
	{"descriptors", Fail, "1,048,576", "sysctl -w fs.nr_open=2000000", func(s *scene) { s.plan.Descriptors = 2000000 }},
	{"file_table", Warn, "80,000 of 100,000", "sysctl -w fs.file-max=200000", func(s *scene) { s.set("fs.file-nr", "80000 0 100000") }},
	{"file_table", Fail, "(96 %)", "", func(s *scene) { s.set("fs.file-nr", "96000 0 100000") }},
	{"timestamps", Fail, "= 0", "sysctl -w net.ipv4.tcp_timestamps=1", func(s *scene) { s.set("net.ipv4.tcp_timestamps", "0") }},
	{"timestamps", Warn, "no listener of the configuration closes quietly", "", func(s *scene) { s.set("net.ipv4.tcp_timestamps", "0"); s.plan.Listeners[0].Quiet = false }},
	{"timestamps", Warn, "random offset", "", func(s *scene) { s.set("net.ipv4.tcp_timestamps", "2") }},
	{"tw_reuse", Warn, "no effect at all", "", func(s *scene) { s.set("net.ipv4.tcp_timestamps", "0"); s.set("net.ipv4.tcp_tw_reuse", "1") }},
	{"tw_reuse", Warn, "loopback", "sysctl -w net.ipv4.tcp_tw_reuse=2", func(s *scene) { s.set("net.ipv4.tcp_tw_reuse", "0"); s.plan.Backends[0].Loopback = true }},
	{"tw_reuse", Pass, "12 ports taken", "", func(s *scene) {
		s.set("net.ipv4.tcp_tw_reuse", "1")
		s.files["proc/self/net/netstat"] = netstat("TWRecycled 12")
	}},
	{"tw_reuse_delay", Warn, "10 ms", "", func(s *scene) { s.set("net.ipv4.tcp_tw_reuse_delay", "10") }},
	{"tw_recycle", Fail, "= 1", "sysctl -w net.ipv4.tcp_tw_recycle=0", func(s *scene) { s.set("net.ipv4.tcp_tw_recycle", "1") }},
	{"tw_buckets", Warn, "it was lowered", "sysctl -w net.ipv4.tcp_max_tw_buckets=131072", func(s *scene) { s.set("net.ipv4.tcp_max_tw_buckets", "5000") }},
	{"tw_buckets", Warn, "it was lowered", "", func(s *scene) { // the table is the host's
		s.set("net.ipv4.tcp_max_tw_buckets", "5000")
		s.set("net.ipv4.tcp_ehash_entries", "-262144")
	}},
	{"tw_buckets", Warn, "overflow: 3 sockets skipped", "", func(s *scene) { s.files["proc/self/net/netstat"] = netstat("TCPTimeWaitOverflow 3") }},
	{"tw_buckets", Warn, "70,000 (53 %)", "", func(s *scene) { s.sockstat("tw 70000") }},
	{"tw_buckets", Fail, "130,000 (99 %)", "sysctl -w net.ipv4.tcp_max_tw_buckets=262144", func(s *scene) { s.sockstat("tw 130000") }},
	{"tw_timeout", Warn, "lasts 5 s", "", func(s *scene) { s.set("net.ipv4.tcp_tw_timeout", "5") }},
	{"fin_timeout", Warn, "2 s; 70 in FIN-WAIT-2 now", "", func(s *scene) {
		s.set("net.ipv4.tcp_fin_timeout", "2")
		s.sockets.States[tcpstat.FinWait2] = 70
	}},
	{"syncookies", Warn, "= 0", "", func(s *scene) { s.set("net.ipv4.tcp_syncookies", "0") }},
	{"syncookies", Warn, "= 2; 9 cookies sent since the network namespace was made, and when is not known", "", func(s *scene) {
		s.set("net.ipv4.tcp_syncookies", "2")
		s.files["proc/self/net/netstat"] = netstat("SyncookiesSent 9")
	}},
	{"syncookies", Warn, "= 0; 4 SYNs dropped, as their queue was full", "sysctl -w net.ipv4.tcp_syncookies=1", func(s *scene) {
		s.set("net.ipv4.tcp_syncookies", "0")
		s.files["proc/self/net/netstat"] = netstat("TCPReqQFullDrop 4")
	}},
	{"syn_backlog", Warn, "2,048 with tcp_syncookies = 0", "sysctl -w net.ipv4.tcp_syncookies=1", func(s *scene) { s.set("net.ipv4.tcp_syncookies", "0") }},
	{"somaxconn", Warn, "128", "sysctl -w net.core.somaxconn=4096", func(s *scene) { s.set("net.core.somaxconn", "128") }},
	{"somaxconn", Fail, "64", "", func(s *scene) { s.set("net.core.somaxconn", "64") }},
	{"accept_queue", Fail, "4,096 of 4,096 wait", "", func(s *scene) { s.sockets.Listens[0].Waiting = 4096 }},
	{"accept_queue", Warn, "2,048 of 4,096 wait", "", func(s *scene) { s.sockets.Listens[0].Waiting = 2048 }},
	{"accept_queue", Warn, "3,000 of 4,096 wait at one of 2", "", func(s *scene) { // two sockets share the port
		s.sockets.Listens = append(s.sockets.Listens, Queue{netip.MustParseAddrPort("[::]:8080"), 3000, 4096})
	}},
	{"accept_queue", Pass, "at most 3 of 4,096", "", func(s *scene) { // another program's
		s.sockets.Listens = append(s.sockets.Listens, Queue{netip.MustParseAddrPort("0.0.0.0:25"), 5, 5})
	}},
	{"accept_queue", Warn, "; 1 handshakes, beside 1,000,000 that were accepted, found a queue full since the network namespace was made, and when is not known", "", func(s *scene) { s.files["proc/self/net/netstat"] = netstat("ListenOverflows 1 ListenDrops 1") }},
	{"accept_queue", Pass, "; 50 SYNs were dropped for other causes since the network namespace was made, and when is not known", "", func(s *scene) { s.files["proc/self/net/netstat"] = netstat("ListenDrops 50") }},
	{"accept_queue", Warn, "the queue of [::]:8080 is 128, though net.core.somaxconn is 4,096", "", func(s *scene) { s.sockets.Listens[0].Limit = 128 }},
	{"accept_queue", Warn, "the queue of [::]:8080 is 128", "", func(s *scene) { // of two that share a port, the one with nobody in it
		s.sockets.Listens = append(s.sockets.Listens, Queue{netip.MustParseAddrPort("[::]:8080"), 0, 128})
	}},
	{"accept_queue", Pass, "at most 3 of 128", "", func(s *scene) { s.sockets.Listens[0].Limit = 128; s.plan = nil }}, // another program's wish
	{"abort_on_overflow", Fail, "= 1", "", func(s *scene) { s.set("net.ipv4.tcp_abort_on_overflow", "1") }},
	{"conntrack", Warn, "(75 %)", "", func(s *scene) { s.set("net.netfilter.nf_conntrack_count", "196608") }},
	{"conntrack", Fail, "(92 %)", "sysctl -w net.netfilter.nf_conntrack_max=524288", func(s *scene) { s.set("net.netfilter.nf_conntrack_count", "240000") }},
	{"conntrack", Warn, "the configuration allows 10,066", "", func(s *scene) { s.set("net.netfilter.nf_conntrack_max", "8192") }},
	{"conntrack", Warn, "at 600 s each", "nf_conntrack_tcp_timeout_time_wait=120", func(s *scene) { s.set("net.netfilter.nf_conntrack_tcp_timeout_time_wait", "600") }},
	{"close_wait", Warn, "300 in CLOSE-WAIT, 250 of them on port 9000", "", func(s *scene) { s.closeWait(300) }},
	{"close_wait", Fail, "3,000", "", func(s *scene) { s.closeWait(3000) }},
	{"close_wait", Pass, "150", "", func(s *scene) { s.closeWait(150) }},
	{"orphans", Warn, "on the whole host (27 %)", "sysctl -w net.ipv4.tcp_max_orphans=524288", func(s *scene) { s.sockstat("orphan 35000") }},
	{"orphans", Fail, "(92 %)", "", func(s *scene) { s.sockstat("orphan 120000") }},
	{"mptcp", Pass, "net.mptcp.enabled = 0: no program here gets it", "", func(s *scene) { s.set("net.mptcp.enabled", "0") }},
	{"mptcp", Pass, "; 199 MPTCP sockets now", "", func(s *scene) { s.mptcp("199") }}, // of 2,000
	{"mptcp", Warn, "; 200 MPTCP sockets now, beside 2,000 TCP sockets that are established: close_wait cannot see", "", func(s *scene) { s.mptcp("200") }},
	{"mptcp", Pass, "; 99 MPTCP sockets now", "", func(s *scene) { // few, whatever their part
		s.mptcp("99")
		s.sockets.States[tcpstat.Established] = 99
	}},
	{"mptcp", Warn, "; 300 MPTCP sockets", "", func(s *scene) { // also where no new ones are to be had
		s.mptcp("300")
		s.set("net.mptcp.enabled", "0")
	}},
	{"kernel", Warn, "no IP_BIND_ADDRESS_NO_PORT: backends[].source cannot be used; tcp_tw_recycle exists", "", func(s *scene) { s.set("kernel.osrelease", "3.10.0-1160.el7.x86_64") }},
	{"kernel", Pass, "6.1.0-26-amd64: no IP_LOCAL_PORT_RANGE", "", func(s *scene) { s.set("kernel.osrelease", "6.1.0-26-amd64") }},
	{"sysctl_files", Warn, "/etc/sysctl.d/90-x.conf sets net.ipv4.tcp_tw_recycle", "", func(s *scene) { s.files["etc/sysctl.d/90-x.conf"] = "net.ipv4.tcp_tw_recycle = 0\n" }},
}

// mptcp sets how many MPTCP sockets the kernel counts.
func (s *scene) mptcp(n string) {
	s.files["proc/self/net/netstat"] += "MPTcpExt: MPCapableSYNRX MPCurrEstab\nMPTcpExt: 900 " + n + "\n"
}

// named makes the backend's endpoint a name that has these addresses.
func (s *scene) named(endpoint string, addresses ...string) {
	s.plan.Backends[0].Endpoint = endpoint
	s.plan.Resolved = map[string][]netip.AddrPort{}
	for _, a := range addresses {
		s.plan.Resolved[endpoint] = append(s.plan.Resolved[endpoint], netip.MustParseAddrPort(a))
	}
}

func (s *scene) openFiles(n string) {
	s.files["proc/self/limits"] = strings.ReplaceAll(s.files["proc/self/limits"], "1048576", n)
}

// sockstat sets a number of it: "tw 100".
func (s *scene) sockstat(pair string) {
	name, value, _ := strings.Cut(pair, " ")
	f := strings.Fields("TCP: inuse 197 orphan 31 tw 540 alloc 496 mem 345")
	f[slices.Index(f, name)+1] = value
	s.files["proc/self/net/sockstat"] = strings.Join(f, " ") + "\n"
}

func (s *scene) closeWait(n int) {
	s.sockets.States[tcpstat.CloseWait] = n
	s.sockets.CloseWait = []Group{{"on port 9000", n * 5 / 6}}
}

func TestAKernelAsItComesPassesEveryCheck(t *testing.T) {
	for name, f := range aScene().run() {
		if f.Verdict != Pass || f.Remedy != nil || f.Found == "" || f.Wanted == "" || f.Why == "" || f.NotFixed == "" || len(f.Sources) == 0 {
			t.Errorf("%s: %+v", name, f)
		}
	}
	s := aScene()
	if got := s.run()["kernel"].Found; got != "6.18.44-cloud-amd64" {
		t.Errorf("a kernel that lacks nothing: %s", got)
	}
	s.plan = nil
	for name, f := range s.run() {
		if f.Verdict != Pass {
			t.Errorf("without a configuration: %s: %+v", name, f)
		}
	}
}

// What a verdict is about shows in what was found, and each verdict but Pass says
// what to do. No verdict that a check says it can give is left out.
func TestEachVerdictOfEachCheckIsGivenForItsReason(t *testing.T) {
	given := map[string]map[Verdict]bool{}
	for _, c := range checks {
		given[c.name] = map[Verdict]bool{Pass: true} // the test above
	}
	for _, b := range broken {
		s := aScene()
		b.breakIt(s)
		f := s.run()[b.check]
		if f.Verdict != b.want || !strings.Contains(f.Found, b.says) {
			t.Errorf("%s: got %s, %q; want %s, with %q", b.check, f.Verdict, f.Found, b.want, b.says)
			continue
		}
		given[b.check][f.Verdict] = true
		if f.Verdict == Pass {
			continue
		}
		if f.Remedy == nil || f.Remedy.Do == "" && len(f.Remedy.Settings) == 0 {
			t.Errorf("%s: %s without a remedy", b.check, f.Verdict)
		} else if !strings.Contains(strings.Join(f.Remedy.Host, "\n"), b.remedy) {
			t.Errorf("%s: the remedy is %q, want %q in it", b.check, f.Remedy.Host, b.remedy)
		}
	}
	for _, c := range checks {
		if got, want := slices.Sorted(maps.Keys(given[c.name])), slices.Sorted(slices.Values(c.can)); !slices.Equal(got, want) {
			t.Errorf("%s gave %v, and says it can give %v", c.name, got, want)
		}
	}
}

// Port 0 is in no range of the kernel's, and the two readers of it agree.
func TestARangeThatMakesNoSenseIsUnknown(t *testing.T) {
	for _, span := range []string{"0 65535", "5 4", "1 65536", "1"} {
		s := aScene()
		s.set(rangeKey, span)
		for _, check := range []string{"port_budget", "port_parity", "ports_reserved"} {
			if f := s.run()[check]; f.Verdict != Unknown || !strings.Contains(f.Found, rangeKey) {
				t.Errorf("%s with %q: %s, %q", check, span, f.Verdict, f.Found)
			}
		}
	}
}

// What is not a backend's is not judged, and that a name could not be looked for
// is said.
func TestANameWithoutAnAddressStandsForNoOtherDestination(t *testing.T) {
	s := aScene()
	s.named("no.such.invalid:9001")
	s.sockets.towards("10.0.0.9:9001", 27000)
	if f := s.run()["ports_now"]; f.Verdict != Unknown || strings.Contains(f.Found, "10.0.0.9") || !strings.Contains(f.Found, "no address is known for no.such.invalid:9001") {
		t.Errorf("%+v", f)
	}
	s.plan.Backends = append(s.plan.Backends, Backend{Name: "second", Endpoint: "10.0.0.9:9001"})
	if f := s.run()["ports_now"]; f.Verdict != Fail || !strings.Contains(f.Found, "10.0.0.9:9001") || !strings.Contains(f.Found, "no address is known for no.such.invalid:9001") {
		t.Errorf("beside one that is known: %+v", f)
	}
}

// On loopback 2 does what 1 does, and of ports that are open it gives none back.
func TestTwReuseIsAdvisedOnlyWhereItHelps(t *testing.T) {
	for _, tc := range []struct {
		what string
		want bool
		with func(s *scene)
	}{
		{"half of them in TIME_WAIT", true, func(*scene) {}},
		{"few in TIME_WAIT", false, func(s *scene) { s.sockets.Outbound[0].TimeWait = 100 }},
		{"on already", false, func(s *scene) { s.set("net.ipv4.tcp_tw_reuse", "1") }},
		{"without timestamps", false, func(s *scene) { s.set("net.ipv4.tcp_timestamps", "0") }},
		{"loopback", false, func(s *scene) { s.plan = nil; s.sockets.towards("127.0.0.1:3306", 20000) }},
	} {
		s := aScene()
		s.sockets.towards("10.0.0.5:3306", 20000)
		tc.with(s)
		if f := s.run()["ports_now"]; f.Verdict != Warn || strings.Contains(f.Remedy.Do, "tcp_tw_reuse=1") != tc.want {
			t.Errorf("%s: %s, %+v", tc.what, f.Verdict, f.Remedy)
		}
	}
}

// A container may hide anything. That is no failure, and no reason to warn.
func TestWhatIsMissingIsUnknown(t *testing.T) {
	m := &Machine{FS: files{}.tree(), NoList: errors.New("no netlink here")}
	for _, plan := range []*Plan{nil, aScene().plan} {
		for _, f := range Run(m, plan).Findings {
			if f.Verdict == Warn || f.Verdict == Fail {
				t.Errorf("with nothing to see: %+v", f)
			}
		}
	}
	for name := range healthy() {
		s := aScene()
		delete(s.files, name)
		for _, f := range s.run() {
			if f.Verdict == Warn || f.Verdict == Fail {
				t.Errorf("without %s: %+v", name, f)
			}
			if f.Verdict == Unknown && !strings.Contains(f.Found, name) {
				t.Errorf("without %s: %s says only %q", name, f.Name, f.Found)
			}
		}
	}
}

// forbidden lets nothing be read, as a container's runtime may.
type forbidden struct{}

func (forbidden) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
}

func TestWhatMayNotBeReadIsUnknown(t *testing.T) {
	n := 0
	for _, f := range Run(&Machine{FS: forbidden{}, Sockets: aScene().sockets}, aScene().plan).Findings {
		switch {
		case f.Verdict == Warn || f.Verdict == Fail:
			t.Errorf("%+v", f)
		case f.Verdict == Unknown && strings.Contains(f.Found, ": permission denied"):
			n++
		}
	}
	if n < 15 {
		t.Errorf("%d checks say that they may not read", n)
	}
}

func TestGarbageIsUnknownAndNeverAPanic(t *testing.T) {
	for name := range healthy() {
		for _, text := range []string{"", "\n", "x", "\x00\xff\xfe", "- -", "1 2 3 4 5 6", "99999999999999999999999999", "-9223372036854775808", "TCP: tw", "TcpExt:\nTcpExt:", strings.Repeat("9", 1<<20)} {
			s := aScene()
			s.files[name] = text
			for _, f := range s.run() {
				if f.Verdict == Fail && strings.ContainsAny(text, "x\x00") {
					t.Errorf("%s holds %q: %+v", name, text, f)
				}
				if len(f.Found) > 400 {
					t.Errorf("%s: %s repeats %d bytes of it", name, f.Name, len(f.Found))
				}
			}
		}
	}
}
