package limiter

import (
	"context"
	"errors"
	"sync"
	"time"
)

// What a waiter is told. Owners wrap them with numbers and configuration keys.
var (
	ErrQueueFull    = errors.New("queue is full")
	ErrQueueTimeout = errors.New("waited too long in the queue")
	ErrShed         = errors.New("shed from the queue for newer or more important requests")
)

// Queue holds those who wait for a T, bounded in number and in time. Whoever has
// a T to give chooses a waiter by what it wants, a W, and hands the value
// straight to it: nothing is put where a third could take it.
//
// The more important Class comes first, and within a class the oldest; First and
// Next give this order. A class that is overloaded (see SetTarget) is served
// newest first, and sheds who has waited too long.
//
// A Queue is guarded by its owner's lock, as a sync.Cond is, because "nothing
// is free, so wait" and "nobody waits, so keep it" must each be one step with
// the owner's own books. Methods say whether the lock must be held.
//
// All waiters have the same patience, counted from when they joined, so the
// oldest is always the first to run out and one timer serves them all.
// Waiters are used again: waiting allocates nothing once the queue is warm.
type Queue[T, W any] struct {
	// OnWay, which may be nil, says that a value for w is being made, so that
	// it does not wait for others: it is not shed, and is no sign of overload.
	// It is called with the lock held, only for those in the queue, and must
	// not use the queue. Set it before the first Join.
	OnWay func(w *Waiter[T, W]) bool

	mu       sync.Locker
	left     func(w *Waiter[T, W], err error)
	max      int
	patience time.Duration

	ranks [Classes]rank[T, W] // by level
	n     int                 // in all of them

	epoch time.Time     // times are kept as durations since then: small, monotonic
	at    time.Duration // when somebody last joined or was claimed
	delays

	timer *time.Timer
	rings time.Duration // when timer will call expire; 0 is never

	spares sync.Pool
}

// Waiter is one place in a Queue. Except for its owner in Await, it may be
// touched only with the lock held and only while it is in the queue.
type Waiter[T, W any] struct {
	Want   W   // what would suit it
	Passed int // for the giver: how often another was served though its turn came later

	ctx          context.Context
	since        time.Duration
	older, newer *Waiter[T, W]
	level        uint8 // of its class
	place        place
	value        T
	err          error
	done         chan struct{} // one token, sent when value or err is set
}

// place is where a waiter stands.
//
//	away -> queued -> claimed -> away
//	        queued -> away
type place uint8

const (
	away    place = iota // spare, or told its fate
	queued               // in the list
	claimed              // out of the list, its value is about to come
)

// NewQueue returns an empty queue guarded by mu. At most max wait at once, each
// for at most patience; a patience of 0 means without limit. left, which may be
// nil, is called with mu held for every waiter that leaves, with the error it
// gets, or nil if it was claimed. It must not use the queue.
func NewQueue[T, W any](mu sync.Locker, max int, patience time.Duration, left func(w *Waiter[T, W], err error)) *Queue[T, W] {
	q := &Queue[T, W]{mu: mu, left: left, max: max, patience: patience, epoch: time.Now()}
	q.restart(0)
	q.spares.New = func() any { return &Waiter[T, W]{done: make(chan struct{}, 1)} }
	q.timer = time.AfterFunc(time.Hour, q.expire)
	q.timer.Stop()
	return q
}

// Join takes a place in the queue; the lock must be held. Unless it fails, the
// caller must call Await next, without the lock. When the queue is full, the
// least important waiter, that to be served last, is shed for a more important
// one; who is not more important than anybody gets ErrQueueFull.
//
// since is when the caller began to wait: now, or an earlier time for one who
// was served badly and comes again, who gets back its place and keeps its
// deadline. extra is how many places beyond max the owner grants because it
// knows that as many will be served without waiting for others.
func (q *Queue[T, W]) Join(ctx context.Context, want W, class Class, since time.Time, extra int) (*Waiter[T, W], error) {
	began := since.Sub(q.epoch)
	q.at = max(q.at, began)
	q.roll(q.at)
	q.shed(q.at)
	level := uint8(class.Level())
	if q.n >= q.max+extra {
		w := q.last()
		if w == nil || w.level <= level {
			return nil, ErrQueueFull
		}
		q.fail(w, ErrShed)
	}
	w := q.spares.Get().(*Waiter[T, W])
	w.Want, w.ctx, w.since, w.level, w.place = want, ctx, began, level, queued
	q.ranks[level].insert(w)
	q.n++
	q.arm(w)
	return w, nil
}

// Await blocks until w is given a value, is failed, runs out of patience, or
// its context ends. The lock must not be held, and w must not be used again.
// A value given while the context ended is returned, never lost.
func (q *Queue[T, W]) Await(w *Waiter[T, W]) (T, error) {
	select {
	case <-w.done:
	case <-w.ctx.Done():
		q.mu.Lock()
		if w.place == queued {
			q.fail(w, w.ctx.Err())
		}
		q.mu.Unlock()
		// Whoever took w out of the queue sends the token, under the lock:
		// the wait is short.
		<-w.done
	}
	v, err := w.value, w.err
	*w = Waiter[T, W]{done: w.done}
	q.spares.Put(w)
	return v, err
}

// Claim takes w out of the queue so that it can be given a value; the lock must
// be held. made is how long it took to make the value for somebody here, 0 if it
// was there: w did not wait for others so long. Claim returns false, and w gets
// its error, if w's context has ended or its time is up: the value stays with
// the giver. After true, Give must follow before the lock is given up.
func (q *Queue[T, W]) Claim(w *Waiter[T, W], made time.Duration) bool {
	if err := w.ctx.Err(); err != nil {
		q.fail(w, err)
		return false
	}
	q.at = q.now()
	if q.patience > 0 && q.at-w.since >= q.patience {
		q.fail(w, ErrQueueTimeout)
		return false
	}
	q.note(w, made)
	q.remove(w, nil)
	w.place = claimed
	return true
}

// Give hands v to a claimed waiter. It cannot fail. The lock must be held:
// others may be shed.
func (q *Queue[T, W]) Give(w *Waiter[T, W], v T) {
	if w.place != claimed {
		panic("BUG: value given to a waiter that was not claimed")
	}
	w.place = away
	w.value = v
	w.done <- struct{}{}
	q.roll(q.at)
	q.shed(q.at)
}

// Fail ends w's wait with err; the lock must be held and w be in the queue.
func (q *Queue[T, W]) Fail(w *Waiter[T, W], err error) { q.fail(w, err) }

// FailAll ends every wait with err; the lock must be held.
func (q *Queue[T, W]) FailAll(err error) {
	for w := q.First(); w != nil; w = q.First() {
		q.fail(w, err)
	}
}

// Len is how many wait; the lock must be held.
func (q *Queue[T, W]) Len() int { return q.n }

// Level is the level of w's class.
func (w *Waiter[T, W]) Level() int { return int(w.level) }

// Waited is how long w has waited.
func (q *Queue[T, W]) Waited(w *Waiter[T, W]) time.Duration { return q.now() - w.since }

func (q *Queue[T, W]) now() time.Duration { return time.Since(q.epoch) }

func (q *Queue[T, W]) remove(w *Waiter[T, W], err error) {
	if w.place != queued {
		panic("BUG: waiter is not in the queue")
	}
	l := &q.ranks[w.level]
	l.remove(w)
	if l.n == 0 {
		if err != nil {
			q.at = q.now()
		}
		l.emptied = q.at
	}
	q.n--
	w.place = away
	if q.left != nil {
		q.left(w, err)
	}
}

func (q *Queue[T, W]) fail(w *Waiter[T, W], err error) {
	q.remove(w, err)
	w.err = err
	w.done <- struct{}{} // never blocks: a waiter is told once per wait
}
