package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	rangeKey    = "net.ipv4.ip_local_port_range"
	reservedKey = "net.ipv4.ip_local_reserved_ports"

	// wideRange is what is proposed: it begins above the ports that services
	// listen on by habit, and its ends differ in parity.
	wideRange = "10240 65535"

	// fewPorts is where a range without a configuration to judge it by looks
	// narrowed: the kernel's own has 28,232.
	fewPorts = 16384
	tooFew   = 1024
)

// portRange is the range that connect() takes ports from.
func (m *Machine) portRange() (low, high uint16, err error) {
	v, err := m.numbers(rangeKey, 2)
	if err != nil {
		return 0, 0, err
	}
	if v[0] < 0 || v[1] > 65535 || v[0] > v[1] {
		return 0, 0, fmt.Errorf("/%s: %d %d is no range of ports", sysctlFile(rangeKey), v[0], v[1])
	}
	return uint16(v[0]), uint16(v[1]), nil
}

// PortRange is the range that connect() takes ports from, or all ports if the
// kernel does not say.
func (m *Machine) PortRange() (low, high uint16) {
	low, high, err := m.portRange()
	if err != nil {
		return 1, 65535
	}
	return low, high
}

// span is a run of reserved ports.
type span struct{ low, high uint16 }

// reserved reads ip_local_reserved_ports: 8080,9148-9150. A kernel without it
// has none.
func (m *Machine) reserved() ([]span, error) {
	name := sysctlFile(reservedKey)
	text, err := m.text(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []span
	for _, item := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == '\n' || r == ' ' }) {
		first, last, two := strings.Cut(item, "-")
		if !two {
			last = first
		}
		low, err1 := strconv.ParseUint(first, 10, 16)
		high, err2 := strconv.ParseUint(last, 10, 16)
		if err1 != nil || err2 != nil || low > high {
			return nil, fmt.Errorf("/%s: %q is no port and no range of them", name, clip(item))
		}
		out = append(out, span{uint16(low), uint16(high)})
	}
	return out, nil
}

func has(spans []span, port uint16) bool {
	return slices.ContainsFunc(spans, func(s span) bool { return s.low <= port && port <= s.high })
}

// ports counts the ports of the range that are not reserved.
func (m *Machine) ports() (int64, error) {
	low, high, err := m.portRange()
	if err != nil {
		return 0, err
	}
	spans, err := m.reserved()
	if err != nil {
		return 0, err
	}
	n := int64(0)
	for p := int(low); p <= int(high); p++ {
		if !has(spans, uint16(p)) {
			n++
		}
	}
	return n, nil
}

func portBudget(m *Machine, plan *Plan) result {
	n, err := m.ports()
	if err != nil {
		return unknown(err)
	}
	widen := set(rangeKey, wideRange)
	if plan == nil {
		r := result{verdict: Pass, found: many(n) + " ports for each destination", wanted: "at least " + many(fewPorts), set: widen,
			do: "give -config FILE to have it judged by what the configuration can need"}
		if n < fewPorts {
			r.verdict = Warn
			r.found += fmt.Sprintf(", %s of the kernel's own 28,232", part(n, 28232))
		}
		if n < tooFew {
			r.verdict = Fail
		}
		return r
	}
	all := plan.demands()
	if len(all) == 0 {
		return result{verdict: Pass, found: many(n) + " ports for each destination, and no backend that is reached over TCP", wanted: "none"}
	}
	d := all[0]
	r := result{verdict: Pass, set: widen,
		found:  fmt.Sprintf("%s ports for each destination; %s needs %s, at worst %s", many(n), d.endpoint, many(d.open), many(d.worst)),
		wanted: fmt.Sprintf("more than %s", many(d.worst)),
		do:     "or lower pool.max_open and dial.rate, or add an endpoint: each has the whole range for itself"}
	switch {
	case d.open > n:
		r.verdict = Fail
	case d.worst > n || d.open > n/2:
		r.verdict = Warn
		if d.worst <= n {
			r.wanted = fmt.Sprintf("at least %s, as connect() is slower from half on", many(2*d.open))
		}
	}
	return r
}

// Shares of the range: at half the fast half is gone, and 15 % are little time.
const (
	portsHalf = 50
	portsLast = 85
)

func portsNow(m *Machine, plan *Plan) result {
	if m.Sockets == nil {
		return unknown(m.noList())
	}
	n, err := m.ports()
	if err != nil {
		return unknown(err)
	}
	t, ours := fullest(m.Sockets, plan)
	r := result{verdict: Pass, wanted: fmt.Sprintf("less than %d %% in use", portsHalf), set: set(rangeKey, wideRange),
		do: "reuse connections: send the traffic through a pool, and let the other side close first"}
	if t == nil {
		r.found = "no outgoing connection"
		if ours {
			r.found += " to a backend of the configuration"
		}
		return r
	}
	used := int64(t.Sockets)
	r.found = fmt.Sprintf("%s of %s ports in use from %s to %s (%s), %s of them TIME_WAIT", many(used), many(n), t.Source, t.Remote, part(used, n), many(t.TimeWait))
	switch {
	case used*100 >= n*portsLast:
		r.verdict = Fail
	case used*100 >= n*portsHalf:
		r.verdict = Warn
	}
	return r
}

// fullest returns the destination with the most connections: of those in the
// plan if one of them has an IP address that is connected to, else of all.
func fullest(s *Sockets, plan *Plan) (t *Tuple, ours bool) {
	if plan != nil {
		for i := range s.Outbound {
			if slices.ContainsFunc(plan.Backends, func(b Backend) bool { return b.Endpoint == s.Outbound[i].Remote.String() }) {
				return &s.Outbound[i], true
			}
		}
		named := func(b Backend) bool {
			host, _, err := net.SplitHostPort(b.Endpoint)
			return err == nil && net.ParseIP(host) == nil
		}
		if !slices.ContainsFunc(plan.Backends, named) {
			return nil, true
		}
	}
	if len(s.Outbound) == 0 {
		return nil, false
	}
	return &s.Outbound[0], false
}

func portParity(m *Machine, _ *Plan) result {
	low, high, err := m.portRange()
	if err != nil {
		return unknown(err)
	}
	r := result{verdict: Pass, found: fmt.Sprintf("%d to %d", low, high), wanted: "one end odd, the other even"}
	if low%2 == high%2 {
		r.verdict = Warn
		if high < 65535 {
			high++
		} else {
			low++
		}
		r.set = set(rangeKey, fmt.Sprintf("%d %d", low, high))
	}
	return r
}

func portsReserved(m *Machine, plan *Plan) result {
	low, high, err := m.portRange()
	if err != nil {
		return unknown(err)
	}
	spans, err := m.reserved()
	if err != nil {
		return unknown(err)
	}
	r := result{verdict: Pass, wanted: "listening ports outside of the range, or reserved"}
	if plan == nil {
		r.found = "not judged without a configuration"
		return r
	}
	var open []string
	for _, l := range plan.Listeners {
		if p := strconv.Itoa(int(l.Port)); l.Port >= low && l.Port <= high && !has(spans, l.Port) && !slices.Contains(open, p) {
			open = append(open, p)
		}
	}
	if len(open) == 0 {
		r.found = fmt.Sprintf("no listening port of the configuration is free for connect() to take, from %d to %d", low, high)
		return r
	}
	r.verdict = Warn
	r.found = fmt.Sprintf("port %s inside of %d to %d and not reserved", strings.Join(open, ", "), low, high)
	now, _ := m.text(sysctlFile(reservedKey))
	r.set = set(reservedKey, strings.TrimPrefix(strings.TrimSpace(now)+","+strings.Join(open, ","), ","))
	return r
}

// leastIdle is the shortest idle timeout that lets connections be reused.
const leastIdle = time.Second

func idleTimeout(_ *Machine, plan *Plan) result {
	r := result{verdict: Pass, wanted: "at least " + leastIdle.String()}
	if plan == nil {
		r.found = "not judged without a configuration"
		return r
	}
	for _, b := range plan.Backends {
		if b.IdleTimeout > 0 && b.IdleTimeout < leastIdle {
			r.verdict = Warn
			r.found = fmt.Sprintf("pool.idle_timeout of backend %s is %v", b.Name, b.IdleTimeout)
			r.do = "raise pool.idle_timeout, and keep it below the backend's own"
			return r
		}
	}
	r.found = "every pool.idle_timeout is long enough"
	return r
}

// noList is why there are no sockets to look at.
func (m *Machine) noList() error {
	if m.NoList != nil {
		return m.NoList
	}
	return errors.New("sockets were not listed")
}
