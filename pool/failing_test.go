package pool

import (
	"context"
	"errors"
	"strings"
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

// A page may be read long after: what it shows must still be true then.
func TestTheLastErrorIsKeptWithItsAgeUntilADialSucceeds(t *testing.T) {
	denied := func(string) error { return &KeyError{errors.New("denied")} }
	acquire := func(x fixture) error { _, err := x.Acquire(x.Context(), "", limiter.ClassDefault); return err }
	reserve := func(x fixture) error { _, err := x.Reserve(x.Context(), ""); return err }
	for name, tc := range map[string]struct {
		dial  func(string) error
		ask   func(fixture) error
		alone bool // kept only without another connection
	}{
		"refused": {refuse, acquire, false}, "denied": {denied, acquire, true},
		"reserved, refused": {refuse, reserve, true}, "reserved, denied": {denied, reserve, true},
	} {
		for _, mend := range []func(fixture){
			func(x fixture) { x.get("").Release() },
			func(x fixture) {
				s, err := x.Reserve(x.Context(), "")
				if err != nil {
					t.Fatal(err)
				}
				s.Close()
			},
			func(x fixture) { x.apply(func(o *Options) { o.Address = "192.0.2.2:80" }) },
		} {
			bubble(t, nil, func(x fixture) {
				x.b.set(0, tc.dial)
				if tc.ask(x) == nil {
					t.Errorf("%s: no error", name)
				}
				pass(time.Minute)
				s := x.Stats()
				if s.LastError == nil || s.LastErrorAge < time.Minute || s.LastErrorAge > time.Minute+time.Second {
					t.Fatalf("%s: %v of %v ago", name, s.LastError, s.LastErrorAge)
				}
				if text := s.LastError.Kept(); strings.Contains(text, "next dial") {
					t.Errorf("%s: %s", name, text)
				}
				x.b.set(0, nil)
				mend(x)
				if s := x.Stats(); s.LastError != nil || s.LastErrorAge != 0 {
					t.Errorf("%s: %v stays", name, s.LastError)
				}
			})
		}
		bubble(t, nil, func(x fixture) {
			held := x.get("other")
			defer held.Release()
			x.b.set(0, tc.dial)
			tc.ask(x)
			if s := x.Stats(); (s.LastError == nil) != tc.alone {
				t.Errorf("%s beside another connection: %v", name, s.LastError)
			}
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
