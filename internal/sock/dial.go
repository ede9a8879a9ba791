package sock

import (
	"context"
	"net"
	"net/netip"
	"syscall"
)

// Dial connects to a backend: host:port, or unix:/path. source, where valid,
// is the local address. The context's deadline bounds all of it, a name's
// lookup included.
func Dial(ctx context.Context, address string, source netip.Addr) (Conn, error) {
	network := "tcp"
	if path, ok := cutUnix(address); ok {
		network, address = "unix", path
	}
	d := net.Dialer{KeepAliveConfig: keepAlive}
	d.SetMultipathTCP(false)
	if network == "tcp" {
		d.Control = func(_, _ string, rc syscall.RawConn) error { return dialSockopts(rc, source.IsValid()) }
		if source.IsValid() {
			d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
		}
	}
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return Wrap(c), nil
}
