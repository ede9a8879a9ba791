package configs

import (
	"fmt"
	"net/netip"
	"strings"
)

// SourceAddr is source as an address; the zero Addr where the kernel chooses.
func (b *Backend) SourceAddr() netip.Addr {
	a, _ := netip.ParseAddr(b.Source) // sourceForm has taken it
	return a
}

// sourceForm takes an address that a socket can be bound to, or none. A zone
// would be lost where sockets are counted by address.
func sourceForm(s string) error {
	if s == "" {
		return nil
	}
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil && strings.HasPrefix(s, "unix:"):
		return fmt.Errorf("%q is not an IP address: unix sockets have no source; leave the key out", clip(s))
	case err != nil:
		return fmt.Errorf("%q is not an IP address; write an address of this machine without a port, such as 10.0.0.5 or \"2001:db8::5\"", clip(s))
	case a.Is4In6():
		return fmt.Errorf("%q is an IPv4 address written as IPv6; write %s", clip(s), a.Unmap())
	case a.Zone() != "":
		return fmt.Errorf("%q has a zone; write an address that needs none", clip(s))
	case a.IsUnspecified():
		return fmt.Errorf("%q stands for every address; leave the key out to let the kernel choose", clip(s))
	case a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Errorf("%q is no address of one machine, and no connection can come from it", clip(s))
	}
	return nil
}

// source holds the rules between source and the endpoints. Where an endpoint is
// a name only a dial shows which family it has.
func (ch *checker) source(b *Backend, path string) {
	at := path + ".source"
	if b.Source == "" || !ch.good(at) {
		return
	}
	src := b.SourceAddr()
	for i, e := range b.Endpoints {
		if e.Address == "" || !ch.good(fmt.Sprintf("%s.endpoints[%d].address", path, i), fmt.Sprintf("%s.endpoints[%d]", path, i)) {
			continue
		}
		if e.Address.Network() == "unix" {
			ch.reject(at, "has no meaning for %s: a unix socket has no source address; leave the key out", e.Address)
			return
		}
		dest, ok := e.Address.ip()
		switch {
		case !ok:
		case dest.Is4() != src.Is4():
			ch.reject(at, "%s is an %s address and the endpoint %s is %s; both must be of one family", src, family(src), e.Address, family(dest))
			return
		case src.IsLoopback() && !dest.IsLoopback():
			ch.warn(at, "%s reaches this machine alone, and the endpoint is %s", src, e.Address)
		}
	}
}

func family(a netip.Addr) string {
	if a.Is4() {
		return "IPv4"
	}
	return "IPv6"
}
