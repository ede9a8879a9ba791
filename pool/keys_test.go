package pool

import (
	"testing"
	"time"

	"weir/internal/reason"
	"weir/internal/sock"
)

func TestKeysDoNotShareConnections(t *testing.T) {
	bubble(t, nil, func(x fixture) {
		x.get("a").Release()
		l := x.get("b")
		if l.Reused() || fakeOf(l).key != "b" {
			t.Error("b got a's connection")
		}
		l.Release()
		if n := x.Stats().Keys; n != 2 {
			t.Errorf("%d keys", n)
		}
	})
}

func TestTheColdestIdleOfAnotherKeyMakesRoom(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen = 3 }, func(x fixture) {
		l1, l2, l3 := x.get("a"), x.get("b"), x.get("a")
		cold := fakeOf(l3)
		l3.Release()
		pass(time.Second / 2)
		l2.Release()
		l1.Release()
		l := x.mustGet(x.waits("c"))
		if !cold.ended.Load() || x.Stats().Idle != 2 {
			t.Error("it was not the coldest")
		}
		if x.b.most > 3 || x.closed(reason.CloseKeyNeeded) != 1 {
			t.Errorf("%d open at once, %d closed for it", x.b.most, x.closed(reason.CloseKeyNeeded))
		}
		l.Release()
	})
}

func TestTakingOneOutOfTheStackKeepsTheOrderOfTheOthers(t *testing.T) {
	for name, out := range map[string]func(x fixture, coldest *fakeConn){
		"its place is needed": func(x fixture, _ *fakeConn) { x.mustGet(x.waits("b")).Discard(reason.CloseSaidClose) },
		"found dead": func(x fixture, c *fakeConn) {
			c.see(sock.PeerFIN)
			pass(2500 * time.Millisecond)
		},
		"too many": func(x fixture, _ *fakeConn) {
			x.apply(func(o *Options) { o.MaxOpen = 3 })
		},
	} {
		bubble(t, nil, func(x fixture) {
			var ls []Lease
			for range 4 {
				ls = append(ls, x.get("a"))
			}
			var order []*fakeConn
			for _, l := range ls {
				order = append(order, fakeOf(l))
				l.Release()
				pass(time.Millisecond)
			}
			out(x, order[0])
			settle()
			if !order[0].ended.Load() {
				t.Errorf("%s: the coldest is still there", name)
			}
			for i := 3; i > 0; i-- {
				l := x.get("a")
				if fakeOf(l) != order[i] {
					t.Errorf("%s: got connection %d, want %d", name, fakeOf(l).id, order[i].id)
				}
				defer l.Release()
			}
		})
	}
}

func TestAReturnedConnectionMakesRoomIfOnlyAnotherKeyWaits(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen = 1 }, func(x fixture) {
		l := x.get("a")
		w := x.waits("b")
		l.Release()
		got := x.mustGet(w)
		if fakeOf(got).key != "b" || x.b.most != 1 {
			t.Errorf("key %q, %d open at once", fakeOf(got).key, x.b.most)
		}
		got.Release()
	})
}

func TestAWaiterOfAnotherKeyIsPassedOverEightTimesAtMost(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen, o.QueueTimeout = 1, time.Hour }, func(x fixture) {
		l := x.get("a")
		b := x.waits("b")
		for i := range mostPassed {
			next := x.waits("a")
			l.Release()
			l = x.mustGet(next)
			x.mustWait(b)
			if fakeOf(l).key != "a" {
				t.Fatalf("round %d: key %q", i, fakeOf(l).key)
			}
		}
		a := x.waits("a")
		l.Release()
		l = x.mustGet(b)
		x.mustWait(a)
		l.Release()
		x.mustGet(a).Release()
		if n := x.closed(reason.CloseKeyNeeded); n != 2 || x.b.most != 1 {
			t.Errorf("%d closed for it, %d open at once", n, x.b.most)
		}
	})
}

func TestAWaiterOfAnotherKeyIsServedAtHalfItsPatience(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen = 1 }, func(x fixture) {
		l := x.get("a")
		b := x.waits("b")
		pass(501 * time.Millisecond)
		a := x.waits("a")
		l.Release()
		got := x.mustGet(b)
		x.mustWait(a)
		got.Release()
		x.mustGet(a).Release()
	})
}

func TestOneStarvedWaiterCostsOneConnection(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen, o.QueueTimeout = 4, time.Hour }, func(x fixture) {
		var held []Lease
		for range 4 {
			held = append(held, x.get("a"))
		}
		b := x.waits("b")
		x.b.set(100*time.Millisecond, nil)
		var as []<-chan result
		for range mostPassed + 6 {
			as = append(as, x.waits("a"))
		}
		for i := range mostPassed {
			held[i%4].Release()
			held[i%4] = x.mustGet(as[i])
		}
		// One of these is closed for b, the other two go on to a's waiters.
		held[0].Release()
		held[1].Release()
		held[2].Release()
		settle()
		if n := x.closed(reason.CloseKeyNeeded); n != 1 {
			t.Errorf("%d closed for one waiter", n)
		}
		pass(200 * time.Millisecond)
		x.mustGet(b).Discard(reason.CloseSaidClose)
		x.mustGet(as[mostPassed]).Discard(reason.CloseSaidClose)
		x.mustGet(as[mostPassed+1]).Discard(reason.CloseSaidClose)
		held[3].Discard(reason.CloseSaidClose)
		pass(time.Second)
		for _, w := range as[mostPassed+2:] {
			x.mustGet(w).Release()
		}
	})
}

func TestDialsGoByTheAgeOfWaitersNotByKey(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen, o.DialConcurrent = 3, 1 }, func(x fixture) {
		x.b.set(10*time.Millisecond, nil)
		a1, b, a2 := x.waits("a"), x.waits("b"), x.waits("a")
		pass(time.Second / 2)
		for _, w := range []<-chan result{a1, b, a2} {
			x.mustGet(w).Release()
		}
		if got := x.b.opened; len(got) != 3 || got[0] != "a" || got[1] != "b" || got[2] != "a" {
			t.Errorf("dialled in the order %v", got)
		}
	})
}
