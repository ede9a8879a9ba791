package limiter

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// line is a queue with its owner's lock, as a pool has it.
type line struct {
	sync.Mutex
	*Queue[int, string]
	left int
}

func newLine(max int, patience time.Duration) *line {
	l := &line{}
	l.Queue = NewQueue[int](l, max, patience, func(*Waiter[int, string], error) { l.left++ })
	return l
}

func (l *line) join(ctx context.Context, want string, since time.Time, extra int) (*Waiter[int, string], error) {
	l.Lock()
	defer l.Unlock()
	return l.Join(ctx, want, ClassDefault, since, extra)
}

func (l *line) wait(ctx context.Context, want string) (int, error) {
	w, err := l.join(ctx, want, time.Now(), 0)
	if err != nil {
		return 0, err
	}
	return l.Await(w)
}

// serve gives v to the first who takes it.
func (l *line) serve(v int) bool {
	l.Lock()
	defer l.Unlock()
	for w := l.First(); w != nil; w = l.First() {
		if l.Claim(w, 0) {
			l.Give(w, v)
			return true
		}
	}
	return false
}

func TestQueueServesTheOldestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(10, time.Second)
		var mu sync.Mutex
		var got []int
		for range 5 {
			go func() {
				v, err := l.wait(t.Context(), "")
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				got = append(got, v)
			}()
			synctest.Wait()
		}
		for i := range 5 {
			if !l.serve(i) {
				t.Fatalf("nobody took %d", i)
			}
			synctest.Wait()
			if len(got) != i+1 || got[i] != i {
				t.Fatalf("after serving %d: %v", i, got)
			}
		}
		if l.serve(5) {
			t.Error("a value was taken by nobody")
		}
		if l.left != 5 || l.Len() != 0 {
			t.Errorf("left %d, still in %d", l.left, l.Len())
		}
	})
}

func TestQueueRefusesAtItsBoundButGrantsExtraPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(2, time.Second)
		for range 2 {
			go l.wait(t.Context(), "")
		}
		synctest.Wait()
		if _, err := l.wait(t.Context(), ""); !errors.Is(err, ErrQueueFull) {
			t.Errorf("third: %v", err)
		}
		w, err := l.join(t.Context(), "", time.Now(), 1)
		if err != nil {
			t.Fatalf("third with one extra place: %v", err)
		}
		if _, err := l.Await(w); !errors.Is(err, ErrQueueTimeout) {
			t.Errorf("third, never served: %v", err)
		}
	})
}

func TestQueueTimesEachOutAtItsOwnDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(10, time.Second)
		start := time.Now()
		var wg sync.WaitGroup
		for range 4 {
			joined := time.Since(start)
			wg.Go(func() {
				_, err := l.wait(t.Context(), "")
				if got := time.Since(start) - joined; !errors.Is(err, ErrQueueTimeout) || got != time.Second {
					t.Errorf("after %v: %v", got, err)
				}
			})
			synctest.Wait()
			<-time.After(300 * time.Millisecond)
		}
		wg.Wait()
		if l.left != 4 {
			t.Errorf("%d left", l.left)
		}
	})
}

func TestQueueNewPatienceCountsForThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(10, time.Hour)
		start := time.Now()
		done := make(chan error, 1)
		go func() {
			_, err := l.wait(t.Context(), "")
			done <- err
		}()
		synctest.Wait()
		l.Lock()
		l.SetLimits(10, time.Second)
		l.Unlock()
		if err := <-done; !errors.Is(err, ErrQueueTimeout) || time.Since(start) != time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}

func TestQueueGivesNothingToOneWhoLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(10, time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		w, err := l.join(ctx, "", time.Now(), 0)
		if err != nil {
			t.Fatal(err)
		}
		// The context has ended, and nobody has noticed yet.
		cancel()
		if l.serve(1) {
			t.Error("a value went to a waiter whose context had ended")
		}
		go func() {
			_, err := l.Await(w)
			done <- err
		}()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if l.left != 1 {
			t.Errorf("%d left", l.left)
		}
	})
}

func TestQueueReturnsTheValueGivenBeforeTheContextEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(10, time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		w, err := l.join(ctx, "", time.Now(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if !l.serve(7) {
			t.Fatal("not taken")
		}
		cancel()
		// select picks either case at random; the value must come out of both.
		if v, err := l.Await(w); v != 7 || err != nil {
			t.Errorf("got %d, %v", v, err)
		}
	})
}

func TestQueueOneWhoComesAgainGetsItsPlaceAndDeadlineBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(10, time.Second)
		began := time.Now()
		<-time.After(400 * time.Millisecond)
		go l.wait(t.Context(), "younger")
		synctest.Wait()
		w, err := l.join(t.Context(), "again", began, 0)
		if err != nil {
			t.Fatal(err)
		}
		l.Lock()
		if l.First() != w || l.Next(w).Want != "younger" {
			t.Error("it is not before the younger one")
		}
		l.Unlock()
		if _, err := l.Await(w); !errors.Is(err, ErrQueueTimeout) || time.Since(began) != time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

// Each value given must come out exactly once, whoever leaves when.
func TestQueueLosesAndDoublesNothingUnderCancellation(t *testing.T) {
	const waiters, rounds = 8, 300
	l := newLine(waiters, 200*time.Microsecond)
	var mu sync.Mutex
	seen := make(map[int]int)
	var wg sync.WaitGroup
	for i := range waiters {
		r := rand.New(rand.NewPCG(1, uint64(i)))
		wg.Go(func() {
			for range rounds {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(r.IntN(300))*time.Microsecond)
				v, err := l.wait(ctx, "")
				cancel()
				if err == nil {
					mu.Lock()
					seen[v]++
					mu.Unlock()
				}
			}
		})
	}
	finished := make(chan struct{})
	go func() { wg.Wait(); close(finished) }()
	given := 0
	for running := true; running; {
		select {
		case <-finished:
			running = false
		default:
			if l.serve(given) {
				given++
			}
		}
	}
	if given == 0 || len(seen) != given {
		t.Errorf("%d given, %d came out", given, len(seen))
	}
	for v, n := range seen {
		if n != 1 {
			t.Errorf("value %d came out %d times", v, n)
		}
	}
	if l.Len() != 0 || l.left < given {
		t.Errorf("%d still in, %d left, %d given", l.Len(), l.left, given)
	}
}
