package oplog

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// key says which events are repeats of each other.
type key struct {
	fold    string
	message string
	level   slog.Level
	path    string

	backend, listener string // names of the configuration, so not many
}

// other is the key of all events that came when there was no room for theirs.
var other = key{fold: "\x00other"}

// event is a record and the handler it was meant for.
type event struct {
	to slog.Handler
	r  slog.Record
}

// count is an open window of one key.
type count struct {
	ends    time.Time
	repeats int
	last    event
}

// folder counts events by key. A window opens with an event, which is written;
// when it ends and there were repeats, they are written as one line and the next
// window opens with it, so that a storm that goes on costs a line per window.
//
// There is one timer, set only while a window is open: an idle log costs nothing
// and has no goroutine.
type folder struct {
	window time.Duration
	max    int

	// mu guards all below. No handler is called while it is held: a terminal
	// that does not read would stop everybody who only wants to count.
	mu     sync.Mutex
	counts map[key]*count
	timer  *time.Timer
	set    bool // the timer runs, or sweep has been started by it
	closed bool

	sweeps sync.WaitGroup // those started by the timer; close waits for them
}

func newFolder(window time.Duration, max int) *folder {
	return &folder{window: window, max: max, counts: make(map[key]*count)}
}

// counted says whether e is a repeat, which is now counted and not to be
// written. Where it says no, the caller writes e.
func (f *folder) counted(k key, e event) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	c := f.counts[k]
	if c == nil && len(f.counts) >= f.max {
		k = other
		c = f.counts[k]
	}
	if c != nil {
		c.repeats++
		// Clone: the record shares its further attributes with the caller.
		c.last = event{e.to, e.r.Clone()}
		return true
	}
	f.counts[k] = &count{ends: time.Now().Add(f.window)}
	f.arm(f.window)
	return false
}

// arm sets the timer, if it is not set. mu is held.
func (f *folder) arm(d time.Duration) {
	if f.set {
		return
	}
	f.set = true
	f.sweeps.Add(1)
	if f.timer == nil {
		f.timer = time.AfterFunc(d, f.sweep)
		return
	}
	f.timer.Reset(d)
}

// sweep writes the windows that have ended and sets the timer for the next.
func (f *folder) sweep() {
	defer f.sweeps.Done()
	now := time.Now()
	var lines []event

	f.mu.Lock()
	f.set = false
	var next time.Time
	for k, c := range f.counts {
		if !now.Before(c.ends) {
			if c.repeats == 0 {
				delete(f.counts, k)
				continue
			}
			lines = append(lines, f.line(k, c))
			c.repeats, c.last, c.ends = 0, event{}, now.Add(f.window)
		}
		if next.IsZero() || c.ends.Before(next) {
			next = c.ends
		}
	}
	if !next.IsZero() && !f.closed {
		f.arm(next.Sub(now))
	}
	f.mu.Unlock()

	write(lines)
}

func (f *folder) close() {
	f.mu.Lock()
	f.closed = true
	if f.set && f.timer.Stop() {
		f.set = false
		f.sweeps.Done()
	}
	var lines []event
	for k, c := range f.counts {
		if c.repeats > 0 {
			lines = append(lines, f.line(k, c))
		}
	}
	clear(f.counts)
	f.mu.Unlock()

	write(lines)
	f.sweeps.Wait()
}

// line is the last repeat with the number of them. mu is held.
func (f *folder) line(k key, c *count) event {
	since := time.Since(c.ends.Add(-f.window)).Round(100 * time.Millisecond)
	c.last.r.AddAttrs(slog.Int("repeats", c.repeats), slog.String("in", since.String()))
	if k == other {
		c.last.r.AddAttrs(slog.Bool("mixed", true)) // the repeats are of several kinds, this is one of them
	}
	return c.last
}

// write hands lines on, oldest first. An error has nowhere to go: it is the log
// that failed.
func write(lines []event) {
	slices.SortFunc(lines, func(a, b event) int { return a.r.Time.Compare(b.r.Time) })
	for _, e := range lines {
		_ = e.to.Handle(context.Background(), e.r)
	}
}
