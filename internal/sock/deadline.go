package sock

import (
	"sync/atomic"
	"time"
)

// deadline is the time a direction of a connection was last given, in Unix
// nanoseconds; 0 for none.
type deadline struct{ at atomic.Int64 }

func (d *deadline) set(t time.Time) {
	if t.IsZero() {
		d.at.Store(0)
		return
	}
	d.at.Store(t.UnixNano())
}

func (d *deadline) time() (t time.Time, ok bool) {
	at := d.at.Load()
	return time.Unix(0, at), at != 0
}

// stretch returns the deadline to set for a wait of w, and whether one that is
// set already will do: it may be late by an eighth of w.
func (d *deadline) stretch(w time.Duration) (end time.Time, need bool) {
	now := time.Now()
	at, slack := d.at.Load()-now.UnixNano(), w/8
	if at >= int64(w) && at <= int64(w+slack) {
		return end, false
	}
	return now.Add(w + slack), true
}
