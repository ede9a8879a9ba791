package sock

import (
	"context"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// scripted is a connection whose state is a function of time.
type scripted struct {
	Conn
	peer   netip.Addr
	look   func() Sight
	info   func() Info
	looks  atomic.Int64
	closed atomic.Bool
	cut    atomic.Bool
	fin    atomic.Bool
	input  int // bytes that Read gives, one call after the other
	read   int
}

func (c *scripted) Look() Sight {
	c.looks.Add(1)
	if c.look == nil {
		return Quiet
	}
	return c.look()
}

func (c *scripted) Info() (Info, bool) {
	if c.info == nil {
		return Info{State: Established, Timestamps: true}, true
	}
	return c.info(), true
}

func (c *scripted) Read(p []byte) (int, error) {
	n := min(len(p), c.input-c.read)
	c.read += n
	return n, nil
}

func (c *scripted) RemoteAddr() netip.AddrPort        { return netip.AddrPortFrom(c.peer, 1) }
func (c *scripted) SetReadDeadline(t time.Time) error { return nil }
func (c *scripted) Close() error                      { c.closed.Store(true); return nil }
func (c *scripted) Abort() error                      { c.cut.Store(true); return nil }
func (c *scripted) CloseWrite() error                 { c.fin.Store(true); return nil }

var client = netip.MustParseAddr("192.0.2.1")

// in runs f in a bubble with a Sweeper, which must be idle at the end.
func in(t *testing.T, f func(t *testing.T, s *Sweeper)) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSweeper()
		f(t, s)
		synctest.Wait()
		if n := s.Stats().Held; n != 0 {
			t.Errorf("%d are held at the end", n)
		}
		s.Close(t.Context())
	})
}

// ends waits for c's end and says how and after how long.
func ends(s *Sweeper, c Conn, e Ending) (how How, after time.Duration) {
	began := time.Now()
	done := make(chan How, 1)
	s.End(c, e, false, func(h How) { done <- h })
	how = <-done
	return how, time.Since(began)
}

func TestTheWaitForAFINIsTwoRoundTripsFromWhenAllIsAcknowledged(t *testing.T) {
	for _, row := range []struct {
		rtt, acked time.Duration
		notSent    uint32
		min, max   time.Duration
	}{
		{0, 0, 0, minWait, minWait + 8*time.Millisecond},
		{time.Millisecond, 0, 0, minWait, minWait + 8*time.Millisecond},
		{40 * time.Millisecond, 0, 0, 80 * time.Millisecond, 90 * time.Millisecond},
		{40 * time.Millisecond, time.Second, 0, 1080 * time.Millisecond, 1300 * time.Millisecond},
		{40 * time.Millisecond, time.Second, 1, 1080 * time.Millisecond, 1300 * time.Millisecond},
		{40 * time.Millisecond, time.Hour, 0, unackedWait, unackedWait + lastLook},
	} {
		in(t, func(t *testing.T, s *Sweeper) {
			began := time.Now()
			c := &scripted{peer: client, info: func() Info {
				i := Info{State: Established, Timestamps: true, RTT: row.rtt}
				if time.Since(began) < row.acked {
					i.Unacked, i.NotSent = 1-row.notSent, row.notSent
				}
				return i
			}}
			how, after := ends(s, c, EndFinished)
			if how != HowActive || !c.closed.Load() || c.cut.Load() || after < row.min || after > row.max {
				t.Errorf("%+v: %s after %s", row, how, after)
			}
		})
	}
}

func TestAnAddressThatAlwaysClosesFirstIsWaitedForLonger(t *testing.T) {
	in(t, func(t *testing.T, s *Sweeper) {
		for range closesToWait {
			c := &scripted{peer: client, look: func() Sight { return PeerFIN },
				info: func() Info { return Info{State: CloseWait, Timestamps: true} }}
			if how, _ := ends(s, c, EndFinished); how != HowQuiet || !c.cut.Load() {
				t.Fatalf("closed %s", how)
			}
		}
		if how, after := ends(s, &scripted{peer: client}, EndFinished); how != HowActive || after < knownCloserWait || after > 2*knownCloserWait {
			t.Errorf("%s after %s, want active after %s", how, after, knownCloserWait)
		}
	})
}

func TestTheFirstSightOfAFINDecides(t *testing.T) {
	good := Info{State: CloseWait, Timestamps: true}
	for _, row := range []struct {
		name string
		info Info
		want How
	}{
		{"nothing under way", good, HowQuiet},
		{"unacknowledged", Info{State: CloseWait, Timestamps: true, Unacked: 1}, HowPeerFirst},
		{"not sent", Info{State: CloseWait, Timestamps: true, NotSent: 1}, HowPeerFirst},
		{"no timestamps", Info{State: CloseWait}, HowPeerFirst},
		{"reset meanwhile", Info{State: Closed, Timestamps: true}, HowReset},
	} {
		in(t, func(t *testing.T, s *Sweeper) {
			infos := 0
			c := &scripted{peer: client, look: func() Sight { return PeerFIN }, info: func() Info {
				if infos++; infos > 1 {
					return good // a second look would find it so
				}
				return row.info
			}}
			how, _ := ends(s, c, EndLeft)
			if how != row.want || c.cut.Load() != (how == HowQuiet) || c.closed.Load() == c.cut.Load() {
				t.Errorf("%s: %s, want %s", row.name, how, row.want)
			}
		})
	}
}

func TestTheSweeperLooksRarelyAtWhoWaitsLong(t *testing.T) {
	in(t, func(t *testing.T, s *Sweeper) {
		c := &scripted{peer: client, info: func() Info { return Info{State: Established, Timestamps: true, Unacked: 1} }}
		_, after := ends(s, c, EndFinished)
		// 2, 4, 8, 16, 32, 64 ms, then one each 128 ms.
		if n, most := c.looks.Load(), int64(8+after/lastLook); n > most {
			t.Errorf("%d looks in %s, want %d at most", n, after, most)
		}
	})
}

func TestBeyondTheBoundConnectionsAreClosedAtOnce(t *testing.T) {
	in(t, func(t *testing.T, s *Sweeper) {
		unacked := func() Info { return Info{State: Established, Timestamps: true, Unacked: 1} }
		var ended [2]atomic.Int64 // while End ran, later
		for range maxHeld + 100 {
			var returned atomic.Bool
			s.End(&scripted{peer: client, info: unacked}, EndFinished, false, func(how How) {
				if how != HowActive {
					t.Errorf("closed %s", how)
				}
				if returned.Load() {
					ended[1].Add(1)
				} else {
					ended[0].Add(1)
				}
			})
			returned.Store(true)
		}
		if n := s.Stats().Held; n != maxHeld {
			t.Errorf("%d are held, want %d", n, maxHeld)
		}
		for s.Stats().Held > 0 {
			<-time.After(time.Second)
		}
		if a, b := ended[0].Load(), ended[1].Load(); a != 100 || b != maxHeld {
			t.Errorf("%d were closed at once and %d later", a, b)
		}
	})
}

func TestLingeringIsBoundedInTimeAndBytes(t *testing.T) {
	for _, row := range []struct {
		name     string
		input    int
		min, max time.Duration
		read     int
	}{
		{"silent", 0, lingerTime, lingerTime + lastLook, 0},
		{"endless", 1 << 40, 0, time.Second, lingerBytes},
	} {
		in(t, func(t *testing.T, s *Sweeper) {
			c := &scripted{peer: client, input: row.input}
			c.look = func() Sight {
				if c.read < c.input {
					return Readable
				}
				return Quiet
			}
			how, after := ends(s, c, EndUnread)
			if how != HowLinger || !c.fin.Load() || !c.closed.Load() || after < row.min || after > row.max ||
				c.read < row.read || c.read > row.read+(64<<10) {
				t.Errorf("%s: %s after %s with %d bytes read", row.name, how, after, c.read)
			}
		})
	}
}

func TestAConnectionHandedOverDuringALongWaitIsLookedAtInTime(t *testing.T) {
	in(t, func(t *testing.T, s *Sweeper) {
		unacked := func() Info { return Info{State: Established, Timestamps: true, Unacked: 1} }
		s.End(&scripted{peer: netip.MustParseAddr("192.0.2.2"), info: unacked}, EndFinished, false, nil)
		<-time.After(time.Second) // it is looked at each 128 ms by now
		if how, after := ends(s, &scripted{peer: client}, EndFinished); how != HowActive || after > minWait+8*time.Millisecond {
			t.Errorf("%s after %s", how, after)
		}
		<-time.After(unackedWait)
	})
}

func TestCloseOfASweeperWaitsForTheHeldAsLongAsItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unacked := func() Info { return Info{State: Established, Timestamps: true, Unacked: 1} }
		for _, row := range []struct{ patience, min, max time.Duration }{
			{time.Hour, unackedWait, unackedWait + time.Second},
			{time.Second, time.Second, time.Second + 10*time.Millisecond},
		} {
			s := NewSweeper()
			c := &scripted{peer: client, info: unacked}
			s.End(c, EndFinished, false, nil)
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), row.patience)
			s.Close(ctx)
			cancel()
			if d := time.Since(began); !c.closed.Load() || d < row.min || d > row.max {
				t.Errorf("patience %s: closed %t after %s", row.patience, c.closed.Load(), d)
			}
			s.Close(ctx) // a second one is harmless
		}
	})
}

func TestWordsForEndsAreDistinct(t *testing.T) {
	seen := map[string]bool{}
	for _, h := range Hows() {
		if h.String() == "" || seen[h.String()] {
			t.Errorf("%d is %q", h, h)
		}
		seen[h.String()] = true
	}
	clear(seen)
	for _, s := range []Sight{Quiet, Readable, PeerFIN, Broken} {
		if seen[fmt.Sprint(s)] {
			t.Errorf("%d is %q", s, s)
		}
		seen[fmt.Sprint(s)] = true
	}
}
