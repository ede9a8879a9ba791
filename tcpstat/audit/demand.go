package audit

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"weir/tcpstat"
)

// timeWait is how long a TIME_WAIT lasts: TCP_TIMEWAIT_LEN of include/net/tcp.h.
const timeWait = 60

// destination is what has the range of local ports for itself, however a
// configuration writes it.
type destination struct {
	tcpstat.Pair        // without a source: from what the kernel chooses
	name         string // of an endpoint without an address; then there is no Dest
}

// demand is what all backends on one destination ask of the local ports towards
// it. Where the kernel chooses the source, and it is not known which, that counts
// as one more source.
type demand struct {
	destination
	endpoints []string // as the configuration has them
	bound     bool     // one of them names the source
	open      int64    // at one time
	worst     int64    // if besides all dials of a minute leave a TIME_WAIT here
}

// demands returns one entry for each destination, the greatest first. All
// connections to a name may go to any one of its addresses.
func (p *Plan) demands() []demand {
	var out []demand
	index := map[destination]int{}
	for i := range p.Backends {
		b := &p.Backends[i]
		for _, k := range b.destinations(p) {
			at, ok := index[k]
			if !ok {
				at = len(out)
				index[k] = at
				out = append(out, demand{destination: k})
			}
			d := &out[at]
			if !slices.Contains(d.endpoints, b.Endpoint) {
				d.endpoints = append(d.endpoints, b.Endpoint)
			}
			d.bound = d.bound || b.Source.IsValid()
			d.open += int64(b.MaxOpen)
			d.worst += int64(b.MaxOpen) + int64(b.DialRate*timeWait)
		}
	}
	slices.SortStableFunc(out, func(a, b demand) int { return cmp.Compare(b.worst, a.worst) })
	return out
}

// destinations are those that the endpoint stands for, each of them once.
func (b *Backend) destinations(p *Plan) []destination {
	var out []destination
	for _, a := range b.addresses(p) {
		ip, source := a.Addr().Unmap(), b.Source.Unmap()
		if source.IsValid() && source.Is4() != ip.Is4() {
			continue // of a name; it is not dialled from there
		}
		if !source.IsValid() && ip.IsLoopback() {
			source = loopback(ip)
		}
		k := destination{Pair: tcpstat.Pair{Source: source, Dest: netip.AddrPortFrom(ip, a.Port())}}
		if !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	if len(out) == 0 {
		out = append(out, destination{tcpstat.Pair{Source: b.Source.Unmap()}, b.Endpoint})
	}
	return out
}

// loopback is the source that the kernel chooses towards ip, which is on loopback:
// the route to all of 127.0.0.0/8 has 127.0.0.1 as its source.
func loopback(ip netip.Addr) netip.Addr {
	if ip.Is4() {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.IPv6Loopback()
}

// title is how messages call it.
func (d *demand) title() string {
	s := d.endpoints[0]
	if len(d.endpoints) > 1 {
		s += " (also " + few(d.endpoints[1:]) + ")"
	}
	if d.bound {
		s += " from " + d.Source.String()
	}
	return s
}

// text says what it is, and how much.
func (d *demand) text() string {
	return fmt.Sprintf("%s needs %s, at worst %s", d.title(), many(d.open), many(d.worst))
}

// need is how many ports are enough for it: connect() is slower from half on.
func (d *demand) need() int64 { return max(d.worst, 2*d.open) }

// judge says whether n ports are enough.
func (d *demand) judge(n int64) Verdict {
	switch {
	case d.open > n:
		return Fail
	case d.need() > n:
		return Warn
	}
	return Pass
}

// gravest returns the worst verdict on n ports, and those that it is about, the
// greatest first.
func gravest(all []demand, n int64) (Verdict, []demand) {
	order := []Verdict{Pass, Warn, Fail}
	worst := 0
	for i := range all {
		worst = max(worst, slices.Index(order, all[i].judge(n)))
	}
	var of []demand
	for i := range all {
		if all[i].judge(n) == order[worst] {
			of = append(of, all[i])
		}
	}
	return order[worst], of
}

// texts joins what some demands say. The addresses of one name say the same.
func texts(all []demand) string {
	var out []string
	more := 0
	seen := map[string]bool{}
	for i := range all {
		t := all[i].text()
		switch {
		case seen[t]:
		case len(out) < namesShown:
			out = append(out, t)
		default:
			more++
		}
		seen[t] = true
	}
	if more > 0 {
		out = append(out, many(more)+" more")
	}
	return strings.Join(out, "; ")
}
