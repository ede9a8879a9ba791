package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync/atomic"
	"time"
)

// stream is standard error, shared by weir's own log and by the logs of requests
// and of slow queries, if they go there, or standard output, for those. Lines come
// out one at a time, whole. A reader that has stopped to read stops those two, and
// costs lines of weir's own log: these come from who serves or drains, and neither
// may wait for it.
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

// newStreams returns the streams of both, which are one if both lead to one
// file: lines of two could run into each other, or overwrite each other.
func newStreams(stdout, stderr io.Writer) (out, err *stream) {
	err = newStream(stderr)
	a, b := fileOf(stdout), fileOf(stderr)
	if a != nil && b != nil && os.SameFile(a, b) {
		return err, err
	}
	return newStream(stdout), err
}

// fileOf is what w leads to, nil if that is no file.
func fileOf(w io.Writer) fs.FileInfo {
	f, ok := w.(*os.File)
	if !ok {
		return nil
	}
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	return info
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

// accessLines is the stream as a place for the access log, or for the slow-query
// log. Writes come one at a time; Close may come during one.
type accessLines struct {
	s      *stream
	closed chan struct{}
	wrote  chan error
	block  []byte // being written; whoever has the turn reads it
}

func newAccessLines(s *stream) *accessLines {
	return &accessLines{s: s, closed: make(chan struct{}), wrote: make(chan error, 1)}
}

// accessBlock is about how much the access log writes in one turn: weir's own
// lines need not wait for more.
const accessBlock = 4 << 10

// Write writes whole lines, in turns, and waits as long as it takes, or for
// Close. That leaves a block with the kernel, and does not count it as written:
// it comes out if somebody reads again, and in the next place of the log too.
func (a *accessLines) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		end := bytes.LastIndexByte(p[n:min(n+accessBlock, len(p))], '\n') + 1
		if end == 0 { // a line that is longer
			end = bytes.IndexByte(p[n:], '\n') + 1
		}
		if end == 0 {
			end = len(p) - n
		}
		select {
		case <-a.s.turn:
		case <-a.closed:
			return n, os.ErrClosed
		}
		a.block = append(a.block[:0], p[n:n+end]...)
		go func() { // waited for below; after Close it has the turn until somebody reads
			a.wrote <- a.s.write(a.block)
		}()
		select {
		case err = <-a.wrote:
		case <-a.closed:
			return n, os.ErrClosed
		}
		if err == nil {
			n += end
		}
	}
	return n, err
}

// Close ends a Write, and leaves the stream open: it is not the access log's. It
// is called once.
func (a *accessLines) Close() error {
	close(a.closed)
	return nil
}
