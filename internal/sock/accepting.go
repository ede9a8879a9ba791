package sock

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A process that runs short of memory or descriptors stops taking clients last of
// all, and takes them again by itself. Meanwhile its listening sockets stay open:
// clients wait in the kernel's queue, and when that is full their SYNs are dropped
// and sent again (listen(2)), so none of them sees an error.

// SetAccepting stops taking clients from the kernel's queue, or goes on with it.
// It returns at once; those who wait are served when it goes on. A listener that
// drains cannot be stopped, and one that is stopped drains as usual: those who wait
// are served.
//
// On the plain path one client may be out of the queue, in the acceptor's hand: the
// net package lets nobody wait for a client without taking it.
func (l *Listener) SetAccepting(on bool) {
	if on {
		l.held.lift(false)
	} else {
		l.held.set()
	}
}

// StopAccepting is the first step of Drain: when it returns the address is free
// for another listener.
func (l *Listener) StopAccepting(ctx context.Context) {
	l.once.Do(func() {
		l.draining.Store(true)
		l.held.lift(true)
		close(l.stop)
		for _, s := range l.shards {
			s.stop(ctx.Err() == nil)
		}
	})
	l.accept.Wait()
}

// acceptSocket is what an acceptor waits on.
type acceptSocket interface {
	SetDeadline(time.Time) error
	SyscallConn() (syscall.RawConn, error)
}

// hold keeps acceptors from the kernel's queue: they wait at a gate. Behind it they
// ask the kernel before they wait for it again, since the poller is edge-triggered
// and tells of nobody twice.
type hold struct {
	mu    sync.Mutex // of set and lift; nothing waits under it
	ended bool       // the listener stops: the gate stays open

	gate atomic.Pointer[chan struct{}] // nil: open
}

var errHeld = errors.New("accepting is held")

func (h *hold) set() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.ended && h.gate.Load() == nil {
		gate := make(chan struct{})
		h.gate.Store(&gate)
	}
}

// lift opens the gate, for good if that is said.
func (h *hold) lift(forGood bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = h.ended || forGood
	if gate := h.gate.Swap(nil); gate != nil {
		close(*gate)
	}
}

func (h *hold) shut() bool { return h.gate.Load() != nil }

// pass waits until the gate is open: at the latest when the listener stops.
func (h *hold) pass() {
	for gate := h.gate.Load(); gate != nil; gate = h.gate.Load() {
		<-*gate
	}
}

// takeRest serves those who wait when a patient stop's time is up: where
// accepting was held they may be more than could be taken in that time. Nobody
// new gets into the queue, so it ends.
func (l *Listener) takeRest(ln net.Listener) {
	s, ok := ln.(acceptSocket)
	for ok && someoneWaits(s) {
		s.SetDeadline(time.Now().Add(time.Second)) // the old one has passed; nothing waits for this one
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		l.takePlain(nc)
	}
}

// someoneWaits says whether there is a client to accept.
func someoneWaits(s acceptSocket) (yes bool) {
	if rc, err := s.SyscallConn(); err == nil {
		rc.Control(func(fd uintptr) {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
			yes = n == 1 && err == nil
		})
	}
	return yes
}
