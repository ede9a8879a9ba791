package configs

import (
	"fmt"
	"strings"
)

// limits applies the rules of the limits blocks.
func (ch *checker) limits() {
	for i := range ch.c.Listeners {
		l := &ch.c.Listeners[i]
		path := fmt.Sprintf("listeners[%d]", i)
		ch.limitsOf(&l.Limits, l.Protocol, path+".limits", l.Connections)
		if l.Connections.Burst > 0 && l.Connections.Rate == (Rate{}) && ch.good(path+".connections.rate") {
			ch.warn(path+".connections.burst", "has no effect without connections.rate")
		}
		if at := path + ".connections.per_client"; l.Connections.PerClient > l.MaxClients && ch.good(at, path+".max_clients") {
			ch.warn(at, "%d has no effect: max_clients, which is %d, lets no more connect", l.Connections.PerClient, l.MaxClients)
		}
		for j := range l.Routes {
			ch.limitsOf(&l.Routes[j].Limits, l.Protocol, fmt.Sprintf("%s.routes[%d].limits", path, j), Connections{})
		}
	}
	for i := range ch.c.Backends {
		b := &ch.c.Backends[i]
		path := fmt.Sprintf("backends[%d]", i)
		ch.limitsOf(&b.Limits, b.Protocol, path+".limits", Connections{})
		if at := path + ".limits.in_flight"; b.Limits.InFlight == InFlightAuto && b.Queue.Max == 0 && ch.good(path+".queue.max") {
			ch.warn(at, "auto tries lower numbers now and then to find the right one, and with queue.max 0 those whom such a try would have wait are refused; write a queue.max that lets some wait, or a number here")
		}
		if at := path + ".limits.in_flight"; int(b.Limits.InFlight) >= b.Pool.MaxOpen && ch.set[at] {
			ch.warn(at, "%d has no effect: pool.max_open, which is %d, lets no more be in flight", b.Limits.InFlight, b.Pool.MaxOpen)
		}
	}
}

// limitsOf applies the rules of one block. Those who connect are counted by its
// prefixes too.
func (ch *checker) limitsOf(l *Limits, protocol, path string, who Connections) {
	at := func(key string) string { return path + "." + key }
	if ch.good(at("per")) && protocol != "" {
		switch {
		case l.Per == "user" && protocol != ProtocolMySQL:
			ch.reject(at("per"), "user is of protocol mysql; here it is client, or header:NAME")
		case strings.HasPrefix(l.Per, perHeader) && protocol != ProtocolHTTP:
			ch.reject(at("per"), "%s is of protocol http; here it is client, or user", clip(l.Per))
		}
	}
	name := strings.ToLower(l.PerHeader())
	if why := ownFields[name]; why != "" && name != "host" && l.PerRate != (Rate{}) && ch.good(at("per")) {
		ch.warn(at("per"), "%s tells no clients apart: it %s; name a field that each client has a value of its own in, such as header:X-Api-Key", clip(l.Per), why)
	}
	switch {
	case l.InFlight != InFlightAuto:
	case protocol == ProtocolMySQL:
		ch.reject(at("in_flight"), "auto is of protocol http: a MySQL client keeps its connection while it does nothing, so how long that takes says nothing of the server; write a number")
	case strings.HasPrefix(path, "listeners"):
		ch.reject(at("in_flight"), "auto is for a backend, as how long that takes is what it goes by; write a number here, or auto in the limits of the backend")
	}
	if ch.good(at("rate")) && l.Rate == (Rate{}) && l.Burst > 0 {
		ch.warn(at("burst"), "has no effect without limits.rate")
	}
	if ch.good(at("per_rate")) && l.PerRate == (Rate{}) {
		for key, says := range map[string]bool{"per": l.Per != defaultPer, "per_burst": l.PerBurst > 0, "per_keys": l.PerKeys != defaultPerKeys} {
			if says && ch.good(at(key)) {
				ch.warn(at(key), "has no effect without limits.per_rate")
			}
		}
	}
	if l.Per != defaultPer && who.PerClient == 0 && who.Rate == (Rate{}) {
		for key, says := range map[string]bool{"ipv4_prefix": l.IPv4Prefix != defaultIPv4Bits, "ipv6_prefix": l.IPv6Prefix != defaultIPv6Bits} {
			if says && ch.good(at("per")) {
				ch.warn(at(key), "has no effect: limits.per is %s", clip(l.Per))
			}
		}
	}
}
