//go:build bench

package bench

import (
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// crowd are the clients of an overload run, all on one thread: a bounded number
// of kept connections, of which each has one request at a time.
//
// A request takes the connection that has rested longest. Where all are busy it
// waits for one, and its time runs. At its deadline the client gives up: it
// closes its connection, as a browser, an HTTP library or a driver of a database
// does, because the answer may still come there, and opens another one. No
// request is made twice.
type crowd struct {
	protocol
	to       netip.AddrPort
	arrivals []arrival
	mark     func() // called on the thread at the beginning of each step and at the end; may be nil
	marks    []time.Duration

	poll    *poller
	began   time.Time
	clients []client
	rested  ring[int] // clients that were idle when they were put there
	again   []int     // clients that open a connection at retryAt
	retryAt time.Duration
	sent    int   // arrivals before it are sent or given up
	decided int   // arrivals before it have their result
	opened  int   // connections begun
	refusal error // the last login's that was refused
	in      [16 << 10]byte
	err     error // what no run can be without; it ends this one
}

// client is one who asks.
type client struct {
	fd     int
	state  clientState
	listed bool   // in crowd.rested
	asked  int    // index of its arrival while asking
	part   []byte // the beginning of an answer, or of what belongs to the login
}

type clientState uint8

const (
	away clientState = iota // has no connection
	connecting
	entering // is connected, and to log in
	resting
	asking
)

const partBound = 16 << 10 // of an answer

func (c *crowd) now() time.Duration { return time.Since(c.began) }

// run makes the requests, and returns when each of them has its result: at the
// last one's deadline at the latest.
func (c *crowd) run() error {
	c.began = time.Now()
	c.again, c.retryAt = c.again[:0], 0
	for i := range c.clients {
		if c.clients[i].state == away {
			c.later(i)
		}
	}
	for c.err == nil {
		now := c.now()
		for len(c.marks) > 0 && c.marks[0] <= now {
			c.mark()
			c.marks = c.marks[1:]
		}
		c.send(now)
		c.giveUp(now)
		if c.decided == len(c.arrivals) && len(c.marks) == 0 {
			break
		}
		c.reopen()
		c.turn(c.next() - c.now())
	}
	return c.err
}

// send writes the requests that are due, as far as there are connections.
func (c *crowd) send(now time.Duration) {
	for c.sent < len(c.arrivals) {
		a := &c.arrivals[c.sent]
		if a.at > now {
			return
		}
		if now-a.at >= deadline {
			a.result = unsent
			c.sent++
			continue
		}
		i, ok := c.rest()
		if !ok {
			return
		}
		w := &c.clients[i]
		if !write(w.fd, c.request(a.first)) {
			c.leave(i) // it had been closed just now; the next one takes the request
			c.later(i)
			continue
		}
		w.state, w.asked = asking, c.sent
		a.conn, a.sent = i, now
		c.sent++
	}
}

// rest takes the client that has been idle for longest.
func (c *crowd) rest() (i int, ok bool) {
	for c.rested.n > 0 {
		i := c.rested.pop()
		c.clients[i].listed = false
		if c.clients[i].state == resting {
			return i, true
		}
	}
	return 0, false
}

// giveUp ends what is at its deadline. All have the same one, so they come to it
// in the order of their arrival.
func (c *crowd) giveUp(now time.Duration) {
	for c.decided < c.sent {
		a := &c.arrivals[c.decided]
		if a.result == undecided {
			if now-a.at < deadline {
				return
			}
			a.result = timedOut
			c.leave(a.conn)
			c.open(a.conn)
		}
		c.decided++
	}
}

// next is when there is something to do without an event.
func (c *crowd) next() time.Duration {
	at := c.now() + deadline
	if len(c.marks) > 0 {
		at = min(at, c.marks[0])
	}
	if c.sent < len(c.arrivals) {
		due := c.arrivals[c.sent].at
		if c.rested.n == 0 {
			due += deadline
		}
		at = min(at, due)
	}
	if c.decided < c.sent {
		at = min(at, c.arrivals[c.decided].at+deadline)
	}
	if len(c.again) > 0 {
		at = min(at, c.retryAt)
	}
	return at
}

// turn waits at most d for sockets and does what they ask for.
func (c *crowd) turn(d time.Duration) {
	events, err := c.poll.wait(d)
	if err != nil {
		c.err = err
		return
	}
	for _, e := range events {
		if e.Fd == timerKey {
			continue
		}
		i := int(e.Fd)
		if c.clients[i].state == connecting {
			if e.Events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
				c.leave(i)
				c.later(i)
				continue
			}
			c.clients[i].state = entering
			c.enter(i, nil)
		}
		if e.Events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLERR|unix.EPOLLHUP) != 0 {
			c.read(i)
		}
	}
}

// settle makes a client one that can be asked.
func (c *crowd) settle(i int) {
	w := &c.clients[i]
	w.state, w.part = resting, w.part[:0]
	if !w.listed {
		w.listed = true
		c.rested.push(i)
	}
}

// read takes what a server has sent.
func (c *crowd) read(i int) {
	w := &c.clients[i]
	for w.state != away && w.state != connecting {
		n, err := unix.Read(w.fd, c.in[:])
		if err == unix.EAGAIN {
			return
		}
		if n <= 0 || w.state == resting {
			c.lost(i) // nobody had asked it for anything but to stay
			return
		}
		b := c.in[:n]
		if len(w.part) > 0 {
			w.part = append(w.part, b...)
			b = w.part
		}
		if w.state == entering {
			c.enter(i, b)
		} else {
			c.answered(i, b)
		}
		if c.err != nil || n < len(c.in) {
			return // that was all; what comes from now on is an event
		}
	}
}

// enter goes on with a login, of which b has come so far.
func (c *crowd) enter(i int, b []byte) {
	l, ok, err := c.login(b)
	switch {
	case err != nil:
		c.err = fmt.Errorf("%s: login: %w", c.to, err)
	case !ok:
		c.keep(i, b)
	case l.refused != nil:
		c.refusal = l.refused
		c.lost(i)
	case l.done && len(b) == l.size:
		c.settle(i)
	case l.done || len(b) != l.size || !write(c.clients[i].fd, l.say):
		c.lost(i)
	default:
		c.clients[i].part = c.clients[i].part[:0]
	}
}

// answered takes an answer, of which b has come so far.
func (c *crowd) answered(i int, b []byte) {
	got, ok, err := c.answer(b)
	switch {
	case err != nil:
		c.err = fmt.Errorf("%s: %w", c.to, err)
		return
	case !ok:
		c.keep(i, b)
		return
	}
	a := &c.arrivals[c.clients[i].asked]
	a.done, a.result = c.now(), got.result
	if got.closing || len(b) > got.size {
		c.leave(i)
		c.open(i)
		return
	}
	c.settle(i)
}

// keep remembers the beginning of what a client is to be sent.
func (c *crowd) keep(i int, b []byte) {
	if len(b) > partBound {
		c.err = fmt.Errorf("%s: an answer of more than %d bytes", c.to, partBound)
		return
	}
	w := &c.clients[i]
	w.part = append(w.part[:0], b...)
}

// write sends what is short enough for any socket's buffer.
func write(fd int, b []byte) bool {
	n, _ := unix.Write(fd, b)
	return n == len(b)
}

// lost is a connection that the server ended.
func (c *crowd) lost(i int) {
	if w := &c.clients[i]; w.state == asking {
		a := &c.arrivals[w.asked]
		a.done, a.result = c.now(), broken
	}
	c.leave(i)
	c.later(i)
}
