//go:build !weir_netconn

package sock

import (
	"errors"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Poller wakes parked clients. It has an epoll set of its own, which itself
// stands in the runtime's poller: so no thread waits for it, and one goroutine
// serves all parked clients of the process.
type Poller struct {
	ep   *os.File // the epoll set
	rc   syscall.RawConn
	fd   int
	done chan struct{}

	mu     sync.Mutex
	gen    uint32
	byFD   []*rawConn // parked, by descriptor
	lots   []*lot
	wakeAt int64 // when the goroutine will look at the lots; 0 for never
	closed bool
}

// lot holds parked clients that may all be silent for equally long, so its
// list is in order of their deadlines.
type lot struct {
	p    *Poller
	l    *Listener
	wait time.Duration
	list list // guarded by p.mu
}

// slot is what a parked client is remembered by.
type slot struct {
	lot   *lot
	by    int64 // Unix nanoseconds
	state any
	gen   uint32
	held  bool // parked
	inSet bool // its descriptor is in the epoll set, disarmed unless parked
	deaf  bool // what comes does not wake it
	ahead bool // and its FIN neither
}

// expirySlack is how much later than its time a silent client may be closed,
// so that many are closed by one wake-up.
const expirySlack = 50 * time.Millisecond

// NewPoller starts a Poller.
func NewPoller() (*Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // else os.NewFile keeps it out of the poller
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &Poller{ep: os.NewFile(uintptr(fd), "epoll"), fd: fd, done: make(chan struct{})}
	if p.rc, err = p.ep.SyscallConn(); err != nil {
		p.ep.Close()
		return nil, err
	}
	go p.run()
	return p, nil
}

// Close stops the Poller. Its listeners must have been closed before.
func (p *Poller) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.ep.SetReadDeadline(past)
	<-p.done
	p.ep.Close()
}

func (p *Poller) run() {
	defer close(p.done)
	events := make([]unix.EpollEvent, 256)
	n := 0
	poll := func(fd uintptr) bool {
		var err error
		n, err = unix.EpollWait(int(fd), events, 0)
		return n > 0 || err != nil && err != unix.EINTR
	}
	for {
		n = 0
		err := p.rc.Read(poll)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		for _, ev := range events[:max(n, 0)] {
			p.ready(ev.Fd, uint32(ev.Pad))
		}
		p.mu.Lock()
		closed := p.closed
		p.mu.Unlock()
		if closed {
			return
		}
		p.expire()
	}
}

// ready wakes the client whose descriptor and generation an event names. An
// event of an earlier life of the descriptor finds another generation.
func (p *Poller) ready(fd int32, gen uint32) {
	p.mu.Lock()
	if p.sends(fd, gen) {
		p.mu.Unlock()
		return
	}
	c := p.take(fd, gen)
	p.mu.Unlock()
	if c != nil {
		c.slot.lot.l.resume(c, WakeReadable)
	}
}

// sends says whether a client that is left unread has closed its side behind
// requests that are still to be read, and lets it wait on; p.mu is held.
func (p *Poller) sends(fd int32, gen uint32) bool {
	if int(fd) >= len(p.byFD) {
		return false
	}
	c := p.byFD[fd]
	if c == nil || c.slot.gen != gen || !c.slot.deaf || peek(uintptr(fd)) != Readable {
		return false
	}
	return unix.EpollCtl(p.fd, unix.EPOLL_CTL_MOD, int(fd), &unix.EpollEvent{Events: unix.EPOLLONESHOT, Fd: fd, Pad: int32(gen)}) == nil
}

// take removes a parked client; p.mu is held.
func (p *Poller) take(fd int32, gen uint32) *rawConn {
	if int(fd) >= len(p.byFD) {
		return nil
	}
	c := p.byFD[fd]
	if c == nil || c.slot.gen != gen {
		return nil
	}
	p.byFD[fd] = nil
	c.slot.held = false
	c.slot.lot.list.remove(&c.node)
	return c
}

// expire wakes all whose time is up, and plans the next look.
func (p *Poller) expire() {
	now := time.Now().UnixNano()
	var late []*rawConn
	p.mu.Lock()
	next := int64(0)
	for _, lot := range p.lots {
		for n := lot.list.front(); n != nil; n = lot.list.front() {
			c := n.conn.(*rawConn)
			if c.slot.by > now {
				if next == 0 || c.slot.by < next {
					next = c.slot.by
				}
				break
			}
			late = append(late, p.take(c.fd, c.slot.gen))
		}
	}
	p.plan(next)
	p.mu.Unlock()
	for _, c := range late {
		c.slot.lot.l.resume(c, WakeExpired)
	}
}

// plan makes the goroutine look at the lots a little after t; p.mu is held.
func (p *Poller) plan(t int64) {
	p.wakeAt = t
	if p.closed {
		return
	}
	if t == 0 {
		p.ep.SetReadDeadline(time.Time{})
		return
	}
	p.ep.SetReadDeadline(time.Unix(0, t).Add(expirySlack))
}

// add parks c in lot.
func (p *Poller) add(lot *lot, c *rawConn, state any) error {
	p.mu.Lock()
	p.gen++
	c.slot.lot, c.slot.gen, c.slot.state = lot, p.gen, state
	c.slot.by = time.Now().Add(lot.wait).UnixNano()
	for int(c.fd) >= len(p.byFD) {
		p.byFD = append(p.byFD, make([]*rawConn, max(64, len(p.byFD)))...)
	}
	p.byFD[c.fd] = c
	c.slot.held = true
	lot.list.push(&c.node)
	if p.wakeAt == 0 || c.slot.by < p.wakeAt {
		p.plan(c.slot.by)
	}
	fd, gen, op := c.fd, c.slot.gen, unix.EPOLL_CTL_ADD
	if c.slot.inSet {
		op = unix.EPOLL_CTL_MOD
	}
	c.slot.inSet = true
	// The lock is held over the system call: the client may wake before the
	// call returns, and nobody may close its descriptor until then.
	events := uint32(unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT)
	switch { // the kernel reports resets all the same (epoll_ctl(2), EPOLLERR and EPOLLHUP)
	case c.slot.deaf && c.slot.ahead:
		events = unix.EPOLLONESHOT
	case c.slot.deaf:
		events = unix.EPOLLRDHUP | unix.EPOLLONESHOT
	}
	err := unix.EpollCtl(p.fd, op, int(fd), &unix.EpollEvent{Events: events, Fd: fd, Pad: int32(gen)})
	if err != nil {
		c.slot.inSet = false
		p.take(fd, gen)
	}
	p.mu.Unlock()
	return err
}

// lotFor returns the listener's lot for a wait.
func (l *Listener) lotFor(wait time.Duration) *lot {
	l.mu.Lock()
	defer l.mu.Unlock()
	x := l.lots[wait]
	if x == nil {
		x = &lot{p: l.opt.Poller, l: l, wait: wait}
		l.lots[wait] = x
		x.p.mu.Lock()
		x.p.lots = append(x.p.lots, x)
		x.p.mu.Unlock()
	}
	return x
}

// park hands c to the poller. False means that c is still the caller's and
// should be ended: the listener drains, or the kernel had no room. heard is what
// l.heard was before the handler said next.
func (l *Listener) park(c *rawConn, next Next, heard *chan struct{}) bool {
	lot := l.lotFor(next.Park)
	c.slot.deaf, c.slot.ahead = next.Unread, next.Ahead
	if c.poll.Load() != nil {
		if c.slot.inSet {
			unix.EpollCtl(lot.p.fd, unix.EPOLL_CTL_DEL, int(c.fd), nil)
			c.slot.inSet = false
		}
		if err := c.demote(); err != nil {
			l.listen(c)
			return false
		}
	}
	l.leave(&c.node)
	l.parked.Add(1)
	if err := lot.p.add(lot, c, next.State); err != nil {
		l.parked.Add(-1)
		l.listen(c)
		l.enter(&c.node)
		return false
	}
	// Drain sets the flag and then empties the lots; we fill the lot and then
	// look for the flag. So do Interrupt and HearAll.
	if l.draining.Load() {
		lot.drain()
	} else if c.interrupted.Load() {
		l.rouse(c)
	} else if next.Unread && l.heard.Load() != heard {
		l.hear(c)
	}
	return true
}

// rouse wakes an interrupted client with WakeDraining if it is parked.
func (l *Listener) rouse(c *rawConn) {
	p := l.opt.Poller
	p.mu.Lock()
	held := c.slot.held
	if held {
		p.take(c.fd, c.slot.gen)
	}
	p.mu.Unlock()
	if held {
		l.resume(c, WakeDraining)
	}
}

// resume gives a parked client a goroutine again.
func (l *Listener) resume(c *rawConn, w Wake) {
	l.parked.Add(-1)
	state, parked := c.slot.state, c.slot.by-int64(c.slot.lot.wait)
	c.slot.state = nil
	l.listen(c)
	c.brisk = w == WakeReadable && time.Now().UnixNano()-parked < int64(grace)
	l.enter(&c.node)
	go l.run(c, &c.node, w, state)
}

// hear wakes a client if it is left unread: it may have woken by itself, and be
// parked otherwise by now.
func (l *Listener) hear(c *rawConn) {
	p := l.opt.Poller
	p.mu.Lock()
	deaf := c.slot.held && c.slot.deaf
	if deaf {
		p.take(c.fd, c.slot.gen)
	}
	p.mu.Unlock()
	if deaf {
		l.resume(c, WakeExpired)
	}
}

// hearParked wakes the parked clients that are left unread.
func (l *Listener) hearParked() {
	p := l.opt.Poller
	if p == nil {
		return
	}
	var deaf []*rawConn
	p.mu.Lock()
	for _, x := range p.lots {
		if x.l != l {
			continue
		}
		for n := x.list.front(); n != nil && n != &x.list.root; {
			c := n.conn.(*rawConn)
			n = n.next
			if c.slot.deaf {
				deaf = append(deaf, p.take(c.fd, c.slot.gen))
			}
		}
	}
	p.mu.Unlock()
	for _, c := range deaf {
		l.resume(c, WakeExpired)
	}
}

// listen ends a client's time of being left unread.
func (l *Listener) listen(c *rawConn) {
	if c.slot.deaf {
		c.slot.deaf = false
		l.unread.Add(-1)
	}
}

// drain wakes all in the lot, to be ended.
func (x *lot) drain() {
	for {
		x.p.mu.Lock()
		n := x.list.front()
		var c *rawConn
		if n != nil {
			c = n.conn.(*rawConn)
			c = x.p.take(c.fd, c.slot.gen)
		}
		x.p.mu.Unlock()
		if c == nil {
			return
		}
		x.l.resume(c, WakeDraining)
	}
}

// forgetLots takes the listener's empty lots out of the poller.
func (l *Listener) forgetLots() {
	p := l.opt.Poller
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lots = slices.DeleteFunc(p.lots, func(x *lot) bool { return x.l == l })
}
