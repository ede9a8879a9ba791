package limiter

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func startPacer(t *testing.T, rate int) *Pacer {
	t.Helper()
	p, err := NewPacer(rate)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

func TestPacerSpacesItsCallersExactly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startPacer(t, 10)
		start := time.Now()
		for i := range 15 {
			if err := p.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := time.Since(start); got != time.Duration(i)*100*time.Millisecond {
				t.Fatalf("turn %d after %v", i, got)
			}
		}
	})
}

func TestPacerMakesUpForNoIdleTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startPacer(t, 10)
		for _, pause := range []time.Duration{0, 10 * time.Second, 150 * time.Millisecond, 70 * time.Millisecond} {
			<-time.After(pause)
			if err := p.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			first := time.Now()
			for i := 1; i <= 3; i++ {
				if err := p.Wait(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got := time.Since(first); got != time.Duration(i)*100*time.Millisecond {
					t.Fatalf("after a pause of %v: turn %d after %v", pause, i, got)
				}
			}
		}
	})
}

// A caller that is late to wake is one that has the turn and has not taken it yet.
func TestPacerGivesNoSecondMoreThanItsRateHoweverLateItsCallersWake(t *testing.T) {
	for _, rate := range []int{1, 20, 99, 100, 256, 1000, 20_000, 100_000} {
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := startPacer(t, rate)
				random := rand.New(rand.NewPCG(1, uint64(rate)))
				turns := 3*rate + 10
				var taken []time.Time
				for i := range turns {
					switch {
					case i == turns/3 || i == turns/2:
						<-time.After(3 * time.Second) // nobody comes
					case i%50 == 1:
						<-p.turn
						<-time.After(time.Duration(random.Int64N(int64(20 * time.Millisecond))))
						taken = append(taken, time.Now())
						p.taken <- struct{}{}
						continue
					}
					if err := p.Wait(t.Context()); err != nil {
						t.Fatal(err)
					}
					taken = append(taken, time.Now())
				}
				first := 0
				for i, at := range taken {
					for at.Sub(taken[first]) >= time.Second {
						first++
					}
					if n := i - first + 1; n > rate {
						t.Fatalf("%d turns in the second before %v", n, at.Sub(taken[0]))
					}
				}
				if took, most := taken[turns-1].Sub(taken[0]), 6*time.Second+time.Duration(turns)*time.Second/time.Duration(rate)*6/5; rate <= 1000 && took > most {
					t.Errorf("%d turns took %v, want at most %v", turns, took, most)
				}
			})
		})
	}
}

func TestPacerCallersWhoLeaveCostNoTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startPacer(t, 10)
		ctx, cancel := context.WithTimeout(t.Context(), 1050*time.Millisecond)
		defer cancel()
		var in, out atomic.Int32
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if err := p.Wait(ctx); err == nil {
					in.Add(1)
				} else if errors.Is(err, context.DeadlineExceeded) {
					out.Add(1)
				}
			})
		}
		wg.Wait()
		if in.Load() != 11 || out.Load() != 89 {
			t.Errorf("%d in, %d out", in.Load(), out.Load())
		}
		left := time.Now()
		if err := p.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(left); got != 50*time.Millisecond {
			t.Errorf("the next waited %v", got)
		}
	})
}

func TestPacerStopEndsASleepAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startPacer(t, 1)
		if err := p.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- p.Wait(t.Context()) }()
		synctest.Wait()
		start := time.Now()
		p.Stop()
		p.Stop()
		if err := <-done; !errors.Is(err, ErrPacerStopped) {
			t.Errorf("Wait: %v", err)
		}
		if time.Since(start) != 0 {
			t.Errorf("Stop took %v", time.Since(start))
		}
		if err := p.Wait(t.Context()); !errors.Is(err, ErrPacerStopped) {
			t.Errorf("Wait after Stop: %v", err)
		}
	})
}

func TestPacerNewRateWakesASlowSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startPacer(t, 1)
		if err := p.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		start := time.Now()
		if err := p.SetRate(50); err != nil {
			t.Fatal(err)
		}
		for i := 1; i <= 3; i++ {
			if err := p.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := time.Since(start); got != time.Duration(i)*20*time.Millisecond {
				t.Errorf("turn %d after %v", i, got)
			}
		}
	})
}

// Turns that are given late make a limiter that never sleeps.
func TestPacerTakesANewRateFromCallersWhoAreLateToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startPacer(t, 1000)
		late := func(turns int) {
			for range turns {
				<-p.turn
				<-time.After(5 * time.Millisecond)
				p.taken <- struct{}{}
			}
		}
		late(100)
		if err := p.SetRate(100); err != nil {
			t.Fatal(err)
		}
		late(2)
		start := time.Now()
		late(100)
		if took := time.Since(start); took < time.Second {
			t.Errorf("100 turns took %v at 100/s", took)
		}
	})
}

func TestPacerRefusesARateThatLetsNothingThrough(t *testing.T) {
	for _, rate := range []int{0, -1} {
		if _, err := NewPacer(rate); err == nil {
			t.Errorf("rate %d was taken", rate)
		}
	}
	p := startPacer(t, 1)
	if err := p.SetRate(0); err == nil {
		t.Error("SetRate(0) was taken")
	}
}
