package pool

import (
	"errors"
	"os"
	"testing"
	"time"

	"weir/limiter"
)

// silent is a backend that answers no SYN.
const silent = time.Hour

func TestWhoWaitsForADialThatDoesNotEndGetsTheDialsError(t *testing.T) {
	for _, queue := range []time.Duration{50 * time.Millisecond, time.Second, 3 * time.Second} { // the dial's is one second
		bubble(t, func(o *Options) { o.QueueTimeout = queue }, func(x fixture) {
			x.b.set(silent, nil)
			for i := range 20 { // at all moments of dials and of hold-down
				r := x.waits("")
				pass(min(queue, time.Second) + time.Duration(i)*time.Millisecond*7)
				got, ok := x.done(r)
				if !ok {
					t.Fatalf("queue.timeout %v: request %d waits on", queue, i)
				}
				var timeout interface{ Timeout() bool }
				if e, dial := errors.AsType[*DialError](got.err); !dial || !errors.As(e.Err, &timeout) || !timeout.Timeout() {
					t.Fatalf("queue.timeout %v: request %d got %v", queue, i, got.err)
				}
			}
			if s := x.Stats(); s.QueueTimeout != 0 || s.FailedFast != 20 {
				t.Errorf("%d counted as queue_timeout, %d as a dial's", s.QueueTimeout, s.FailedFast)
			}
		})
	}
}

func TestWhoWaitsForABoundIsNotToldOfADial(t *testing.T) {
	waitsInVain := func(x fixture, key string) error {
		x.Helper()
		r := x.waits(key)
		pass(time.Second)
		got, ok := x.done(r)
		if !ok {
			x.Fatal("it waits on")
		}
		return got.err
	}
	for name, f := range map[string]func(x fixture){
		"one is open": func(x fixture) { defer x.get("").Release(); x.b.set(silent, nil); tell(x, waitsInVain(x, "")) },
		"others have all places": func(x fixture) {
			for range 4 {
				defer x.get("other").Release()
			}
			x.b.set(silent, nil)
			tell(x, waitsInVain(x, ""))
		},
		"dials arrive, two at a time": func(x fixture) {
			x.apply(func(o *Options) { o.DialConcurrent, o.MaxOpen = 2, 10 })
			x.b.set(400*time.Millisecond, nil)
			var all []<-chan result
			for range 5 {
				all = append(all, x.asks(x.Context(), "", true))
			}
			pass(time.Second)
			for _, r := range all[:4] {
				defer x.mustGet(r).Release()
			}
			got, _ := x.done(all[4])
			tell(x, got.err)
		},
	} {
		t.Run(name, func(t *testing.T) { bubble(t, nil, f) })
	}
}

func tell(x fixture, err error) {
	x.Helper()
	if !errors.Is(err, ErrQueueTimeout) || errors.Is(err, os.ErrDeadlineExceeded) {
		x.Errorf("got %v", err)
	}
}

func TestADialThatFailedIsTheCauseAlsoWhereTheNextIsYoung(t *testing.T) {
	bubble(t, func(o *Options) { o.DialRate, o.QueueTimeout = 1, 900*time.Millisecond }, func(x fixture) {
		x.b.set(0, refuse)
		if _, err := x.Acquire(x.Context(), "", limiter.ClassDefault); !errors.Is(err, errRefused) {
			t.Fatal(err)
		}
		x.b.set(silent, nil)
		pass(200 * time.Millisecond) // no dial may begin for 800 ms
		r := x.waits("")
		pass(900 * time.Millisecond)
		if got, ok := x.done(r); !ok || !errors.Is(got.err, errRefused) {
			t.Errorf("got %v", got.err)
		}
	})
}
