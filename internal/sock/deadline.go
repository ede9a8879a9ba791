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

// bind gives the deadline, if there is one, to set. Whoever changes it
// meanwhile also calls set, perhaps before we do: so it is looked at again, else
// the older of the two could be the one that stays.
func (d *deadline) bind(set func(time.Time) error) {
	for was := int64(0); ; {
		at := d.at.Load()
		if at == was {
			return
		}
		was = at
		if at == 0 {
			set(time.Time{})
		} else {
			set(time.Unix(0, at))
		}
	}
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
