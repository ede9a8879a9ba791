package pool

import (
	"errors"
	"strings"
	"testing"
	"time"

	"weir/internal/reason"
	"weir/internal/sock"
	"weir/limiter"
)

// groups takes what stands before the slash of a key for its group.
func groups(most map[string]int) func(string) (string, int) {
	return func(key string) (string, int) {
		name, _, _ := strings.Cut(key, "/")
		return name, most[name]
	}
}

// bound sets one group's bound, and room for more in the pool.
func bound(name string, most int) func(*Options) {
	return func(o *Options) {
		o.MaxOpen, o.QueueTimeout = 10, time.Hour
		o.Group = groups(map[string]int{name: most})
	}
}

// dialersNow is how many goroutines dial or wait for their turn to.
func (x fixture) dialersNow() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.dialers
}

func TestKeysOfAGroupShareItsBound(t *testing.T) {
	bubble(t, func(o *Options) { bound("app", 2)(o); o.QueueTimeout = time.Second }, func(x fixture) {
		l1, l2 := x.get("app/1"), x.get("app/2")
		w := x.waits("app/3")
		x.mustWait(w)
		if x.dialersNow() != 0 || x.b.dialled() != 2 {
			t.Errorf("%d dialers and %d dials for who may not have one", x.dialersNow(), x.b.dialled())
		}
		pass(time.Second)
		r, _ := x.done(w)
		if !errors.Is(r.err, ErrQueueTimeout) || !strings.Contains(r.err.Error(), `one of 2 connections of "app" (users[].max_open)`) {
			t.Errorf("got %v", r.err)
		}
		l1.Release()
		l2.Release()
	})
}

func TestATimeoutNamesThePoolsBoundIfTheGroupHadRoom(t *testing.T) {
	bubble(t, func(o *Options) { bound("app", 2)(o); o.MaxOpen, o.QueueTimeout = 2, time.Second }, func(x fixture) {
		l1, l2 := x.get("app/1"), x.get("other")
		w := x.waits("app/2")
		pass(time.Second)
		if r, _ := x.done(w); r.err == nil || !strings.Contains(r.err.Error(), "one of 2 connections (pool.max_open)") {
			t.Errorf("got %v", r.err)
		}
		l1.Release()
		l2.Release()
	})
}

func TestAGroupWithoutABoundHasThePoolsAlone(t *testing.T) {
	bubble(t, func(o *Options) { bound("app", -1)(o); o.MaxOpen = 3 }, func(x fixture) {
		for range 3 {
			defer x.get("app/1").Release()
		}
		if s := x.Stats().Groups["app"]; s.Open != 3 || s.MaxOpen != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestAFullGroupDoesNotHoldUpThoseBehindIt(t *testing.T) {
	bubble(t, bound("app", 1), func(x fixture) {
		l := x.get("app/1")
		var stuck []<-chan result
		for range 5 {
			stuck = append(stuck, x.waits("app/1"), x.waits("app/2"))
		}
		m := x.mustGet(x.waits("web/1"))
		n := x.mustGet(x.waits("web/1"))
		w := x.waits("web/1")
		m.Release()
		k := x.mustGet(w)
		if s := x.Stats(); s.Groups["app"].Waiting != 10 || s.Groups["app"].Open != 1 {
			t.Errorf("%+v", s.Groups)
		}
		k.Release()
		n.Release()
		l.Release()
		for len(stuck) > 0 { // served two by two, not by key
			for i, w := range stuck {
				pass(2 * time.Millisecond)
				if r, ok := x.done(w); ok {
					r.Release()
					stuck = append(stuck[:i:i], stuck[i+1:]...)
					break
				}
			}
		}
		if n := x.b.openBy["app/1"] + x.b.openBy["app/2"]; n != 1 {
			t.Errorf("%d open", n)
		}
	})
}

func TestAFullGroupTakesNoPlaceInTheQueueFromAWaitThatIsOnlyForADial(t *testing.T) {
	bubble(t, func(o *Options) { bound("app", 1)(o); o.QueueMax = 2 }, func(x fixture) {
		l := x.get("app/1")
		w1, w2 := x.waits("app/1"), x.waits("app/2")
		_, err := x.Acquire(x.Context(), "app/3", limiter.ClassDefault)
		if !errors.Is(err, ErrQueueFull) || !strings.Contains(err.Error(), `1 connections of "app" (users[].max_open)`) {
			t.Errorf("got %v", err)
		}
		if _, again := x.Acquire(x.Context(), "app/3", limiter.ClassDefault); again != err {
			t.Error("the refusal is built each time")
		}
		x.b.set(time.Millisecond, nil)
		m, n := x.waits("web"), x.waits("web")
		pass(5 * time.Millisecond)
		x.mustGet(m).Release()
		x.mustGet(n).Release()
		l.Release()
		x.mustGet(later(w1)).Release()
		x.mustGet(later(w2)).Release()
	})
}

func TestWithoutAQueueOneMayWaitForItsOwnDialButNotInAFullGroup(t *testing.T) {
	bubble(t, func(o *Options) { bound("app", 2)(o); o.QueueMax = 0 }, func(x fixture) {
		x.b.set(100*time.Millisecond, nil)
		v, w := x.waits("app/1"), x.waits("app/2")
		pass(10 * time.Millisecond)
		if s := x.Stats(); s.Dialing != 2 || s.Waiting != 2 {
			t.Errorf("%+v", s)
		}
		if _, err := x.Acquire(x.Context(), "app/1", limiter.ClassDefault); !errors.Is(err, ErrQueueFull) {
			t.Errorf("third: %v", err)
		}
		x.mustGet(later(v)).Release()
		x.mustGet(later(w)).Release()
	})
}

func TestNothingOfOthersIsClosedForAFullGroup(t *testing.T) {
	bubble(t, func(o *Options) { bound("app", 2)(o); o.MaxOpen = 4 }, func(x fixture) {
		l1, l2 := x.get("app/1"), x.get("app/2")
		m1, m2 := x.get("web"), x.get("web")
		m1.Release()
		m2.Release()
		w := x.waits("app/3")
		pass(3 * time.Second)
		if s := x.Stats(); s.Idle != 2 || x.dialersNow() != 0 {
			t.Errorf("%d idle, %d dialers", s.Idle, x.dialersNow())
		}
		l1.Release() // and what makes room is its group's
		x.mustGet(w).Release()
		l2.Release()
		if s := x.Stats(); s.Groups["web"].Idle != 2 || s.Closes[reason.CloseKeyNeeded] != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestTheColdestIdleOfItsGroupMakesRoom(t *testing.T) {
	bubble(t, bound("app", 3), func(x fixture) {
		var order []*fakeConn
		var ls []Lease
		for _, key := range []string{"web", "app/1", "app/2", "app/1"} {
			l := x.get(key)
			order, ls = append(order, fakeOf(l)), append(ls, l)
		}
		for _, l := range ls {
			l.Release()
			pass(10 * time.Millisecond)
		}
		x.mustGet(x.waits("app/3")).Release()
		for i, c := range order {
			if c.ended.Load() != (i == 1) {
				t.Errorf("connection %d, of %q: closed %v", i, c.key, c.ended.Load())
			}
		}
	})
}

func TestAFullGroupInAFullPoolCostsOneIdleConnectionNotTwo(t *testing.T) {
	bubble(t, func(o *Options) { bound("app", 1)(o); o.MaxOpen = 2 }, func(x fixture) {
		x.get("web").Release()
		x.get("app/1").Release()
		x.mustGet(x.waits("app/2")).Release()
		if s := x.Stats(); s.Groups["web"].Idle != 1 || s.Closes[reason.CloseKeyNeeded] != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestWhatIsBeingClosedCountsInItsGroup(t *testing.T) {
	slow := func(c sock.Conn, _ any, _ reason.Close) sock.How {
		<-time.After(time.Second)
		c.Close()
		return sock.HowPeerFirst
	}
	bubble(t, func(o *Options) { bound("app", 2)(o); o.Quit = slow }, func(x fixture) {
		held := x.get("app/1")
		x.get("app/1").Release()
		w := x.waits("app/2")
		pass(999 * time.Millisecond)
		x.mustWait(w)
		if s := x.Stats(); s.Groups["app"].Open != 2 || s.Closing != 1 || x.dialersNow() != 0 {
			t.Errorf("%+v", s)
		}
		pass(time.Millisecond)
		x.mustGet(w).Release()
		held.Release()
	})
}

func TestALowerGroupBoundClosesItsIdleAndThenWhatComesBack(t *testing.T) {
	bubble(t, bound("app", 5), func(x fixture) {
		var ls []Lease
		for i := range 5 {
			ls = append(ls, x.get([]string{"app/1", "app/2"}[i%2]))
		}
		x.get("web").Release()
		cold, warm := fakeOf(ls[4]), fakeOf(ls[3])
		ls[4].Release()
		pass(time.Millisecond)
		ls[3].Release()
		x.apply(bound("app", 4))
		settle()
		if !cold.ended.Load() || warm.ended.Load() {
			t.Error("it was not the coldest")
		}
		x.apply(bound("app", 1))
		before := x.b.dialled()
		w := x.waits("app/1")
		ls[1].Release() // 2 left
		x.mustWait(w)
		ls[2].Release() // 1 left
		x.mustWait(w)
		if s := x.Stats(); s.Groups["app"].Open != 1 || s.Groups["web"].Idle != 1 || s.Closes[reason.CloseResized] != 4 {
			t.Errorf("%+v", s)
		}
		ls[0].Release()
		x.mustGet(w).Release()
		if x.b.dialled() != before {
			t.Error("dialled above the bound")
		}
	})
}

func TestADialThatArrivesAboveALoweredGroupBoundIsClosed(t *testing.T) {
	bubble(t, bound("app", 2), func(x fixture) {
		l := x.get("app/1")
		x.b.set(100*time.Millisecond, nil)
		w := x.waits("app/1")
		pass(10 * time.Millisecond)
		x.apply(bound("app", 1))
		pass(time.Second)
		x.mustWait(w)
		if n := x.closed(reason.CloseResized); n != 1 || x.b.dialled() != 2 {
			t.Errorf("%d closed, %d dials", n, x.b.dialled())
		}
		l.Release()
		x.mustGet(w).Release()
	})
}

func TestAHigherGroupBoundDialsForThoseWhoWait(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"higher":    bound("app", 2),
		"none":      bound("app", 0),
		"no groups": func(o *Options) { o.Group = nil },
	} {
		bubble(t, bound("app", 1), func(x fixture) {
			l := x.get("app/1")
			w := x.waits("app/2")
			x.mustWait(w)
			x.apply(change)
			m := x.mustGet(w)
			if s := x.Stats(); (s.Groups == nil) != (name == "no groups") {
				t.Errorf("%s: %v", name, s.Groups)
			}
			x.apply(bound("app", 1)) // and back: both are counted
			l.Release()
			m.Release()
			settle()
			if s := x.Stats(); s.Open != 1 || s.Closes[reason.CloseResized] != 1 {
				t.Errorf("%s: %+v", name, s)
			}
		})
	}
}

func TestAReloadMayPutAKeyIntoAnotherGroup(t *testing.T) {
	bubble(t, bound("app", 2), func(x fixture) {
		l, m := x.get("app/1"), x.get("web/1")
		x.apply(func(o *Options) {
			o.Group = func(string) (string, int) { return "all", 2 }
		})
		w := x.waits("web/2")
		x.mustWait(w)
		if s := x.Stats().Groups["all"]; s.Open != 2 || s.Waiting != 1 {
			t.Errorf("%+v", s)
		}
		l.Release()
		x.mustGet(w).Release()
		m.Release()
	})
}

func TestMinIdleCountsInItsGroup(t *testing.T) {
	bubble(t, func(o *Options) { bound("app", 3)(o); o.MinIdle, o.WarmKey = 2, "app/1" }, func(x fixture) {
		if err := x.Warm(x.Context()); err != nil {
			t.Fatal(err)
		}
		l := x.get("app/2") // the last place
		m := x.mustGet(x.waits("app/2"))
		if n := x.b.openBy["app/1"]; n != 1 {
			t.Errorf("%d warm ones left of 2, one of which made room", n)
		}
		l.Discard(reason.CloseSaidClose)
		pass(10 * time.Millisecond)
		if n := x.b.openBy["app/1"]; n != 2 {
			t.Errorf("%d warm ones when there was room again", n)
		}
		m.Release()
	})
}

func TestMinIdleMustFitIntoItsGroup(t *testing.T) {
	b := &fakeBackend{}
	o := testOptions(b)
	bound("app", 2)(&o)
	o.MinIdle, o.WarmKey = 3, "app/1"
	_, err := New(o)
	if err == nil || !strings.Contains(err.Error(), `pool.min_idle is 3: must be 0 to users[].max_open of "app", 2`) {
		t.Errorf("got %v", err)
	}
}

func TestAcquireFreshInAFullGroupTakesTheIdleOnesPlace(t *testing.T) {
	bubble(t, bound("app", 1), func(x fixture) {
		x.get("app/1").Release()
		w := x.asks(x.Context(), "app/1", true)
		l := x.mustGet(w)
		if l.Reused() || x.closed(reason.CloseKeyNeeded) != 1 {
			t.Errorf("reused %v, %d closed", l.Reused(), x.closed(reason.CloseKeyNeeded))
		}
		l.Release()
	})
}

func TestReservedSocketsAreOutsideOfGroups(t *testing.T) {
	bubble(t, bound("app", 1), func(x fixture) {
		l := x.get("app/1")
		s, err := x.Reserve(x.Context(), "app/1")
		if err != nil {
			t.Fatal(err)
		}
		if n := x.Stats().Groups["app"].Open; n != 1 {
			t.Errorf("%d counted", n)
		}
		s.Close()
		l.Release()
	})
}
