package main

import (
	"net/netip"
	"strings"

	"weir/configs"
	"weir/tcpstat/audit"
)

// planOf is what a configuration asks of the machine. Unix sockets ask for
// descriptors alone.
func planOf(c *configs.Config) *audit.Plan {
	p := &audit.Plan{Descriptors: c.Descriptors()}
	for _, l := range c.Listeners {
		for _, a := range l.Address {
			if a.Network() == "tcp" {
				_, port := a.HostPort()
				p.Listeners = append(p.Listeners, audit.Listener{Name: l.Name, Port: port, MaxClients: l.MaxClients, Quiet: l.Close == "quiet"})
			}
		}
	}
	if _, port := c.Admin.Address.HostPort(); port > 0 {
		p.Listeners = append(p.Listeners, audit.Listener{Name: "admin", Port: port})
	}
	for _, b := range c.Backends {
		open := b.Pool.MaxOpen
		if b.Protocol == configs.ProtocolMySQL {
			open += b.Pool.Reserved // http has no use for it
		}
		for _, e := range b.Endpoints {
			if e.Address.Network() != "tcp" {
				continue
			}
			p.Backends = append(p.Backends, audit.Backend{
				Name: b.Name, Endpoint: e.Address.Target(), Source: b.SourceAddr(), Loopback: onLoopback(e.Address),
				MaxOpen: open, DialRate: b.Dial.Rate.PerSecond(), IdleTimeout: b.Pool.IdleTimeout,
			})
		}
	}
	return p
}

func onLoopback(a configs.Address) bool {
	host, _ := a.HostPort()
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback() || strings.EqualFold(host, "localhost")
}
