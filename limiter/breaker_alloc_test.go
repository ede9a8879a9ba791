//go:build !race

package limiter

import (
	"testing"
	"time"
)

func TestBreakerAllocatesNothing(t *testing.T) {
	b := NewBreaker(nil)
	var now int64
	if n := testing.AllocsPerRun(1000, func() {
		now += int64(10 * time.Millisecond) // new seconds too
		p, _ := b.Allow(now)
		p.Done(now, Succeeded)
		b.Stats(now)
	}); n != 0 {
		t.Errorf("closed: %v allocations", n)
	}
	now += int64(breakerWindow * time.Second) // what succeeded until now is forgotten
	for range breakerLeast {
		p, _ := b.Allow(now)
		p.Done(now, Failed)
	}
	if n := testing.AllocsPerRun(1000, func() { b.Allow(now) }); n != 0 {
		t.Errorf("open: %v allocations", n)
	}
	now += int64(breakerOpenFirst)
	for range breakerProbes {
		b.Allow(now)
	}
	if n := testing.AllocsPerRun(1000, func() { b.Allow(now) }); n != 0 {
		t.Errorf("half-open: %v allocations", n)
	}
}
