package procs

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/testnet"
)

// plenty is a machine with nothing else to do.
type plenty struct{}

func (plenty) free(time.Time) float64 { return 4 }
func (plenty) forget()                {}

func TestAFollowerTakesProcessorsForWorkAndGivesThemBack(t *testing.T) {
	if runtime.NumCPU() < 2 {
		t.Fatal("this test needs two processors")
	}
	t.Setenv("GOMAXPROCS", "")
	runtime.SetDefaultGOMAXPROCS() // another test may have had fewer
	was := runtime.GOMAXPROCS(0)
	m, err := newMeter()
	if err != nil {
		t.Fatal(err)
	}
	m.idle = plenty{} // whatever other tests do meanwhile
	f := follow(m)
	testnet.WaitFor(t, 5*time.Second, "one processor", func() bool { return runtime.GOMAXPROCS(0) == 1 })
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for !stop.Load() {
			}
		})
	}
	testnet.WaitFor(t, 20*time.Second, "two processors", func() bool { return runtime.GOMAXPROCS(0) >= 2 })
	stop.Store(true)
	wg.Wait()
	testnet.WaitFor(t, 30*time.Second, "one processor again", func() bool { return runtime.GOMAXPROCS(0) == 1 })
	f.Close()
	if n := runtime.GOMAXPROCS(0); n != was {
		t.Errorf("%d processors after Close, there were %d", n, was)
	}
}

func TestANumberOfProcessorsInTheEnvironmentIsKept(t *testing.T) {
	t.Setenv("GOMAXPROCS", "2")
	was := runtime.GOMAXPROCS(0)
	f := Follow()
	defer f.Close()
	if n := runtime.GOMAXPROCS(0); n != was {
		t.Errorf("%d processors, there were %d", n, was)
	}
}

func TestTheMeterSeesWhatThreadsBurnAndHowLongTheyWait(t *testing.T) {
	testnet.OneCPU(t)
	runtime.GOMAXPROCS(2) // which Go would lower to one, for the one CPU
	defer runtime.SetDefaultGOMAXPROCS()
	m, err := newMeter()
	if err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for !stop.Load() {
			}
		})
	}
	defer wg.Wait()
	defer stop.Store(true)
	tick := time.NewTicker(period)
	defer tick.Stop()
	var ran, waited float64
	const periods = 3 * queueEvery
	for range periods {
		<-tick.C
		u, ok := m.read()
		if !ok {
			t.Fatal("no answer")
		}
		ran, waited = ran+u.ran/periods, max(waited, u.waited)
	}
	// Two threads share a processor, perhaps with those of other programs.
	if ran < 0.1 || ran > 1.1 || waited < 0.1 {
		t.Errorf("busy threads on one processor ran %.2f and waited at most %.2f", ran, waited)
	}
}

func TestAScheduleFileIsReadOrNotAtAll(t *testing.T) {
	for text, ok := range map[string]bool{"1 2 3\n": true, "": false, "1": false, "1 -": false} {
		if _, got := parse([]byte(text)); got != ok {
			t.Errorf("%q: %v", text, got)
		}
	}
	for text, ok := range map[string]bool{"cpu  1 2 3 4 5\n": true, "": false, "cpu0 1 2 3 4": false, "cpu 1 2 3": false, "cpu 1 2 3 x": false} {
		if n, got := parseIdle([]byte(text)); got != ok || ok && n != 4 {
			t.Errorf("%q: %d, %v", text, n, got)
		}
	}
}

func TestAFreeProcessorIsSeen(t *testing.T) {
	var i idle
	if got := i.free(time.Now()); got != 0 {
		t.Errorf("%.2f are free before there is anything to go by", got)
	}
	testnet.WaitFor(t, 60*time.Second, "a moment in which this machine has something free", func() bool {
		return i.free(time.Now()) > 0
	})
}
