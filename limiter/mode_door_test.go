package limiter

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// doorSim is a backend that serves capacity requests a tick, strictly by class,
// behind a gate that does what the ladder says.
type doorSim struct {
	*modeLab
	capacity     uint64
	noQueue      bool      // who would wait is shed
	queued, gone [6]uint64 // in the last tick: shed by the queue, and at the gate
	served       [6]uint64
	total        uint64
}

func (d *doorSim) step(offered [6]uint64) {
	lowest := d.Effect().LowestClass
	room := d.capacity
	d.queued, d.gone, d.served, d.total = [6]uint64{}, [6]uint64{}, [6]uint64{}, 0
	for c := 1; c <= 5; c++ {
		if c > lowest {
			d.gone[c] = offered[c]
		} else {
			d.served[c] = min(offered[c], room)
			room -= d.served[c]
			d.queued[c] = offered[c] - d.served[c]
		}
		d.s.Served[c] += d.served[c]
		d.s.Shed[c] += d.queued[c] + d.gone[c]
		d.total += d.served[c]
	}
	var m modeLoad
	if room == 0 && !d.noQueue {
		m.delay = 1.6
	}
	d.tick(m)
}

func offer(a, b, c, d, e uint64) [6]uint64 { return [6]uint64{0, a, b, c, d, e} }

func sum(n [6]uint64) (s uint64) {
	for _, v := range n {
		s += v
	}
	return s
}

func newDoorSim(t *testing.T) *doorSim { return &doorSim{modeLab: newModeLab(t), capacity: 100} }

func TestClassServedNothingIsRefusedAtTheGate(t *testing.T) {
	for _, c := range []struct {
		name    string
		offered [6]uint64
		lowest  int // in the end
	}{
		{"the least important of two", offer(150, 0, 0, 0, 500), 4},
		{"all below those who are served", offer(50, 100, 30, 30, 500), 2},
		{"the least important of two, without a queue", offer(150, 0, 0, 0, 500), 4},
		{"all is just taken", offer(100, 0, 0, 0, 500), 4},
		{"who gets what is left over is let in", offer(50, 0, 0, 0, 1000), 5},
		{"who gets a trifle is let in", offer(99, 0, 0, 0, 1000), 5},
		{"one class alone", offer(0, 0, 0, 0, 1000), 5},
		{"one class alone, the most important", offer(1000, 0, 0, 0, 0), 5},
		{"few are not worth it", offer(150, 0, 0, 0, 0), 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDoorSim(t)
			d.noQueue = strings.HasSuffix(c.name, "without a queue")
			for i := range 200 {
				d.step(c.offered)
				if want := min(d.capacity, sum(c.offered)); d.total != want {
					t.Fatalf("tick %d: goodput %d, want %d", i, d.total, want)
				}
				got := d.Effect().LowestClass
				if i >= 20 && got != c.lowest || i < 8 && got != 5 { // a second is looked at
					t.Fatalf("tick %d: lowest class %d, want %d", i, got, c.lowest)
				}
			}
			if n := d.Stats(d.now).Narrowed; n > 1 {
				t.Errorf("narrowed %d times", n)
			}
			for class, n := range d.queued {
				if class > c.lowest && n > 0 {
					t.Errorf("%d of class %d still wait in vain", n, class)
				}
			}
		})
	}
}

// However demand jumps, capacity lies idle for three ticks at most, and the more
// important never get less than without the gate.
func TestRefusingClassesCostsNoGoodput(t *testing.T) {
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		d := newDoorSim(t)
		var offered [6]uint64
		idle := 0
		for i := range 3000 {
			if i%(10+rnd.IntN(40)) == 0 {
				for c := 1; c <= 5; c++ {
					offered[c] = []uint64{0, 0, 20, 60, 150, 1000}[rnd.IntN(6)]
				}
			}
			lowest := d.Effect().LowestClass
			d.step(offered)
			room := d.capacity
			for c := 1; c <= lowest; c++ {
				if want := min(offered[c], room); d.served[c] != want {
					t.Fatalf("seed %d tick %d: class %d got %d of %d", seed, i, c, d.served[c], want)
				}
				room -= min(offered[c], room)
			}
			if d.total < min(d.capacity, sum(offered)) {
				idle++
			} else {
				idle = 0
			}
			if idle > doorTicks {
				t.Fatalf("seed %d tick %d: capacity idle for %d ticks, %v offered, %v served, %v refused", seed, i, idle, offered, d.served, d.gone)
			}
		}
	}
}

// Where more important ones take all, the gate does not try every now and then.
func TestRefusedClassStaysRefusedWhileOthersTakeAll(t *testing.T) {
	d := newDoorSim(t)
	rnd := rand.New(rand.NewPCG(1, 1))
	for i := range 1000 {
		d.step(offer(0, 0, 130+uint64(rnd.IntN(40)), 0, 1000))
		if i > 20 && d.queued[5] > 0 {
			t.Fatalf("tick %d: %d of class 5 were let in to wait in vain", i, d.queued[5])
		}
	}
	if n := d.Stats(d.now).Narrowed; n != 1 {
		t.Errorf("narrowed %d times", n)
	}
	// And all are let in when it is over.
	for range 40 {
		d.step(offer(0, 0, 50, 0, 10))
	}
	if e := d.Effect(); e.LowestClass != 5 || e.Mode != ModeNormal {
		t.Errorf("%+v", e)
	}
}

func TestClassThatIsLetInAgainStaysForASecond(t *testing.T) {
	d := newDoorSim(t)
	refused := func(n int, offered [6]uint64) (ticks int) {
		for range n {
			d.step(offered)
			if d.gone[5] > 0 {
				ticks++
			}
		}
		return ticks
	}
	refused(20, offer(150, 0, 0, 0, 500))
	if n := refused(3, offer(20, 0, 0, 0, 500)); n != 3 {
		t.Errorf("refused for %d ticks while there was room", n)
	}
	if n := refused(10, offer(150, 0, 0, 0, 500)); n != 0 {
		t.Errorf("refused for %d ticks after that", n)
	}
	if n := refused(10, offer(150, 0, 0, 0, 500)); n < 8 {
		t.Errorf("after a second in vain, refused for %d ticks of 10", n)
	}
	// A backend that answers nobody serves nobody more important.
	d.capacity = 0
	if n := refused(20, offer(150, 0, 0, 0, 500)); n != 3 {
		t.Errorf("refused for %d ticks while nobody was served", n)
	}
}

func TestClassIsNotRefusedWhenTheOverloadIsOver(t *testing.T) {
	d := newDoorSim(t)
	for range 8 {
		d.step(offer(150, 0, 0, 0, 500))
	}
	for range 20 {
		d.step(offer(50, 0, 0, 0, 0))
	}
	if n := d.Stats(d.now).Narrowed; n != 0 {
		t.Errorf("narrowed %d times", n)
	}
}

// Slow answers come in lumps: a tick without any is no end of service.
func TestOneClassOfSlowAnswersIsNeverRefused(t *testing.T) {
	d := newDoorSim(t)
	for i := range 500 {
		d.capacity = 0
		if i%15 == 0 {
			d.capacity = 4
		}
		d.s.Target = time.Second
		d.step(offer(0, 0, 5, 0, 0))
		if d.Effect().LowestClass != 5 {
			t.Fatalf("tick %d: %+v", i, d.Effect())
		}
	}
}
