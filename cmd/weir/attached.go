package main

import (
	"maps"
	"slices"
	"time"

	"weir/pool"
)

// In session mode a client keeps its backend connection to its end, also while it
// is silent. Clients with pools of their own so take a backend's places and use
// few of them, and others wait for nothing: that is worth a word to the operator.
const (
	attachedTick   = 10 * time.Second
	attachedFor    = time.Minute // how long more than half of max_open was held so
	attachedRepeat = 10 * time.Minute
)

// attached follows what silent clients hold of one backend, from look to look. Its
// zero value is ready.
type attached struct {
	since  time.Time // more than half was held at every look; zero: it was not at the last
	waited uint64    // what the pool had counted then, or at the last warning
	warned time.Time
}

// look takes how many connections silent clients hold now. It says whether to
// warn: more than half of the places were held for a minute, somebody waits or
// has waited meanwhile, and nothing was said for ten.
func (a *attached) look(now time.Time, held int64, st *pool.Stats) bool {
	waited := waits(st)
	switch {
	case 2*held <= int64(st.MaxOpen):
		a.since = time.Time{}
		return false
	case a.since.IsZero():
		a.since, a.waited = now, waited
	}
	if now.Sub(a.since) < attachedFor || st.Waiting == 0 && waited == a.waited {
		return false
	}
	if !a.warned.IsZero() && now.Sub(a.warned) < attachedRepeat {
		return false
	}
	a.warned, a.waited = now, waited
	return true
}

// waits is how many have asked for a connection of which there was none.
func waits(st *pool.Stats) uint64 { return st.Waits.Count() + st.QueueFull }

// every calls look until quit is closed.
func every(tick time.Duration, quit <-chan struct{}, look func(now time.Time)) {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-quit:
			return
		case now := <-t.C:
			look(now)
		}
	}
}

// silence is a backend of which is to be warned.
type silence struct {
	backend string
	held    int64
	st      pool.Stats
	lasts   time.Duration
}

// lookAttached warns of the backends whose places are held by silent clients.
func (g *graph) lookAttached(now time.Time) {
	for _, s := range g.silent(now) {
		g.log.Warn("most backend connections are held by clients that are silent, and others wait for one: in session mode a client keeps "+
			"its connection to its end; transaction mode, which would give it back between transactions, is not in this version. "+
			"Raise backends[].pool.max_open, close silent clients with backends[].mysql.idle_attached_timeout, or have them close their connections",
			"backend", s.backend, "idle_attached", s.held, "max_open", s.st.MaxOpen, "waiting", s.st.Waiting, "for", s.lasts.Round(time.Second))
	}
}

// silent looks at all MySQL backends. It logs nothing, as mu is not for that.
func (g *graph) silent(now time.Time) (out []silence) {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := g.databaseStats()
	for name := range g.attached {
		if all[name] == nil {
			delete(g.attached, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		a := g.attached[name]
		if a == nil {
			a = new(attached)
			g.attached[name] = a
		}
		st := g.backends[name].pool.Stats()
		if held := all[name].idleAttached; a.look(now, held, &st) {
			out = append(out, silence{name, held, st, now.Sub(a.since)})
		}
	}
	return out
}
