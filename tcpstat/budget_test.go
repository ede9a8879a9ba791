package tcpstat

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// spending is what was spent when, and how it adds up.
type spending struct {
	at   []time.Time
	cost []time.Duration
}

// list is how a Budget's user lives: it looks once a second whether a list is due.
func (s *spending) list(d time.Duration, cost func() time.Duration) {
	var b Budget
	for end := time.Now().Add(d); time.Now().Before(end); pass(time.Second) {
		if !b.Due(time.Now()) {
			continue
		}
		c := cost()
		b.Listed(time.Now(), c)
		s.at, s.cost = append(s.at, time.Now()), append(s.cost, c)
	}
}

// most is the most that was spent in any span of d.
func (s *spending) most(d time.Duration) (most time.Duration) {
	for i := range s.at {
		sum := time.Duration(0)
		for j := i; j < len(s.at) && s.at[j].Sub(s.at[i]) < d; j++ {
			sum += s.cost[j]
		}
		most = max(most, sum)
	}
	return most
}

func always(c time.Duration) func() time.Duration { return func() time.Duration { return c } }

// mixed is a dear list, and then some cheap ones, as a Survey makes them.
func mixed(dear, cheap time.Duration, of int) func() time.Duration {
	n := 0
	return func() time.Duration {
		if n++; n%of == 1 {
			return dear
		}
		return cheap
	}
}

func TestNoMinuteOfListsTakesMoreThanHalfAPercent(t *testing.T) {
	const ms = time.Millisecond
	r := rand.New(rand.NewPCG(3, 4))
	for _, tc := range []struct {
		name string
		cost func() time.Duration
		over time.Duration // the list that ends the minute, where it matters
	}{
		{"cheap", always(ms / 2), 0},
		{"a second's", always(4 * ms), 0},
		{"50,000 sockets", always(58 * ms), 0},
		{"50,000 sockets, most of them not looked at", mixed(60*ms, 6*ms, 8), 0},
		{"any", func() time.Duration { return time.Duration(r.Int64N(int64(60 * ms))) }, 60 * ms},
		{"200,000 sockets", always(230 * ms), 230 * ms},
		{"a million", mixed(1200*ms, 120*ms, 8), 1200 * ms},
	} {
		synctest.Test(t, func(t *testing.T) {
			var s spending
			s.list(time.Hour, tc.cost)
			minute := time.Duration(float64(time.Minute)*BudgetMinute) + tc.over
			if got := s.most(time.Minute); got > minute {
				t.Errorf("%s: %v in one minute, want %v at most", tc.name, got, minute)
			}
			hour := time.Duration(float64(time.Hour)*BudgetShare) + budgetAhead + tc.over
			if got := s.most(time.Hour); got > hour || got < hour/2 && tc.name != "cheap" {
				t.Errorf("%s: %v in an hour, want %v at most and not much less", tc.name, got, hour)
			}
		})
	}
}

// A forecast wants four lists over eleven seconds, and no long gap between any.
func TestTheFirstListsStandCloseAndNoDearOneMakesAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s spending
		s.list(10*time.Minute, mixed(60*time.Millisecond, 6*time.Millisecond, 8))
		if d := s.at[3].Sub(s.at[0]); d > 13*time.Second {
			t.Errorf("the fourth list came after %v, want 13 s at most", d)
		}
		for i := 1; i < len(s.at); i++ {
			if d := s.at[i].Sub(s.at[i-1]); d > 7*time.Second {
				t.Errorf("%v between lists %d and %d, want 7 s at most", d, i-1, i)
			}
		}
	})
}
