package pool

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"weir/limiter"
)

// What TestStressOwnershipUnderTraffic holds, with classes, a target and an
// in-flight bound that change meanwhile, and leases that are given back unused;
// and the books of those who wait are right whenever the lock is free.
func TestStressClassesUnderTraffic(t *testing.T) {
	var shed, unused uint64
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 96))
		ok := stress(t, seed, load{
			keys:  []string{"a/1", "a/1", "a/2", "b/1", "c"},
			class: func(r *rand.Rand) limiter.Class { return limiter.Class(1 + r.IntN(5)) },
			set: func(o *Options, _ *fakeBackend) {
				o.WarmKey = "a/1"
				if seed%2 == 0 {
					o.Group = groups(map[string]int{"a": 3, "b": 2})
				}
			},
			check: func(p *Pool) error {
				p.SetTarget(time.Duration(r.IntN(3)) * 20 * time.Microsecond)
				p.SetInFlight(r.IntN(stressMaxOpen + 2))
				return auditQueue(p)
			},
			after: func(s Stats) error {
				for level, n := range s.Shed {
					if shed += n; n > 0 && level < 1 {
						return fmt.Errorf("%d shed of no class", n)
					}
				}
				unused += s.Unused
				return nil
			},
		})
		if !ok {
			return
		}
	}
	if shed < 1000 || unused < 1000 {
		t.Errorf("%d shed and %d unused, in all, try little", shed, unused)
	}
}
