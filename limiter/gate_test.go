package limiter

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func mustLimit(t testing.TB, n int64, per time.Duration, burst int) Limit {
	t.Helper()
	l, err := NewLimit(n, per, burst)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mustGate(t testing.TB, o GateOptions) *Gate {
	t.Helper()
	if o.Keys == 0 {
		o.Keys = 1024
	}
	g, err := NewGate(o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestAGateSaysWhichLimitIsReachedAndForHowLong(t *testing.T) {
	g := mustGate(t, GateOptions{Rate: mustLimit(t, 10, time.Second, 3), PerRate: mustLimit(t, 1, time.Second, 2), InFlight: 3})
	var ways [8]Way
	now := Nanos(time.Now())
	for i, tc := range []struct {
		key  Key
		v    Verdict
		wait time.Duration
	}{
		{1, Pass, 0}, {1, Pass, 0}, {1, OverPerRate, time.Second}, {2, Pass, 0}, {3, OverRate, 100 * time.Millisecond},
	} {
		if v, wait := ways[i].Enter(g, now, tc.key); v != tc.v || wait != tc.wait {
			t.Errorf("request %d: %v for %v, want %v for %v", i, v, wait, tc.v, tc.wait)
		}
	}
	now += int64(time.Second)
	if v, wait := ways[5].Enter(g, now, 3); v != OverInFlight || wait != 0 {
		t.Errorf("a fourth request at one time: %v, %v", v, wait)
	}
	ways[0].Leave()
	ways[0].Leave()
	if v, _ := ways[6].Enter(g, now, 3); v != Pass {
		t.Errorf("after one has left: %v", v)
	}
	if st := g.Stats(now); st.InFlight != 3 || st.Refused != [verdicts]uint64{OverRate: 1, OverPerRate: 1, OverInFlight: 1} {
		t.Errorf("%+v", st)
	}
}

func TestARefusalTakesNothingAnywhere(t *testing.T) {
	outer := mustGate(t, GateOptions{Rate: mustLimit(t, 1, time.Hour, 5), PerRate: mustLimit(t, 1, time.Hour, 5), InFlight: 5})
	now := Nanos(time.Now())
	for _, inner := range []*Gate{
		mustGate(t, GateOptions{Rate: mustLimit(t, 1, time.Hour, 1)}),
		mustGate(t, GateOptions{PerRate: mustLimit(t, 1, time.Hour, 1), Rate: mustLimit(t, 1, time.Hour, 9)}),
		mustGate(t, GateOptions{InFlight: 1, Rate: mustLimit(t, 1, time.Hour, 9), PerRate: mustLimit(t, 1, time.Hour, 9)}),
	} {
		var first Way
		if v, _ := first.Enter(inner, now, 7); v != Pass {
			t.Fatal(v)
		}
		for range 100 {
			var w Way
			if v, _ := w.Enter(outer, now, 7); v != Pass {
				t.Fatalf("the outer gate has lost tokens: %v", v)
			}
			if v, _ := w.Enter(inner, now, 7); v == Pass {
				t.Fatal("the inner gate lets all in")
			}
			w.Leave() // there is nothing to leave
		}
		if n := outer.InFlight(); n != 0 {
			t.Errorf("%d are under way in the outer gate", n)
		}
		if n := inner.InFlight(); n != 1 {
			t.Errorf("%d are under way in the inner gate", n)
		}
		if rate := inner.set.Load().rate; rate != nil && inner.Options().Rate.Burst() == 9 {
			if left, _ := rate.Left(now); left != 8 {
				t.Errorf("%d of 8 tokens are left", left)
			}
		}
	}
}

func TestTheInnermostRateByKeyIsTold(t *testing.T) {
	outer := mustGate(t, GateOptions{PerRate: mustLimit(t, 1, time.Second, 10)})
	inner := mustGate(t, GateOptions{PerRate: mustLimit(t, 2, time.Second, 4)})
	plain := mustGate(t, GateOptions{Rate: mustLimit(t, 1, time.Second, 4)})
	now := Nanos(time.Now())
	var w Way
	if g, _, _, _ := w.Left(now); g != nil {
		t.Error("a way through no gate tells of one")
	}
	for _, g := range []*Gate{outer, inner, plain} {
		w.Enter(g, now, 1)
	}
	if g, limit, left, full := w.Left(now); g != inner || limit.Burst() != 4 || left != 3 || full != 500*time.Millisecond {
		t.Errorf("%v %v %v", limit, left, full)
	}
}

func TestAReloadKeepsWhatWasCounted(t *testing.T) {
	o := GateOptions{Rate: mustLimit(t, 1, time.Hour, 4), PerRate: mustLimit(t, 1, time.Hour, 4), Keys: 1024}
	now := Nanos(time.Now())
	for name, tc := range map[string]struct {
		change func(*GateOptions)
		other  bool
		per    int // tokens of the key that are left
		rate   int
	}{
		"nothing":          {func(*GateOptions) {}, false, 1, 1},
		"a larger burst":   {func(o *GateOptions) { o.PerRate, o.Rate = mustLimit(t, 1, time.Hour, 6), mustLimit(t, 1, time.Hour, 8) }, false, 3, 5},
		"a bound":          {func(o *GateOptions) { o.InFlight = 100 }, false, 1, 1},
		"other keys":       {func(*GateOptions) {}, true, 4, 1},
		"another capacity": {func(o *GateOptions) { o.Keys = 2048 }, false, 4, 1},
	} {
		g := mustGate(t, o)
		var ways [3]Way
		for i := range ways {
			if v, _ := ways[i].Enter(g, now, 9); v != Pass {
				t.Fatal(v)
			}
		}
		next := o
		tc.change(&next)
		if err := g.Apply(next, now, tc.other); err != nil {
			t.Fatal(err)
		}
		set := g.set.Load()
		per, _ := set.per.Left(9, now)
		rate, _ := set.rate.Left(now)
		if per != tc.per || rate != tc.rate || g.InFlight() != 3 {
			t.Errorf("%s: %d and %d tokens are left, %d under way; want %d, %d, 3", name, per, rate, g.InFlight(), tc.per, tc.rate)
		}
		for i := range ways { // in the gate as it was
			ways[i].Leave()
		}
		if n := g.InFlight(); n != 0 {
			t.Errorf("%s: %d are under way", name, n)
		}
	}
	if err := mustGate(t, o).Apply(GateOptions{PerRate: o.PerRate, Keys: -1}, now, false); err == nil {
		t.Error("a table of -1 keys is taken")
	}
}

func TestTheBoundHoldsWhoeverComesAtOnce(t *testing.T) {
	const most = 7
	g := mustGate(t, GateOptions{InFlight: most})
	var inside, worst, passed atomic.Int64
	var wg sync.WaitGroup
	for seed := range uint64(8) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, 1))
			for range 20000 {
				var w Way
				if v, _ := w.Enter(g, 0, 0); v != Pass {
					continue
				}
				n := inside.Add(1)
				for was := worst.Load(); n > was && !worst.CompareAndSwap(was, n); was = worst.Load() {
				}
				passed.Add(1)
				for range rng.IntN(100) {
				}
				inside.Add(-1)
				w.Leave()
			}
		})
	}
	wg.Wait()
	if worst.Load() > most || passed.Load() == 0 || g.InFlight() != 0 {
		t.Errorf("%d at one time, %d in all, %d left", worst.Load(), passed.Load(), g.InFlight())
	}
}

func TestNoGateLetsEverythingIn(t *testing.T) {
	var w Way
	for range 10 {
		if v, wait := w.Enter(nil, 0, 0); v != Pass || wait != 0 {
			t.Errorf("%v %v", v, wait)
		}
	}
	w.Leave()
}
