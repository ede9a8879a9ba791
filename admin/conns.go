package admin

import (
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// conns is a listener that knows its open connections: a shutdown ends those that
// do not end by themselves, and where there are too many one gives its place to
// the next, see crowd.go. The HTTP server has neither: its own bounds turn the
// newcomer away.
//
// Accept is called by one goroutine.
type conns struct {
	net.Listener
	near bool // all who come are of this machine
	log  *slog.Logger

	mu   sync.Mutex // guards below; not held while a socket is used
	held map[*heldConn]struct{}
	last uint64 // turn that was given last
	over bool
}

func newConns(ln net.Listener, log *slog.Logger) *conns {
	l := &conns{Listener: ln, near: true, log: log, held: make(map[*heldConn]struct{})}
	if a, ok := ln.Addr().(*net.TCPAddr); ok {
		l.near = a.IP.IsLoopback()
	}
	return l
}

const (
	// acceptAgain is how long Accept rests after a failure, as for want of
	// descriptors, which others may give back.
	acceptAgain = 100 * time.Millisecond
	// placeWait bounds the wait for the server to let go of a connection that was
	// closed under it while it read. It takes microseconds.
	placeWait = time.Second
)

// Accept returns the next connection that has a place. It fails only when the
// listener is closed: after any other error the HTTP server would never accept
// again.
func (l *conns) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil, err
		case err != nil:
			l.log.Warn("admin could not accept a connection, and tries again", "fold", "admin accept", "error", err)
			<-time.NewTimer(acceptAgain).C
			continue
		}
		h := &heldConn{Conn: c, l: l, peer: peer(c), near: l.near || isNear(c), gone: make(chan struct{})}
		h.waits, h.stranger = true, true
		switch err := l.place(h); {
		case err == nil:
			return h, nil
		case errors.Is(err, net.ErrClosed):
			c.Close()
			return nil, err
		default:
			c.Close()
			l.closedOne(h, err.Error())
		}
	}
}

// place finds a place for h, where there is none by closing another connection.
func (l *conns) place(h *heldConn) error {
	for {
		other, err := l.hold(h)
		if other == nil {
			return err
		}
		other.Conn.Close()
		l.closedOne(other, "its place was needed for "+h.peerText())
		t := time.NewTimer(placeWait)
		select {
		case <-other.gone:
			t.Stop()
		case <-t.C:
			return errNoPlace
		}
	}
}

func (l *conns) closedOne(c *heldConn, reason string) {
	l.log.Warn("admin closed a connection", "fold", "admin crowd", "client", c.peerText(), "reason", reason)
}

// cut closes all connections, and those that come later, and says how many there
// were.
func (l *conns) cut() int {
	l.mu.Lock()
	l.over = true
	l.mu.Unlock()
	return l.drop()
}

// drop closes all connections there are now, and says how many. Closing a
// connection that the server closes too is no harm.
func (l *conns) drop() int {
	l.mu.Lock()
	held := slices.Collect(maps.Keys(l.held))
	l.mu.Unlock()
	for _, c := range held {
		c.Conn.Close()
	}
	return len(held)
}

// peer is the address of who connects. An IPv6 network of 64 bits is one: whoever
// has one address in it has them all. Clients of a unix socket have none.
func peer(c net.Conn) netip.Addr {
	ip := remote(c)
	if ip.Is6() {
		p, _ := ip.Prefix(64)
		return p.Addr()
	}
	return ip
}

func remote(c net.Conn) netip.Addr {
	a, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return a.AddrPort().Addr().Unmap().WithZone("")
}

// isNear says whether c comes from this machine, also to an address that others
// reach: then it comes from that address.
func isNear(c net.Conn) bool {
	ip := remote(c)
	own, _ := c.LocalAddr().(*net.TCPAddr)
	return ip.IsLoopback() || own != nil && ip == own.AddrPort().Addr().Unmap().WithZone("")
}

// heldConn is one connection. The HTTP server reads from it and writes to it from
// one goroutine at a time; a shutdown closes it from another.
type heldConn struct {
	net.Conn
	l    *conns
	peer netip.Addr
	near bool          // of this machine
	gone chan struct{} // closed when the server has closed it
	once sync.Once

	// Guarded by l.mu.
	stranger bool   // it has not logged in
	waits    bool   // for its client, to send a request to its end
	leaves   bool   // its place is another's
	apart    bool   // it is a stream, of which there is a bound elsewhere
	turn     uint64 // when it came, or asked for something last; larger is later
}

// Read is the server's wait for a request, or for more of it.
func (c *heldConn) Read(b []byte) (int, error) {
	c.l.mu.Lock()
	c.waits = true
	c.l.mu.Unlock()
	return c.Conn.Read(b)
}

// Close is called by the server.
func (c *heldConn) Close() error {
	c.l.mu.Lock()
	delete(c.l.held, c)
	c.l.mu.Unlock()
	c.once.Do(func() { close(c.gone) })
	return c.Conn.Close()
}

func (c *heldConn) peerText() string {
	if !c.peer.IsValid() {
		return "the unix socket"
	}
	return c.peer.String()
}

// holder finds the heldConn in what the HTTP server has, with TLS or without; nil
// if there is none.
func holder(c net.Conn) *heldConn {
	if t, ok := c.(shaken); ok {
		c = t.NetConn()
	}
	h, _ := c.(*heldConn)
	return h
}

// asked notes that a whole request has come, of one who has logged in or not. It
// returns false where that came too late, and nothing may be done any more.
func asked(c net.Conn, stranger bool) bool {
	h := holder(c)
	if h == nil {
		return true
	}
	h.l.mu.Lock()
	defer h.l.mu.Unlock()
	h.l.last++
	h.waits, h.stranger, h.turn = false, stranger, h.l.last
	return !h.leaves
}

// streamed notes that a connection carries a stream from now on, and takes no place.
func streamed(c net.Conn) {
	if h := holder(c); h != nil {
		h.l.mu.Lock()
		h.apart = true
		h.l.mu.Unlock()
	}
}
