package pool

import (
	"context"
	"testing"
	"time"

	"weir/internal/reason"
	"weir/internal/sock"
	"weir/limiter"
)

func TestAWaiterInAFullGroupIsPassedOverEightTimesAtMost(t *testing.T) {
	bubble(t, bound("app", 1), func(x fixture) {
		l := x.get("app/1")
		b := x.waits("app/2")
		for range mostPassed {
			next := x.waits("app/1")
			l.Release()
			l = x.mustGet(next)
			x.mustWait(b)
		}
		a := x.waits("app/1")
		l.Release()
		l = x.mustGet(b)
		x.mustWait(a)
		l.Release()
		x.mustGet(a).Release()
		if n := x.closed(reason.CloseKeyNeeded); n != 2 {
			t.Errorf("%d closed for it", n)
		}
	})
}

func TestAWaiterInAFullGroupIsServedAtHalfItsPatienceByItsOwn(t *testing.T) {
	bubble(t, func(o *Options) { bound("app", 1)(o); o.MaxOpen, o.QueueTimeout = 2, time.Second }, func(x fixture) {
		l, m := x.get("app/1"), x.get("web")
		b := x.waits("app/2")
		pass(501 * time.Millisecond)
		// Another group's connection would not help it, and is handed on.
		for range mostPassed + 1 {
			w := x.waits("web")
			m.Release()
			m = x.mustGet(w)
		}
		if n := x.closed(reason.CloseKeyNeeded); n != 0 {
			t.Errorf("%d closed in vain", n)
		}
		a := x.waits("app/1")
		l.Release()
		got := x.mustGet(b)
		x.mustWait(a)
		got.Release()
		x.mustGet(a).Release()
		m.Release()
	})
}

func TestAPlaceAboutToBeFreeInAGroupIsForOneWaiterOnly(t *testing.T) {
	var quit chan struct{} // of the bubble
	slow := func(c sock.Conn, _ any, why reason.Close) sock.How {
		if why == reason.CloseSaidClose {
			<-quit
		}
		c.Close()
		return sock.HowPeerFirst
	}
	bubble(t, func(o *Options) { bound("app", 3)(o); o.Quit, o.QueueTimeout = slow, time.Second }, func(x fixture) {
		quit = make(chan struct{})
		l, m, n := x.get("app/1"), x.get("app/1"), x.get("app/1")
		first, second := x.waits("app/2"), x.waits("app/3")
		pass(501 * time.Millisecond)
		last := x.waits("app/1")
		n.Discard(reason.CloseSaidClose) // its place is for the first
		l.Release()                      // and this one for the second
		x.mustWait(last)
		close(quit)
		x.mustGet(first).Release()
		x.mustGet(second).Release()
		m.Release()
		x.mustGet(last).Release()
	})
}

func TestWhatCouldNotHelpAWaiterDoesNotPassItOver(t *testing.T) {
	bubble(t, func(o *Options) { bound("app", 1)(o); o.MaxOpen = 2 }, func(x fixture) {
		l, m := x.get("app/1"), x.get("web")
		b := x.waits("app/2")
		for range 2 * mostPassed {
			w := x.waits("web")
			m.Release()
			m = x.mustGet(w)
		}
		a := x.waits("app/1")
		l.Release()
		l = x.mustGet(a) // b was passed over for the first time
		x.mustWait(b)
		l.Release()
		x.mustGet(b).Release()
		m.Release()
	})
}

func TestTwoKeysOfAFullGroupDoNotStarveEachOther(t *testing.T) {
	bubble(t, bound("app", 2), func(x fixture) {
		rare := make(chan time.Duration, 1)
		stop := make(chan struct{})
		use := func(key string) {
			l, err := x.Acquire(context.Background(), key, limiter.ClassDefault)
			if err != nil {
				t.Errorf("%s: %v", key, err)
				return
			}
			<-time.After(time.Millisecond)
			l.Release()
		}
		for range 20 {
			go func() {
				for {
					select {
					case <-stop:
						return
					default:
						use("app/many")
					}
				}
			}()
		}
		go func() {
			longest := time.Duration(0)
			for range 50 {
				began := time.Now()
				use("app/one")
				longest = max(longest, time.Since(began))
			}
			close(stop)
			rare <- longest
		}()
		if d := <-rare; d > 40*time.Millisecond {
			t.Errorf("one waited %v", d)
		}
		pass(time.Second)
	})
}
