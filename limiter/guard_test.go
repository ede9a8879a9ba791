package limiter

import (
	"testing"
	"time"
)

func newGuard() *Guard {
	return &Guard{Breaker: NewBreaker(nil), Ladder: NewLadder(Nanos(time.Now()), nil)}
}

func TestAGuardAsksTheBreakerOnlyWhereItIsOn(t *testing.T) {
	g := newGuard()
	now := Nanos(time.Now())
	if err := g.Breaker.Force(now, BreakerForceOpen); err != nil {
		t.Fatal(err)
	}
	if _, door := g.Enter(3); door != DoorPass {
		t.Errorf("off: %v", door)
	}
	g.Breaks.Store(true)
	if _, door := g.Enter(3); door != DoorOpen {
		t.Errorf("on: %v", door)
	}
	if served, shed, open := g.Counts(); served != [Classes]uint64{} || shed != [Classes]uint64{} || open != [Classes]uint64{3: 1} {
		t.Errorf("%v %v %v", served, shed, open)
	}
}

func TestAModeByHandShutsTheDoor(t *testing.T) {
	g := newGuard()
	g.Breaks.Store(true)
	now := Nanos(time.Now())
	ago := now - int64(time.Minute)
	for range 20 { // so long ago that probes would pass by now
		if ticket, err := g.Breaker.Allow(ago); err == nil {
			ticket.Done(ago, Failed)
		}
	}
	if st := g.Breaker.Stats(ago); st.State == BreakerClosed {
		t.Fatal("the breaker has not tripped")
	}
	g.Ladder.Force(now, ModeOpen)
	for range 3 {
		if _, door := g.Enter(1); door != DoorOpen {
			t.Errorf("%v", door)
		}
	}
	g.Ladder.Release(now)
	g.Breaker.Force(now, BreakerForceClosed)
	g.Breaker.Force(now, BreakerAuto)
	ticket, door := g.Enter(1)
	if door != DoorPass {
		t.Errorf("released: %v", door)
	}
	ticket.Done(now, Succeeded)
	g.Served(1)
	if served, shed, open := g.Counts(); served != [Classes]uint64{1: 1} || shed != [Classes]uint64{} || open != [Classes]uint64{1: 3} {
		t.Errorf("%v %v %v", served, shed, open)
	}
}

func TestAStarvedClassIsTurnedAwayAtTheDoor(t *testing.T) {
	g := newGuard()
	now := Nanos(time.Now())
	for range 30 { // three seconds in which class 1 is served and class 4 is not
		for range 20 {
			g.Served(1)
			g.Shed(4)
		}
		now += int64(ModeTick)
		served, shed, _ := g.Counts()
		g.Ladder.Tick(now, Signals{Target: 5 * time.Millisecond, LeastDelay: 20 * time.Millisecond, Waiting: 9, InFlightMax: 10, Served: served, Shed: shed})
	}
	if _, door := g.Enter(4); door != DoorClass {
		t.Errorf("class 4: %v in mode %v", door, g.Ladder.Effect().Mode)
	}
	if _, door := g.Enter(1); door != DoorPass {
		t.Errorf("class 1: %v", door)
	}
}

func TestNoGuardLetsEverythingThrough(t *testing.T) {
	var g *Guard
	ticket, door := g.Enter(3)
	if door != DoorPass {
		t.Errorf("%v", door)
	}
	ticket.Done(0, Failed)
	g.Served(3)
	g.Shed(3)
}

// Where the body is still to come nobody needs to send it for nothing.
func TestALookSaysWhatTheDoorWouldSay(t *testing.T) {
	g := newGuard()
	g.Breaks.Store(true)
	now := Nanos(time.Now())
	for _, row := range []struct {
		name string
		set  func()
		want Door
	}{
		{"closed", func() {}, DoorPass},
		{"open", func() { g.Breaker.Force(now, BreakerForceOpen) }, DoorOpen},
		{"the mode follows", func() {
			for i := range int64(20) {
				g.Ladder.Tick(now+i*int64(ModeTick), Signals{Breaker: BreakerOpen})
			}
		}, DoorOpen},
		{"closed again, and the mode does not know yet", func() {
			if g.Ladder.Effect().Mode != ModeOpen {
				t.Error("the mode is not open")
			}
			g.Breaker.Force(now, BreakerForceClosed)
			g.Breaker.Force(now, BreakerAuto)
		}, DoorPass},
		{"by hand", func() { g.Ladder.Force(now, ModeOpen) }, DoorOpen},
		{"released", func() { g.Ladder.Release(now) }, DoorPass},
	} {
		row.set()
		if got := g.Look(2); got != row.want {
			t.Errorf("%s: look says %v, want %v", row.name, got, row.want)
		}
		ticket, got := g.Enter(2)
		ticket.Done(now, Ignored)
		if got != row.want {
			t.Errorf("%s: the door says %v, want %v", row.name, got, row.want)
		}
	}
	if _, shed, open := g.Counts(); shed != [Classes]uint64{} || open != [Classes]uint64{2: 6} {
		t.Errorf("%v %v", shed, open)
	}
	// When it has been open for long enough one may try, with what it has to send.
	ago := now - int64(time.Minute)
	for range 20 {
		if ticket, err := g.Breaker.Allow(ago); err == nil {
			ticket.Done(ago, Failed)
		}
	}
	if got := g.Look(2); got != DoorPass || g.Breaker.Stats(now).State == BreakerClosed {
		t.Errorf("who may be a probe is told %v in %v", got, g.Breaker.Stats(now).State)
	}
}
