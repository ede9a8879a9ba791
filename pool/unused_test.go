package pool

import (
	"slices"
	"testing"
	"time"

	"weir/internal/reason"
)

func TestAnUnusedLeaseGoesOnAsIfItHadNotBeen(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen = 1 }, func(x fixture) {
		x.b.set(10*ms, nil)
		l := x.get("")
		if l.Waited() != 10*ms {
			t.Errorf("waited %v for a dial", l.Waited())
		}
		gone, next := x.ask("", 3), x.ask("", 3)
		pass(30 * ms)
		l.Release()
		l = x.mustGet(gone)
		if l.Waited() != 30*ms || l.Requests() != 2 {
			t.Errorf("waited %v, lease %d", l.Waited(), l.Requests())
		}
		l.Unused()
		mustPanic(t, "a second end", l.Unused)
		l = x.mustGet(next)
		if l.Requests() != 2 || !l.Reused() {
			t.Errorf("lease %d", l.Requests())
		}
		l.Release()
		l = x.get("")
		if l.Waited() != 0 || l.Requests() != 3 {
			t.Errorf("waited %v, lease %d", l.Waited(), l.Requests())
		}
		l.Release()
		if s := x.Stats(); s.Unused != 1 || x.b.dialled() != 1 {
			t.Errorf("%d unused, %d dials", s.Unused, x.b.dialled())
		}
	})
}

func TestAnUnusedLeaseDoesNotMakeTheConnectionYounger(t *testing.T) {
	bubble(t, func(o *Options) { o.IdleTimeout = 10 * time.Second }, func(x fixture) {
		old, young := x.get(""), x.get("")
		old.Release()
		pass(5 * time.Second)
		old = x.get("")
		young.Release()
		old.Unused()
		var since []time.Duration
		x.mu.Lock()
		for c := x.idle.oldest; c != nil; c = c.newer {
			since = append(since, c.idleSince)
		}
		x.mu.Unlock()
		if len(since) != 2 || !slices.IsSorted(since) {
			t.Errorf("idle since %v", since)
		}
		pass(5 * time.Second)
		if s := x.Stats(); s.Idle != 1 || s.Closes[reason.CloseIdle] != 1 {
			t.Errorf("%d idle, %d closed", s.Idle, s.Closes[reason.CloseIdle])
		}
		pass(5 * time.Second)
		if s := x.Stats(); s.Idle != 0 {
			t.Errorf("%d idle in the end", s.Idle)
		}
	})
}

func TestAnUnusedLeaseOfANewConnectionIsStillNew(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen = 1 }, func(x fixture) {
		l := x.get("")
		fresh := x.askFor(x.Context(), "", 3, true)
		l.Unused()
		l = x.mustGet(fresh)
		if l.Reused() || l.Requests() != 1 || x.b.dialled() != 1 {
			t.Errorf("reused %v, lease %d, %d dials", l.Reused(), l.Requests(), x.b.dialled())
		}
		l.Unused()
		if l = x.get(""); !l.Reused() {
			t.Error("one that was idle may have been closed by the backend")
		}
		l.Release()
	})
}

func TestAnUnusedLeaseIsNotKeptIfItIsNotWanted(t *testing.T) {
	bubble(t, nil, func(x fixture) {
		l := x.get("")
		x.apply(func(o *Options) { o.Stamp = "new" })
		l.Unused()
		settle()
		if s := x.Stats(); s.Open != 0 || s.Closes[reason.CloseGeneration] != 1 {
			t.Errorf("%+v", s)
		}
	})
}
