package testnet

import (
	"bufio"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
)

// Script is what a Backend does with one connection. When it returns the
// connection is closed, if it is not yet.
type Script func(c *BackendConn)

// Backend is an HTTP server that does exactly what a Script says, right or
// wrong, on a real socket. All methods may be called from any goroutine.
type Backend struct {
	t      testing.TB
	script Script
	listen func(address string) (net.Listener, error)
	addr   netip.AddrPort

	mu   sync.Mutex // guards l, open, stop. Nothing blocks under it.
	l    net.Listener
	open map[*BackendConn]struct{}
	stop chan struct{} // closed by Stop; a new one for each Restart
	wg   sync.WaitGroup

	accepted, requests, maxOpen atomic.Int64
}

// listenFunc makes a listener. Netns.Listen is one.
type listenFunc = func(network, address string) (net.Listener, error)

// NewBackend starts a backend on 127.0.0.1 and a free port. It is stopped in the
// test's Cleanup.
func NewBackend(t testing.TB, script Script) *Backend {
	t.Helper()
	return NewBackendAt(t, net.Listen, "127.0.0.1:0", script)
}

// NewBackendAt starts a backend on an address, with a listener from listen:
// net.Listen, or the Listen method of a Netns.
func NewBackendAt(t testing.TB, listen listenFunc, address string, script Script) *Backend {
	t.Helper()
	b := &Backend{
		t: t, script: script, open: make(map[*BackendConn]struct{}),
		listen: func(address string) (net.Listener, error) { return listen("tcp", address) },
	}
	if err := b.start(address); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Stop)
	return b
}

// Addr is where the backend listens, also after a Restart.
func (b *Backend) Addr() netip.AddrPort { return b.addr }

// Accepted is the number of connections so far.
func (b *Backend) Accepted() int { return int(b.accepted.Load()) }

// Requests is the number of requests whose head was read.
func (b *Backend) Requests() int { return int(b.requests.Load()) }

// MaxOpen is the highest number of connections that were open at once.
func (b *Backend) MaxOpen() int { return int(b.maxOpen.Load()) }

// Open is the number of connections that are open now.
func (b *Backend) Open() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.open)
}

// Stop closes the listener and every connection and waits for the scripts. A
// client sees what it sees of a killed server: a FIN, or a reset where bytes
// were unread. It may be called more than once.
func (b *Backend) Stop() {
	b.mu.Lock()
	if b.l != nil {
		b.l.Close()
		b.l = nil
		close(b.stop)
		for c := range b.open {
			c.Conn.Close()
		}
	}
	b.mu.Unlock()
	b.wg.Wait()
}

// Restart starts a stopped backend on the same port.
func (b *Backend) Restart() {
	b.t.Helper()
	b.Stop()
	if err := b.start(b.addr.String()); err != nil {
		b.t.Fatal(err)
	}
}

func (b *Backend) start(address string) error {
	l, err := b.listen(address)
	if err != nil {
		return err
	}
	stop := make(chan struct{})
	b.mu.Lock()
	b.l, b.stop = l, stop
	b.addr = l.Addr().(*net.TCPAddr).AddrPort()
	b.mu.Unlock()
	b.wg.Go(func() { b.accept(l, stop) })
	return nil
}

func (b *Backend) accept(l net.Listener, stop chan struct{}) {
	for {
		conn, err := l.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				b.t.Errorf("testnet: backend %s: %v", b.addr, err)
			}
			return
		}
		c := &BackendConn{Conn: conn, R: bufio.NewReader(conn), ID: int(b.accepted.Add(1)), Stopped: stop, b: b}
		if !b.add(c, stop) {
			conn.Close()
			return
		}
		b.wg.Go(func() {
			defer b.remove(c)
			b.script(c)
		})
	}
}

// add books a connection, unless the backend was stopped since it was accepted.
func (b *Backend) add(c *BackendConn, stop chan struct{}) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.l == nil || b.stop != stop {
		return false
	}
	b.open[c] = struct{}{}
	if n := int64(len(b.open)); n > b.maxOpen.Load() {
		b.maxOpen.Store(n)
	}
	return true
}

func (b *Backend) remove(c *BackendConn) {
	c.Conn.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.open, c)
}
