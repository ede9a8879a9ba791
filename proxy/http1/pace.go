package http1

import (
	"errors"
	"os"
	"time"

	"weir/pool"
)

// A client that holds a backend connection, in an upload past bodyAhead or a
// response past answerAhead, may be as slow as the timeouts allow, but not
// while others wait for that connection: then it has to move slowRate, or it is
// cut. Without this rule max_open clients who send a byte now and then would
// own the pool.
const (
	slowRate   = 16 << 10         // bytes a second
	slowWindow = 5 * time.Second  // over which it is measured
	slowTick   = time.Second      // how often a silent client is looked at
	slowLeast  = time.Millisecond // what takes less was no wait
)

// pace measures a client while it holds a lease. Only the time counts that was
// spent waiting for the client: a slow backend is not its fault.
type pace struct {
	waited time.Duration
	bytes  int
}

// slow books that the client moved n bytes in d and says whether it is to be
// cut.
func (p *pace) slow(n int, d time.Duration, waiting *pool.Pool) bool {
	if d >= slowLeast {
		p.waited += d
	}
	// What goes before the first wait only fills the socket's buffer, which
	// may be megabytes.
	if p.waited > 0 {
		p.bytes += n
	}
	if p.waited < slowWindow {
		return false
	}
	slow := float64(p.bytes) < slowRate*p.waited.Seconds()
	*p = pace{}
	return slow && waiting.Contended()
}

// readHeld reads from the client while a lease is held: within idle, which
// each byte renews, and not too slowly. The error is os.ErrDeadlineExceeded in
// either case.
func (s *session) readHeld(p []byte, idle time.Duration) (int, error) {
	var silent time.Duration
	for {
		s.c.ReadWithin(min(slowTick, idle-silent))
		if s.upload.stopping.Load() {
			return 0, os.ErrDeadlineExceeded
		}
		began := time.Now()
		n, err := s.c.Read(p)
		took := time.Since(began)
		silent += took
		if s.upload.pace.slow(n, took, s.route.Backend.Pool) {
			s.slow.Store(true)
			return 0, os.ErrDeadlineExceeded
		}
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) || silent >= idle || took < slowTick/2 {
			return n, err
		}
	}
}

// writeHeld writes to the client while a lease is held, in blocks that it must
// take within the send timeout each, and not too slowly.
func (s *session) writeHeld(p []byte) bool {
	for len(p) > 0 {
		block := p[:min(len(p), writeBlock)]
		p = p[len(block):]
		for left := s.set.SendTimeout; len(block) > 0; {
			s.c.WriteWithin(min(slowTick, left))
			began := time.Now()
			n, err := s.c.Write(block)
			took := time.Since(began)
			block, left = block[n:], left-took
			s.tally.wrote += int64(n)
			if s.answer.pace.slow(n, took, s.route.Backend.Pool) {
				s.slow.Store(true)
				return false
			}
			// An error that comes at once is no deadline of ours: a stop,
			// or TLS, which cannot go on after one.
			if err != nil && (!errors.Is(err, os.ErrDeadlineExceeded) || left <= 0 || took < slowTick/2) {
				return false
			}
		}
	}
	return true
}
