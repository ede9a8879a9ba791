package limiter

import "time"

// SetLimits changes the bounds; the lock must be held. The new patience counts
// for those who already wait, too. Nobody is sent away for a lower max.
func (q *Queue[T, W]) SetLimits(max int, patience time.Duration) {
	q.max, q.patience = max, patience
	q.armAll()
}

// arm sees to it that the timer rings at w's deadline or before. It is not put
// off when a waiter leaves: it then rings once for nothing and is set anew, so a
// queue that moves sets one timer per patience, not per waiter.
func (q *Queue[T, W]) arm(w *Waiter[T, W]) {
	if q.patience <= 0 {
		return
	}
	deadline := w.since + q.patience
	if q.rings == 0 || deadline < q.rings {
		q.rings = deadline
		q.timer.Reset(deadline - q.now())
	}
}

// armAll is arm for the oldest of each class.
func (q *Queue[T, W]) armAll() {
	for i := range q.ranks {
		if w := q.ranks[i].oldest; w != nil {
			q.arm(w)
		}
	}
}

func (q *Queue[T, W]) expire() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.rings = 0
	now := q.now()
	q.at = max(q.at, now)
	for i := range q.ranks {
		l := &q.ranks[i]
		for l.oldest != nil && q.patience > 0 && now-l.oldest.since >= q.patience {
			q.fail(l.oldest, ErrQueueTimeout)
		}
	}
	q.armAll()
}
