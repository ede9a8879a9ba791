package limiter

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const (
	target   = 5 * time.Millisecond
	interval = 20 * target
	ms       = time.Millisecond
)

// aim sets the target.
func (c *crowd) aim(d time.Duration) *crowd {
	c.Lock()
	defer c.Unlock()
	c.SetTarget(d)
	return c
}

func (c *crowd) look() Pressure {
	c.Lock()
	defer c.Unlock()
	return c.Pressure()
}

func (c *crowd) overloaded(class Class) bool { return !c.look().Overloaded[class.Level()].IsZero() }

// every d for n times, one of class comes and then one is served, so that the
// class never waits less than it does when it begins.
func (c *crowd) every(d time.Duration, n int, class Class) (served []string) {
	for i := range n {
		after(d)
		c.comes(fmt.Sprintf("%d.%03d", class, i), class)
		served = append(served, c.gives())
	}
	return served
}

func TestAClassIsOverloadedWhenForAWholeIntervalNobodyWasServedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 100, time.Minute).aim(target)
		c.comes("old", 3)
		c.every(target, 19, 3) // each is served when the next one comes, after the target
		if c.overloaded(3) {
			t.Error("before the interval is over")
		}
		began := time.Now()
		c.every(target, 1, 3)
		p := c.look()
		if !p.Overloaded[3].Equal(began.Add(target)) || p.Delay != target || p.Waiting[3] != 1 {
			t.Errorf("after it: %+v", p)
		}
		c.leave()
	})
}

func TestOneSmallDelayInAnIntervalIsNoOverload(t *testing.T) {
	for name, small := range map[string]func(c *crowd){
		"served soon": func(c *crowd) {
			c.gives()
			c.comes("soon", 3)
			after(target - 1)
			c.gives()
			c.comes("next", 3)
		},
		"served at once": func(c *crowd) { c.Immediate(3) },
		"nobody waits":   func(c *crowd) { c.gives() },
	} {
		synctest.Test(t, func(t *testing.T) {
			c := newCrowd(t, 100, time.Minute).aim(target)
			c.comes("old", 3)
			c.every(target, 16, 3)
			small(c)
			after(4 * target)
			if c.overloaded(3) {
				t.Errorf("%s: overloaded", name)
			}
			c.leave()
		})
	}
}

func TestAClassThatIsServedNothingForAnIntervalIsOverloaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 100, time.Minute).aim(target)
		for range 3 {
			c.comes("5", 5)
		}
		for range 40 {
			c.Lock()
			c.Immediate(1)
			c.Unlock()
			c.comes("1", 1)
			after(interval / 40)
			c.gives()
		}
		if p := c.look(); p.Overloaded[5].IsZero() || !p.Overloaded[1].IsZero() || !p.Overloaded[3].IsZero() || p.Delay != 0 {
			t.Errorf("%+v", p)
		}
		c.comes("1", 1)
		if got := c.shedNow(); len(got) != 3 {
			t.Errorf("shed %q", got)
		}
		c.leave()
	})
}

func TestOneWhoHasNotWaitedForAWholeIntervalIsNoOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 100, time.Minute).aim(target)
		after(interval / 2)
		c.comes("a", 3)
		after(interval / 2)
		if p := c.look(); !p.Overloaded[3].IsZero() || p.Delay != interval/2 {
			t.Errorf("after half an interval: %+v", p)
		}
		after(interval)
		if !c.overloaded(3) {
			t.Error("not after a whole one")
		}
		c.leave()
	})
}

// overload makes class overloaded, with one waiter who has just come.
func (c *crowd) overload(class Class) {
	c.t.Helper()
	c.comes("first", class)
	c.every(2*target, 10, class)
	if !c.overloaded(class) {
		c.t.Fatal("no overload")
	}
	c.shedNow()
}

func TestUnderOverloadTheNewestIsFirstAndWhoWaitsTooLongIsShed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 100, time.Minute).aim(target)
		c.overload(3)
		c.comes("calm", 4)
		for _, name := range []string{"a", "b", "c", "d"} {
			after(3 * ms)
			c.comes(name, 3)
		}
		var walk []string
		c.Lock()
		for w := c.First(); w != nil; w = c.Next(w) {
			walk = append(walk, w.Want)
		}
		c.Unlock()
		if !slices.Equal(walk, []string{"d", "c", "b", "a", "calm"}) {
			t.Errorf("the order is %q", walk)
		}
		// 12 ms have passed: whoever was there before a was shed when d came.
		if got := c.shedNow(); len(got) != 1 {
			t.Errorf("shed %q", got)
		}
		if got := c.gives(); got != "d" {
			t.Errorf("%q served before the newest", got)
		}
		after(ms) // a has waited for 10 ms, and not longer
		if got := c.gives(); got != "c" || len(c.shedNow()) > 0 {
			t.Errorf("%q served, or somebody shed who has not waited longer than 2 x the target", got)
		}
		after(1)
		c.comes("e", 1)
		if got := c.shedNow(); !slices.Equal(got, []string{"a"}) {
			t.Errorf("shed %q", got)
		}
		for _, want := range []string{"e", "b", "calm"} { // class 4 is not overloaded
			after(ms)
			if got := c.gives(); got != want {
				t.Errorf("%q served, want %q", got, want)
			}
		}
	})
}

func TestOverloadIsOverWhenASmallDelayWasSeenAndFewWereShed(t *testing.T) {
	for name, x := range map[string]struct {
		served, shed int
		over         bool
	}{
		"few shed":  {8, 2, true},
		"many shed": {8, 3, false},
		"all shed":  {0, 3, false},
		"none shed": {1, 0, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := newCrowd(t, 100, time.Minute).aim(target)
			c.overload(3) // with one who waits, and an interval begins
			for range x.shed - 1 {
				c.comes("", 3)
			}
			if x.shed == 0 {
				c.gives()
				x.served--
			}
			after(2*target + 1)
			for range x.served {
				c.comes("", 3)
				c.gives()
			}
			c.comes("last", 3)
			if got := len(c.shedNow()); got != x.shed {
				t.Fatalf("%s: %d shed", name, got)
			}
			after(interval - 2*target)
			if p := c.look(); p.Overloaded[3].IsZero() != x.over || x.served > 1 && p.Delay != map[bool]time.Duration{false: target}[x.over] {
				t.Errorf("%s: %+v", name, p)
			}
			c.leave()
		})
	}
}

func TestOverloadIsOverWhenNobodyHasWaitedForAnInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 100, time.Minute).aim(target)
		c.overload(2)
		after(interval)
		c.comes("last", 2)
		after(interval)
		if !c.overloaded(2) {
			t.Error("over while somebody waits")
		}
		after(interval / 2)
		c.leave()
		after(interval / 2)
		if !c.overloaded(2) {
			t.Error("over too early")
		}
		after(interval)
		if p := c.look(); !p.Overloaded[2].IsZero() || p.Delay != 0 {
			t.Errorf("not over: %+v", p)
		}
		c.comes("a", 2)
		c.comes("b", 2)
		after(3 * target)
		if got := c.gives(); got != "a" || len(c.shedNow()) > 0 {
			t.Errorf("%q served in the calm after it", got)
		}
		c.leave()
	})
}

func TestWithoutATargetNothingIsShedAndTheDelayIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 100, time.Minute).aim(target)
		c.overload(3)
		c.gives()
		c.aim(0)
		c.comes("a", 3)
		c.comes("b", 3)
		after(20 * ms)
		if c.overloaded(3) || c.gives() != "a" {
			t.Error("still overloaded")
		}
		after(80 * ms)
		if p := c.look(); p.Delay != 20*ms {
			t.Errorf("the smallest of an interval's delays is %v", p.Delay)
		}
		after(time.Second)
		if p := c.look(); p.Delay != 1100*ms || p.Waiting[3] != 1 {
			t.Errorf("one waits, and nobody is served: %+v", p)
		}
		c.gives()
		after(time.Second)
		if p := c.look(); p.Delay != 0 || len(c.shedNow()) > 0 {
			t.Errorf("nobody waits: %+v", p)
		}
	})
}

func TestAWaitForWhatIsBeingMadeIsNoOverload(t *testing.T) {
	for _, made := range []time.Duration{0, 20 * ms} {
		synctest.Test(t, func(t *testing.T) {
			c := newCrowd(t, 100, time.Minute).aim(target)
			c.comes("", 3)
			for range 5 { // each waits for 20 ms
				after(20 * ms)
				c.comes("", 3)
				c.Lock()
				w := c.First()
				if !c.Claim(w, made) {
					t.Fatal("not claimed")
				}
				c.Give(w, 1)
				c.Unlock()
			}
			if p := c.look(); p.Overloaded[3].IsZero() != (made > 0) || p.Delay != 20*ms-made {
				t.Errorf("made in %v: %+v", made, p)
			}
			c.leave()
		})
	}
}

func TestOneForWhomSomethingIsOnItsWayIsNotShed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 100, time.Minute)
		c.OnWay = func(w *Waiter[int, string]) bool { return w.Want[0] == 'x' }
		c.aim(target)
		c.comes("x", 4)
		after(2 * interval)
		if p := c.look(); !p.Overloaded[4].IsZero() || p.Delay != 0 {
			t.Errorf("it is no sign of overload: %+v", p)
		}
		c.overload(3)
		c.comes("x", 3)
		c.comes("y", 3)
		after(3 * target)
		c.comes("z", 3)
		if got := c.shedNow(); len(got) != 2 || got[1] != "y" {
			t.Errorf("shed %q", got)
		}
		c.leave()
	})
}

// Ten servers, 10 ms a request, in all 1,000 a second, and clients at random.
func TestUnderOverloadNearlyAllCapacityServesThoseWhoCameJustNow(t *testing.T) {
	for _, load := range []float64{0.8, 2, 10} {
		synctest.Test(t, func(t *testing.T) {
			const servers, service, run = 10, 10 * ms, 5 * time.Second
			l := newLine(256, time.Second)
			l.SetTarget(target)
			idle := servers
			var mu sync.Mutex
			var waits []time.Duration
			var refused int
			ask := func() {
				began := time.Now()
				l.Lock()
				if idle > 0 {
					idle--
					l.Immediate(3)
					l.Unlock()
				} else {
					w, err := l.Join(t.Context(), "", 3, began, 0)
					l.Unlock()
					if err == nil {
						_, err = l.Await(w)
					}
					if err != nil {
						mu.Lock()
						refused++
						mu.Unlock()
						return
					}
				}
				mu.Lock()
				waits = append(waits, time.Since(began))
				mu.Unlock()
				after(service)
				if !l.serve(1) {
					l.Lock()
					idle++
					l.Unlock()
				}
			}
			r := rand.New(rand.NewPCG(1, 2))
			var wg sync.WaitGroup
			for began := time.Now(); time.Since(began) < run; {
				<-time.After(time.Duration(r.ExpFloat64() / (1000 * load) * float64(time.Second)))
				wg.Go(ask)
			}
			wg.Wait()
			slices.Sort(waits)
			rate, most := float64(len(waits))/run.Seconds(), waits[len(waits)*95/100]
			t.Logf("load %v: %.0f/s served, waits p50 %v p95 %v max %v, %d refused", load, rate, waits[len(waits)/2], most, waits[len(waits)-1], refused)
			if load < 1 && refused > 0 || load > 1 && (rate < 980 || most > 2*target) {
				t.Errorf("load %v: %.0f/s served, 95 %% of them after %v, %d refused", load, rate, most, refused)
			}
		})
	}
}
