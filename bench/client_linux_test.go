//go:build bench

package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// visitor is a client with a connection of its own, from a local port of its
// own: a port that comes a second time takes the place of the TIME_WAIT of the
// first, and then fewer are left than there were connections.
type visitor struct {
	l       *lab
	to      netip.AddrPort
	from    netip.Addr // nothing listens here, so that every port is free
	request []byte
	wait    bool // ask for the close, and wait for it
	br      *bufio.Reader
}

const firstPort = 1024 // of maxVisits

const maxVisits = 1<<16 - firstPort

func (l *lab) visitor(p *proxy, from string, wait bool) *visitor {
	closing := ""
	if wait {
		closing = "Connection: close\r\n"
	}
	return &visitor{l: l, to: p.addr, from: netip.MustParseAddr(from), wait: wait, br: bufio.NewReader(nil),
		request: fmt.Appendf(nil, "GET / HTTP/1.1\r\nHost: %s\r\n%s\r\n", p.addr, closing)}
}

// visit connects for the nth time, makes one request and sees that it got what
// was asked for. It must be called on a thread in the namespace.
func (v *visitor) visit(ctx context.Context, n int) (net.Conn, error) {
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(v.from, uint16(firstPort+n))), Timeout: 10 * time.Second}
	d.SetMultipathTCP(false)
	c, err := d.DialContext(ctx, "tcp", v.to.String())
	if err != nil {
		return nil, err
	}
	if err := v.exchange(c); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (v *visitor) exchange(c net.Conn) error {
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write(v.request); err != nil {
		return err
	}
	v.br.Reset(c)
	resp, err := http.ReadResponse(v.br, nil)
	if err != nil {
		return err
	}
	got, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 || resp.Close != v.wait || string(got) != body {
		return fmt.Errorf("status %s, close %v, body %q, %v", resp.Status, resp.Close, got, err)
	}
	if v.wait {
		if _, err := v.br.ReadByte(); err != io.EOF {
			return fmt.Errorf("no clean end after the response: %v", err)
		}
	}
	return nil
}

// visits makes n connections with a request each, 32 at a time. Every one must
// be answered.
func (l *lab) visits(p *proxy, wait bool, n int) {
	l.t.Helper()
	if n > maxVisits {
		l.t.Fatalf("%d connections: there are ports for %d", n, maxVisits)
	}
	var all sync.WaitGroup
	var begun atomic.Int64
	for range 32 {
		v := l.visitor(p, "127.0.0.2", wait)
		all.Go(func() {
			l.ns.Do(func() {
				for !l.t.Failed() {
					i := int(begun.Add(1)) - 1
					if i >= n {
						return
					}
					c, err := v.visit(l.t.Context(), i)
					if err != nil {
						l.t.Errorf("%s: connection %d of %d: %v", p.name, i, n, err)
						return
					}
					c.Close()
				}
			})
		})
	}
	all.Wait()
	if l.t.Failed() {
		l.t.FailNow()
	}
}

// park makes n clients that ask once and then wait, until the test ends.
func (l *lab) park(p *proxy, n int) {
	l.t.Helper()
	v := l.visitor(p, "127.0.0.3", false)
	l.ns.Do(func() {
		for i := range n {
			c, err := v.visit(l.t.Context(), i)
			if err != nil {
				l.t.Fatalf("%s: client %d of %d: %v", p.name, i, n, err)
			}
			l.t.Cleanup(func() { c.Close() })
		}
	})
}
