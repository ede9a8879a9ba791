package main

import (
	"bytes"
	"errors"
	"io"
	"sync/atomic"
	"time"
)

// stream is standard error, shared by weir's own log and by the access log, if
// that goes there. Lines come out one at a time, whole. A reader that has stopped
// to read stops the access log, and costs lines of weir's own log: those come from
// who serves or drains, and neither may wait for it.
type stream struct {
	w     io.Writer
	turn  chan struct{} // holds one token; who has it writes
	stuck atomic.Bool   // somebody has waited in vain, and nothing was written since
}

// streamPatience is how long a line of weir's own log may wait, once: while the
// stream is stuck the next ones are dropped without a wait.
const streamPatience = time.Second

var errStuck = errors.New("nobody reads the log")

func newStream(w io.Writer) *stream {
	s := &stream{w: w, turn: make(chan struct{}, 1)}
	s.turn <- struct{}{}
	return s
}

// Write writes a line of weir's own log, and returns when that is done, or can
// be expected no more.
func (s *stream) Write(p []byte) (int, error) {
	if s.stuck.Load() {
		select {
		case <-s.turn:
		default:
			return 0, errStuck
		}
	} else {
		timer := time.NewTimer(streamPatience)
		defer timer.Stop()
		select {
		case <-s.turn:
		case <-timer.C:
			s.stuck.Store(true)
			return 0, errStuck
		}
	}
	written := make(chan error, 1)
	line := bytes.Clone(p)
	go func() { // waited for below; if nobody reads, it ends with the process
		written <- s.write(line)
	}()
	timer := time.NewTimer(streamPatience)
	defer timer.Stop()
	select {
	case err := <-written:
		return len(p), err
	case <-timer.C:
		s.stuck.Store(true)
		return 0, errStuck
	}
}

// write has the turn and gives it back.
func (s *stream) write(p []byte) error {
	_, err := s.w.Write(p)
	s.stuck.Store(false)
	s.turn <- struct{}{}
	return err
}

// accessLines is the stream as a place for the access log.
type accessLines struct{ s *stream }

// accessBlock is about how much the access log writes in one turn: weir's own
// lines need not wait for more.
const accessBlock = 4 << 10

// Write writes whole lines, in turns, and waits as long as it takes.
func (a accessLines) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		end := bytes.LastIndexByte(p[n:min(n+accessBlock, len(p))], '\n') + 1
		if end == 0 { // a line that is longer
			end = bytes.IndexByte(p[n:], '\n') + 1
		}
		if end == 0 {
			end = len(p) - n
		}
		<-a.s.turn
		err = a.s.write(p[n : n+end])
		if err == nil {
			n += end
		}
	}
	return n, err
}

// Close leaves the stream open: it is not the access log's.
func (a accessLines) Close() error { return nil }
