package pool

import "weir/internal/reason"

// group is what the keys that share a bound (Options.Group) have open together.
// Keys without one, and all keys where nothing has a bound, have no group: a nil
// group never refuses. Guarded by the pool's lock; it goes away with its last
// key, and all are made anew by Apply.
type group struct {
	pool *Pool
	name string
	most int // at least 1
	keys int

	n    [connStates]int // connections by state
	open int             // all that are not closed
	need int             // the sum of its keys'

	// What each adds to the pool's sums of the same names, which keep plan
	// and nextDial from looking at every group.
	short, late, closable int

	scan, left, free int   // see Pool.starving and Pool.ration
	errFull          error // built at the first refusal
}

// grouped returns the group of key, made if need be, with one more key in it;
// nil if it has no bound. mu is held.
func (p *Pool) grouped(key string) *group {
	name, most := p.opts.group(key)
	if most < 1 {
		return nil
	}
	g := p.groups[name]
	if g == nil {
		g = &group{pool: p, name: name, most: most}
		if p.groups == nil {
			p.groups = make(map[string]*group)
		}
		p.groups[name] = g
	}
	g.keys++
	return g
}

// leave is for a key that is forgotten: it has neither connections nor waiters.
func (g *group) leave() {
	if g == nil {
		return
	}
	if g.keys--; g.keys == 0 {
		delete(g.pool.groups, g.name)
	}
}

// regroup puts every key into the group that today's options say. mu is held.
func (p *Pool) regroup() {
	clear(p.groups)
	p.short, p.late, p.closable = 0, 0, 0
	for _, k := range p.keys {
		k.group = p.grouped(k.name)
		if g := k.group; g != nil {
			for s, n := range k.n {
				g.n[s] += n
			}
			g.open += k.count()
			g.need += k.need
			g.recount()
		}
	}
}

// enter books a connection that is about to be dialled; a recount must follow.
func (g *group) enter() {
	if g != nil {
		g.n[dialing]++
		g.open++
	}
}

// move books that a connection changes its state; a recount must follow.
func (g *group) move(from, next connState) {
	if g == nil {
		return
	}
	g.n[from]--
	g.n[next]++
	if next == closed {
		g.open--
	}
}

// recount brings short, late and closable up to date after need, n or open
// changed.
func (g *group) recount() {
	if g.need == 0 && g.late == 0 {
		return // short and closable are never more than late
	}
	short := max(0, g.need-g.coming())
	late := max(0, g.need-max(0, g.most-g.open))
	closable := min(short, g.n[idle])
	p := g.pool
	p.short += short - g.short
	p.late += late - g.late
	p.closable += closable - g.closable
	g.short, g.late, g.closable = short, late, closable
}

// coming is how many places are free or about to be.
func (g *group) coming() int { return max(0, g.most-(g.open-g.n[closing])) }

// full says that nothing may be dialled for g now.
func (g *group) full() bool { return g != nil && g.open >= g.most }

// surplus is how many more connections are kept than the bound allows.
func (g *group) surplus() int {
	if g == nil {
		return 0
	}
	return g.open - g.n[closing] - g.most
}

// useful says whether a place that c leaves would do for a waiter of g.
func (g *group) useful(c *conn) bool { return g == nil || g == c.key.group || g.coming() > 0 }

// makeRoom closes, in each group that lacks places, the coldest idle ones for
// those of its keys that wait. mu is held.
func (p *Pool) makeRoom() {
	if p.closable == 0 {
		return
	}
	for _, g := range p.groups {
		p.closeColdest(g, g.closable, reason.CloseKeyNeeded)
	}
}

// shrink closes what is idle beyond the bounds of groups and pool. mu is held.
func (p *Pool) shrink() {
	for _, g := range p.groups {
		p.closeColdest(g, g.surplus(), reason.CloseResized)
	}
	p.closeColdest(nil, p.surplus(), reason.CloseResized)
}

// GroupStats is what the keys of one group have open together.
type GroupStats struct {
	MaxOpen            int // 0 is no bound of its own
	Open, Idle, Leased int // Open counts as Stats.Open does
	Waiting            int
}

// groupStats is nil without groups. mu is held.
func (p *Pool) groupStats() map[string]GroupStats {
	if p.opts.Group == nil {
		return nil
	}
	all := make(map[string]GroupStats)
	for _, k := range p.keys {
		name, most := p.opts.group(k.name)
		s := all[name]
		s.MaxOpen = most
		s.Open += k.count()
		s.Idle += k.n[idle] + k.n[looking]
		s.Leased += k.n[leased]
		s.Waiting += k.waiting
		all[name] = s
	}
	return all
}
