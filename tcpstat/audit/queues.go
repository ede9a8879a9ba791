package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"weir/tcpstat"
)

func syncookies(m *Machine, _ *Plan) result {
	const key = "net.ipv4.tcp_syncookies"
	n, err := m.number(key)
	if err != nil {
		return unknown(err)
	}
	r := result{verdict: Pass, found: fmt.Sprintf("tcp_syncookies = %d", n), wanted: "1", set: set(key, "1")}
	if n != 1 {
		r.verdict = Warn
	}
	if sent, err := m.counter("TcpExt", "SyncookiesSent"); err == nil && sent > 0 {
		r.found += fmt.Sprintf("; %s sent: a queue was full, by a flood or a burst", many(sent))
	}
	return r
}

const leastBacklog = 4096 // the kernel's own somaxconn since 5.4

func synBacklog(m *Machine, _ *Plan) result {
	const key = "net.ipv4.tcp_max_syn_backlog"
	n, err := m.number(key)
	if err != nil {
		return unknown(err)
	}
	r := result{verdict: Pass, found: many(n), wanted: "any number, with tcp_syncookies = 1"}
	cookies, err := m.number("net.ipv4.tcp_syncookies")
	if err != nil || cookies != 0 || n >= leastBacklog {
		return r
	}
	r.verdict = Warn
	r.found += " with tcp_syncookies = 0: clients are dropped from three quarters of it on"
	r.set = set("net.ipv4.tcp_syncookies", "1")
	return r
}

const tinyBacklog = 128 // the kernel's own before 5.4

func somaxconn(m *Machine, _ *Plan) result {
	const key = "net.core.somaxconn"
	n, err := m.number(key)
	if err != nil {
		return unknown(err)
	}
	r := result{verdict: Pass, found: many(n), wanted: "at least " + many(leastBacklog), set: set(key, fmt.Sprint(leastBacklog)), do: "then restart weir"}
	switch {
	case n < tinyBacklog:
		r.verdict = Fail
	case n < leastBacklog:
		r.verdict = Warn
	}
	return r
}

// rareDrops is how many handshakes of a million may have found a queue full:
// fewer are an accident of long ago.
const rareDrops = 100

func acceptQueue(m *Machine, plan *Plan) result {
	over, err := m.counter("TcpExt", "ListenOverflows")
	if err != nil && m.Sockets == nil {
		return unknown(err)
	}
	r := result{verdict: Pass, wanted: "no queue above half, and no overflow", do: "find out why the program accepts so slowly: no processor left, or no descriptor; then a longer queue (net.core.somaxconn)"}
	if m.Sockets != nil {
		r.queues(m.Sockets, plan)
	} else {
		r.found = "listeners could not be listed"
	}
	if over == 0 {
		return r
	}
	r.found += fmt.Sprintf("; %s handshakes found a queue full since the network namespace was made", many(over))
	opened, _ := m.counter("Tcp", "PassiveOpens") // 0: any overflow is many
	if opened > 0 {
		r.found += fmt.Sprintf(", of %s connections that were accepted", many(opened))
	}
	if r.verdict == Pass && over*1e6 > opened*rareDrops {
		r.verdict = Warn
	}
	return r
}

// queues judges the listeners of the plan or, without one, all there are.
func (r *result) queues(s *Sockets, plan *Plan) {
	var worst *Queue
	n := 0
	for i := range s.Listens {
		q := &s.Listens[i]
		if plan != nil && !slices.ContainsFunc(plan.Listeners, func(l Listener) bool { return l.Port == q.Local.Port() }) {
			continue
		}
		n++
		if worst == nil || share(q) > share(worst) {
			worst = q
		}
	}
	switch {
	case worst == nil && plan != nil:
		r.found = "no listener of the configuration is there now"
		return
	case worst == nil:
		r.found = "no listener"
		return
	case worst.Limit == 0:
		r.found = fmt.Sprintf("%s waits at %s, its limit is not shown", many(worst.Waiting), worst.Local)
		return
	}
	r.found = fmt.Sprintf("at most %s of %s wait at one of %s listening sockets, %s", many(worst.Waiting), many(worst.Limit), many(n), worst.Local)
	switch {
	case worst.Waiting >= worst.Limit:
		r.verdict = Fail
	case 2*worst.Waiting >= worst.Limit && worst.Waiting > 1:
		r.verdict = Warn
	}
}

func share(q *Queue) float64 {
	if q.Limit == 0 {
		return 0
	}
	return float64(q.Waiting) / float64(q.Limit)
}

func abortOnOverflow(m *Machine, _ *Plan) result {
	const key = "net.ipv4.tcp_abort_on_overflow"
	n, err := m.number(key)
	if err != nil {
		return unknown(err)
	}
	r := result{verdict: Pass, found: fmt.Sprintf("tcp_abort_on_overflow = %d", n), wanted: "0", set: set(key, "0")}
	if n != 0 {
		r.verdict = Fail
	}
	return r
}

// Sockets in CLOSE-WAIT: weir's own are there for milliseconds.
const (
	someCloseWait = 100
	manyCloseWait = 1000
)

func closeWait(m *Machine, _ *Plan) result {
	if m.Sockets == nil {
		return unknown(m.noList())
	}
	n := m.Sockets.States[tcpstat.CloseWait]
	r := result{verdict: Pass, found: many(n) + " in CLOSE-WAIT", wanted: fmt.Sprintf("fewer than %d that stay", someCloseWait),
		do: "run doctor again: where the number does not fall, restart the program that holds them (ss -tnp state close-wait) and have it fixed"}
	if n > 0 && len(m.Sockets.CloseWait) > 0 {
		g := m.Sockets.CloseWait[0]
		r.found += fmt.Sprintf(", %s of them %s", many(g.Sockets), g.Where)
	}
	switch established := m.Sockets.States[tcpstat.Established]; {
	case n >= manyCloseWait && n > established:
		r.verdict = Fail
	case n >= someCloseWait && 10*n >= established:
		r.verdict = Warn
	}
	return r
}

// Shares of tcp_max_orphans. Both it and the count are the host's: the kernel has
// one of each for all network namespaces (tcp_orphan_count_sum in
// net/ipv4/tcp.c).
const (
	orphansSome = 25
	orphansMany = 75
)

func orphans(m *Machine, _ *Plan) result {
	const key = "net.ipv4.tcp_max_orphans"
	now, err := m.sockstat("orphan")
	if err != nil {
		return unknown(err)
	}
	most, err := m.number(key)
	if errors.Is(err, fs.ErrNotExist) {
		return result{verdict: Pass, found: many(now) + " on the whole host; the limit is the host's too, and not shown in a network namespace of our own", wanted: "few"}
	}
	if err != nil {
		return unknown(err)
	}
	r := result{verdict: Pass, found: fmt.Sprintf("%s of at most %s on the whole host (%s)", many(now), many(most), part(now, most)), wanted: fmt.Sprintf("less than %d %%", orphansSome), set: set(key, fmt.Sprint(4*most))}
	r.full(now, most, orphansSome, orphansMany)
	return r
}
