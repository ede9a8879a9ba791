package pool

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/internal/reason"
	"weir/internal/sock"
	"weir/limiter"
)

const (
	testTarget = 5 * time.Millisecond
	ms         = time.Millisecond
)

// overload makes class 3 overloaded: one lease is passed on every 20 ms, and each
// time somebody has come to wait. It returns the lease and who waits.
func (x fixture) overload(key string, l Lease) (Lease, <-chan result) {
	x.Helper()
	w := x.ask(key, 3)
	for range 11 { // an interval that saw none wait, and one that saw all wait
		pass(20 * ms)
		next := x.ask(key, 3)
		l.Release()
		for _, out := range []<-chan result{w, next} {
			if r, ok := x.done(out); ok && r.err == nil {
				l = r.Lease
			} else if !ok {
				w = out
			}
		}
	}
	if x.Stats().Queue.Overloaded[3].IsZero() {
		x.Fatal("no overload")
	}
	return l, w
}

func TestUnderOverloadTheNewestIsServedAndTheOldAreShed(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen = 1 }, func(x fixture) {
		x.SetTarget(testTarget)
		l, last := x.overload("", x.get(""))
		shed := x.Stats().Shed[3]
		old := x.ask("", 3)
		pass(2*testTarget + 1)
		x.mustWait(old) // nothing has happened since
		middle := x.ask("", 3)
		x.mustShed(old)
		x.done(last) // was shed before
		newest := x.ask("", 3)
		l.Release()
		l = x.mustGet(newest)
		x.mustWait(middle)
		if got := x.Stats().Shed[3]; got <= shed {
			t.Errorf("%d shed, %d before", got, shed)
		}
		// Calm again when one interval was good.
		l.Release()
		x.mustGet(middle).Release()
		pass(100 * ms)
		x.get("").Release()
		pass(100 * ms)
		if s := x.Stats(); !s.Queue.Overloaded[3].IsZero() || s.Queue.Delay != 0 {
			t.Errorf("not over: %+v", s.Queue)
		}
	})
}

func TestTheDelayIsMeasuredWithoutATarget(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen = 1 }, func(x fixture) {
		l := x.get("")
		for range 11 {
			w := x.ask("", 3)
			pass(20 * ms)
			l.Release()
			l = x.mustGet(w)
		}
		if p := x.Pressure(); p.Delay != 20*ms || p.Target != 0 {
			t.Errorf("%+v", p)
		}
		l.Release()
		for range 20 {
			pass(20 * ms)
			x.get("").Release()
		}
		if p := x.Pressure(); p.Delay != 0 {
			t.Errorf("with no wait: %+v", p)
		}
	})
}

func TestThoseServedAtOnceCountForTheirClass(t *testing.T) {
	bubble(t, bound("app", 1), func(x fixture) {
		x.SetTarget(testTarget)
		l, m := x.get("app"), x.get("web")
		m.Release()
		stuck := x.ask("app", 3)
		for range 20 {
			pass(20 * ms)
			x.get("web").Release()
			if p := x.Pressure(); !p.Overloaded[3].IsZero() || p.Delay != 0 {
				t.Fatalf("%+v", p)
			}
		}
		x.mustWait(stuck)
		l.Release()
		x.mustGet(stuck).Release()
	})
}

func TestADialIsOnItsWayForTheFirstAndIfThereIsRoom(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen = 2 }, func(x fixture) {
		l := x.get("")
		x.b.set(100*ms, nil)
		five, one := x.ask("", 5), x.ask("", 1)
		pass(10 * ms)
		for _, most := range []int{0, 1, 2} {
			x.SetInFlight(most)
			x.mu.Lock()
			first := x.queue.First()
			if got := x.onWay(first); got != (most != 1) {
				t.Errorf("%d in flight at most: the first has a connection on its way: %v", most, got)
			}
			if x.onWay(x.queue.Next(first)) {
				t.Errorf("%d in flight at most: the second has", most)
			}
			x.mu.Unlock()
		}
		pass(100 * ms)
		x.mustGet(one).Release()
		x.mustGet(five).Release()
		l.Release()
	})
}

// Slow dials are no overload: as long as places are free, everybody waits for a
// connection of its own, and to shed some would not help the others.
func TestAWaitForADialIsNoOverload(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen, o.DialConcurrent = 64, 64 }, func(x fixture) {
		x.SetTarget(testTarget)
		x.b.set(150*ms, nil)
		r := rand.New(rand.NewPCG(1, 1))
		var wg sync.WaitGroup
		for range 400 { // some 30 at one time
			wg.Go(func() {
				l, err := x.Acquire(context.Background(), "", 3)
				if err != nil {
					t.Error(err)
					return
				}
				l.Discard(reason.CloseSaidClose)
			})
			pass(time.Duration(r.IntN(10)) * ms)
			if p := x.Pressure(); !p.Overloaded[3].IsZero() {
				t.Fatalf("overloaded: %+v", p)
			}
		}
		wg.Wait()
		if s := x.Stats(); s.Shed != [limiter.Classes]uint64{} {
			t.Errorf("%v shed", s.Shed)
		}
	})
}

// Under overload the newest are served first, and yet a key that has few clients,
// or no connection, must get its share.
func TestKeysDoNotStarveEachOtherUnderOverload(t *testing.T) {
	for name, c := range map[string]struct {
		keys  []string // of clients that come, in turn
		rare  string   // with so many of them, at least
		share float64  // of those served
	}{
		"half each":   {[]string{"a", "b"}, "b", 0.25},
		"one in ten":  {append(slices.Repeat([]string{"a"}, 9), "b"), "b", 0.05},
		"one in 200":  {append(slices.Repeat([]string{"a"}, 199), "b"), "b", 0.0025},
		"three equal": {[]string{"a", "b", "c"}, "c", 0.15},
	} {
		bubble(t, func(o *Options) {
			o.MaxOpen, o.QueueMax, o.DialRate = 8, 256, 100_000
			o.Quit = func(c sock.Conn, _ any, _ reason.Close) sock.How { // newer ones come meanwhile
				<-time.After(2 * ms)
				c.Close()
				return sock.HowActive
			}
		}, func(x fixture) {
			x.SetTarget(testTarget)
			x.b.set(ms, nil)
			r := rand.New(rand.NewPCG(1, 1))
			var mu sync.Mutex
			served := make(map[string]int)
			all := 0
			var wg sync.WaitGroup
			began := time.Now()
			for i := 0; time.Since(began) < 4*time.Second; i++ { // 8 connections, 8 ms each, and twice as many as they can serve
				pass(time.Duration(r.ExpFloat64() * float64(ms) / 2))
				key := c.keys[i%len(c.keys)]
				if time.Since(began) < 500*ms {
					key = "a" // has all connections when the others come
				}
				wg.Go(func() {
					l, err := x.Acquire(context.Background(), key, 3)
					if err != nil {
						return
					}
					<-time.After(8 * ms)
					l.Release()
					mu.Lock()
					defer mu.Unlock()
					served[key]++
					all++
				})
			}
			wg.Wait()
			s := x.Stats()
			t.Logf("%s: served %v, shed %v, %d dials, most open %d", name, served, s.Shed[3], x.b.dialled(), s.MostOpen)
			if got := float64(served[c.rare]) / float64(all); got < c.share || all < 3000 {
				t.Errorf("%s: %d served in all, %.2f of them %q's, of which %.2f were to be", name, all, got, c.rare, c.share)
			}
		})
	}
}

func TestAFullQueueNamesTheBoundThatIsInTheWay(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen, o.QueueMax = 1, 2 }, func(x fixture) {
		l := x.get("")
		refused := func(want string) {
			t.Helper()
			if r, _ := x.done(x.ask("", 3)); r.err == nil || !strings.Contains(r.err.Error(), want) {
				t.Errorf("%v, want %q", r.err, want)
			}
		}
		var waiting []<-chan result
		waiting = append(waiting, x.ask("", 3))
		x.Bend(1, false)
		refused(": 1 may wait in the present mode of overload (queue.max: 2) for 1 connections")
		x.Bend(0, false)
		waiting = append(waiting, x.ask("", 3))
		refused(": 2 may wait (queue.max) for 1 connections")
		for _, w := range waiting {
			l.Release()
			l = x.mustGet(w)
		}
		l.Release()
	})
}
