package pressure

import (
	"fmt"
	"testing"
	"time"
)

func TestAResourceIsShortAtNineTenthsAndEnoughAfterASecondBelowEight(t *testing.T) {
	now := time.Now()
	for _, row := range []struct {
		from  state
		since time.Duration // how long it is so
		share float64
		want  state
	}{
		{enough, time.Hour, 0, enough},
		{enough, time.Hour, 0.899, enough},
		{enough, 0, 0.9, short},
		{enough, time.Hour, 1.7, short}, // the limit was lowered
		{short, 0, 0.9, short},
		{short, time.Hour, 0.8, short},
		{short, 0, 0.799, easing},
		{short, time.Hour, 0, easing},
		{easing, 999 * time.Millisecond, 0.799, easing},
		{easing, 999 * time.Millisecond, 0.8, short},
		{easing, time.Hour, 0.8, short}, // a look was late
		{easing, 0, 0.95, short},
		{easing, time.Second, 0.799, enough},
		{easing, time.Second, 0, enough},
	} {
		j := judge{state: row.from, since: now.Add(-row.since)}
		j.look(now, row.share)
		if j.state != row.want {
			t.Errorf("%v for %v and at %v: %v, want %v", row.from, row.since, row.share, j.state, row.want)
		}
	}
}

func TestTheEdgesAreThoseOfTheTable(t *testing.T) {
	var j judge
	now := time.Now()
	for _, share := range []float64{0.95, 0.7, 0.85, 0.7, 0.7, 0.7, 0.7, 0.7} { // every legal edge
		j.look(now, share)
		now = now.Add(holdFor / 2)
	}
	for from := range states {
		for next := range states {
			if taken := j.edges[from][next] > 0; taken != legal[from][next] {
				t.Errorf("%v to %v: taken %v, legal %v", from, next, taken, legal[from][next])
			}
			if legal[from][next] {
				continue
			}
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%v to %v does not panic", from, next)
					}
				}()
				(&judge{state: from}).to(next, now)
			}()
		}
	}
	if fmt.Sprint(j.state) != "enough" {
		t.Errorf("it ends %v", j.state)
	}
}
