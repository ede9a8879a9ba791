package pool

import "time"

// Bend makes the pool do less than its options say, as the mode of its backend
// asks: at most queue wait (0: queue.max alone), and without dials nothing is
// dialled but for those who wait. Who waits already is not sent away.
func (p *Pool) Bend(queue int, withoutDials bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if queue == p.bent.queue && withoutDials == p.bent.noDials || p.closed {
		return
	}
	p.bent = bent{queue, withoutDials}
	p.setQueueLimits()
	p.plan()
}

// bent is what Bend has asked for.
type bent struct {
	queue   int
	noDials bool
}

// queueMax is how many may wait. mu is held.
func (p *Pool) queueMax() int {
	if p.bent.queue > 0 {
		return min(p.opts.QueueMax, p.bent.queue)
	}
	return p.opts.QueueMax
}

// setQueueLimits gives the queue its bounds. mu is held.
func (p *Pool) setQueueLimits() {
	p.queue.SetLimits(p.queueMax(), p.opts.QueueTimeout)
	p.errFull, p.errBusy = nil, nil // which name them
	for _, g := range p.groups {
		g.errFull = nil
	}
}

// Load is how busy a pool is, for who looks often.
type Load struct {
	Waiting      int
	Delay        time.Duration // see limiter.Pressure
	DialsWaiting int           // dialers that wait for their turn by dial.rate
	Dialing      int           // dials under way, those for reserved connections too, of which OnOpen was not told yet
	Leased       int
	InFlightMax  int // how many leases there may be at one time
}

// Load returns it; it takes the lock for a moment.
func (p *Pool) Load() Load {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := Load{
		Waiting: p.queue.Len(), Delay: p.queue.Pressure().Delay, DialsWaiting: max(0, p.dialers-p.main.n[dialing]),
		Dialing: p.main.n[dialing] + p.side.n[dialing] - p.told, Leased: p.main.n[leased], InFlightMax: p.opts.MaxOpen,
	}
	if p.bounded() {
		l.InFlightMax = p.inFlight
	}
	return l
}
