package audit

import (
	"net/netip"
	"slices"
	"time"
)

// Plan is what a configuration asks of the machine.
type Plan struct {
	Listeners   []Listener
	Backends    []Backend
	Descriptors int // that it can need at one time

	// Resolved has the addresses of endpoints that are names, by endpoint.
	// Those that are not in it have none, or none that was found in time.
	Resolved map[string][]netip.AddrPort
}

// Listener is an address that clients connect to.
type Listener struct {
	Name       string
	Port       uint16
	MaxClients int
	Quiet      bool // it closes without TIME_WAIT, which takes timestamps
}

// Backend is one endpoint that is reached over TCP.
type Backend struct {
	Name        string
	Endpoint    string     // host:port
	Source      netip.Addr // that the connections are bound to; not valid: the kernel chooses
	Loopback    bool
	MaxOpen     int           // connections at one time, those kept back included
	DialRate    float64       // most new ones in a second
	IdleTimeout time.Duration // 0: unknown
}

// addresses are those that the endpoint stands for.
func (b *Backend) addresses(p *Plan) []netip.AddrPort {
	if a, err := netip.ParseAddrPort(b.Endpoint); err == nil {
		return []netip.AddrPort{a}
	}
	return p.Resolved[b.Endpoint]
}

// timeWait is how long a TIME_WAIT lasts: TCP_TIMEWAIT_LEN of include/net/tcp.h.
const timeWait = 60

// demand is what all backends on one endpoint, from one source, ask of the local
// ports towards it. What the kernel chooses as a source counts as one more.
type demand struct {
	endpoint string
	source   netip.Addr
	open     int64 // at one time
	worst    int64 // if besides all dials of a minute leave a TIME_WAIT here
}

// demands returns one entry for each endpoint and source, the greatest first.
func (p *Plan) demands() []demand {
	var out []demand
	for _, b := range p.Backends {
		i := slices.IndexFunc(out, func(d demand) bool { return d.endpoint == b.Endpoint && d.source == b.Source })
		if i < 0 {
			i = len(out)
			out = append(out, demand{endpoint: b.Endpoint, source: b.Source})
		}
		out[i].open += int64(b.MaxOpen)
		out[i].worst += int64(b.MaxOpen) + int64(b.DialRate*timeWait)
	}
	slices.SortStableFunc(out, func(a, b demand) int { return int(b.worst - a.worst) })
	return out
}

// name is how messages call it.
func (d *demand) name() string {
	if !d.source.IsValid() {
		return d.endpoint
	}
	return d.endpoint + " from " + d.source.String()
}

// clients is how many connections all listeners may hold.
func (p *Plan) clients() int64 {
	seen, n := map[string]bool{}, int64(0)
	for _, l := range p.Listeners {
		if !seen[l.Name] { // one name may have several addresses
			n += int64(l.MaxClients)
		}
		seen[l.Name] = true
	}
	return n
}

func (p *Plan) connections() int64 {
	n := p.clients()
	for _, b := range p.Backends {
		n += int64(b.MaxOpen)
	}
	return n
}
