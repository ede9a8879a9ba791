package accesslog

import (
	"io"
	"time"
)

// stuckAfter is how long a write may stand before a new place takes its lines,
// how long it then has to end, and how long the close of a place is waited for.
const stuckAfter = time.Second

// mostLeft bounds how many sinks are left behind in calls that the kernel does
// not end: each holds half of what the log's memory is, and a thread.
const mostLeft = 4

// sink is a place of lines with the goroutine that writes to it. The writer of
// the Log, its owner, never calls the place itself, so a place that takes nothing
// more holds up nobody but its own goroutine. That one ends with release, or, if
// the kernel does not end its call even then, with that call: nobody waits for
// it any more, and it touches nothing but its own bytes and channels.
type sink struct {
	to     io.WriteCloser
	work   chan []byte // the writer gives one at a time, and waits for wrote
	wrote  chan result
	closed chan error
	idle   chan struct{} // run has ended
	ended  chan struct{} // no goroutine of it is left
}

type result struct {
	n   int
	err error
}

func newSink(to io.WriteCloser) *sink {
	s := &sink{
		to: to, work: make(chan []byte, 1), wrote: make(chan result, 1),
		closed: make(chan error, 1), idle: make(chan struct{}), ended: make(chan struct{}),
	}
	go s.run()
	return s
}

func (s *sink) run() {
	defer close(s.idle)
	for p := range s.work {
		n, err := s.to.Write(p)
		if err == nil && n < len(p) {
			err = io.ErrShortWrite
		}
		s.wrote <- result{n, err}
	}
}

// release closes the place, in a goroutine of its own: that ends a write to a
// pipe, and may itself wait for a file server. The answer comes to closed.
func (s *sink) release() {
	close(s.work)
	go func() {
		s.closed <- s.to.Close()
		<-s.idle
		close(s.ended)
	}()
}
