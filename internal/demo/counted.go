package demo

import (
	"net"
	"sync/atomic"
)

// counted is a listener that counts what it accepts.
type counted struct {
	net.Listener
	n atomic.Uint64
}

func (c *counted) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		c.n.Add(1)
	}
	return conn, err
}

// Load returns the count so far.
func (c *counted) Load() uint64 { return c.n.Load() }
