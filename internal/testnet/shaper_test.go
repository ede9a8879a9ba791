package testnet

import (
	"encoding/binary"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// arrival is one delivered packet and how long it took.
type arrival struct {
	n    uint32
	took time.Duration
}

// send lets n numbered packets, one each gap, through a shaper in virtual time.
func send(t *testing.T, imp Impairment, seed uint64, n int, gap time.Duration) (out []arrival, tr Traffic) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		sent := make([]time.Time, n)
		s := newShaper(imp, seed, 0, func(p []byte) error {
			i := binary.BigEndian.Uint32(p)
			out = append(out, arrival{i, time.Since(sent[i])})
			return nil
		})
		stop := make(chan struct{})
		ended := make(chan struct{})
		go func() { s.run(stop); close(ended) }()
		tick := time.NewTimer(0)
		<-tick.C
		for i := range n {
			sent[i] = time.Now()
			s.take(binary.BigEndian.AppendUint32(nil, uint32(i)), sent[i])
			tick.Reset(gap)
			<-tick.C
		}
		tick.Reset(time.Minute)
		<-tick.C
		close(stop)
		<-ended
		tr = s.traffic()
	})
	return out, tr
}

func inOrder(a []arrival) bool {
	return slices.IsSortedFunc(a, func(x, y arrival) int { return int(x.n) - int(y.n) })
}

func TestAPlainLinkDeliversEverythingAtOnceAndInOrder(t *testing.T) {
	got, tr := send(t, Impairment{}, 1, 1000, time.Microsecond)
	if len(got) != 1000 || !inOrder(got) || tr.Delivered != 1000 || tr.Packets != 1000 || tr.Bytes != 4000 {
		t.Errorf("%d packets, in order %t, %+v", len(got), inOrder(got), tr)
	}
	for _, a := range got {
		if a.took > time.Microsecond {
			t.Fatalf("packet %d took %s", a.n, a.took)
		}
	}
}

func TestDelayAndJitterStayWithinTheirBoundsAndKeepOrder(t *testing.T) {
	const delay, jitter = 20 * time.Millisecond, 10 * time.Millisecond
	got, _ := send(t, Impairment{Delay: delay, Jitter: jitter}, 1, 2000, 100*time.Microsecond)
	if len(got) != 2000 || !inOrder(got) {
		t.Fatalf("%d packets, in order %t", len(got), inOrder(got))
	}
	least, most := got[0].took, got[0].took
	for _, a := range got {
		least, most = min(least, a.took), max(most, a.took)
	}
	if least < delay || most > delay+jitter {
		t.Errorf("packets took %s to %s, want %s to %s", least, most, delay, delay+jitter)
	}
	if most-least < jitter/2 {
		t.Errorf("jitter of %s moved packets by %s only", jitter, most-least)
	}
}

func TestLossHitsItsShareAndTheSameOnesForTheSameSeed(t *testing.T) {
	const n, loss = 10_000, 0.05
	first, tr := send(t, Impairment{Loss: loss}, 7, n, 0)
	// Five standard deviations of a binomial: 109.
	if tr.Lost < 391 || tr.Lost > 609 || int(tr.Lost)+len(first) != n {
		t.Errorf("%d of %d lost, %d arrived, want about 500 lost", tr.Lost, n, len(first))
	}
	again, _ := send(t, Impairment{Loss: loss}, 7, n, 0)
	other, _ := send(t, Impairment{Loss: loss}, 8, n, 0)
	numbers := func(a []arrival) (out []uint32) {
		for _, x := range a {
			out = append(out, x.n)
		}
		return out
	}
	if !slices.Equal(numbers(first), numbers(again)) {
		t.Error("the same seed lost other packets")
	}
	if slices.Equal(numbers(first), numbers(other)) {
		t.Error("another seed lost the same packets")
	}
}

func TestReorderHoldsSomePacketsBack(t *testing.T) {
	const by = 5 * time.Millisecond
	got, tr := send(t, Impairment{Delay: time.Millisecond, Reorder: 0.1, ReorderBy: by}, 3, 5000, time.Millisecond)
	held := 0
	for _, a := range got {
		switch a.took {
		case time.Millisecond:
		case time.Millisecond + by:
			held++
		default:
			t.Fatalf("packet %d took %s", a.n, a.took)
		}
	}
	if held < 394 || held > 606 || inOrder(got) || tr.Delivered != 5000 {
		t.Errorf("%d of 5000 held back, in order %t, want about 500 and out of order", held, inOrder(got))
	}
}

func TestAHookDropsDelaysAndCopies(t *testing.T) {
	imp := Impairment{Hook: func(p *Packet) {
		switch binary.BigEndian.Uint32(p.Data) {
		case 1:
			p.Drop = true
		case 2:
			p.Delay = time.Second
		case 3:
			p.Copies = 2
		case 4:
			p.Data[3] = 9
		}
	}}
	got, tr := send(t, imp, 1, 10, time.Millisecond)
	var order []uint32
	for _, a := range got {
		order = append(order, a.n)
	}
	if want := []uint32{0, 3, 3, 3, 9, 5, 6, 7, 8, 9, 2}; !slices.Equal(order, want) {
		t.Errorf("got %v, want %v", order, want)
	}
	if tr.Hooked != 1 || tr.Packets != 10 || tr.Delivered != 11 {
		t.Errorf("%+v", tr)
	}
}

func TestTheQueueOfALinkIsBounded(t *testing.T) {
	got, tr := send(t, Impairment{Delay: 30 * time.Second}, 1, queueBound+100, 0)
	if len(got) != queueBound || tr.Overflow != 100 {
		t.Errorf("%d arrived, %d overflowed, want %d and 100", len(got), tr.Overflow, queueBound)
	}
}

func TestStopLosesWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		s := newShaper(Impairment{Delay: time.Hour}, 1, 0, func([]byte) error { n++; return nil })
		stop, ended := make(chan struct{}), make(chan struct{})
		go func() { s.run(stop); close(ended) }()
		s.take([]byte{1, 2, 3, 4}, time.Now())
		close(stop)
		<-ended
		if n != 0 {
			t.Errorf("%d packets delivered after stop", n)
		}
	})
}

func FuzzPacket(f *testing.F) {
	f.Add([]byte{0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x11, 0, 0, 0, 0, 0, 0})
	f.Add(append([]byte{0x60, 0, 0, 0, 0, 20, 6, 64}, make([]byte, 52)...))
	f.Add([]byte{0x4f, 6})
	f.Fuzz(func(t *testing.T, data []byte) {
		p := Packet{Data: data}
		p.parse()
		if p.Payload < 0 || p.Payload > len(data) || p.IsTCP() != p.Src.IsValid() {
			t.Errorf("%+v", p)
		}
		p.FixChecksum()
		p.TCP()
	})
}
