package limiter

// Class says how important a request is, from 1, the most important, to 5. The
// zero value stands for ClassDefault, and what is above 5 for 5.
type Class uint8

const (
	ClassHighest Class = 1
	ClassDefault Class = 3
	ClassLowest  Class = 5
)

// Classes is the length of an array that a class's Level is an index of; the
// element 0 is of no class.
const Classes = int(ClassLowest) + 1

// Level is c as a number from 1 to 5.
func (c Class) Level() int {
	switch {
	case c == 0:
		return int(ClassDefault)
	case c > ClassLowest:
		return int(ClassLowest)
	}
	return int(c)
}

// rank holds the waiters of one class, by age.
type rank[T, W any] struct {
	oldest, newest *Waiter[T, W]
	n              int
	overload
}

// first is who is served first: the oldest, or, under overload, the newest,
// whose client is the likeliest to wait still.
func (l *rank[T, W]) first() *Waiter[T, W] {
	if l.overloaded {
		return l.newest
	}
	return l.oldest
}

// last is who is served last.
func (l *rank[T, W]) last() *Waiter[T, W] {
	if l.overloaded {
		return l.oldest
	}
	return l.newest
}

// insert puts w where since says: nearly always at the newest end.
func (l *rank[T, W]) insert(w *Waiter[T, W]) {
	after := l.newest
	for after != nil && w.since < after.since {
		after = after.older
	}
	w.older = after
	if after != nil {
		w.newer, after.newer = after.newer, w
	} else {
		w.newer, l.oldest = l.oldest, w
	}
	if w.newer != nil {
		w.newer.older = w
	} else {
		l.newest = w
	}
	l.n++
}

func (l *rank[T, W]) remove(w *Waiter[T, W]) {
	if w.older != nil {
		w.older.newer = w.newer
	} else {
		l.oldest = w.newer
	}
	if w.newer != nil {
		w.newer.older = w.older
	} else {
		l.newest = w.older
	}
	w.older, w.newer = nil, nil
	l.n--
}

// First is who is to be served first, nil when nobody waits: the first of the
// most important class. The lock must be held.
func (q *Queue[T, W]) First() *Waiter[T, W] { return q.firstFrom(int(ClassHighest)) }

// Next is who is to be served after w, nil if w is the last. The lock must be
// held and w be in the queue. The order holds until the next Join, Give,
// Pressure or SetTarget.
func (q *Queue[T, W]) Next(w *Waiter[T, W]) *Waiter[T, W] {
	next := w.newer
	if q.ranks[w.level].overloaded {
		next = w.older
	}
	if next != nil {
		return next
	}
	return q.firstFrom(int(w.level) + 1)
}

func (q *Queue[T, W]) firstFrom(level int) *Waiter[T, W] {
	for ; level < Classes; level++ {
		if l := &q.ranks[level]; l.n > 0 {
			return l.first()
		}
	}
	return nil
}

// last is who is to be served after all others.
func (q *Queue[T, W]) last() *Waiter[T, W] {
	for level := Classes - 1; level > 0; level-- {
		if l := &q.ranks[level]; l.n > 0 {
			return l.last()
		}
	}
	return nil
}
