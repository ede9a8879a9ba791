package pool

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

const (
	stressMostA = 3
	stressMostB = 2
)

// What TestStressOwnershipUnderTraffic holds, and with it:
//
//   - no more sockets of a group than the highest bound it ever had
//   - with time enough, nobody waits in vain: everybody is served or told why not
//   - the books of the groups are right whenever the lock is free
func TestStressGroupsUnderTraffic(t *testing.T) {
	reached := make(map[string]int) // in all
	for seed := range uint64(60) {
		patient := seed%2 == 1
		mostBy := make(map[string]int) // the backend's lock guards it
		bounds := func(a, b int) func(string) (string, int) {
			return groups(map[string]int{"a": a, "b": b})
		}
		home := bounds(0, 0)
		ok := stress(t, seed, load{
			keys: []string{"a/1", "a/1", "a/2", "a/3", "b/1", "b/2", "c"},
			set: func(o *Options, b *fakeBackend) {
				o.Group, o.WarmKey, o.QueueMax = bounds(stressMostA, stressMostB), "a/1", stressWorkers
				if patient {
					o.QueueTimeout = time.Minute
				}
				b.onDial = func(key string, openBy map[string]int) {
					if key == "side" {
						return
					}
					name, _ := home(key)
					n := 0
					for other, open := range openBy {
						if at, _ := home(other); at == name {
							n += open
						}
					}
					mostBy[name] = max(mostBy[name], n)
				}
			},
			next: func(r *rand.Rand, o *Options) {
				o.Group = bounds(2+r.IntN(stressMostA-1), 1+r.IntN(stressMostB))
				if r.IntN(8) == 0 {
					o.Group = bounds(stressMostA, 1)
				}
			},
			check: audit,
			after: func(s Stats) error {
				for name, n := range mostBy {
					reached[name] = max(reached[name], n)
				}
				if mostBy["a"] > stressMostA || mostBy["b"] > stressMostB {
					return fmt.Errorf("at once by group: %v", mostBy)
				}
				if patient && s.QueueTimeout > 0 {
					return fmt.Errorf("%d waited in vain", s.QueueTimeout)
				}
				for name, g := range s.Groups { // of a key that is held down
					if g.Open+g.Waiting > 0 {
						return fmt.Errorf("group %q is left", name)
					}
				}
				return nil
			},
		})
		if !ok {
			return
		}
	}
	if reached["a"] < stressMostA || reached["b"] < stressMostB || reached["c"] <= stressMostB {
		t.Errorf("at once by group, in all: %v, which tries little", reached)
	}
}
