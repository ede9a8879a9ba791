package pool

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"weir/internal/reason"
	"weir/internal/sock"
)

func TestIdleConnectionsAreClosedOnTime(t *testing.T) {
	for _, timeout := range []time.Duration{100 * time.Millisecond, 2500 * time.Millisecond, time.Minute} {
		bubble(t, func(o *Options) { o.IdleTimeout = timeout }, func(x fixture) {
			a, b := x.get(""), x.get("")
			a.Release()
			pass(timeout / 2)
			b.Release()
			pass(timeout/2 - 1)
			if s := x.Stats(); s.Idle != 2 {
				t.Errorf("%v: too early: %d idle", timeout, s.Idle)
			}
			// It is up to a sweep late where the oldest changed meanwhile.
			pass(1)
			if s := x.Stats(); s.Idle != 1 || s.Closes[reason.CloseIdle] != 1 {
				t.Errorf("%v: %d idle, %d closed", timeout, s.Idle, s.Closes[reason.CloseIdle])
			}
			pass(timeout / 2)
			if s := x.Stats(); s.Idle != 0 {
				t.Errorf("%v: %d idle in the end", timeout, s.Idle)
			}
		})
	}
}

func TestThePoolShrinksToWhatIsUsed(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen, o.IdleTimeout = 4, 10*time.Second }, func(x fixture) {
		var ls []Lease
		for range 4 {
			ls = append(ls, x.get(""))
		}
		for _, l := range ls {
			l.Release()
		}
		for range 200 {
			l := x.get("")
			pass(100 * time.Millisecond)
			l.Release()
		}
		if s := x.Stats(); s.Idle != 1 {
			t.Errorf("%d idle", s.Idle)
		}
	})
}

func TestTheReaperFindsFINsWithinASecondOrSo(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen = 8 }, func(x fixture) {
		var ls []Lease
		for range 8 {
			ls = append(ls, x.get(""))
		}
		var dead []*fakeConn
		for i, l := range ls {
			if i%2 == 0 {
				dead = append(dead, fakeOf(l))
			}
			l.Release()
		}
		pass(1500 * time.Millisecond)
		for _, c := range dead {
			c.see(sock.PeerFIN)
		}
		pass(1100 * time.Millisecond)
		if s := x.Stats(); s.Idle != 4 || s.Closes[reason.CloseBackendFIN] != 4 {
			t.Errorf("%d idle, %d closed", s.Idle, s.Closes[reason.CloseBackendFIN])
		}
	})
}

func TestSweepsKeepTheOrder(t *testing.T) {
	bubble(t, nil, func(x fixture) {
		a, b, c := x.get(""), x.get(""), x.get("")
		order := []*fakeConn{fakeOf(b), fakeOf(a), fakeOf(c)}
		for _, l := range []Lease{c, a, b} {
			l.Release()
			pass(1700 * time.Millisecond)
		}
		pass(10 * time.Second)
		for i, want := range order {
			l := x.get("")
			if fakeOf(l) != want {
				t.Errorf("take %d: connection %d, want %d", i, fakeOf(l).id, want.id)
			}
			defer l.Release()
		}
	})
}

// What happens while the reaper has a connection in its hands.
func TestAcquireWhileTheReaperLooks(t *testing.T) {
	for name, c := range map[string]struct {
		idle, acquires int
		nth            int // look at which it stops: 0 is that at the coldest
		sight          sock.Sight
		dials          int // in all
	}{
		"takes the newest above it":           {idle: 2, acquires: 1, dials: 2},
		"takes the next one below it":         {idle: 2, acquires: 1, nth: 1, dials: 2},
		"waits for it if it is the only one":  {idle: 1, acquires: 1, dials: 1},
		"dials for those it does not suffice": {idle: 1, acquires: 2, dials: 2},
		"dials when it turns out dead":        {idle: 1, acquires: 1, sight: sock.PeerFIN, dials: 2},
		"is left alone by those it suits not": {idle: 1, acquires: 0, dials: 1},
	} {
		bubble(t, nil, func(x fixture) {
			var ls []Lease
			for range c.idle {
				ls = append(ls, x.get(""))
			}
			for i := range ls {
				ls[len(ls)-1-i].Release()
			}
			looks, resume := make(chan *fakeConn), make(chan struct{})
			n := 0
			gate := func(f *fakeConn) {
				if n++; n <= c.nth {
					return
				}
				x.b.lookGate.Store(nil)
				looks <- f
				<-resume
				f.see(c.sight)
			}
			x.b.lookGate.Store(&gate)
			<-looks // the reaper's
			var waits []<-chan result
			for range c.acquires {
				waits = append(waits, x.waits(""))
			}
			if got := x.Stats().Idle; got != max(1, c.idle-c.acquires) {
				t.Errorf("%s: %d idle", name, got)
			}
			close(resume)
			for _, w := range waits {
				defer x.mustGet(w).Release()
			}
			if x.b.dialled() != c.dials {
				t.Errorf("%s: %d dials", name, x.b.dialled())
			}
		})
	}
}

func TestLifetimesAreJitteredAndRecyclingIsSlow(t *testing.T) {
	const life = 100 * time.Second
	bubble(t, func(o *Options) { o.MaxOpen, o.MaxLifetime, o.MinIdle = 40, life, 40 }, func(x fixture) {
		if err := x.Warm(x.Context()); err != nil {
			t.Fatal(err)
		}
		var first, last time.Duration
		start, before := time.Now(), 0
		for time.Since(start) < 2*life {
			pass(time.Second)
			n := int(x.closed(reason.CloseAge))
			if n-before > 5 {
				t.Fatalf("%d recycled in a second", n-before)
			}
			if n > 0 && first == 0 {
				first = time.Since(start)
			}
			if n >= 40 && last == 0 {
				last = time.Since(start)
			}
			before = n
		}
		if first < life*9/10 || first > life {
			t.Errorf("the first went after %v", first)
		}
		if last < life || last > life*12/10 {
			t.Errorf("the fortieth went after %v", last)
		}
	})
}

func TestAnOldConnectionIsClosedWhenItComesBack(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxLifetime = time.Minute }, func(x fixture) {
		l := x.get("")
		pass(2 * time.Minute)
		if l.Age() != 2*time.Minute {
			t.Errorf("age %v", l.Age())
		}
		l.Release()
		settle()
		if n := x.closed(reason.CloseAge); n != 1 {
			t.Errorf("%d closed", n)
		}
	})
}

func TestTheBackendsOwnTimeoutIsLearnedFromItsHeader(t *testing.T) {
	var log bytes.Buffer
	set := func(o *Options) {
		o.IdleTimeout = time.Minute
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
	}
	bubble(t, set, func(x fixture) {
		l := x.get("")
		for range 3 {
			l.LearnIdle(5 * time.Second)
		}
		l.Release()
		pass(3999 * time.Millisecond)
		if s := x.Stats(); s.Idle != 1 || s.LearnedIdle != 5*time.Second {
			t.Errorf("%+v", s)
		}
		pass(time.Millisecond)
		if s := x.Stats(); s.Idle != 0 || s.Closes[reason.CloseIdle] != 1 {
			t.Errorf("%+v", s)
		}
		l = x.get("")
		l.LearnIdle(5 * time.Second)
		l.Release()
		pass(10 * time.Second)
		if n := strings.Count(log.String(), "pool.idle_timeout"); n != 1 {
			t.Errorf("%d warnings:\n%s", n, log.String())
		}
	})
}

func TestATimeoutThatIsStillSaidIsNotEased(t *testing.T) {
	bubble(t, nil, func(x fixture) {
		say := func(d time.Duration, times int) {
			for range times {
				l := x.get("")
				if d > 0 {
					l.LearnIdle(d)
				}
				l.Release()
				pass(time.Second)
			}
		}
		say(5*time.Second, 3600)
		if got := x.Stats().LearnedIdle; got != 5*time.Second {
			t.Errorf("after an hour of saying so: %v", got)
		}
		say(0, 1300)
		if got := x.Stats().LearnedIdle; got <= 5*time.Second || got > 7*time.Second {
			t.Errorf("after twenty minutes of silence: %v", got)
		}
	})
}

func TestTheBackendsOwnTimeoutIsLearnedFromItsFINs(t *testing.T) {
	bubble(t, func(o *Options) { o.IdleTimeout = time.Minute }, func(x fixture) {
		for range 2 {
			l := x.get("")
			f := fakeOf(l)
			l.Release()
			pass(10 * time.Second)
			f.see(sock.PeerFIN)
			pass(2 * time.Second)
		}
		got := x.Stats().LearnedIdle
		if got < 10*time.Second || got > 11100*time.Millisecond {
			t.Errorf("learned %v", got)
		}
		// From now on we are first.
		x.get("").Release()
		pass(9 * time.Second)
		if n := x.closed(reason.CloseIdle); n != 1 {
			t.Errorf("%d closed", n)
		}
	})
}

func TestIdleLimitKeepsTheSmallestPlausible(t *testing.T) {
	type fin struct{ age, at time.Duration }
	s := time.Second
	for name, c := range map[string]struct {
		fins []fin
		want time.Duration
	}{
		"one is no evidence":         {[]fin{{10 * s, 20 * s}}, 0},
		"two alike are":              {[]fin{{11 * s, 20 * s}, {10 * s, 40 * s}}, 10 * s},
		"two unlike are not":         {[]fin{{10 * s, 20 * s}, {30 * s, 60 * s}}, 0},
		"a restart is not":           {[]fin{{10 * s, 60 * s}, {10 * s, 60 * s}, {11 * s, 60*s + 5}}, 0},
		"very young ones are not":    {[]fin{{s / 2, 20 * s}, {s / 2, 40 * s}}, 0},
		"a smaller one replaces":     {[]fin{{30 * s, 40 * s}, {30 * s, 80 * s}, {5 * s, 90 * s}, {5 * s, 99 * s}}, 5 * s},
		"a larger one does not":      {[]fin{{5 * s, 40 * s}, {5 * s, 80 * s}, {30 * s, 90 * s}, {30 * s, 130 * s}}, 5 * s},
		"it is forgotten in the end": {[]fin{{30 * s, 40 * s}, {30 * s, 80 * s}, {60 * s, 24 * 3600 * s}}, 0},
	} {
		var l idleLimit
		for _, f := range c.fins {
			l.fin(f.age, f.at)
		}
		if l.known != c.want {
			t.Errorf("%s: %v", name, l.known)
		}
	}
}

func TestAnIdlePoolSetsNoTimer(t *testing.T) {
	bubble(t, func(o *Options) { o.IdleTimeout = time.Second }, func(x fixture) {
		x.get("").Release()
		pass(2 * time.Second)
		x.mu.Lock()
		asleep := x.sleeping
		x.mu.Unlock()
		if !asleep {
			t.Error("the reaper is awake with nothing idle")
		}
		x.get("").Release()
		pass(time.Second)
		if s := x.Stats(); s.Open != 0 {
			t.Error("it did not wake up again")
		}
	})
}

func TestOneIdleForLongerThanTheBackendAllowsIsNotLeased(t *testing.T) {
	bubble(t, nil, func(x fixture) {
		l := x.get("")
		old := fakeOf(l)
		l.LearnIdle(5 * time.Second)
		l.Release()
		x.mu.Lock()
		x.idle.newest.idleSince -= 10 * time.Second // the reaper is late
		x.mu.Unlock()
		l = x.get("")
		if fakeOf(l) == old || x.closed(reason.CloseIdle) != 1 {
			t.Error("it was leased")
		}
		l.Release()
	})
}
