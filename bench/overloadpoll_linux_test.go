//go:build bench

package bench

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// poller waits for sockets and for a moment, on one thread: the kernel's own
// epoll and timerfd. Both ends of the overload runs stand on it, because client,
// proxy and backend share the cores, and what the ends take the proxy lacks. A
// timerfd wakes within microseconds, where Go's timers round to milliseconds.
//
// It is for one goroutine. close closes it and none of the sockets.
type poller struct {
	epoll, timer int
	events       [512]unix.EpollEvent
}

// timerKey stands for the timer among the events.
const timerKey = -1

func newPoller() (*poller, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	timer, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		unix.Close(epoll)
		return nil, fmt.Errorf("timerfd_create: %w", err)
	}
	p := &poller{epoll: epoll, timer: timer}
	if err := p.add(timer, unix.EPOLLIN, timerKey); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// add watches fd until it is closed. Its events carry key.
func (p *poller) add(fd int, events uint32, key int32) error {
	if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: key}); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// wait returns the events that are there, and waits at most d for the first;
// the timer's own may be among them. They are good until the next call.
func (p *poller) wait(d time.Duration) ([]unix.EpollEvent, error) {
	timeout := 0
	if d > 0 {
		timeout = -1
		spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
		if err := unix.TimerfdSettime(p.timer, 0, &spec, nil); err != nil {
			return nil, fmt.Errorf("timerfd_settime: %w", err)
		}
	}
	n, err := unix.EpollWait(p.epoll, p.events[:], timeout)
	if err == unix.EINTR {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("epoll_wait: %w", err)
	}
	return p.events[:n], nil
}

func (p *poller) close() {
	unix.Close(p.timer)
	unix.Close(p.epoll)
}

// ring is a queue of a fixed size. To push onto a full one is a bug.
type ring[E any] struct {
	slots   []E
	head, n int
}

func newRing[E any](size int) ring[E] { return ring[E]{slots: make([]E, size)} }

func (r *ring[E]) first() E { return r.slots[r.head] }

func (r *ring[E]) push(e E) {
	if r.n == len(r.slots) {
		panic("bug: push onto a full ring")
	}
	r.slots[(r.head+r.n)%len(r.slots)] = e
	r.n++
}

func (r *ring[E]) pop() E {
	e := r.slots[r.head]
	r.head, r.n = (r.head+1)%len(r.slots), r.n-1
	return e
}
