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
	if served, shed := g.Counts(); served != [Classes]uint64{} || shed != [Classes]uint64{3: 1} {
		t.Errorf("%v %v", served, shed)
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
	if served, shed := g.Counts(); served != [Classes]uint64{1: 1} || shed != [Classes]uint64{1: 3} {
		t.Errorf("%v %v", served, shed)
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
		served, shed := g.Counts()
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
