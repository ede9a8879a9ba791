package pool

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"weir/internal/reason"
	"weir/internal/sock"
	"weir/limiter"
)

func TestAcquireDialsOnceAndThenReuses(t *testing.T) {
	bubble(t, nil, func(x fixture) {
		l := x.get("")
		if l.Reused() || l.Requests() != 1 || l.Attached() != "#1" {
			t.Errorf("first: reused %v, request %d, attached %v", l.Reused(), l.Requests(), l.Attached())
		}
		l.Release()
		for i := range 100 {
			pass(10 * time.Millisecond)
			l = x.get("")
			if !l.Reused() || l.Requests() != uint64(i+2) {
				t.Fatalf("reuse %d: reused %v, request %d", i, l.Reused(), l.Requests())
			}
			l.Release()
		}
		if x.b.dialled() != 1 {
			t.Errorf("%d dials", x.b.dialled())
		}
	})
}

func TestAcquireTakesTheNewestIdleFirst(t *testing.T) {
	bubble(t, nil, func(x fixture) {
		a, b, c := x.get(""), x.get(""), x.get("")
		ids := []int{fakeOf(b).id, fakeOf(c).id, fakeOf(a).id}
		b.Release()
		c.Release()
		a.Release()
		for i := 2; i >= 0; i-- {
			l := x.get("")
			if got := fakeOf(l).id; got != ids[i] {
				t.Errorf("got connection %d, want %d", got, ids[i])
			}
			defer l.Release()
		}
	})
}

func TestAcquireAfterBackendFINDialsAgain(t *testing.T) {
	for sight, why := range map[sock.Sight]reason.Close{
		sock.PeerFIN:  reason.CloseBackendFIN,
		sock.Readable: reason.CloseUnsolicited,
		sock.Broken:   reason.CloseBroken,
	} {
		bubble(t, nil, func(x fixture) {
			a, b := x.get(""), x.get("")
			fa, fb := fakeOf(a), fakeOf(b)
			a.Release()
			b.Release()
			fa.see(sight)
			fb.see(sight)
			l := x.get("")
			if l.Reused() || fakeOf(l) == fa || fakeOf(l) == fb {
				t.Errorf("%v: got a dead connection", sight)
			}
			l.Release()
			settle()
			if n := x.closed(why); n != 2 {
				t.Errorf("%v: %d closed as %v", sight, n, why)
			}
		})
	}
}

func TestReleaseOfADeadConnectionClosesIt(t *testing.T) {
	bubble(t, nil, func(x fixture) {
		l := x.get("")
		fakeOf(l).see(sock.PeerFIN)
		l.Release()
		settle()
		if s := x.Stats(); s.Open != 0 || s.Closes[reason.CloseBackendFIN] != 1 || s.Hows[sock.HowPeerFirst] != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestReleaseGoesStraightToTheOldestWaiter(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen = 1 }, func(x fixture) {
		l := x.get("")
		first, second := x.waits(""), x.waits("")
		f := fakeOf(l)
		l.Release()
		l = x.mustGet(first)
		if fakeOf(l) != f || !l.Reused() {
			t.Error("not the connection that came back")
		}
		x.mustWait(second)
		l.Release()
		x.mustGet(second).Release()
		if s := x.Stats(); s.HandOvers != 2 || x.b.dialled() != 1 {
			t.Errorf("%d hand-overs, %d dials", s.HandOvers, x.b.dialled())
		}
	})
}

func TestAWaiterDoesNotGetAConnectionThatDiedOnTheWay(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen = 1 }, func(x fixture) {
		l := x.get("")
		w := x.waits("")
		// Alive at the look of Release, dead at the waiter's own.
		f, looks := fakeOf(l), 0
		gate := func(c *fakeConn) {
			if looks++; looks == 2 {
				c.see(sock.PeerFIN)
			}
		}
		x.b.lookGate.Store(&gate)
		l.Release()
		settle()
		got := x.mustGet(w)
		if fakeOf(got) == f || got.Reused() {
			t.Error("it got the dead connection")
		}
		got.Release()
	})
}

func TestAcquireFailsWhenTheQueueIsFull(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen, o.QueueMax = 1, 1 }, func(x fixture) {
		l := x.get("")
		w := x.waits("")
		_, err := x.Acquire(x.Context(), "", limiter.ClassDefault)
		if !errors.Is(err, ErrQueueFull) || !strings.Contains(err.Error(), "queue.max") {
			t.Errorf("got %v", err)
		}
		l.Release()
		x.mustGet(w).Release()
		if n := x.Stats().QueueFull; n != 1 {
			t.Errorf("%d counted", n)
		}
	})
}

func TestWithoutAQueueOneMayStillWaitForItsOwnDial(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen, o.QueueMax = 2, 0 }, func(x fixture) {
		x.b.set(100*time.Millisecond, nil)
		a, b := x.waits(""), x.waits("")
		if _, err := x.Acquire(x.Context(), "", limiter.ClassDefault); !errors.Is(err, ErrQueueFull) {
			t.Errorf("third: %v", err)
		}
		pass(time.Second / 2)
		x.mustGet(a).Release()
		x.mustGet(b).Release()
	})
}

func TestAcquireTimesOutInTheQueue(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen = 1 }, func(x fixture) {
		l := x.get("")
		w := x.waits("")
		pass(time.Second)
		r, _ := x.done(w)
		if !errors.Is(r.err, ErrQueueTimeout) || r.took != time.Second || !strings.Contains(r.err.Error(), "queue.timeout") {
			t.Errorf("after %v: %v", r.took, r.err)
		}
		l.Release()
		if s := x.Stats(); s.Idle != 1 || s.QueueTimeout != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestAWaiterWhoLeftGetsNothing(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen = 1 }, func(x fixture) {
		l := x.get("")
		ctx, cancel := context.WithCancel(x.Context())
		w := x.asks(ctx, "", false)
		cancel()
		l.Release() // before the waiter has noticed
		r, ok := x.done(w)
		if !ok || !errors.Is(r.err, context.Canceled) {
			t.Errorf("%v, %v", ok, r.err)
		}
		if s := x.Stats(); s.Idle != 1 || s.Left != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestACancelledAcquireDoesNotCancelItsDial(t *testing.T) {
	bubble(t, nil, func(x fixture) {
		x.b.set(300*time.Millisecond, nil)
		ctx, cancel := context.WithTimeout(x.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := x.Acquire(ctx, "", limiter.ClassDefault); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		pass(time.Second / 2)
		if s := x.Stats(); s.Idle != 1 || x.b.dialled() != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestAcquireWithAnEndedContextTakesNothing(t *testing.T) {
	bubble(t, nil, func(x fixture) {
		x.get("").Release()
		ctx, cancel := context.WithCancel(x.Context())
		cancel()
		if l, err := x.Acquire(ctx, "", limiter.ClassDefault); !errors.Is(err, context.Canceled) || l.Valid() {
			t.Errorf("got %v", err)
		}
	})
}

func TestAcquireFreshWaitsForANewConnection(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen = 2 }, func(x fixture) {
		x.get("").Release()
		l, err := x.AcquireFresh(x.Context(), "", limiter.ClassDefault)
		if err != nil || l.Reused() {
			t.Fatalf("reused, %v", err)
		}
		if s := x.Stats(); s.Open != 2 || s.Opens[reason.OpenFresh] != 1 {
			t.Errorf("%+v", s)
		}
		// At the bound the idle one makes room.
		m, err := x.AcquireFresh(x.Context(), "", limiter.ClassDefault)
		if err != nil || m.Reused() {
			t.Fatalf("reused, %v", err)
		}
		// And when none is idle, one that comes back does, in time.
		w := x.asks(x.Context(), "", true)
		x.mustWait(w)
		pass(600 * time.Millisecond)
		l.Release()
		n := x.mustGet(w)
		if n.Reused() {
			t.Error("reused")
		}
		if got := x.closed(reason.CloseKeyNeeded); got != 2 || x.b.most > 2 {
			t.Errorf("%d made room, %d open at once", got, x.b.most)
		}
		m.Release()
		n.Release()
	})
}

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if r, ok := recover().(string); !ok || !strings.HasPrefix(r, "BUG: ") {
			t.Errorf("%s: recovered %q", what, r)
		}
	}()
	f()
}

func TestALeaseEndsExactlyOnce(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen = 1 }, func(x fixture) {
		mustPanic(t, "zero lease", Lease{}.Release)
		mustPanic(t, "zero lease", func() { Lease{}.Conn() })
		old := x.get("")
		old.Release()
		again := func(when string) {
			t.Helper()
			mustPanic(t, when+": Release", old.Release)
			mustPanic(t, when+": Discard", func() { old.Discard(reason.CloseStale) })
			mustPanic(t, when+": Conn", func() { old.Conn() })
		}
		again("while idle")
		l := x.get("")
		again("while leased to another")
		w := x.waits("")
		l.Release()
		l = x.mustGet(w)
		again("while handed over")
		l.Discard(reason.CloseTimeout)
		again("while closing")
		settle()
		again("when closed")
		if s := x.Stats(); s.Closes[reason.CloseTimeout] != 1 || s.Open != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestDiscardCountsTheSocketUntilItIsClosed(t *testing.T) {
	slow := func(c sock.Conn, _ any, _ reason.Close) sock.How {
		<-time.After(time.Second)
		c.Close()
		return sock.HowPeerFirst
	}
	bubble(t, func(o *Options) { o.MaxOpen, o.Quit, o.QueueTimeout = 1, slow, time.Minute }, func(x fixture) {
		x.get("").Discard(reason.CloseSaidClose)
		w := x.waits("")
		pass(999 * time.Millisecond)
		x.mustWait(w)
		if s := x.Stats(); s.Closing != 1 || s.Open != 1 {
			t.Errorf("%+v", s)
		}
		pass(time.Millisecond)
		x.mustGet(w).Release()
		if x.b.most != 1 {
			t.Errorf("%d open at once", x.b.most)
		}
	})
}
