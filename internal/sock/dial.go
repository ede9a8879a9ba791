package sock

import (
	"context"
	"errors"
	"fmt"
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
		return nil, dialError(err, source)
	}
	return Wrap(c), nil
}

// dialError says what is wrong where a name has no address that source can reach.
func dialError(err error, source netip.Addr) error {
	op, ok := errors.AsType[*net.OpError](err)
	if _, family := errors.AsType[*net.AddrError](err); ok && family && source.IsValid() {
		op.Err = fmt.Errorf("%w: the name has no address of the family of backends[].source, %s", op.Err, source)
	}
	return err
}
