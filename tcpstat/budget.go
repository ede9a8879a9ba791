package tcpstat

import "time"

// Budget spaces lists so that they take no more than a share of one processor,
// however many sockets there are and however slow the machine is: BudgetShare in
// the long run, and of any one minute BudgetMinute and, where lists are dear and
// uneven, what the last one costs.
//
// A list is not paid for before the next one may come, but in parts: so a dear one
// among cheap ones makes no gap, and the first ones after a start, from which a
// forecast is to come, stand closer. The zero value is ready.
type Budget struct {
	next     time.Time
	interval time.Duration
	extra    time.Duration // spent since the last list
	owed     time.Duration // spent, and not covered by time that is over when the next list comes
	paid     time.Duration // in this interval
	spent    time.Duration // since the start
}

const (
	// BudgetShare is what lists may take of one processor. What is promised is
	// 0.005; a fifth is left for what is not measured: the garbage that a
	// report becomes, and the wake-ups.
	BudgetShare = 0.004

	// BudgetMinute is what they may take of one minute.
	BudgetMinute = 0.005

	// budgetAhead is how much may be owed when the next list comes.
	budgetAhead = time.Duration((BudgetMinute - BudgetShare) * float64(time.Minute))

	// budgetParts: an interval pays a quarter of what is owed at least. Of
	// eight lists of which one costs ten times the others, the longest interval
	// is then three times the shortest.
	budgetParts = 4

	// ListsAtMost is how often to list where it costs nothing.
	ListsAtMost = time.Second
)

// Due says whether it is time for the next list.
func (b *Budget) Due(now time.Time) bool { return !now.Before(b.next) }

// Listed books a list that ended at now and took cost.
func (b *Budget) Listed(now time.Time, cost time.Duration) {
	b.owed += cost + b.extra
	b.extra = 0
	b.spent += cost
	pay := max(b.owed/budgetParts, b.owed-budgetAhead)
	b.interval = max(ListsAtMost, time.Duration(float64(pay)/BudgetShare))
	b.paid = min(b.owed, time.Duration(float64(b.interval)*BudgetShare))
	b.owed -= b.paid
	b.next = now.Add(b.interval)
}

// Spend books what was spent on anything but a list. The next intervals pay for it.
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
	return b.paid.Seconds() / b.interval.Seconds()
}
