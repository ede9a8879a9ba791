package pool

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"weir/internal/reason"
	"weir/limiter"
)

// ask is an Acquire of key in the background, of a class.
func (x fixture) ask(key string, class limiter.Class) <-chan result {
	return x.askFor(context.Background(), key, class, false)
}

func (x fixture) askFor(ctx context.Context, key string, class limiter.Class, fresh bool) <-chan result {
	out := make(chan result, 1)
	began := time.Now()
	go func() {
		l, err := x.acquire(ctx, key, class, fresh)
		out <- result{l, err, time.Since(began)}
	}()
	settle()
	return out
}

// mustShed checks that out was shed, with an error that names the keys.
func (x fixture) mustShed(out <-chan result) {
	x.Helper()
	r, ok := x.done(out)
	if !ok || !errors.Is(r.err, ErrShed) || !strings.Contains(r.err.Error(), "queue.max") || !strings.Contains(r.err.Error(), "queue.target") {
		x.Errorf("not shed: %v, %v", ok, r.err)
	}
}

func TestAConnectionThatComesBackGoesToTheMostImportant(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen = 1 }, func(x fixture) {
		l := x.get("")
		three, five, one, again := x.ask("", 0), x.ask("", 5), x.ask("", 1), x.ask("", 3)
		if s := x.Stats(); s.Queue.Waiting != [limiter.Classes]int{1: 1, 3: 2, 5: 1} {
			t.Errorf("%+v", s.Queue)
		}
		for _, w := range []<-chan result{one, three, again, five} {
			l.Release()
			l = x.mustGet(w)
		}
		l.Release()
	})
}

func TestDialsGoByClass(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen, o.DialConcurrent = 4, 1 }, func(x fixture) {
		x.b.set(10*time.Millisecond, nil)
		var all []<-chan result
		for _, class := range []limiter.Class{3, 5, 1, 2} {
			all = append(all, x.ask(string('a'+rune(class)), class))
		}
		pass(100 * time.Millisecond)
		// The first dial begins before the others have come.
		if got := strings.Join(x.b.opened, ""); got != "dbcf" {
			t.Errorf("dialled in the order %v", got)
		}
		for _, w := range all {
			x.mustGet(w).Release()
		}
	})
}

func TestAFullQueueShedsALessImportantWaiter(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen, o.QueueMax = 1, 2 }, func(x fixture) {
		l := x.get("a")
		five, four := x.ask("a", 5), x.ask("b", 4)
		if r, ok := x.done(x.ask("a", 5)); !ok || !errors.Is(r.err, ErrQueueFull) {
			t.Errorf("one who is not more important: %v", r.err)
		}
		two := x.ask("a", 2)
		x.mustShed(five)
		// b is all gone for a moment, and it is b who comes.
		one := x.ask("b", 1)
		x.mustShed(four)
		l.Release()
		l = x.mustGet(two)
		l.Release()
		x.mustGet(one).Release()
		if s := x.Stats(); s.Shed != [limiter.Classes]uint64{4: 1, 5: 1} || s.QueueFull != 1 || s.Waits.Count() != 5 {
			t.Errorf("shed %v, full %d, waits %d", s.Shed, s.QueueFull, s.Waits.Count())
		}
		if err := audit(x.Pool); err != nil {
			t.Error(err)
		}
	})
}

func TestALessImportantWaiterTakesNoPlaceThatAMoreImportantCanUse(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen = 1 }, func(x fixture) {
		l := x.get("a")
		b := x.ask("b", 5)
		pass(600 * time.Millisecond) // more than half its patience
		for range 2 * mostPassed {
			a := x.ask("a", 3)
			l.Release()
			l = x.mustGet(a)
			x.mustWait(b)
		}
		if n := x.closed(reason.CloseKeyNeeded); n != 0 {
			t.Errorf("%d closed", n)
		}
		// Among its equals it would have had the place long ago.
		a := x.ask("a", 5)
		l.Release()
		l = x.mustGet(b)
		x.mustWait(a)
		l.Release()
		x.mustGet(a).Release()
	})
}

func TestAMoreImportantWaiterOfAnotherKeyIsPassedOverEightTimesAtMost(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen, o.QueueTimeout = 1, time.Hour }, func(x fixture) {
		l := x.get("a")
		a := []<-chan result{x.ask("a", 5)}
		b := x.ask("b", 1)
		for range mostPassed {
			a = append(a, x.ask("a", 3))
			l.Release()
			l = x.mustGet(a[len(a)-1])
			x.mustWait(b)
		}
		l.Release()
		l = x.mustGet(b)
		l.Release()
		x.mustGet(a[0]).Release()
	})
}

func TestOfAClassTheKeyThatAPlaceWasFreedForIsDialledFirst(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen = 1 }, func(x fixture) {
		l := x.get("a")
		a, b, again := x.ask("a", 3), x.ask("b", 3), x.ask("b", 3)
		ctx, cancel := context.WithCancel(x.Context())
		c := x.askFor(ctx, "c", 1, false)
		x.mu.Lock()
		x.keys["b"].granted, x.granted = 1, 1
		first := x.firstInNeed()
		x.mu.Unlock()
		if first.Want.key.name != "c" {
			t.Errorf("%q is before the more important", first.Want.key.name)
		}
		cancel()
		<-c
		l.Discard(reason.CloseSaidClose)
		l = x.mustGet(b)
		x.mu.Lock()
		if x.granted != 0 || x.keys["b"].granted != 0 {
			t.Error("the place was used, and is granted still")
		}
		x.mu.Unlock()
		l.Discard(reason.CloseSaidClose)
		x.mustGet(a).Discard(reason.CloseSaidClose)
		x.mustGet(again).Release()
	})
}
