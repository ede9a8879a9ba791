package storm

import (
	"context"
	"net"
	"os"
	"sync"
	"time"
)

// link is the connection of one worker, which dials, uses and closes it; cut
// alone may be called by another goroutine. It remembers how its bytes ended:
// parsers fold that into errors of their own.
type link struct {
	some bool  // a byte was read since the last arm
	err  error // the first of a read or a write since the last arm

	mu   sync.Mutex // guards what follows against cut; not held while anything waits
	conn net.Conn   // written by the worker alone, which may read it without mu
	over bool       // cut was called
}

// dial opens the connection and arms it.
func (l *link) dial(ctx context.Context, t *target, deadline time.Time) error {
	d := net.Dialer{Deadline: deadline}
	d.SetMultipathTCP(false)
	c, err := d.DialContext(ctx, t.network, t.address)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.conn = c
	l.mu.Unlock()
	return l.arm(deadline)
}

// arm sets the deadline of a request, unless cut has set the last one.
func (l *link) arm(deadline time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.some, l.err = false, nil
	if l.over {
		return os.ErrDeadlineExceeded
	}
	return l.conn.SetDeadline(deadline)
}

// cut ends the request that is under way, and every later one before it is sent.
// A dial is not ended: its context does that.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	if l.conn != nil {
		l.conn.SetDeadline(time.Unix(1, 0))
	}
}

func (l *link) hangUp() {
	if l.conn != nil {
		l.mu.Lock()
		c := l.conn
		l.conn = nil
		l.mu.Unlock()
		c.Close()
	}
}

func (l *link) Read(p []byte) (int, error) {
	n, err := l.conn.Read(p)
	l.some = l.some || n > 0
	l.note(err)
	return n, err
}

func (l *link) Write(p []byte) (int, error) {
	n, err := l.conn.Write(p)
	l.note(err)
	return n, err
}

func (l *link) note(err error) {
	if l.err == nil {
		l.err = err
	}
}
