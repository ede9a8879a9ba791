package accesslog

import (
	"bytes"
	"fmt"
	"slices"
	"time"
)

// run is the writer. It has a timer only while there is something to write.
func (l *Log) run() {
	defer close(l.done)
	timer := time.NewTimer(writeEvery)
	timer.Stop()
	defer timer.Stop()
	var due <-chan time.Time
	for {
		select {
		case <-l.soon:
			if due == nil {
				timer.Reset(writeEvery)
				due = timer.C
			}
			continue
		case <-due:
		case <-l.now:
		case <-l.quit:
			l.change()
			l.end()
			return
		}
		due = nil
		if !l.flush() {
			timer.Reset(retryEvery)
			due = timer.C
		}
	}
}

// flush writes what was left over and then what has come since. It reports false
// if a write has failed.
func (l *Log) flush() bool {
	for range 2 {
		l.change()
		if !l.more() {
			break
		}
		if !l.write() {
			return false
		}
	}
	if n := l.dropped.Load(); n > l.told {
		l.log.Warn(l.name+" could not keep up; lines were dropped", "fold", "accesslog", "dropped", n-l.told)
		l.told = n
	}
	return true
}

// more makes sure that out has something to write, if there is anything.
func (l *Log) more() bool {
	if l.to == nil {
		return false
	}
	if l.at < len(l.out) {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.fill) == 0 {
		return false
	}
	if l.out == nil {
		l.out = make([]byte, 0, half)
	}
	l.fill, l.out, l.at = l.out[:0], l.fill, 0
	return true
}

// write reports false if the write has failed. One that was cut off has not: the
// next place gets what is left.
func (l *Log) write() bool {
	r, done := l.put(l.out[l.at:])
	if !done {
		return true
	}
	err := r.err
	l.wrote(r.n)
	if err != nil || l.failing {
		l.mu.Lock()
		l.err = err
		l.mu.Unlock()
	}
	switch {
	case err != nil:
		l.failing = true
		l.log.Error(l.name+" cannot be written; lines wait in memory, and are dropped when it is full",
			"fold", "accesslog", "err", err, "dropped", l.dropped.Load())
	case l.failing:
		l.failing = false
		l.told = l.dropped.Load()
		l.log.Info(l.name+" is written again", "dropped", l.told)
	}
	return err == nil
}

var lineFeed = []byte("\n")

// put has p written. It is not done if Use has asked for a change, and the write
// has stood for too long: then to and out are as cutOff leaves them.
func (l *Log) put(p []byte) (r result, done bool) {
	l.to.work <- p
	select {
	case r := <-l.to.wrote:
		return r, true
	default:
	}
	began := time.Now()
	now, told := l.now, false
	var patience <-chan time.Time // nil until there is a next place
	defer func() {
		if told {
			poke(l.now) // it was for the writer, who has not come yet
		}
	}()
	for {
		if patience == nil && l.due() {
			timer := time.NewTimer(stuckAfter - time.Since(began))
			defer timer.Stop()
			patience, now = timer.C, nil
		}
		select {
		case r := <-l.to.wrote:
			return r, true
		case <-now:
			told = true
		case <-patience:
			if l.cutOff() {
				return result{}, false
			}
			patience = time.After(retryEvery)
		}
	}
}

// due says whether Use has asked for a change that is not made yet.
func (l *Log) due() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next != nil || l.off
}

// cutOff ends the write that stands by closing its place, or leaves both behind.
// It reports false if too many are left already: then there is nothing to do but
// wait for this one.
func (l *Log) cutOff() bool {
	if !l.room() {
		return false
	}
	l.to.release()
	timer := time.NewTimer(stuckAfter)
	defer timer.Stop()
	select {
	case r := <-l.to.wrote:
		l.wrote(r.n)
		l.log.Warn(l.name+" stood; its place was closed, and the new one goes on", "fold", "accesslog")
	case <-timer.C:
		lost := bytes.Count(l.out[l.at:], lineFeed)
		l.dropped.Add(uint64(lost))
		l.told += uint64(lost)
		l.out, l.at = nil, 0 // out is what the write still reads
		l.log.Error(l.name+" stood, and closing its place did not end the write; its lines were dropped, and the new place goes on",
			"fold", "accesslog", "dropped", lost)
	}
	l.left = append(l.left, l.to)
	l.to = nil
	return true
}

// room says whether a sink more may be left behind.
func (l *Log) room() bool {
	l.left = slices.DeleteFunc(l.left, func(s *sink) bool {
		select {
		case <-s.ended:
			return true
		default:
			return false
		}
	})
	return len(l.left) < mostLeft
}

// wrote counts n bytes of out as written.
func (l *Log) wrote(n int) {
	l.written.Add(uint64(bytes.Count(l.out[l.at:l.at+n], lineFeed)))
	l.at += n
}

// change does what Use has said.
func (l *Log) change() {
	l.mu.Lock()
	next, off := l.next, l.off
	l.next, l.off = nil, false
	l.mu.Unlock()
	if next != nil {
		l.closeOld()
		l.to = newSink(next) // closeOld or cutOff end it
		// A line that broke off is written whole to the new place.
		l.at = bytes.LastIndexByte(l.out[:l.at], '\n') + 1
	}
	if off {
		l.end()
	}
}

// closeOld closes the place of the lines. A close may wait for a file server;
// the writer does not wait for longer than lines have room.
func (l *Log) closeOld() {
	if l.to == nil {
		return
	}
	l.to.release()
	var late <-chan time.Time
	if l.room() {
		timer := time.NewTimer(stuckAfter)
		defer timer.Stop()
		late = timer.C
	}
	var err error
	select {
	case err = <-l.to.closed:
	case <-late:
		err = fmt.Errorf("it took more than %v", stuckAfter)
		l.left = append(l.left, l.to)
	}
	if err != nil {
		l.log.Error(l.name+" was not closed well; its last lines may be lost", "fold", "accesslog", "err", err)
	}
	l.to = nil
}

// end writes all there is, drops what cannot be written, and gives the memory
// back, unless the log is on again.
func (l *Log) end() {
	for l.more() && l.write() {
	}
	l.closeOld()
	l.mu.Lock()
	if l.on {
		l.mu.Unlock()
		return // the next place gets the rest
	}
	lost := bytes.Count(l.out[l.at:], lineFeed) + bytes.Count(l.fill, lineFeed)
	l.fill, l.out, l.at = nil, nil, 0
	l.err, l.failing = nil, false
	l.mu.Unlock()
	l.dropped.Add(uint64(lost))
	if lost > 0 {
		l.log.Error(l.name+" could not be written to its end", "dropped", lost)
	}
}
