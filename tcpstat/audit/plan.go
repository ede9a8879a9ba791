package audit

import (
	"net/netip"
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
