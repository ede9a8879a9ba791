package sock

import "time"

// A handler may leave a parked client unread (Next.Unread): what it sends stays in
// the socket until Park is over, and then it wakes with WakeExpired. One that
// sends more than it may is held back by its own window, and costs nothing
// meanwhile. On the raw path a reset wakes it at once, and so does a FIN behind
// which nothing waits: it has left. Park is rounded up by a
// tenth or so, to a minute at most. A quarter of MaxClients, and MaxRefused, may
// be left unread at one time; one more waits as if Unread were not set. HearAll
// ends the time of all.

// limitUnread sees whether a client may be left unread, and for how long.
func (l *Listener) limitUnread(next *Next) {
	if !next.Unread {
		return
	}
	if next.Unread = l.mayLeaveUnread(); next.Unread {
		next.Park = unreadWait(next.Park)
	}
}

// unreadWait rounds a wait up, so that there are few different ones.
func unreadWait(d time.Duration) time.Duration {
	step := 10 * time.Millisecond
	for d > 10*step && step < 10*time.Second {
		step *= 10
	}
	return min((d+step-1)/step*step, time.Minute)
}

// mayLeaveUnread takes a place among the clients that are left unread.
func (l *Listener) mayLeaveUnread() bool {
	n := l.unread.Add(1)
	if most := l.max.Load(); most > 0 && n > most/4+MaxRefused {
		l.unread.Add(-1)
		return false
	}
	l.leftUnread.Add(1)
	return true
}

// leaveUnread waits in the goroutine of a client on the plain path, which cannot
// be told of a reset there without reading. heard is closed by HearAll.
func (l *Listener) leaveUnread(wait time.Duration, heard <-chan struct{}) {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-heard:
	case <-l.stop:
	}
}

// HearAll wakes all that are left unread, with WakeExpired, and those whose handler
// is about to say so: what they were refused by may have changed.
func (l *Listener) HearAll() {
	next := make(chan struct{})
	close(*l.heard.Swap(&next))
	l.hearParked()
}
