// Package procs has the Go scheduler use about as many processors as there is
// work for.
//
// The scheduler is made for work that should spread: it wakes an idle processor
// for each goroutine that becomes ready. A proxy's goroutines are ready for some
// microseconds at a time, so on a machine that is not full the waking, and the
// looking for work of those that were woken, cost more than the work: a fifth of
// all CPU time of short connections. On one processor a few of them are done one
// after the other, as a worker of nginx does it. So weir begins with one and
// takes more as they are needed, up to what the machine or its cgroup has.
//
// It is a leaf: it imports nothing of ours.
package procs

import (
	"os"
	"runtime"
	"time"
)

// Follower follows the load. Close ends it.
type Follower struct {
	stop chan struct{}
	done chan struct{}
}

// Follow begins with one processor. Where the environment has GOMAXPROCS, or
// where the system does not say what a process uses, it does nothing: the
// number stays what it is. There should be one Follower in a process.
func Follow() *Follower {
	m, err := newMeter()
	if err != nil || os.Getenv("GOMAXPROCS") != "" {
		m = nil
	}
	return follow(m)
}

func follow(m *meter) *Follower {
	f := &Follower{stop: make(chan struct{}), done: make(chan struct{})}
	if m == nil {
		close(f.done)
	} else {
		go f.run(m, time.NewTicker(period))
	}
	return f
}

// Close gives the scheduler all processors again, and waits until that is done.
func (f *Follower) Close() {
	close(f.stop)
	<-f.done
}

func (f *Follower) run(m *meter, t *time.Ticker) {
	defer close(f.done)
	defer runtime.SetDefaultGOMAXPROCS()
	defer t.Stop()
	var r rule
	have, most := 1, runtime.GOMAXPROCS(1)
	periods := 1 // in the time of a tick
	for {
		select {
		case <-f.stop:
			return
		case <-t.C:
		}
		u, ok := m.read()
		if !ok {
			continue
		}
		n := r.next(have, most, u, periods)
		if idle := u.ran < little && n == 1; idle != (periods > 1) {
			periods = 1
			if idle {
				periods = int(idlePeriod / period)
			}
			t.Reset(time.Duration(periods) * period)
		}
		if n == have {
			continue
		}
		if n == most {
			// The limit of a cgroup may have changed since.
			runtime.SetDefaultGOMAXPROCS()
			most = runtime.GOMAXPROCS(0)
			n = min(n, most)
		}
		runtime.GOMAXPROCS(n)
		have = n
	}
}
