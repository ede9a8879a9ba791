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

func (x fixture) apply(change func(*Options)) {
	x.Helper()
	if err := x.Apply(x.with(change)); err != nil {
		x.Fatal(err)
	}
}

func TestApplyWithoutAChangeKeepsEveryConnection(t *testing.T) {
	bubble(t, nil, func(x fixture) {
		l := x.get("")
		x.get("").Release()
		x.apply(func(o *Options) { o.IdleTimeout = time.Hour })
		l.Release()
		settle()
		if s := x.Stats(); s.Idle != 2 || x.b.dialled() != 2 {
			t.Errorf("%+v", s)
		}
	})
}

func TestALowerBoundClosesTheColdestIdleAndThenWhatComesBack(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen = 6 }, func(x fixture) {
		var ls []Lease
		for range 6 {
			ls = append(ls, x.get(""))
		}
		cold, warm := fakeOf(ls[5]), fakeOf(ls[4])
		ls[5].Release()
		pass(time.Millisecond)
		ls[4].Release()
		x.apply(func(o *Options) { o.MaxOpen = 5 })
		settle()
		if !cold.ended.Load() || warm.ended.Load() {
			t.Error("it was not the coldest")
		}
		x.apply(func(o *Options) { o.MaxOpen = 2 })
		before := x.b.dialled()
		w := x.waits("")
		ls[0].Release() // 3 left
		ls[1].Release() // 2 left
		settle()
		x.mustWait(w)
		if s := x.Stats(); s.Open != 2 || s.Closes[reason.CloseResized] != 4 {
			t.Errorf("%+v", s)
		}
		ls[2].Release()
		x.mustGet(w).Release()
		ls[3].Release()
		if x.b.dialled() != before {
			t.Error("dialled above the bound")
		}
	})
}

func TestAHigherBoundDialsForThoseWhoWait(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen = 1 }, func(x fixture) {
		l := x.get("")
		w := x.waits("")
		x.mustWait(w)
		x.apply(func(o *Options) { o.MaxOpen = 2 })
		x.mustGet(w).Release()
		l.Release()
	})
}

func TestANewEndpointIsNotServedByOldConnections(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"address": func(o *Options) { o.Address = "192.0.2.2:80" },
		"stamp":   func(o *Options) { o.Stamp = "another password" },
	} {
		bubble(t, nil, func(x fixture) {
			x.b.set(100*time.Millisecond, nil)
			l := x.get("")
			x.get("other key").Release()
			dialling, dialling2 := x.waits(""), x.waits("")
			pass(10 * time.Millisecond)
			other := &fakeBackend{}
			x.apply(func(o *Options) { o.Connect = other.connect; change(o) })
			l.Release()
			// The dials that were under way went to the old endpoint.
			got, got2 := x.mustGet(later(dialling)), x.mustGet(later(dialling2))
			pass(time.Second)
			if fakeOf(got).b != other || fakeOf(got2).b != other {
				t.Errorf("%s: served by the old endpoint", name)
			}
			got.Release()
			got2.Release()
			pass(time.Second)
			if x.b.open != 0 {
				t.Errorf("%s: %d connections to the old endpoint", name, x.b.open)
			}
			if n := x.closed(reason.CloseGeneration); n != 4 {
				t.Errorf("%s: %d closed for it", name, n)
			}
		})
	}
}

// later passes time until out has something, so that it can be taken at once.
func later(out <-chan result) <-chan result {
	again := make(chan result, 1)
	again <- <-out
	return again
}

func TestApplyRefusesNonsenseWhole(t *testing.T) {
	bubble(t, nil, func(x fixture) {
		err := x.Apply(x.with(func(o *Options) { o.MaxOpen, o.DialRate, o.MinIdle = 0, 0, 3 }))
		for _, key := range []string{"pool.max_open", "dial.rate", "pool.min_idle"} {
			if err == nil || !strings.Contains(err.Error(), key) {
				t.Errorf("%s is not named: %v", key, err)
			}
		}
		if s := x.Stats(); s.MaxOpen != 4 {
			t.Errorf("%+v", s)
		}
	})
}

func TestCloseFailsWaitersAndAwaitsTheLeased(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen = 2 }, func(x fixture) {
		l := x.get("")
		x.get("").Release()
		m := x.get("")
		w := x.waits("")
		ctx, cancel := context.WithTimeout(x.Context(), time.Second)
		defer cancel()
		began := time.Now()
		done := make(chan error, 1)
		go func() { done <- x.Pool.Close(ctx) }()
		if r, ok := x.done(w); !ok || !errors.Is(r.err, ErrClosed) {
			t.Errorf("waiter: %v, %v", ok, r.err)
		}
		if _, err := x.Acquire(x.Context(), "", limiter.ClassDefault); !errors.Is(err, ErrClosed) {
			t.Errorf("Acquire: %v", err)
		}
		if _, err := x.Reserve(x.Context(), ""); !errors.Is(err, ErrClosed) {
			t.Errorf("Reserve: %v", err)
		}
		m.Release()
		err := <-done
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second || !strings.Contains(err.Error(), "1 connections still leased") {
			t.Errorf("Close after %v: %v", time.Since(began), err)
		}
		l.Release()
		settle()
		if n := x.closed(reason.CloseDrain); n != 2 {
			t.Errorf("%d closed", n)
		}
	})
}

func TestCloseEndsADialThatHangs(t *testing.T) {
	bubble(t, func(o *Options) { o.MinIdle, o.DialTimeout = 1, time.Hour }, func(x fixture) {
		x.Apply(x.with(func(o *Options) { o.MinIdle = 2 }))
		x.b.set(time.Hour, nil)
		w := x.asks(x.Context(), "other", false)
		pass(100 * time.Millisecond)
		began := time.Now()
		x.closeAll()
		if time.Since(began) != 0 {
			t.Errorf("it took %v", time.Since(began))
		}
		if r, ok := x.done(w); !ok || !errors.Is(r.err, ErrClosed) {
			t.Errorf("waiter: %v", r.err)
		}
	})
}
