//go:build bench

package bench

import (
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// How the crowd gets its connections, before a run and again where one is lost.

const (
	addresses  = 64 // that clients have among them: no one's TIME_WAIT takes another's ports
	fillAtOnce = 64 // connections opened at one time before the run
	retryAfter = 10 * time.Millisecond
)

// newCrowd opens n connections to an address, and logs them in. It must be called on a thread in
// the namespace, as run must.
func newCrowd(p protocol, to netip.AddrPort, n int) (*crowd, error) {
	poll, err := newPoller()
	if err != nil {
		return nil, err
	}
	c := &crowd{protocol: p, to: to, poll: poll, began: time.Now(), clients: make([]client, n), rested: newRing[int](n)}
	for i := 0; i < n && c.err == nil; i += fillAtOnce {
		for j := i; j < min(i+fillAtOnce, n); j++ {
			c.open(j)
		}
		for c.rested.n < min(i+fillAtOnce, n) && c.err == nil {
			if c.now() > 10*time.Second {
				c.err = fmt.Errorf("%d of %d connections to %s were made in 10s (the last refusal: %v)", c.rested.n, n, to, c.refusal)
			}
			c.turn(retryAfter)
			c.reopen()
		}
	}
	if c.err != nil {
		c.close()
		return nil, c.err
	}
	return c, nil
}

// leave closes a client's connection.
func (c *crowd) leave(i int) {
	w := &c.clients[i]
	if w.state != away {
		unix.Close(w.fd)
	}
	w.state, w.part = away, w.part[:0]
}

// later has a client connect again after a pause, so that a server that refuses
// is not asked without end.
func (c *crowd) later(i int) {
	if len(c.again) == 0 {
		c.retryAt = c.now() + retryAfter
	}
	c.again = append(c.again, i)
}

func (c *crowd) reopen() {
	if len(c.again) == 0 || c.now() < c.retryAt {
		return
	}
	list := c.again
	c.again = nil
	for _, i := range list {
		c.open(i)
	}
}

// open begins a connection, from an address that depends on the client.
func (c *crowd) open(i int) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		c.err = fmt.Errorf("socket: %w", err)
		return
	}
	c.opened++
	w := &c.clients[i]
	w.fd, w.state = fd, connecting
	if err := c.connect(fd, i); err != nil {
		c.leave(i)
		c.later(i)
	}
}

// connect does not wait. What is refused at once comes as an error, what is
// refused later as an event.
func (c *crowd) connect(fd, i int) error {
	from := unix.SockaddrInet4{Addr: [4]byte{127, 0, 2, byte(1 + i%addresses)}}
	if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return err
	}
	if err := unix.Bind(fd, &from); err != nil {
		return err
	}
	to := unix.SockaddrInet4{Addr: c.to.Addr().As4(), Port: int(c.to.Port())}
	if err := unix.Connect(fd, &to); err != nil && err != unix.EINPROGRESS {
		return err
	}
	return c.poll.add(fd, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP|unix.EPOLLET, int32(i))
}

// close drops all connections.
func (c *crowd) close() {
	for i := range c.clients {
		c.leave(i)
	}
	c.poll.close()
}
