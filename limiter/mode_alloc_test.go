//go:build !race

package limiter

import "testing"

func TestLadderAllocatesNothing(t *testing.T) {
	l := NewLadder(0, nil)
	var s Signals
	var now int64
	if n := testing.AllocsPerRun(1000, func() {
		now += int64(ModeTick)
		s.Served[3] += 10
		l.Tick(now, s)
		if l.Effect().Refuse != RefuseNone {
			t.Error("refused")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
