package admin

import (
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
)

// maxStrangers bounds the connections that come from one address and have not
// logged in, so that one who has no login cannot take all of maxConns. A browser
// opens 6, a probe one.
const maxStrangers = 16

// conns is a listener that knows its open connections, so that a shutdown can
// end those that do not end by themselves. The HTTP server has no such call, and
// its bound for each address (MaxConnsPerIP) does not bound IPv6, counts
// those who have logged in, and answers from the goroutine that accepts, where
// with TLS it would wait for a handshake.
type conns struct {
	net.Listener
	strangers int // of one address at a time; 0 is no bound
	log       *slog.Logger

	mu   sync.Mutex // guards below; not held while a socket is used
	held map[net.Conn]struct{}
	from map[netip.Addr]int // strangers by address, as peer has it
	over bool
}

func newConns(ln net.Listener, log *slog.Logger) *conns {
	l := &conns{Listener: ln, log: log, held: make(map[net.Conn]struct{}), from: make(map[netip.Addr]int)}
	if a, ok := ln.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() {
		l.strangers = maxStrangers // on loopback all come from one address
	}
	return l
}

// Accept closes connections of those who have too many and takes the next.
func (l *conns) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		h := &heldConn{Conn: c, l: l, peer: peer(c)}
		held, over := l.hold(h)
		if held {
			return h, nil
		}
		c.Close()
		if over {
			return nil, net.ErrClosed
		}
		l.log.Warn("admin closed a connection at once", "fold", "admin crowd", "client", h.peer.String(),
			"reason", "too many connections of this address have not logged in", "limit", l.strangers)
	}
}

func (l *conns) hold(h *heldConn) (held, over bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.over:
		return false, true
	case l.strangers > 0 && l.from[h.peer] >= l.strangers:
		return false, false
	}
	l.held[h] = struct{}{}
	l.from[h.peer]++
	h.stranger = true
	return true, false
}

// peer is the address of who connects. An IPv6 network of 64 bits is one: whoever
// has one address in it has them all. Clients of a unix socket have none.
func peer(c net.Conn) netip.Addr {
	a, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip := a.AddrPort().Addr().Unmap().WithZone("")
	if ip.Is6() {
		p, _ := ip.Prefix(64)
		return p.Addr()
	}
	return ip
}

// cut closes all connections and says how many there were.
func (l *conns) cut() int {
	l.mu.Lock()
	l.over = true
	held := l.held
	l.held = nil
	l.mu.Unlock()
	for c := range held {
		c.(*heldConn).Conn.Close()
	}
	return len(held)
}

// drop closes all connections there are now. Closing a connection that the server
// closes too is no harm.
func (l *conns) drop() {
	l.mu.Lock()
	held := slices.Collect(maps.Keys(l.held))
	l.mu.Unlock()
	for _, c := range held {
		c.(*heldConn).Conn.Close()
	}
}

type heldConn struct {
	net.Conn
	l        *conns
	peer     netip.Addr
	stranger bool // counted in from; guarded by l.mu
}

// known takes a connection out of the strangers: its client has logged in. c is
// what the HTTP server has, with TLS or without.
func known(c net.Conn) {
	if t, ok := c.(shaken); ok {
		c = t.NetConn()
	}
	if h, ok := c.(*heldConn); ok {
		h.l.mu.Lock()
		h.forget()
		h.l.mu.Unlock()
	}
}

// forget is called with mu held.
func (c *heldConn) forget() {
	if !c.stranger {
		return
	}
	c.stranger = false
	if c.l.from[c.peer]--; c.l.from[c.peer] == 0 {
		delete(c.l.from, c.peer)
	}
}

func (c *heldConn) Close() error {
	c.l.mu.Lock()
	delete(c.l.held, c)
	c.forget()
	c.l.mu.Unlock()
	return c.Conn.Close()
}
