package sock

import (
	"net"
	"time"
)

// Layer puts a layer, TLS, on a connection that is in use already, and returns
// the Conn over it, which owns c from then on. Nothing of the layer may have
// been read from c. A Listener still knows c, and parks and interrupts it.
func Layer(c Conn, layer func(net.Conn) net.Conn) Conn {
	over := wrap(layer(netConn(c)))
	over.peer, over.tag = c.RemoteAddr(), c.Tag()
	if p, ok := c.(*plainConn); ok {
		over.proxied = p.proxied
	}
	return over
}

// netConn is the net.Conn that c is made of, or one around it.
func netConn(c Conn) net.Conn {
	if p, ok := c.(*plainConn); ok {
		return p.Conn
	}
	return under{c}
}

// under makes a net.Conn of a Conn that is not made of one.
type under struct{ Conn }

func (u under) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(u.Conn.LocalAddr()) }
func (u under) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(u.Conn.RemoteAddr()) }

func (u under) SetDeadline(t time.Time) error {
	if err := u.SetReadDeadline(t); err != nil {
		return err
	}
	return u.SetWriteDeadline(t)
}
