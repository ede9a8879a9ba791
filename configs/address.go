package configs

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path"
	"strconv"
	"strings"
)

// Address is a place to listen at or to dial, as the file writes it: host:port,
// :port, or unix:/path. The zero value is no address.
type Address string

// maxUnixPath is what a socket address holds on Linux: 108 bytes (unix(7)),
// the last of them NUL.
const maxUnixPath = 107

// Network is "unix" or "tcp", as net.Dial and net.Listen take it.
func (a Address) Network() string {
	if strings.HasPrefix(string(a), "unix:") {
		return "unix"
	}
	return "tcp"
}

// Target is the address without its network, as net.Dial and net.Listen take
// it: host:port, or the path of the socket.
func (a Address) Target() string { return strings.TrimPrefix(string(a), "unix:") }

// HostPort splits a TCP address; the host of :8080 is empty. A unix address
// gives zeros.
func (a Address) HostPort() (host string, port uint16) {
	if a.Network() == "unix" {
		return "", 0
	}
	host, p, err := net.SplitHostPort(string(a))
	if err != nil {
		return "", 0
	}
	n, _ := strconv.ParseUint(p, 10, 16)
	return host, uint16(n)
}

// ip is the host as an IP address; ok is false for names and for no host.
func (a Address) ip() (ip netip.Addr, ok bool) {
	host, _ := a.HostPort()
	ip, err := netip.ParseAddr(host)
	return ip.Unmap(), err == nil
}

// everywhere says whether a listener there takes connections to any address of
// the machine.
func (a Address) everywhere() bool {
	host, _ := a.HostPort()
	ip, ok := a.ip()
	return a.Network() == "tcp" && (host == "" || ok && ip.IsUnspecified())
}

// loopback says whether only this machine reaches it.
func (a Address) loopback() bool {
	host, _ := a.HostPort()
	ip, ok := a.ip()
	return ok && ip.IsLoopback() || strings.EqualFold(host, "localhost")
}

func (a Address) String() string { return string(a) }

// ParseAddress reads what all addresses have in common. forms.go adds what a
// listener, an endpoint or the admin page needs.
func ParseAddress(s string) (Address, error) {
	if p, isUnix := strings.CutPrefix(s, "unix:"); isUnix {
		return Address(s), checkUnixPath(p)
	}
	switch {
	case strings.Contains(s, "://"):
		return "", fmt.Errorf("%q has a scheme; write host:port alone", clip(s))
	case strings.HasPrefix(s, "/"):
		return "", fmt.Errorf("%q is a path; write unix:%s for a unix socket", clip(s), clip(s))
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", addressError(s)
	}
	n, err := parseDigits(port)
	if err != nil || n > 65535 {
		return "", fmt.Errorf("%q: the port must be a number from 0 to 65535, is %q", clip(s), clip(port))
	}
	if _, err := netip.ParseAddr(host); err == nil || host == "" {
		return Address(s), nil
	}
	return Address(s), checkName(host)
}

func addressError(s string) error {
	if n, err := parseDigits(s); err == nil && n <= 65535 {
		return fmt.Errorf("%s is a port alone; write host:port, such as 127.0.0.1:%s", s, s)
	}
	if ip, err := netip.ParseAddr(s); err == nil && ip.Is4() {
		return fmt.Errorf("%q has no port; write %s:8080", s, s)
	}
	if strings.Count(s, ":") > 1 {
		return fmt.Errorf("%q is not an address; write an IPv6 address in brackets and quotes: \"[::1]:8080\"", clip(s))
	}
	return fmt.Errorf("%q is not an address; write host:port, :port or unix:/path", clip(s))
}

func checkUnixPath(p string) error {
	switch {
	case !strings.HasPrefix(p, "/"):
		return fmt.Errorf("%q: the path of a unix socket must be absolute; write unix:/run/weir/name.sock", clip("unix:"+p))
	case p == "/" || path.Clean(p) != p:
		return fmt.Errorf("%q: the path must name a file and have no //, /./, /../ or / at its end", clip("unix:"+p))
	case len(p) > maxUnixPath:
		return fmt.Errorf("the path of a unix socket has %d bytes; a socket address holds %d", len(p), maxUnixPath)
	case hasControl(p):
		return errors.New("the path of a unix socket must not hold control characters")
	}
	return nil
}

// checkName checks a host name by RFC 1123, section 2.1, with the underscore
// that container networks put in names.
func checkName(host string) error {
	name := strings.TrimSuffix(host, ".")
	labels := strings.Split(name, ".")
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" {
		return fmt.Errorf("%q is not an IP address and not a name", clip(host))
	}
	if len(name) > 253 {
		return fmt.Errorf("the host name has %d bytes; a name holds 253", len(name))
	}
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' || !onlyBytes(l, isHostByte) {
			return fmt.Errorf("%q is not a host name: each part has 1 to 63 letters, digits, - or _", clip(host))
		}
	}
	return nil
}

// parsePrefix reads a network or a single address.
func parsePrefix(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		ip, err := netip.ParseAddr(s)
		if err != nil || ip.Zone() != "" || ip.Is4In6() {
			return netip.Prefix{}, prefixError(s)
		}
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, prefixError(s)
	}
	if m := p.Masked(); m != p {
		return netip.Prefix{}, fmt.Errorf("%q has bits beyond its /%d; write %s, or %s for the one address", s, p.Bits(), m, p.Addr())
	}
	return p, nil
}

func prefixError(s string) error {
	return fmt.Errorf("%q is not a network or an IP address; write 10.0.0.0/8, 10.0.0.5 or 2001:db8::/32", clip(s))
}
