package pool

import (
	"errors"
	"strings"
	"testing"
	"time"

	"weir/internal/reason"
	"weir/internal/sock"
)

// idles has n connections of key idle.
func (x fixture) idles(key string, n int) {
	x.Helper()
	var ls []Lease
	for range n {
		ls = append(ls, x.get(key))
	}
	for _, l := range ls {
		l.Release()
	}
}

func TestNoMoreAreLeasedThanTheInFlightBoundThoughOthersAreIdle(t *testing.T) {
	bubble(t, nil, func(x fixture) {
		x.idles("", 4)
		x.SetInFlight(2)
		l, m := x.get(""), x.get("")
		w, v := x.ask("", 3), x.ask("", 1)
		x.mustWait(w)
		if s := x.Stats(); s.Idle != 2 || s.Leased != 2 || s.InFlightMax != 2 {
			t.Errorf("%+v", s)
		}
		l.Release()
		l = x.mustGet(v) // what came back, and not what is colder
		m.Discard(reason.CloseSaidClose)
		m = x.mustGet(w)
		if !l.Reused() || !m.Reused() || x.b.dialled() != 4 {
			t.Errorf("%d dials", x.b.dialled())
		}
		l.Release()
		m.Release()
	})
}

func TestNothingIsDialledForThoseWhomTheInFlightBoundKeepsWaiting(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen, o.QueueTimeout = 10, time.Hour }, func(x fixture) {
		x.SetInFlight(2)
		x.b.set(10*ms, nil)
		waits := []<-chan result{x.ask("", 3), x.ask("", 3), x.ask("", 3), x.ask("other", 3), x.ask("", 3)}
		if n := x.dialersNow(); n != 2 {
			t.Errorf("%d dialers", n)
		}
		pass(time.Second)
		if x.b.dialled() != 2 {
			t.Errorf("%d dials", x.b.dialled())
		}
		for _, w := range waits {
			x.mustGet(later(w)).Release()
		}
		if x.b.dialled() != 3 { // one for the other key, when it was its turn
			t.Errorf("%d dials in the end", x.b.dialled())
		}
	})
}

func TestAHigherInFlightBoundServesAtOnce(t *testing.T) {
	for _, higher := range []int{4, 100, 0, -1} {
		bubble(t, func(o *Options) { o.MaxOpen = 4 }, func(x fixture) {
			x.idles("", 2)
			x.SetInFlight(1)
			all := []<-chan result{x.ask("", 5), x.ask("", 3), x.ask("", 3), x.ask("", 1)}
			x.SetInFlight(higher)
			for i, dialled := range []bool{false, true, true, false} { // the most important got the idle one
				l := x.mustGet(all[i])
				if l.Reused() == dialled {
					t.Errorf("%d: waiter %d has one that was dialled: %v", higher, i, !dialled)
				}
				defer l.Release()
			}
		})
	}
}

func TestALowerInFlightBoundTakesNoLeaseAway(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen = 3 }, func(x fixture) {
		l, m, n := x.get(""), x.get(""), x.get("")
		w := x.ask("", 3)
		x.SetInFlight(1)
		l.Release()
		m.Release()
		x.mustWait(w)
		if s := x.Stats(); s.Idle != 2 || s.Leased != 1 {
			t.Errorf("%+v", s)
		}
		n.Conn() // is still good
		n.Release()
		x.mustGet(w).Release()
	})
}

func TestADialThatFindsNoRoomIsKeptForItsWaiter(t *testing.T) {
	bubble(t, nil, func(x fixture) {
		l := x.get("")
		x.b.set(100*ms, nil)
		w := x.ask("", 3)
		pass(50 * ms)
		x.SetInFlight(1)
		pass(100 * ms)
		x.mustWait(w)
		if s := x.Stats(); s.Idle != 1 || s.Leased != 1 {
			t.Errorf("%+v", s)
		}
		l.Discard(reason.CloseSaidClose)
		x.mustGet(w).Release()
		if x.b.dialled() != 2 {
			t.Errorf("%d dials", x.b.dialled())
		}
	})
}

func TestRoomIsFreeBeforeTheSocketIsClosed(t *testing.T) {
	slow := func(c sock.Conn, _ any, _ reason.Close) sock.How {
		<-time.After(time.Second)
		c.Close()
		return sock.HowPeerFirst
	}
	bubble(t, func(o *Options) { o.MaxOpen, o.Quit = 4, slow }, func(x fixture) {
		x.idles("a", 1)
		x.SetInFlight(2)
		l, m := x.get("b"), x.get("b")
		a, b := x.ask("a", 3), x.ask("b", 3)
		l.Discard(reason.CloseSaidClose)
		l = x.mustGet(a) // from idleness
		m.Discard(reason.CloseSaidClose)
		m = x.mustGet(b) // by a dial
		l.Release()
		m.Release()
	})
}

// A key that has no connection finds no room for its dial's waiter while others
// are served: it gets the dial when its turn has gone by, and the next turn.
func TestAKeyWithoutAConnectionGetsItsTurnUnderTheInFlightBound(t *testing.T) {
	for _, maxOpen := range []int{2, 4} {
		bubble(t, func(o *Options) { o.MaxOpen = maxOpen }, func(x fixture) {
			x.idles("a", 2)
			x.SetInFlight(1)
			l := x.get("a")
			b := x.ask("b", 3)
			a := x.ask("a", 3)
			if x.b.dialled() > 2 {
				t.Error("dialled before its turn")
			}
			l.Release()
			l = x.mustGet(a)
			x.mustWait(b)
			a = x.ask("a", 3)
			pass(10 * ms)
			l.Release()
			l = x.mustGet(b)
			x.mustWait(a)
			l.Release()
			x.mustGet(a).Release()
			if x.b.dialled() != 3 {
				t.Errorf("max_open %d: %d dials", maxOpen, x.b.dialled())
			}
		})
	}
}

func TestAnIdleConnectionThatAWaiterIsToHaveIsNotClosedForOneBehindIt(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen, o.QueueTimeout = 3, time.Hour }, func(x fixture) {
		a1, a2, c := x.get("a"), x.get("a"), x.get("c")
		b, a := x.ask("b", 3), x.ask("a", 3)
		a1.Release()
		a1 = x.mustGet(a) // b's turn went by
		x.SetInFlight(2)
		c1 := x.ask("c", 1)
		c.Release()
		pass(10 * ms)
		x.mustWait(c1)
		if n := x.closed(reason.CloseKeyNeeded); n != 0 {
			t.Error("its connection was closed")
		}
		a2.Release() // nobody waits for a, so this one makes room for b
		c = x.mustGet(c1)
		pass(10 * ms)
		if n := x.closed(reason.CloseKeyNeeded); n != 1 || x.b.dialled() != 4 {
			t.Errorf("%d closed, %d dials", n, x.b.dialled())
		}
		a1.Release()
		x.mustGet(b).Release()
		c.Release()
	})
}

func TestOnlyWhatIsSparedOfAKeyMakesRoomForThoseBehind(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen, o.QueueTimeout = 5, time.Hour }, func(x fixture) {
		a := []Lease{x.get("a"), x.get("a"), x.get("a")}
		k1, k2 := x.get("k"), x.get("k")
		b, c, w := x.ask("b", 3), x.ask("c", 3), x.ask("a", 3)
		a[0].Release()
		a[0] = x.mustGet(w) // b's and c's turn went by
		x.SetInFlight(3)
		k := x.ask("k", 1)
		k1.Release()
		k2.Release()
		pass(10 * ms)
		if n := x.closed(reason.CloseKeyNeeded); n != 1 || x.b.opened[len(x.b.opened)-1] != "b" {
			t.Errorf("%d of two closed, one of which is for who comes first; dialled %v", n, x.b.opened)
		}
		a[0].Release()
		l := x.mustGet(k)
		if !l.Reused() {
			t.Error("its connection is gone")
		}
		l.Release()
		x.mustGet(b).Release()
		for _, l := range a[1:] {
			l.Release()
		}
		x.mustGet(c).Release()
	})
}

// What is on its way for those whose turn has gone by is no more than can be used.
func TestTheInFlightBoundLetsOnlyThoseDialWhoseTurnHasGoneBy(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen, o.QueueTimeout, o.DialRate = 10, time.Hour, 10 }, func(x fixture) {
		a1, a2 := x.get("a"), x.get("a")
		x.SetInFlight(2)
		waits := []<-chan result{x.ask("b", 3), x.ask("c", 3), x.ask("d", 3)}
		a := x.ask("a", 3)
		a1.Release()
		a1 = x.mustGet(a) // b's, c's and d's turn went by
		first := x.ask("a", 1)
		pass(time.Second)
		if got := strings.Join(x.b.opened, ""); got != "aab" {
			t.Errorf("dialled %v, where two may be leased, and the first wants one that comes back", got)
		}
		a1.Release()
		a1 = x.mustGet(first)
		pass(time.Second)
		if got := strings.Join(x.b.opened, ""); got != "aabc" {
			t.Errorf("dialled %v", got)
		}
		a1.Release()
		a2.Release()
		for _, w := range waits {
			x.mustGet(later(w)).Release()
		}
	})
}

func TestWhoIsServedFromIdlenessGoesByThoseBeforeIt(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen, o.QueueTimeout = 3, time.Hour }, func(x fixture) {
		x.idles("a", 2)
		x.SetInFlight(1)
		l := x.get("z")
		b, a := x.ask("b", 3), x.ask("a", 3)
		l.Release()
		l = x.mustGet(a)
		pass(10 * ms) // time for a dial
		a = x.ask("a", 3)
		l.Release()
		l = x.mustGet(b)
		x.mustWait(a)
		l.Release()
		x.mustGet(a).Release()
	})
}

func TestTheInFlightBoundAndThoseOfGroupsHoldTogether(t *testing.T) {
	slow := func(c sock.Conn, _ any, _ reason.Close) sock.How {
		<-time.After(100 * ms)
		c.Close()
		return sock.HowPeerFirst
	}
	bubble(t, func(o *Options) { bound("app", 1)(o); o.MaxOpen, o.Quit = 3, slow }, func(x fixture) {
		x.idles("web", 2)
		x.idles("app/1", 1)
		x.SetInFlight(2)
		l := x.get("web")
		// There is room for one more, so only one makes place: its group's.
		w, v := x.ask("app/2", 3), x.ask("c", 3)
		pass(50 * ms)
		if s := x.Stats(); s.Closing != 1 || s.Groups["web"].Idle != 1 {
			t.Errorf("%d closing, %+v", s.Closing, s.Groups)
		}
		pass(60 * ms)
		m := x.mustGet(w)
		x.mustWait(v)
		m.Release()
		pass(200 * ms)
		x.mustGet(v).Release()
		l.Release()
	})
}

func TestALowerInFlightBoundClosesNothing(t *testing.T) {
	for name, set := range map[string]func(*Options){
		"a full pool":  func(o *Options) { o.MaxOpen = 3 },
		"a full group": func(o *Options) { bound("app", 3)(o); o.QueueTimeout = time.Second },
	} {
		bubble(t, set, func(x fixture) {
			l, m, n := x.get("app/1"), x.get("app/1"), x.get("app/1")
			w := x.ask("app/2", 3)
			pass(600 * ms) // has a claim to a place
			x.SetInFlight(1)
			cold := fakeOf(l)
			l.Release()
			m.Release()
			settle()
			if got := x.closed(reason.CloseKeyNeeded); got != 0 {
				t.Errorf("%s: %d closed without room for one more", name, got)
			}
			n.Release()
			x.mustGet(w).Release()
			if got := x.closed(reason.CloseKeyNeeded); got != 1 || !cold.ended.Load() {
				t.Errorf("%s: %d closed, the coldest: %v", name, got, cold.ended.Load())
			}
		})
	}
}

// While one looks at a connection that turns out dead, another comes.
func TestADeadConnectionTakesNoRoomFromTheNext(t *testing.T) {
	bubble(t, nil, func(x fixture) {
		x.idles("", 2)
		x.SetInFlight(1)
		looks, resume := make(chan *fakeConn), make(chan struct{})
		gate := func(f *fakeConn) {
			x.b.lookGate.Store(nil)
			looks <- f
			<-resume
			f.see(sock.PeerFIN)
		}
		x.b.lookGate.Store(&gate)
		out := make(chan result, 1)
		go func() {
			l, err := x.acquire(x.Context(), "", 3, false)
			out <- result{Lease: l, err: err}
		}()
		<-looks
		next := x.ask("", 3)
		x.mustWait(next)
		close(resume)
		x.mustGet(next).Release()
		x.mustGet(out).Release()
	})
}

func TestTheInFlightBoundCountsNoReservedConnection(t *testing.T) {
	bubble(t, nil, func(x fixture) {
		x.SetInFlight(1)
		s, err := x.Reserve(x.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		l := x.get("")
		side, err := x.Reserve(x.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		side.Close()
		l.Release()
		s.Close()
	})
}

func TestRefusalsNameTheInFlightBound(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen, o.QueueMax = 4, 1 }, func(x fixture) {
		x.SetInFlight(1)
		l := x.get("")
		w := x.ask("", 3)
		for _, n := range []string{"1", "2"} {
			r, ok := x.done(x.ask("", 3))
			if !ok || !errors.Is(r.err, ErrQueueFull) || !strings.Contains(r.err.Error(), n+" requests at one time (limits.in_flight)") {
				t.Errorf("full: %v", r.err)
			}
			if again, _ := x.done(x.ask("", 3)); again.err != r.err {
				t.Error("the refusal is built each time")
			}
			if n == "1" {
				x.SetInFlight(2)
				defer x.mustGet(w).Release()
				w = x.ask("", 3)
			}
		}
		x.apply(func(o *Options) { o.QueueMax = 0 })
		if r, _ := x.done(x.ask("", 3)); r.err == nil || !strings.Contains(r.err.Error(), ": 0 may wait (queue.max)") {
			t.Errorf("after a reload: %v", r.err)
		}
		pass(time.Second)
		if r, ok := x.done(w); !ok || !errors.Is(r.err, ErrQueueTimeout) || !strings.Contains(r.err.Error(), "limits.in_flight") {
			t.Errorf("late: %v", r.err)
		}
		l.Release()
	})
}
