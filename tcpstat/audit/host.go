package audit

import (
	"fmt"
	"strconv"
	"strings"
)

// enoughFiles is what is wanted without a configuration: the default one, of
// 10,000 clients, needs less.
const enoughFiles = 16384

func descriptors(m *Machine, plan *Plan) result {
	limit, err := m.openFiles()
	if err != nil {
		return unknown(err)
	}
	r := result{verdict: Pass, found: number(limit)}
	if plan == nil {
		r.wanted = "at least " + many(enoughFiles)
		if limit < enoughFiles {
			r.verdict = Warn
		}
		r.do = "ulimit -n 65536, LimitNOFILE=65536 in a systemd unit, docker run --ulimit nofile=65536, in Kubernetes the node's container runtime"
		return r
	}
	need := uint64(plan.Descriptors)
	r.wanted = fmt.Sprintf("%s, what the configuration can need at one time", many(need))
	r.do = fmt.Sprintf("ulimit -n %d, LimitNOFILE=%d in a systemd unit, docker run --ulimit nofile=%d, in Kubernetes the node's container runtime; or lower max_clients of the listeners", need, need, need)
	switch {
	case limit < need:
		r.verdict = Fail
	case limit < need+need/10:
		r.verdict = Warn
		r.found += ": no room for max_clients or max_open to grow in a reload"
	}
	if most, err := m.number("fs.nr_open"); err == nil && r.verdict != Pass && uint64(most) < need {
		r.set = set("fs.nr_open", fmt.Sprint(need))
	}
	return r
}

// openFiles is the soft limit, which the Go runtime has raised to the hard one.
func (m *Machine) openFiles() (uint64, error) {
	const file = "proc/self/limits"
	text, err := m.text(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, "Max open files")
		f := strings.Fields(rest)
		if !ok || len(f) == 0 {
			continue
		}
		if f[0] == "unlimited" {
			return 1 << 62, nil
		}
		if n, err := strconv.ParseUint(f[0], 10, 62); err == nil {
			return n, nil
		}
	}
	return 0, fmt.Errorf("/%s shows no limit of open files", file)
}

func number(limit uint64) string {
	if limit == 1<<62 {
		return "unlimited"
	}
	return many(limit)
}

// Shares of the machine's file table.
const (
	tableWarn = 75
	tableFail = 95
)

func fileTable(m *Machine, _ *Plan) result {
	v, err := m.numbers("fs.file-nr", 3) // in use, free of those allocated, most
	if err != nil {
		return unknown(err)
	}
	used, most := v[0]-v[1], v[2]
	r := result{verdict: Pass, wanted: fmt.Sprintf("less than %d %% in use", tableWarn)}
	if most > 1<<53 { // no limit, in practice
		r.found = many(used) + " files open, without a limit"
		return r
	}
	r.found = fmt.Sprintf("%s of %s files open (%s)", many(used), many(most), part(used, most))
	r.set = set("fs.file-max", fmt.Sprint(2*most))
	r.full(used, most, tableWarn, tableFail)
	return r
}

// Shares of the table of connections.
const (
	trackedWarn = 70
	trackedFail = 90
)

// trackedClosed is how long an entry outlives its connection, in seconds.
const trackedClosed = 120

func conntrack(m *Machine, plan *Plan) result {
	const key = "net.netfilter.nf_conntrack_max"
	most, err := m.number(key)
	if m.lacks(err) {
		return result{verdict: Pass, found: "connections are not tracked here, as far as can be seen", wanted: "no table, or room in it"}
	}
	if err != nil {
		return unknown(err)
	}
	now, err := m.number("net.netfilter.nf_conntrack_count")
	if err != nil {
		return unknown(err)
	}
	closed, err := m.number("net.netfilter.nf_conntrack_tcp_timeout_time_wait")
	if err != nil || closed <= 0 {
		closed = trackedClosed
	}
	r := result{verdict: Pass, wanted: fmt.Sprintf("less than %d %% in use", trackedWarn)}
	if most <= 0 { // 0: no limit
		r.found = many(now) + " connections tracked, without a limit"
		return r
	}
	r.found = fmt.Sprintf("%s of %s entries (%s); room for %s short connections a second, at %d s each", many(now), many(most), part(now, most), many(most/closed), closed)
	room := most
	if plan != nil {
		// On one machine a connection may be seen at both its ends.
		room = max(most, 4*plan.connections())
	}
	r.set = set(key, fmt.Sprint(max(room, 2*most)))
	r.do = "or exempt the path to the backends from tracking (NOTRACK)"
	r.full(now, most, trackedWarn, trackedFail)
	switch {
	case r.verdict != Pass:
	case plan != nil && plan.connections() > most:
		r.verdict = Warn
		r.found += fmt.Sprintf("; the configuration allows %s connections", many(plan.connections()))
	case closed > trackedClosed:
		r.verdict = Warn
		r.set = set("net.netfilter.nf_conntrack_tcp_timeout_time_wait", strconv.Itoa(trackedClosed))
	}
	return r
}

// since says what came with which release of Linux.
var since = []struct {
	major, minor int
	without      string
}{
	{4, 2, "no IP_BIND_ADDRESS_NO_PORT: backends[].source cannot be used"},
	{4, 12, "tcp_tw_recycle exists, and loses clients behind NAT if it is on"},
	{4, 19, "tcp_tw_reuse knows no 2 (loopback only)"},
	{5, 4, "somaxconn is 128 unless set"},
	{6, 3, "no IP_LOCAL_PORT_RANGE for a single socket"},
	{6, 14, "no tcp_tw_reuse_delay: one second, fixed"},
	{6, 15, "connect() is many times slower where most ports are taken"},
	{6, 18, "a port that one socket has bound is closed to connect() for all"},
}

func kernel(m *Machine, _ *Plan) result {
	if _, err := m.text(sysctlFile("kernel.osrelease")); err != nil {
		return unknown(err)
	}
	release := m.release()
	var major, minor int
	if n, _ := fmt.Sscanf(release, "%d.%d", &major, &minor); n != 2 {
		return unknown(fmt.Errorf("/%s: %q is no version", sysctlFile("kernel.osrelease"), release))
	}
	r := result{verdict: Pass, found: release, wanted: "4.19 or newer"}
	var without []string
	for _, s := range since {
		if major < s.major || major == s.major && minor < s.minor {
			without = append(without, s.without)
		}
	}
	if len(without) > 0 {
		r.found += ": " + strings.Join(without, "; ")
	}
	if major < 4 || major == 4 && minor < 19 {
		r.verdict = Warn
		r.do = "a newer kernel"
	}
	return r
}
