package audit

import (
	"fmt"
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
	g, err := m.group("TcpExt")
	if err != nil {
		return r // the setting was judged
	}
	sent, dropped := m.tally(g, cookiesSent), m.tally(g, synsDropped)
	if dropped.total > 0 {
		r.found += fmt.Sprintf("; %s SYNs dropped, as their queue was full, by a flood or a burst, %s", many(dropped.total), dropped.when())
	}
	if sent.total > 0 {
		r.found += fmt.Sprintf("; %s cookies sent %s", many(sent.total), sent.when())
		if n == 1 { // with 2 there is one for every SYN
			r.found += ": a queue of SYNs was full"
		}
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

// someDrops are more SYNs than go astray in the second that doctor looks for. One
// that ICMP says cannot be answered is counted too (tcp_req_err of
// net/ipv4/tcp_ipv4.c), and so is the echo of a flood elsewhere.
const someDrops = 10

func acceptQueue(m *Machine, plan *Plan) result {
	g, err := m.group("TcpExt")
	if err != nil && m.Sockets == nil {
		return unknown(err)
	}
	r := result{verdict: Pass, wanted: "no queue above half, and no overflow now", do: "find out why the program accepts so slowly: no processor left, or no descriptor; then a longer queue (net.core.somaxconn)"}
	if m.Sockets != nil {
		r.queues(m, plan)
	} else {
		r.found = "listeners could not be listed"
	}
	worse := func(is bool) {
		if is && r.verdict == Pass {
			r.verdict = Warn
		}
	}
	over := m.tally(g, listenOverflows)
	if over.total > 0 {
		beside := ""
		if opened, _ := m.counter("Tcp", "PassiveOpens"); opened > 0 {
			beside = fmt.Sprintf(", beside %s that were accepted,", many(opened))
		}
		r.found += fmt.Sprintf("; %s handshakes%s found a queue full %s", many(over.total), beside, over.when())
		worse(over.fresh > 0 || !over.known)
	}
	if other := m.tally(g, listenDrops).without(over); other.total > 0 {
		r.found += fmt.Sprintf("; %s SYNs were dropped for other causes %s", many(other.total), other.when())
		worse(other.fresh >= someDrops)
		if other.fresh >= someDrops {
			r.do += "; for other causes, look at tcp_syncookies and at free memory"
		}
	}
	return r
}

// queues judges the listeners of the plan or, without one, all there are.
func (r *result) queues(m *Machine, plan *Plan) {
	s := m.Sockets
	var worst, shortest *Queue
	n := 0
	for i := range s.Listens {
		q := &s.Listens[i]
		if plan != nil && !slices.ContainsFunc(plan.Listeners, func(l Listener) bool { return l.Port == q.Local.Port() }) {
			continue
		}
		n++
		if worst == nil || share(q) > share(worst) || worst.Limit == 0 && q.Limit > 0 {
			worst = q
		}
		if q.Limit > 0 && (shortest == nil || q.Limit < shortest.Limit) {
			shortest = q
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
	if most, err := m.number("net.core.somaxconn"); err == nil && plan != nil && shortest.Limit < leastBacklog && int64(shortest.Limit) < most {
		if r.verdict == Pass {
			r.verdict = Warn
		}
		r.found += fmt.Sprintf("; the queue of %s is %s, though net.core.somaxconn is %s", shortest.Local, many(shortest.Limit), many(most))
		r.do = "if it is weir that listens there, restart it: a queue has the length of the time when it was opened; or " + r.do
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
	if m.lacks(err) {
		return result{verdict: Pass, found: many(now) + " on the whole host; the limit is the host's too, and not shown in a network namespace of our own", wanted: "few"}
	}
	if err != nil {
		return unknown(err)
	}
	r := result{verdict: Pass, found: fmt.Sprintf("%s of at most %s on the whole host (%s)", many(now), many(most), part(now, most)), wanted: fmt.Sprintf("less than %d %%", orphansSome), set: set(key, fmt.Sprint(4*most))}
	r.full(now, most, orphansSome, orphansMany)
	return r
}
