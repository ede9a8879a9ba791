package accesslog

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

const (
	wasCut  = "access log stood"
	badEnd  = "access log was not closed well"
	lineLen = 100
)

// standing gives the log a place in whose write it stands, with lines 0 to 3,
// and line 3 to 5 behind them.
func (r *rig) standing(cut int) *place {
	p := newPlace()
	p.hang, p.cut = make(chan struct{}), cut
	r.Use(p)
	synctest.Wait()
	for n := range 3 {
		r.Write(numbered(n, lineLen))
	}
	after(writeEvery)
	for n := range 2 {
		r.Write(numbered(3+n, lineLen))
	}
	return p
}

func TestAWriteThatStandsIsCutOffForANewPlaceThatGetsTheBrokenLineWhole(t *testing.T) {
	bubble(t, func(r *rig) {
		a, b := r.standing(lineLen*3/2), newPlace()
		after(time.Hour)
		if a.isClosed() {
			t.Error("it was closed for no other place")
		}
		r.Use(b)
		synctest.Wait() // at once, as it has stood for long
		wantNumbers(t, b.text(), 1, 5)
		if a.text()[:lineLen] != string(numbered(0, lineLen)) || !a.isClosed() {
			t.Errorf("the old place has %.120q, closed %v", a.text(), a.isClosed())
		}
		r.want(5, 0)
		if r.Stats().Err != nil || r.j.count(wasCut) != 1 || r.j.count(cannotWrite) != 0 {
			t.Errorf("%v, and the log was told %v", r.Stats().Err, r.j.seen)
		}
	})
}

func TestAWriteHasASecondToEndBeforeItIsCutOff(t *testing.T) {
	bubble(t, func(r *rig) {
		a, b := r.standing(lineLen*3/2), newPlace()
		r.Use(b)
		after(stuckAfter - time.Millisecond)
		if a.isClosed() || b.text() != "" {
			t.Error("a write was cut off early")
		}
		after(time.Millisecond)
		wantNumbers(t, b.text(), 1, 5)
		r.want(5, 0)
	})
	bubble(t, func(r *rig) {
		a, b := r.standing(0), newPlace()
		r.Use(b)
		after(stuckAfter / 2)
		close(a.hang)
		synctest.Wait()
		wantNumbers(t, a.text(), 0, 3)
		wantNumbers(t, b.text(), 3, 5)
		r.want(5, 0)
	})
}

func TestAWriteThatNoCloseEndsIsLeftBehindWithItsLinesCounted(t *testing.T) {
	bubble(t, func(r *rig) {
		a, b := r.standing(0), newPlace()
		r.Use(b)
		after(2 * stuckAfter)
		wantNumbers(t, b.text(), 3, 5)
		r.want(2, 3)
		r.Write(numbered(5, lineLen))
		after(writeEvery)
		wantNumbers(t, b.text(), 3, 6)
		began := time.Now()
		if err := r.Close(context.Background()); err != nil || time.Since(began) != 0 {
			t.Errorf("Close: %v after %v", err, time.Since(began))
		}
		close(a.hang)
		synctest.Wait()
		r.want(3, 3)
	})
}

func TestTurnedOffALogThatStandsEndsAndGivesItsMemoryBack(t *testing.T) {
	bubble(t, func(r *rig) {
		a := r.standing(lineLen * 3 / 2)
		r.Use(nil)
		after(stuckAfter)
		if !a.isClosed() || r.fill != nil || r.out != nil {
			t.Errorf("closed %v, and %d bytes are held", a.isClosed(), cap(r.fill)+cap(r.out))
		}
		r.want(1, 4)
	})
}

func TestOnlySoManyWritesAreLeftBehind(t *testing.T) {
	bubble(t, func(r *rig) {
		var stand []*place
		for range mostLeft + 1 {
			stand = append(stand, r.standing(0))
			after(3 * stuckAfter)
		}
		last := newPlace()
		r.Write(numbered(0, lineLen))
		r.Use(last)
		after(time.Minute)
		if s := stand[mostLeft]; s.isClosed() || last.text() != "" {
			t.Errorf("one more than %d was left behind", mostLeft)
		}
		close(stand[0].hang)
		after(3 * stuckAfter)
		if s := stand[mostLeft]; !s.isClosed() || last.text() == "" {
			t.Error("after one of them ended there was no room for another")
		}
		for _, p := range stand[1:] {
			close(p.hang)
		}
	})
}

func TestACloseThatHangsHoldsTheNewPlaceUpForASecond(t *testing.T) {
	bubble(t, func(r *rig) {
		a, b := newPlace(), newPlace()
		a.slow = make(chan struct{})
		r.Use(a)
		synctest.Wait()
		r.Use(b)
		r.Write(numbered(0, lineLen))
		after(stuckAfter)
		wantNumbers(t, b.text(), 0, 1)
		if r.j.count(badEnd) != 1 {
			t.Errorf("the log was told %v", r.j.seen)
		}
		close(a.slow)
	})
}
