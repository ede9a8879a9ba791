package configs

import "fmt"

// place is an address with the path that wrote it.
type place struct {
	addr Address
	path string
}

// spot is what only one listener can have: an IP address and a port, a port
// on every address (host is everyHost), or the path of a unix socket.
type spot struct {
	host string
	port uint16
}

const everyHost = "*"

func spotOf(a Address) spot {
	if a.Network() == "unix" {
		return spot{host: string(a)}
	}
	host, port := a.HostPort()
	if a.everywhere() {
		return spot{everyHost, port}
	}
	if ip, ok := a.ip(); ok {
		host = ip.String()
	}
	return spot{host, port}
}

// taken knows the places where weir listens.
type taken struct {
	spots map[spot]place
	ports map[uint16]place // the first place of each port
}

// conflict finds a place that leaves no room for another one. Listening
// everywhere takes the port on every address, of IPv4 and of IPv6. Port 0 is a
// free port each time.
func (t taken) conflict(a Address) (place, bool) {
	s := spotOf(a)
	if a.Network() == "tcp" && s.port == 0 {
		return place{}, false
	}
	if s.host == everyHost {
		p, ok := t.ports[s.port]
		return p, ok
	}
	if p, ok := t.spots[spot{everyHost, s.port}]; ok && a.Network() == "tcp" {
		return p, true
	}
	p, ok := t.spots[s]
	return p, ok
}

func (t taken) add(p place) {
	s := spotOf(p.addr)
	t.spots[s] = p
	if _, ok := t.ports[s.port]; !ok && p.addr.Network() == "tcp" {
		t.ports[s.port] = p
	}
}

// reached finds the place at which a dial arrives. It knows no names but
// localhost, and none of the machine's addresses but loopback.
func (t taken) reached(endpoint Address) (place, bool) {
	s := spotOf(endpoint)
	hosts := []string{s.host}
	if endpoint.loopback() {
		hosts = append(hosts, everyHost)
		if _, isIP := endpoint.ip(); !isIP {
			hosts = append(hosts, "127.0.0.1", "::1")
		}
	}
	for _, h := range hosts {
		if p, ok := t.spots[spot{h, s.port}]; ok {
			return p, true
		}
	}
	return place{}, false
}

// addresses holds the rules between all addresses: no two listeners on one,
// and no backend that is weir itself.
func (ch *checker) addresses() {
	t := taken{map[spot]place{}, map[uint16]place{}}
	for i, l := range ch.c.Listeners {
		path := fmt.Sprintf("listeners[%d].address", i)
		for j, a := range l.Address {
			p := place{a, fmt.Sprintf("%s[%d]", path, j)}
			if a == "" || !ch.good(path, p.path) {
				continue
			}
			if other, ok := t.conflict(a); ok {
				ch.clash(p, other)
				continue
			}
			t.add(p)
		}
	}
	for _, p := range []place{{ch.c.Admin.Address, "admin.address"}, {ch.c.Admin.Socket, "admin.socket"}} {
		if p.addr == "" || !ch.good(p.path, "admin") {
			continue
		}
		if other, ok := t.conflict(p.addr); ok {
			if !ch.set[p.path] {
				p, other = other, p // a default is nowhere in the file: point to what is
			}
			ch.clash(p, other)
			continue
		}
		t.add(p)
	}
	ch.loops(t)
}

func (ch *checker) clash(p, other place) {
	ch.reject(p.path, "%s is taken by %s (%s)", p.addr, ch.shown(other.path), ch.where(other))
}

func (ch *checker) where(p place) string {
	if ch.set[p.path] {
		return fmt.Sprintf("%s on line %d", p.addr, ch.at(p.path).line)
	}
	return fmt.Sprintf("%s, its default", p.addr)
}

// loops refuses endpoints at which weir itself listens.
func (ch *checker) loops(t taken) {
	for i, b := range ch.c.Backends {
		for j, e := range b.Endpoints {
			path := fmt.Sprintf("backends[%d].endpoints[%d].address", i, j)
			l, ok := t.reached(e.Address)
			switch {
			case e.Address == "" || !ok || !ch.good(path):
			case l.path == "admin.address" || l.path == "admin.socket":
				ch.reject(path, "%s is weir's own %s: clients would reach the admin page", e.Address, l.path)
			default:
				ch.reject(path, "%s is weir's own %s (%s): requests would go round for ever", e.Address, ch.shown(l.path), ch.where(l))
			}
		}
	}
}
