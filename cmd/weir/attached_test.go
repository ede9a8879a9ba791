package main

import (
	"testing"
	"testing/synctest"
	"time"

	"weir/internal/hist"
	"weir/pool"
)

// silentPool is a pool of ten as a look finds it.
func silentPool(waiting int, waited, full uint64) *pool.Stats {
	var h hist.Hist
	for range waited {
		h.Observe(time.Millisecond)
	}
	return &pool.Stats{MaxOpen: 10, Waiting: waiting, Waits: h.Snapshot(), QueueFull: full}
}

// looks looks every attachedTick for d, and says at which of them it warned.
func looks(a *attached, from time.Time, d time.Duration, held int64, st *pool.Stats) (warned []time.Duration) {
	for at := time.Duration(0); at <= d; at += attachedTick {
		if a.look(from.Add(at), held, st) {
			warned = append(warned, at)
		}
	}
	return warned
}

func TestSilentClientsAreWarnedOfAfterAMinuteInWhichOthersWaited(t *testing.T) {
	start := time.Now()
	var a attached
	if w := looks(&a, start, time.Hour, 5, silentPool(3, 7, 0)); w != nil {
		t.Errorf("half of the places: warned at %v", w)
	}
	if w := looks(&a, start, time.Hour, 10, silentPool(0, 7, 2)); w != nil {
		t.Errorf("nobody has waited since: warned at %v", w)
	}
	a = attached{}
	if w := looks(&a, start, attachedFor-attachedTick, 6, silentPool(1, 0, 0)); w != nil {
		t.Errorf("less than a minute: warned at %v", w)
	}
	if !a.look(start.Add(attachedFor), 6, silentPool(1, 0, 0)) {
		t.Error("no warning after a minute with somebody waiting")
	}

	for name, after := range map[string]*pool.Stats{"waited": silentPool(0, 8, 0), "was refused a place in the queue": silentPool(0, 7, 1)} {
		a = attached{}
		looks(&a, start, attachedTick, 6, silentPool(0, 7, 0))
		if w := looks(&a, start.Add(2*attachedTick), attachedFor, 6, after); len(w) != 1 || w[0] != attachedFor-2*attachedTick {
			t.Errorf("somebody %s: warned at %v, want once at the minute's end", name, w)
		}
	}
}

func TestAMinuteStartsAnewWhenThePlacesAreFreeInBetween(t *testing.T) {
	start := time.Now()
	var a attached
	looks(&a, start, attachedFor-attachedTick, 6, silentPool(1, 0, 0))
	a.look(start.Add(attachedFor), 5, silentPool(1, 0, 0))
	if w := looks(&a, start.Add(attachedFor+attachedTick), attachedFor, 6, silentPool(1, 0, 0)); len(w) != 1 || w[0] != attachedFor {
		t.Errorf("warned at %v, want at %v", w, attachedFor)
	}
}

func TestSilentClientsAreWarnedOfOnceInTenMinutes(t *testing.T) {
	start := time.Now()
	var a attached
	w := looks(&a, start, time.Hour, 10, silentPool(1, 0, 0))
	if len(w) != 6 || w[0] != attachedFor || w[1]-w[0] != attachedRepeat {
		t.Errorf("warned at %v", w)
	}
	// Not again for what was warned of already.
	a = attached{}
	looks(&a, start, attachedFor, 10, silentPool(0, 0, 0))
	if !a.look(start.Add(2*attachedFor), 10, silentPool(0, 1, 0)) {
		t.Fatal("no warning")
	}
	if w := looks(&a, start.Add(3*attachedFor), time.Hour, 10, silentPool(0, 1, 0)); w != nil {
		t.Errorf("nobody waited after the warning: warned at %v", w)
	}
}

func TestTheLooksComeEachTickAndEndWithTheGraph(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quit, ended := make(chan struct{}), false
		var at []time.Duration
		start := time.Now()
		go func() {
			every(attachedTick, quit, func(now time.Time) { at = append(at, now.Sub(start)) })
			ended = true
		}()
		after(2 * attachedTick)
		if len(at) != 2 || at[0] != attachedTick || at[1] != 2*attachedTick {
			t.Errorf("looks at %v", at)
		}
		close(quit)
		synctest.Wait()
		if !ended {
			t.Error("the looks go on")
		}
	})
}

// after lets d pass in a bubble.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
