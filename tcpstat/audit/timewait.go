package audit

import (
	"fmt"
	"slices"

	"weir/tcpstat"
)

func timestamps(m *Machine, plan *Plan) result {
	const key = "net.ipv4.tcp_timestamps"
	n, err := m.number(key)
	if err != nil {
		return unknown(err)
	}
	r := result{verdict: Pass, found: fmt.Sprintf("tcp_timestamps = %d", n), wanted: "1", set: set(key, "1")}
	switch {
	case n == 0 && plan != nil && !slices.ContainsFunc(plan.Listeners, func(l Listener) bool { return l.Quiet }):
		r.verdict = Warn
		r.found += ", and no listener of the configuration closes quietly"
	case n == 0:
		r.verdict = Fail
	case n == 2:
		r.verdict = Warn
		r.found += ": without a random offset for each connection, so that anybody reads how long the machine has been up"
	}
	return r
}

func twReuse(m *Machine, plan *Plan) result {
	const key = "net.ipv4.tcp_tw_reuse"
	n, err := m.number(key)
	if err != nil {
		return unknown(err)
	}
	r := result{verdict: Pass, found: fmt.Sprintf("tcp_tw_reuse = %d", n), wanted: "2, or 1 while ports are short", set: set(key, "2")}
	ts, err := m.number("net.ipv4.tcp_timestamps")
	switch {
	case n == 1 && err == nil && ts == 0:
		r.verdict = Warn
		r.found += " with tcp_timestamps = 0: no effect at all"
	case n == 1:
		if g, err := m.group("TcpExt"); err == nil {
			c := m.tally(g, twRecycled)
			r.found += fmt.Sprintf(", %s ports taken from TIME_WAIT", many(c.total))
			if c.total > 0 {
				r.found += " " + c.when()
			}
		}
	case n == 0 && plan != nil && slices.ContainsFunc(plan.Backends, func(b Backend) bool { return b.Loopback }):
		r.verdict = Warn
		r.found += ": not even towards the backend on loopback"
	}
	return r
}

// Delays of tcp_tw_reuse_delay, in milliseconds. Linux ticks timestamps each
// millisecond, others each 10 or 100.
const (
	reuseDelay     = 1000
	leastReuseWait = 100
)

func twReuseDelay(m *Machine, _ *Plan) result {
	const key = "net.ipv4.tcp_tw_reuse_delay"
	n, err := m.number(key)
	if m.lacks(err) {
		return result{verdict: Pass, found: "not of this kernel: one second, fixed", wanted: "1000"}
	}
	if err != nil {
		return unknown(err)
	}
	r := result{verdict: Pass, found: fmt.Sprintf("%s ms", many(n)), wanted: fmt.Sprintf("%d, not below %d", reuseDelay, leastReuseWait), set: set(key, "1000")}
	if n < leastReuseWait {
		r.verdict = Warn
	}
	return r
}

func twRecycle(m *Machine, _ *Plan) result {
	const key = "net.ipv4.tcp_tw_recycle"
	n, err := m.number(key)
	if m.lacks(err) {
		return result{verdict: Pass, found: "not of this kernel", wanted: "not there, or 0"}
	}
	if err != nil {
		return unknown(err)
	}
	r := result{verdict: Pass, found: fmt.Sprintf("tcp_tw_recycle = %d", n), wanted: "not there, or 0", set: set(key, "0")}
	if n != 0 {
		r.verdict = Fail
	}
	return r
}

// Shares of tcp_max_tw_buckets that are in use.
const (
	bucketsHalf = 50
	bucketsLast = 90
)

// smallTable is the kernel's own limit on a machine of about 1 GiB, for where
// the size of its hash table is not to be seen.
const smallTable = 4096

func twBuckets(m *Machine, _ *Plan) result {
	const key = "net.ipv4.tcp_max_tw_buckets"
	most, err := m.number(key)
	if err != nil {
		return unknown(err)
	}
	// The kernel's own limit is half of its hash table's buckets. In a network
	// namespace that shares the host's table the number is negative.
	own := int64(smallTable)
	if n, err := m.number("net.ipv4.tcp_ehash_entries"); err == nil && n != 0 {
		own = max(n, -n) / 2
	}
	r := result{verdict: Pass, set: set(key, fmt.Sprint(max(own, 2*most))),
		wanted: fmt.Sprintf("%s, the kernel's own for this machine, or more; less than %d %% in use; no overflow now", many(own), bucketsHalf)}
	r.found = fmt.Sprintf("at most %s, which is %s closes a second that leave one", many(most), many(most/timeWait))
	if most < own/2 {
		r.verdict = Warn
		r.found += ": it was lowered"
		r.set = set(key, fmt.Sprint(own))
	}
	if g, err := m.group("TcpExt"); err == nil {
		if skipped := m.tally(g, twSkipped); skipped.total > 0 {
			r.found += fmt.Sprintf("; overflow: %s sockets skipped TIME_WAIT %s", many(skipped.total), skipped.when())
			if skipped.fresh > 0 || !skipped.known {
				r.verdict = Warn
			}
		}
	}
	now, err := m.sockstat("tw")
	if err != nil {
		return r // the limit was judged
	}
	r.found += fmt.Sprintf("; now %s (%s)", many(now), part(now, most))
	r.full(now, most, bucketsHalf, bucketsLast)
	if r.verdict != Pass {
		r.do = "and let clients, and backends, close first: a pool does"
	}
	return r
}

func twTimeout(m *Machine, _ *Plan) result {
	const key = "net.ipv4.tcp_tw_timeout"
	n, err := m.number(key)
	if m.lacks(err) {
		return result{verdict: Pass, found: "not of this kernel: 60 s, fixed", wanted: "60"}
	}
	if err != nil {
		return unknown(err)
	}
	r := result{verdict: Pass, found: fmt.Sprintf("a vendor's kernel: TIME_WAIT lasts %d s", n), wanted: "60", set: set(key, "60")}
	if n < timeWait {
		r.verdict = Warn
	}
	return r
}

// finTimeouts, in seconds, that leave a peer time to end.
const (
	finDefault  = 60
	finShortest = 15
)

func finTimeout(m *Machine, _ *Plan) result {
	const key = "net.ipv4.tcp_fin_timeout"
	n, err := m.number(key)
	if err != nil {
		return unknown(err)
	}
	r := result{verdict: Pass, found: fmt.Sprintf("%d s", n), wanted: fmt.Sprintf("%d s; %d and more where FIN-WAIT-2 piles up", finDefault, finShortest), set: set(key, fmt.Sprint(finDefault))}
	if m.Sockets != nil {
		r.found += fmt.Sprintf("; %s in FIN-WAIT-2 now", many(m.Sockets.States[tcpstat.FinWait2]))
	}
	if n < finShortest {
		r.verdict = Warn
	}
	return r
}
