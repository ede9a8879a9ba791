package limiter

import (
	"math"
	"time"
)

// A queue is overloaded when it is never short, not when it is long: a burst
// makes it long for a moment, and the smallest delay of an interval tells the two
// apart. This is CoDel (Nichols and Jacobson, ACM Queue 2012) in the form of
// folly's (folly/executors/Codel.cpp): the interval is fixed, and while the
// smallest delay is above the target, whoever has waited longer than twice the
// target is dropped, instead of one each ever shorter time. With it goes what
// Facebook's "Fail at Scale" (ACM Queue 2015) calls adaptive LIFO.
//
// Each class is judged by itself: the more important are served first, so the
// least important may be overloaded alone.
//
//	calm --> overloaded: for a whole interval nobody of the class was served with
//	                     a delay below the target, and somebody waits
//	overloaded --> calm: in an interval somebody was, and few were shed; or
//	                     nobody waited
//
// Few, because newest first makes the smallest delay small however many come: by
// it alone overload would end with each interval, and begin anew after a queue
// has grown for another (docs/decisions/0024).
type overload struct {
	overloaded   bool
	since        time.Duration // when it became so
	least        time.Duration // the smallest delay in this interval; noDelay if none was seen
	served, shed int           // in this interval
	emptied      time.Duration // when the last waiter left
}

// delays is what all classes have in common.
type delays struct {
	target time.Duration // 0 is no overload
	bad    int           // classes that are overloaded
	began  time.Duration // this interval
	noted  time.Duration // when a delay was last noted
	delay  time.Duration // of the last whole interval
}

const (
	noDelay time.Duration = math.MaxInt64

	// As folly's and Linux' CoDel have it: 5 ms and 100 ms.
	targetsInterval  = 20
	intervalUntarget = 100 * time.Millisecond // to measure by when there is no target

	// Few shed: no more than a quarter of those served. Measured, see above.
	fewShed = 4
)

// SetTarget turns overload on: a class is judged each 20 targets. 0 turns it
// off, as it is in a new queue. The lock must be held. Nobody is shed by it.
func (q *Queue[T, W]) SetTarget(target time.Duration) {
	if target = max(0, target); target != q.target {
		q.restart(target)
	}
}

func (q *Queue[T, W]) restart(target time.Duration) {
	q.target, q.began = target, q.now()
	for i := range q.ranks {
		l := &q.ranks[i]
		l.least, l.served, l.shed = noDelay, 0, 0
		if target == 0 {
			l.overloaded = false
		}
	}
}

func (q *Queue[T, W]) interval() time.Duration {
	if q.target == 0 {
		return intervalUntarget
	}
	return targetsInterval * q.target
}

// Immediate notes that one of class was served without having to join: a delay
// of 0. The lock must be held. It does not look at the clock.
func (q *Queue[T, W]) Immediate(class Class) {
	l := &q.ranks[class.Level()]
	l.least = 0
	l.served++
}

// note notes the delay of w, which is about to be served.
func (q *Queue[T, W]) note(w *Waiter[T, W], made time.Duration) {
	l := &q.ranks[w.level]
	l.least = min(l.least, max(0, q.at-w.since-made))
	l.served++
	q.noted = q.at
}

// roll ends the interval if it is over, and judges by it. Whoever comes when it
// is over does it, so in a queue where nothing happens it may be longer.
func (q *Queue[T, W]) roll(now time.Duration) {
	interval := q.interval()
	if now-q.began < interval {
		return
	}
	q.bad, q.delay = 0, noDelay
	for i := range q.ranks {
		l := &q.ranks[i]
		delay, was := l.least, l.overloaded
		if l.overloaded = q.judge(l, now, interval); l.overloaded {
			q.bad++
			delay = max(delay, q.target)
			if !was {
				l.since = now
			}
		}
		q.delay = min(q.delay, delay)
		l.least, l.served, l.shed = noDelay, 0, 0
	}
	if old := now-q.noted >= interval; q.delay == noDelay || q.delay > 0 && old {
		q.delay = q.longest(now)
	}
	q.began = now
}

// judge says whether l is overloaded, at the end of an interval.
func (q *Queue[T, W]) judge(l *rank[T, W], now, interval time.Duration) bool {
	small := l.least < q.target
	switch {
	case q.target == 0:
		return false
	case l.overloaded && small && l.shed*fewShed <= l.served:
		return false
	case l.overloaded:
		return l.n > 0 || now-l.emptied < interval
	case l.n == 0 || small:
		return false
	case l.least == noDelay: // nobody was served
		return l.oldest.since <= q.began && !q.onWay(l.oldest)
	}
	return true
}

// longest is how long somebody has waited for others.
func (q *Queue[T, W]) longest(now time.Duration) (d time.Duration) {
	for i := range q.ranks {
		if w := q.ranks[i].oldest; w != nil && !q.onWay(w) {
			d = max(d, now-w.since)
		}
	}
	return d
}

// shed ends the wait of those of overloaded classes who have waited too long.
// They stand at one end, so it costs a step for each one shed, and one for each
// that is spared because something is on its way.
func (q *Queue[T, W]) shed(now time.Duration) {
	if q.bad == 0 {
		return
	}
	for level := Classes - 1; level > 0; level-- {
		l := &q.ranks[level]
		if !l.overloaded {
			continue
		}
		for w := l.oldest; w != nil && now-w.since > 2*q.target; {
			newer := w.newer
			if !q.onWay(w) {
				l.shed++
				q.fail(w, ErrShed)
			}
			w = newer
		}
	}
}

func (q *Queue[T, W]) onWay(w *Waiter[T, W]) bool { return q.OnWay != nil && q.OnWay(w) }

// Overloaded says whether the class of this level is; the lock must be held.
func (q *Queue[T, W]) Overloaded(level int) bool { return q.ranks[level].overloaded }

// Pressure is the state of a queue at one moment. Arrays are by Class.Level.
type Pressure struct {
	Target time.Duration // 0 is off

	// Delay is the smallest delay of the last whole interval, over all classes:
	// how long even the luckiest waited for others. Of a class that is
	// overloaded it is the target at least: there the luckiest is the newest.
	// If nobody was served, it is how long somebody has waited by now. It is
	// kept without a target, too, by intervals of 100 ms.
	Delay time.Duration

	Waiting    [Classes]int
	Overloaded [Classes]time.Time // since when; zero is not
}

// Pressure returns the state; the lock must be held. An interval that is over is
// judged first.
func (q *Queue[T, W]) Pressure() Pressure {
	q.roll(q.now())
	p := Pressure{Target: q.target, Delay: q.delay}
	for i := range q.ranks {
		l := &q.ranks[i]
		p.Waiting[i] = l.n
		if l.overloaded {
			p.Overloaded[i] = q.epoch.Add(l.since)
		}
	}
	return p
}
