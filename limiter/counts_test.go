package limiter

import (
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

func TestAKeyHasAsManyOpenAsItMay(t *testing.T) {
	var c Counts
	const a, b = 1, 1 + countShards // one shard
	for i := range 3 {
		if !c.Enter(a, 3) {
			t.Errorf("number %d of 3 was refused", i+1)
		}
	}
	if c.Enter(a, 3) || c.Enter(a, 2) || c.Enter(b, 0) {
		t.Error("one too many was let in")
	}
	if !c.Enter(b, 1) || !c.Enter(a, math.MaxInt) {
		t.Error("one was refused that had room")
	}
	c.Leave(a)
	c.Leave(a)
	if !c.Enter(a, 3) {
		t.Error("refused although two had left")
	}
	if c.Open(a) != 3 || c.Open(b) != 1 || c.Stats() != (CountsStats{Keys: 2, Open: 4}) {
		t.Errorf("%d and %d open, %+v", c.Open(a), c.Open(b), c.Stats())
	}
}

// Against a plain map, with many at once on each key: exact at the end, never
// above the bound before, and nothing is left when all have gone.
func TestCountsAreExactWithManyAtOnce(t *testing.T) {
	var c Counts
	const keys, most = 100, 5
	var open [keys]atomic.Int64
	var in, out atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var mine []Key
			for range 5000 {
				k := Key(rand.Uint64N(keys))
				if len(mine) < 100 && c.Enter(k, most) {
					if n := open[k].Add(1); n > most {
						t.Errorf("%d open of one key, the bound is %d", n, most)
					}
					in.Add(1)
					mine = append(mine, k)
					continue
				}
				out.Add(1)
				if n := len(mine); n > 0 {
					k = mine[n-1]
					mine = mine[:n-1]
					open[k].Add(-1)
					c.Leave(k)
				}
			}
			for _, k := range mine {
				open[k].Add(-1)
				c.Leave(k)
			}
		})
	}
	wg.Wait()
	if st := c.Stats(); st != (CountsStats{}) || in.Load() == 0 || out.Load() == 0 {
		t.Errorf("%+v after all have gone; %d came in, %d did not", st, in.Load(), out.Load())
	}
}

func TestToLeaveWithoutHavingEnteredIsABug(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	var c Counts
	c.Leave(1)
}
