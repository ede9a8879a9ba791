package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/tcpstat"
)

const (
	rangeKey    = "net.ipv4.ip_local_port_range"
	reservedKey = "net.ipv4.ip_local_reserved_ports"
)

// portRange is the range that connect() takes ports from, reserved or not.
func (m *Machine) portRange() (*tcpstat.LocalPorts, error) {
	span, err := m.text(sysctlFile(rangeKey))
	if err != nil {
		return nil, err
	}
	p := new(tcpstat.LocalPorts)
	return p, p.SetRange([]byte(span), nil)
}

// ports are those of the range that are not reserved. A kernel that can reserve
// none has all of them.
func (m *Machine) ports() (*tcpstat.LocalPorts, error) {
	span, err := m.text(sysctlFile(rangeKey))
	if err != nil {
		return nil, err
	}
	reserved, err := m.text(sysctlFile(reservedKey))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	p := new(tcpstat.LocalPorts)
	return p, p.SetRange([]byte(span), []byte(reserved))
}

// LocalPorts are those that connect() may choose from, with what decides when one
// in TIME_WAIT may be chosen again. Settings that the kernel does not have keep
// its older behaviour, as in tcpstat.ReadLocalPorts.
func (m *Machine) LocalPorts() (*tcpstat.LocalPorts, error) {
	p, err := m.ports()
	if err != nil {
		return nil, err
	}
	reuse, delay, stamps := int64(0), int64(reuseDelay), int64(1)
	for key, v := range map[string]*int64{"net.ipv4.tcp_tw_reuse": &reuse, "net.ipv4.tcp_tw_reuse_delay": &delay, "net.ipv4.tcp_timestamps": &stamps} {
		n, err := m.number(key)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		*v = n
	}
	p.Reuse, p.Timestamps = int(reuse), stamps != 0
	p.ReuseDelay = time.Duration(min(max(delay, 0), timeWait*1000)) * time.Millisecond
	return p, nil
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
	p, err := m.LocalPorts()
	if err != nil {
		return unknown(err)
	}
	n := int64(p.Count)
	widen, words := m.widen(plan)
	r := result{verdict: Pass, wanted: fmt.Sprintf("less than %d %% in use", portsHalf), set: widen,
		do: "reuse connections: send the traffic through a pool, and let the other side close first"}
	t, unseen := fullest(m.Sockets, plan)
	if t == nil {
		r.found = "no outgoing connection"
		if plan != nil {
			r.found += " to a backend of the configuration"
		}
		if unseen != "" {
			r.verdict = Unknown
			r.found += " is seen; " + unseen
		}
		return r
	}
	used := int64(t.Sockets + m.Sockets.Bound)
	r.found = fmt.Sprintf("%s of %s ports in use from %s to %s (%s), %s of them TIME_WAIT", many(used), many(n), t.Source, t.Remote, part(used, n), many(t.TimeWait))
	if m.Sockets.Bound > 0 {
		r.found += fmt.Sprintf(", %s that sockets listen on or are bound to", many(m.Sockets.Bound))
	}
	if t.Again > 0 {
		r.found += fmt.Sprintf("; %s more in TIME_WAIT are free: the kernel uses them again (tcp_tw_reuse)", many(t.Again))
	}
	if unseen != "" {
		r.found += "; " + unseen
	}
	if 2*int64(t.TimeWait) >= used && p.Reuse != 1 && p.Timestamps && !t.Remote.Addr().IsLoopback() {
		r.do += "; until then net.ipv4.tcp_tw_reuse=1 gives a port out again that has been in TIME_WAIT for a second, if the other end sends timestamps too and no NAT is between that several hosts share"
	}
	r.do += words
	r.full(used, n, portsHalf, portsLast)
	return r
}

// namesShown bounds how many names are told of a kind.
const namesShown = 3

// few writes the first of the names, and how many there are besides.
func few(names []string) string {
	n := len(names)
	if n <= namesShown {
		return clip(strings.Join(names, ", "))
	}
	return clip(strings.Join(names[:namesShown], ", ")) + fmt.Sprintf(" and %s more", many(n-namesShown))
}

// noAddress says which names could not be judged by their addresses.
func noAddress(names []string) string { return "no address is known for " + few(names) }

// fullest returns the destination with the most ports in use, of those in the
// plan if there is one, else of all; nil if there is none. unseen says which names
// of the plan it could not look for.
func fullest(s *Sockets, plan *Plan) (t *Tuple, unseen string) {
	if plan == nil {
		if len(s.Outbound) == 0 {
			return nil, ""
		}
		return &s.Outbound[0], ""
	}
	var names []string
	wanted := map[tcpstat.Pair]bool{} // without a source: from any
	for _, b := range plan.Backends {
		all := b.addresses(plan)
		for _, a := range all {
			wanted[tcpstat.Pair{Source: b.Source.Unmap(), Dest: netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())}] = true
		}
		if len(all) == 0 && !slices.Contains(names, b.Endpoint) {
			names = append(names, b.Endpoint)
		}
	}
	if len(names) > 0 {
		unseen = noAddress(names)
	}
	for i := range s.Outbound {
		if t := &s.Outbound[i]; wanted[tcpstat.Pair{Dest: t.Remote}] || wanted[tcpstat.Pair{Source: t.Source, Dest: t.Remote}] {
			return t, unseen
		}
	}
	return nil, unseen
}

func portParity(m *Machine, _ *Plan) result {
	p, err := m.portRange()
	if err != nil {
		return unknown(err)
	}
	low, high := p.Low, p.High
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
	ports, err := m.ports()
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
		if p := strconv.Itoa(int(l.Port)); ports.Has(l.Port) && !slices.Contains(open, p) {
			open = append(open, p)
		}
	}
	if len(open) == 0 {
		r.found = fmt.Sprintf("no listening port of the configuration is free for connect() to take, from %d to %d", ports.Low, ports.High)
		return r
	}
	r.verdict = Warn
	r.found = fmt.Sprintf("port %s inside of %d to %d and not reserved", strings.Join(open, ", "), ports.Low, ports.High)
	_, value := m.reserve(plan)
	r.set = set(reservedKey, value)
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
