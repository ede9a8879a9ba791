//go:build !race

package pool

import (
	"testing"
	"time"
)

func TestWaitingUnderTheInFlightBoundAllocatesNothing(t *testing.T) {
	p := steadyPool(t, 4, nil)
	p.SetTarget(time.Minute)
	l, err := p.Acquire(t.Context(), "", 3)
	if err != nil {
		t.Fatal(err)
	}
	m, err := p.Acquire(t.Context(), "", 3)
	if err != nil {
		t.Fatal(err)
	}
	l.Release()
	m.Unused()
	p.SetInFlight(1)
	waitingAllocatesNothing(t, "", p)
	if s := p.Stats(); s.Idle != 2 || s.HandOvers < 2000 {
		t.Errorf("%d idle, %d handed over", s.Idle, s.HandOvers)
	}
}
