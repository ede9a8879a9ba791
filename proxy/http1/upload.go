package http1

import (
	"sync/atomic"
	"time"

	"weir/internal/sock"
	"weir/proxy/fault"
)

// upload sends a body that was too large to be read ahead, in a goroutine,
// while the session reads the response: a backend may answer before it has read
// all. While it runs, the session's in and body are the upload's.
type upload struct {
	s        *session
	done     chan struct{} // closed at the end; nil if there was no upload
	stopping atomic.Bool
	last     atomic.Bool   // what is being sent now is the end of the request
	failed   atomic.Uint32 // fault.Kind of the client's side
	rej      *Reject       // with failed
	unsent   bool          // the backend did not take all; read after done
	pace     pace
	head     []byte // its own copy: the session composes the response meanwhile
}

// reset forgets the last request's upload, before anything of the next body is
// read.
func (u *upload) reset() {
	u.done = nil
	u.pace = pace{}
	u.stopping.Store(false)
	u.s.slow.Store(false)
	u.last.Store(false)
	u.failed.Store(0)
	u.rej, u.unsent = nil, false
}

// start begins to send head, the pending bytes and the rest of the body.
func (u *upload) start(c sock.Conn, be *Backend, head []byte) {
	u.done = make(chan struct{})
	u.head = append(u.head[:0], head...)
	go u.run(c, be) // stop waits for it
}

func (u *upload) run(c sock.Conn, be *Backend) {
	defer close(u.done)
	b := &u.s.body
	for {
		c.WriteWithin(be.BodyIdle)
		u.last.Store(b.done)
		if _, err := b.send(c, u.head); err != nil {
			u.unsent = true
			return // the backend may have answered all the same; the session sees
		}
		u.head = u.head[:0]
		b.forwarded()
		if b.done {
			return
		}
		if k := b.read(bodyAhead); k != fault.None {
			u.rej = b.rejected()
			u.failed.Store(uint32(k))
			c.Interrupt() // the session must not wait for an answer to half a request
			return
		}
	}
}

func (u *upload) running() bool {
	if u.done == nil {
		return false
	}
	select {
	case <-u.done:
		return false
	default:
		return true
	}
}

// lastWrite is how long a response waits for the end of the write that it is
// the answer to. That takes microseconds; where it takes longer the backend
// has answered early.
const lastWrite = 20 * time.Millisecond

// finished says whether the upload has ended. A quick backend answers before
// the write of the last bytes has returned here, so that is waited for.
func (u *upload) finished() bool {
	if !u.running() {
		return true
	}
	if !u.last.Load() {
		return false
	}
	t := time.NewTimer(lastWrite)
	defer t.Stop()
	select {
	case <-u.done:
		return true
	case <-t.C:
		return false
	}
}

// clientFault is what went wrong on the client's side, None as long as nothing
// did.
func (u *upload) clientFault() fault.Kind {
	if u.done == nil || u.stopping.Load() {
		return fault.None
	}
	return fault.Kind(u.failed.Load())
}

// reject is the scanner's word on a body, if that is what clientFault is about.
func (u *upload) reject() *Reject {
	if u.clientFault() == fault.None {
		return nil // rej may be written just now
	}
	return u.rej
}

// stop ends the upload, if one runs, and waits for it. The backend's connection
// must not be used again if it was running.
func (u *upload) stop(c sock.Conn) {
	if !u.running() {
		return
	}
	u.stopping.Store(true)
	u.s.c.SetReadDeadline(time.Unix(1, 0))
	c.Interrupt()
	<-u.done
}
