package sock

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestStretchTouchesTheTimerAFewTimesPerWaitAndKeepsItsBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const w = 800 * time.Millisecond
		var d deadline
		touched := 0
		for range 1000 { // ten waits long
			if end, need := d.stretch(w); need {
				touched++
				d.set(end)
			}
			if left := time.Until(time.Unix(0, d.at.Load())); left < w || left > w+w/8 {
				t.Fatalf("the deadline is %s away", left)
			}
			<-time.After(w / 100)
		}
		if touched > 10*8+1 {
			t.Errorf("the timer was touched %d times in ten waits", touched)
		}
		// A shorter wait must not keep the longer deadline, nor a longer the shorter.
		for _, w := range []time.Duration{w / 10, 10 * w, time.Millisecond} {
			if _, need := d.stretch(w); !need {
				t.Errorf("%s: the deadline of another wait was kept", w)
			}
		}
		d.set(time.Time{})
		if _, need := d.stretch(w); !need {
			t.Error("no deadline was taken for a good one")
		}
	})
}

func TestADeadlineThatChangesWhileItIsBoundIsBoundAgain(t *testing.T) {
	var d deadline
	first, second := time.Unix(1000, 0), time.Unix(2000, 0)
	var got []int64
	record := func(t time.Time) error { got = append(got, t.Unix()); return nil }
	d.bind(record)
	if len(got) != 0 {
		t.Errorf("no deadline was bound as %v", got)
	}
	d.set(first)
	d.bind(func(at time.Time) error {
		if at.Equal(first) {
			d.set(second) // as another goroutine would
		}
		return record(at)
	})
	if len(got) != 2 || got[1] != second.Unix() {
		t.Errorf("bound %v, want the second to be the last", got)
	}
	d.bind(func(at time.Time) error {
		if at.Equal(second) {
			d.set(time.Time{})
		}
		return record(at)
	})
	if last := got[len(got)-1]; last != (time.Time{}).Unix() {
		t.Errorf("bound %v, want the removal to be the last", got)
	}
}
