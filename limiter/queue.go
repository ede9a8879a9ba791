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
)

// Queue holds those who wait for a T, oldest first, bounded in number and in
// time. Whoever has a T to give chooses a waiter by what it wants, a W, and
// hands the value straight to it: nothing is put where a third could take it.
//
// A Queue is guarded by its owner's lock, as a sync.Cond is, because "nothing
// is free, so wait" and "nobody waits, so keep it" must each be one step with
// the owner's own books. Methods say whether the lock must be held.
//
// All waiters have the same patience, counted from when they joined, so the
// oldest is always the first to run out and one timer serves them all.
// Waiters are used again: waiting allocates nothing once the queue is warm.
type Queue[T, W any] struct {
	mu       sync.Locker
	left     func(want W)
	max      int
	patience time.Duration

	oldest, newest *Waiter[T, W]
	n              int

	timer *time.Timer
	rings time.Time // when timer will call expire; zero is never

	spares sync.Pool
}

// Waiter is one place in a Queue. Except for its owner in Await, it may be
// touched only with the lock held and only while it is in the queue.
type Waiter[T, W any] struct {
	Want   W   // what would suit it
	Passed int // for the giver: how often a younger one was served before it

	ctx          context.Context
	since        time.Time
	older, newer *Waiter[T, W]
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
// nil, is called with mu held for every waiter that leaves, however it does.
func NewQueue[T, W any](mu sync.Locker, max int, patience time.Duration, left func(want W)) *Queue[T, W] {
	q := &Queue[T, W]{mu: mu, left: left, max: max, patience: patience}
	q.spares.New = func() any { return &Waiter[T, W]{done: make(chan struct{}, 1)} }
	q.timer = time.AfterFunc(time.Hour, q.expire)
	q.timer.Stop()
	return q
}

// Join takes a place in the queue; the lock must be held. Unless it fails, the
// caller must call Await next, without the lock.
//
// since is when the caller began to wait: now, or an earlier time for one who
// was served badly and comes again, who gets back its place and keeps its
// deadline. extra is how many places beyond max the owner grants because it
// knows that as many will be served without waiting for others.
func (q *Queue[T, W]) Join(ctx context.Context, want W, since time.Time, extra int) (*Waiter[T, W], error) {
	if q.n >= q.max+extra {
		return nil, ErrQueueFull
	}
	w := q.spares.Get().(*Waiter[T, W])
	w.Want, w.ctx, w.since = want, ctx, since
	q.insert(w)
	q.arm()
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
		// Whoever took w out of the queue sends the token, and does it
		// under the lock or directly after a claim: the wait is short.
		<-w.done
	}
	v, err := w.value, w.err
	*w = Waiter[T, W]{done: w.done}
	q.spares.Put(w)
	return v, err
}

// Claim takes w out of the queue so that it can be given a value; the lock must
// be held. It returns false, and w gets its error, if w's context has ended or
// its time is up: the value stays with the giver. After true, Give must follow.
func (q *Queue[T, W]) Claim(w *Waiter[T, W]) bool {
	if err := w.ctx.Err(); err != nil {
		q.fail(w, err)
		return false
	}
	if q.patience > 0 && time.Since(w.since) >= q.patience {
		q.fail(w, ErrQueueTimeout)
		return false
	}
	q.remove(w)
	w.place = claimed
	return true
}

// Give hands v to a claimed waiter. It cannot fail.
func (q *Queue[T, W]) Give(w *Waiter[T, W], v T) {
	if w.place != claimed {
		panic("BUG: value given to a waiter that was not claimed")
	}
	w.place = away
	w.value = v
	w.done <- struct{}{}
}

// Fail ends w's wait with err; the lock must be held and w be in the queue.
func (q *Queue[T, W]) Fail(w *Waiter[T, W], err error) { q.fail(w, err) }

// FailAll ends every wait with err; the lock must be held.
func (q *Queue[T, W]) FailAll(err error) {
	for q.oldest != nil {
		q.fail(q.oldest, err)
	}
}

// Len is how many wait; the lock must be held.
func (q *Queue[T, W]) Len() int { return q.n }

// Oldest and Newest are the ends of the queue, nil when nobody waits; the lock
// must be held.
func (q *Queue[T, W]) Oldest() *Waiter[T, W] { return q.oldest }
func (q *Queue[T, W]) Newest() *Waiter[T, W] { return q.newest }

// Newer and Older are w's neighbours; the lock must be held.
func (w *Waiter[T, W]) Newer() *Waiter[T, W] { return w.newer }
func (w *Waiter[T, W]) Older() *Waiter[T, W] { return w.older }

// Waited is how long w has waited.
func (w *Waiter[T, W]) Waited() time.Duration { return time.Since(w.since) }

// SetLimits changes the bounds; the lock must be held. The new patience counts
// for those who already wait, too. Nobody is sent away for a lower max.
func (q *Queue[T, W]) SetLimits(max int, patience time.Duration) {
	q.max, q.patience = max, patience
	q.arm()
}

// insert puts w where since says: nearly always at the newest end.
func (q *Queue[T, W]) insert(w *Waiter[T, W]) {
	w.place = queued
	after := q.newest
	for after != nil && w.since.Before(after.since) {
		after = after.older
	}
	w.older = after
	if after != nil {
		w.newer, after.newer = after.newer, w
	} else {
		w.newer, q.oldest = q.oldest, w
	}
	if w.newer != nil {
		w.newer.older = w
	} else {
		q.newest = w
	}
	q.n++
}

func (q *Queue[T, W]) remove(w *Waiter[T, W]) {
	if w.place != queued {
		panic("BUG: waiter is not in the queue")
	}
	if w.older != nil {
		w.older.newer = w.newer
	} else {
		q.oldest = w.newer
	}
	if w.newer != nil {
		w.newer.older = w.older
	} else {
		q.newest = w.older
	}
	w.older, w.newer = nil, nil
	w.place = away
	q.n--
	if q.left != nil {
		q.left(w.Want)
	}
}

func (q *Queue[T, W]) fail(w *Waiter[T, W], err error) {
	q.remove(w)
	w.err = err
	w.done <- struct{}{} // never blocks: a waiter is told once per wait
}

// arm sees to it that the timer rings at the oldest waiter's deadline or before.
// It is not put off when that waiter leaves: it then rings once for nothing and
// is set anew, so a queue that moves sets one timer per patience, not per waiter.
func (q *Queue[T, W]) arm() {
	if q.oldest == nil || q.patience <= 0 {
		return
	}
	deadline := q.oldest.since.Add(q.patience)
	if q.rings.IsZero() || deadline.Before(q.rings) {
		q.rings = deadline
		q.timer.Reset(time.Until(deadline))
	}
}

func (q *Queue[T, W]) expire() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.rings = time.Time{}
	for q.oldest != nil && q.patience > 0 && time.Since(q.oldest.since) >= q.patience {
		q.fail(q.oldest, ErrQueueTimeout)
	}
	q.arm()
}
