// Package accesslog writes a line of JSON for each request (Line), or for each
// slow query (Slow), to a log of its own. Sessions encode their lines themselves
// and leave them in a buffer, for which they wait no longer than a copy takes;
// one goroutine has them written, by another one that belongs to the file. Lines
// that find the buffer full are dropped and counted: a disk that is slow or full
// costs lines and never a request.
//
// It is a leaf: it imports nothing of ours, and knows HTTP and MySQL only by the
// names of the members.
package accesslog

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// half is one of the two buffers: while one is being written the other
	// fills. Both hold about 4,000 usual lines, and are not there while the log
	// is off.
	half = 512 << 10

	// writeEvery is how old a line gets before it is written, unless the
	// buffer is half full before. retryEvery is the pause after a failed write.
	writeEvery = 200 * time.Millisecond
	retryEvery = time.Second
)

// Log takes lines and writes them to what Use has given it. All methods are safe
// for concurrent use. The owner calls Close when no line comes any more.
type Log struct {
	log  *slog.Logger
	name string // in what goes to log

	// mu guards what follows. Every session takes it, so nothing that could
	// wait, and no I/O at all, may happen under it.
	mu     sync.Mutex
	on     bool
	closed bool
	fill   []byte         // whole lines
	next   io.WriteCloser // not nil: the writer has to go over to it
	off    bool           // and then to write the rest and end
	err    error          // of the last write

	soon chan struct{} // a first line is there
	now  chan struct{} // write at once: the buffer is half full, or next or off are set
	quit chan struct{}
	done chan struct{} // the writer has ended

	written, dropped atomic.Uint64

	// The writer's own. What out holds and could not be written stays there:
	// when the disk has room again the line goes on where it broke off.
	to      *sink
	left    []*sink // released, and in a call that has not ended
	out     []byte
	at      int    // out[:at] is written
	told    uint64 // dropped, as last logged
	failing bool
}

// New returns a Log that is off and starts its writer, which ends with Close. What
// becomes of the log goes to log, folded.
func New(log *slog.Logger) *Log { return NewNamed("access log", log) }

// NewNamed is New for a log that is called otherwise in what goes to log.
func NewNamed(name string, log *slog.Logger) *Log {
	l := &Log{
		log: log, name: name, soon: make(chan struct{}, 1), now: make(chan struct{}, 1),
		quit: make(chan struct{}), done: make(chan struct{}),
	}
	go l.run() // Close waits for it
	return l
}

// On says whether Write does anything now. A nil Log is off.
func (l *Log) On() bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.on
}

// Write leaves a line, which ends in a line feed, to be written. It never waits
// for a disk; a line that finds no room is dropped. While the log is off it
// does nothing.
func (l *Log) Write(line []byte) {
	l.mu.Lock()
	if !l.on {
		l.mu.Unlock()
		return
	}
	was := len(l.fill)
	is := was + len(line)
	if is > cap(l.fill) {
		l.mu.Unlock()
		l.dropped.Add(1)
		return
	}
	l.fill = append(l.fill, line...)
	l.mu.Unlock()
	switch { // once each for a buffer
	case was < half/2 && is >= half/2:
		poke(l.now)
	case was == 0:
		poke(l.soon)
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it was told and has not come yet
	}
}

// Use makes w the place of all lines that are not written yet, and closes what
// was there before. nil turns the log off; what is there is written to the old
// place first. It does not wait for any of this. w is the Log's from now on, and
// gets whole lines, but for the last one of a write that failed or was cut off.
//
// A write to the old place that has stood for a second is cut off by closing that
// place, so its Close must be allowed during a Write, and should end it. Lines
// that the old place may have got in part are written whole to the new one. If
// the write does not end even then, its lines are dropped.
func (l *Log) Use(w io.WriteCloser) {
	l.mu.Lock()
	unused := w
	switch {
	case l.closed:
	case w == nil:
		l.on, l.off = false, true
	default:
		unused, l.next = l.next, w
		l.on, l.off = true, false
		if l.fill == nil {
			l.fill = make([]byte, 0, half)
		}
	}
	l.mu.Unlock()
	if unused != nil {
		unused.Close() // nothing was written to it
	}
	poke(l.now)
}

// Stats is a Log's state by value. The counts are of lines.
type Stats struct {
	Written uint64
	Dropped uint64 // found no room, or were there when the log ended
	Err     error  // of the last write; nil if it went well
}

// Stats returns the counts so far. A nil Log has none.
func (l *Log) Stats() Stats {
	if l == nil {
		return Stats{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return Stats{Written: l.written.Load(), Dropped: l.dropped.Load(), Err: l.err}
}

// Close writes what is there, once, and closes the place of the lines. ctx bounds
// the wait: there is no next place for the lines of a write that stands, so the
// writer waits for it, to the end of the process if need be. Places that were
// left behind before are not waited for. Lines that come later are ignored.
func (l *Log) Close(ctx context.Context) error {
	l.mu.Lock()
	if !l.closed {
		l.closed, l.on = true, false
		close(l.quit)
	}
	l.mu.Unlock()
	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: a write does not end, its lines may be lost: %w", l.name, context.Cause(ctx))
	}
}
