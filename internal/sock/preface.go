package sock

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"time"
)

// PrefaceLen says how long the preface is that p begins with, as far as p tells.
// If n is at most len(p), it is p[:n]. If n is larger, the bytes up to n belong
// to it, and perhaps more. An error means that there is none. It keeps nothing
// of p.
type PrefaceLen func(p []byte) (n int, err error)

// Reading a preface ends with one of these, beside what PrefaceLen says, a
// deadline's error and the kernel's:
//
//	ErrIdle              nothing came yet: the client should be parked
//	io.EOF               the client has left without a byte
//	io.ErrUnexpectedEOF  it has left in the middle
//
// What was read is in the buffer then, and its length is returned.

// ReadPreface reads as many bytes as are certain to belong to the preface, again
// and again, which works with every net.Conn. It takes a read for each byte
// where only the last one shows the end.
//
// A TLS connection is not parked: what wakes a parked one is read through TLS.
func (c *plainConn) ReadPreface(buf []byte, d time.Duration, length PrefaceLen) (int, error) {
	below := c.below()
	if u, ok := below.(under); ok {
		return u.ReadPreface(buf, d, length)
	}
	if c.rc != nil {
		c.ReadWithin(grace)
	} else {
		c.SetReadDeadline(time.Now().Add(d))
	}
	for have := 0; ; {
		n, err := length(buf[:have])
		switch {
		case err != nil:
			return have, err
		case n <= have:
			return have, nil
		case n > len(buf):
			return have, io.ErrShortBuffer
		}
		n, err = below.Read(buf[have:n])
		if n > 0 {
			if have == 0 {
				c.SetReadDeadline(time.Now().Add(d))
			}
			have += n
			continue
		}
		if err == nil {
			continue
		}
		return have, prefaceError(have, err, c.rc != nil && !c.interrupted.Load())
	}
}

// prefaceError tells the ways apart in which reading ends after have bytes. mayPark
// says that a deadline in front of the first byte was only the grace.
func prefaceError(have int, err error, mayPark bool) error {
	switch {
	case have == 0 && mayPark && errors.Is(err, os.ErrDeadlineExceeded):
		return ErrIdle
	case have > 0 && err == io.EOF:
		return io.ErrUnexpectedEOF
	}
	return err
}

func (c *plainConn) SetRemoteAddr(a netip.AddrPort) { c.peer, c.proxied = a, true }

func (c *plainConn) carrier() (netip.Addr, bool) {
	if u, ok := c.below().(under); ok {
		return carrierOf(u.Conn)
	}
	return addrPort(c.Conn.RemoteAddr()).Addr(), c.proxied
}

// carrierOf returns the address of who is connected, and whether that is a
// proxy for somebody else. The habits of closing are that one's, not the
// client's.
func carrierOf(c Conn) (a netip.Addr, proxied bool) {
	if k, ok := c.(interface{ carrier() (netip.Addr, bool) }); ok {
		return k.carrier()
	}
	return c.RemoteAddr().Addr(), false
}
