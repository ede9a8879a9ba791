package pool

import (
	"context"
	"errors"
	"testing"
	"time"

	"weir/limiter"
)

func TestFailingIsFromTheFirstFailedDialToTheNextAnswer(t *testing.T) {
	denied := func(string) error { return &KeyError{errors.New("denied")} }
	for name, mend := range map[string]func(x fixture){
		"dial": func(x fixture) { x.b.set(0, nil); pass(time.Second); x.get("").Release() },
		"denied": func(x fixture) {
			x.b.set(0, denied)
			pass(time.Second)
			if _, err := x.Acquire(x.Context(), "", limiter.ClassDefault); err == nil {
				t.Error("no error")
			}
		},
		"reserved": func(x fixture) {
			x.b.set(0, nil)
			s, err := x.Reserve(x.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			s.Close()
		},
		"another endpoint": func(x fixture) { x.apply(func(o *Options) { o.Address = "192.0.2.2:80" }) },
	} {
		bubble(t, nil, func(x fixture) {
			held := x.get("")
			x.b.set(0, denied)
			if _, err := x.Acquire(x.Context(), "other", limiter.ClassDefault); err == nil || x.Failing() {
				t.Errorf("%s: failing for one key: %v", name, err)
			}
			x.b.set(0, refuse)
			pass(time.Second)
			if _, err := x.Acquire(x.Context(), "third", limiter.ClassDefault); err == nil || !x.Failing() {
				t.Errorf("%s: not failing: %v", name, err)
			}
			pass(time.Minute) // hold-down is over, but nobody has tried
			if !x.Failing() {
				t.Errorf("%s: over without an answer", name)
			}
			mend(x)
			if x.Failing() {
				t.Errorf("%s: still failing", name)
			}
			held.Release()
		})
	}
}

func TestAPoolWithoutConnectionsClosesWhateverItsContextSays(t *testing.T) {
	bubble(t, nil, func(x fixture) {
		ended, cancel := context.WithCancel(x.Context())
		cancel()
		for range 100 { // of two ends of a wait that are both there, either may be seen
			p, err := New(*x.options())
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Close(ended); err != nil {
				t.Fatal(err)
			}
		}
	})
}
