package tcpstat

import "time"

// Budget spaces lists so that they take no more than a share of one processor,
// however many sockets there are and however slow the machine is: after a list
// that took c, the next one comes c/share later. The zero value is ready.
type Budget struct {
	next     time.Time
	interval time.Duration
	cost     time.Duration // of the last list, and what else was spent since the one before
	extra    time.Duration
	spent    time.Duration // since the start
}

const (
	// BudgetShare is what lists may take of one processor. What is promised is
	// 0.005; a fifth is left for what is not measured: the garbage that a
	// report becomes, and the wake-ups.
	BudgetShare = 0.004

	// ListsAtMost is how often to list where it costs nothing.
	ListsAtMost = time.Second
)

// Due says whether it is time for the next list.
func (b *Budget) Due(now time.Time) bool { return !now.Before(b.next) }

// Listed books a list that ended at now and took cost.
func (b *Budget) Listed(now time.Time, cost time.Duration) {
	b.cost = cost + b.extra
	b.extra = 0
	b.spent += cost
	b.interval = max(ListsAtMost, time.Duration(float64(b.cost)/BudgetShare))
	b.next = now.Add(b.interval)
}

// Spend books what was spent on anything but a list. It is paid for by the next
// interval.
func (b *Budget) Spend(cost time.Duration) {
	b.extra += cost
	b.spent += cost
}

// Interval is how long after the last list the next one comes.
func (b *Budget) Interval() time.Duration { return b.interval }

// Spent is what all lists have taken, in processor time.
func (b *Budget) Spent() time.Duration { return b.spent }

// Share is what lists take of one processor now.
func (b *Budget) Share() float64 {
	if b.interval == 0 {
		return 0
	}
	return b.cost.Seconds() / b.interval.Seconds()
}
