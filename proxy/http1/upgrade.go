package http1

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"

	"weir/internal/reason"
	"weir/internal/sock"
	"weir/pool"
)

// tunnel passes bytes both ways after the backend's 101, until both sides have
// closed, one fails, or nothing moves for the listener's idle timeout. The
// connection counts in the pool all the while and is never used again.
func (s *session) tunnel(lease pool.Lease) (keep bool) {
	a := &s.answer
	c := lease.Conn()
	s.out = AppendResponse(s.out[:0], a.buf.bytes(), &a.resp, &s.redit)
	a.buf.skip(a.resp.HeadLen)
	s.body.forwarded()
	s.counts.status(101)
	s.tally.answering(101, len(s.out))
	if !s.writeAll(s.out, a.buf.bytes()) {
		lease.Discard(reason.CloseClientGone)
		s.logEnd(classNames[1], s.observe())
		s.end(sock.EndLost)
		return false
	}
	a.buf.skip(a.buf.len())

	t := tunnel{idle: s.set.IdleTimeout, send: s.set.SendTimeout}
	t.moved.Store(time.Now().UnixNano())
	var clientFirst bool
	done := make(chan struct{})
	go func() { // waited for below
		defer close(done)
		clientFirst, _ = t.copy(c, s.c, s.in)
	}()
	backendFirst, sent := t.copy(s.c, c, a.buf)
	<-done
	lease.Discard(reason.CloseUpgraded)
	s.tally.wrote += sent
	s.logEnd(classNames[1], s.observe())
	if clientFirst && backendFirst {
		s.end(sock.EndSilent)
	} else {
		s.end(sock.EndLost)
	}
	return false
}

// tunnel is what the two directions share.
type tunnel struct {
	idle, send time.Duration
	moved      atomic.Int64 // when a byte last went either way, Unix nanoseconds
	ended      atomic.Bool  // a direction failed
}

// copy passes from's bytes, those in b first, to to, and counts them. After
// from's FIN it sends one and reports true; after anything else it ends the
// other direction too.
func (t *tunnel) copy(to, from sock.Conn, b *buffer) (fin bool, sent int64) {
	for {
		if b.len() > 0 {
			to.WriteWithin(t.send)
			n, err := to.Write(b.bytes())
			sent += int64(n)
			if err != nil {
				t.end(to, from)
				return false, sent
			}
			b.skip(b.len())
		}
		from.ReadWithin(t.idle)
		n, err := from.Read(b.room())
		b.w += n
		now := time.Now().UnixNano()
		switch {
		case n > 0:
			t.moved.Store(now)
		case err == io.EOF:
			to.CloseWrite()
			return true, sent
		case errors.Is(err, os.ErrDeadlineExceeded) && now-t.moved.Load() < int64(t.idle) && !t.ended.Load():
			// The other direction is alive.
		default:
			t.end(to, from)
			return false, sent
		}
	}
}

func (t *tunnel) end(to, from sock.Conn) {
	t.ended.Store(true)
	from.Interrupt()
	to.Interrupt()
}
