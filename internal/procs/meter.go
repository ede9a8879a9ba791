package procs

import (
	"syscall"
	"time"
)

// meter tells what the threads of this process did since it was asked last.
type meter struct {
	at     time.Time
	ran    time.Duration
	queues *queues
	idle   freeTime

	left   int       // reads until the run queues are looked at again
	since  time.Time // when they were; zero: before an idle time
	waited float64
}

// freeTime tells how many processors were free since it was asked last.
type freeTime interface {
	free(now time.Time) float64
	forget() // the next question is the first one
}

// queueEvery is in how many reads the run queues are looked at once, and not at
// all where less than quietUse was used: that takes some system calls per thread,
// and they keep the scheduler's monitor thread awake for a millisecond.
const (
	queueEvery = 10
	quietUse   = 0.05
)

func newMeter() (*meter, error) {
	m := &meter{at: time.Now(), queues: newQueues(), idle: new(idle), left: queueEvery}
	var err error
	m.ran, err = ran()
	return m, err
}

// ran is how long all threads have run (getrusage(2)).
func ran() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// read returns the use since the last call, or false if it cannot be told.
func (m *meter) read() (used, bool) {
	sum, err := ran()
	now := time.Now()
	passed := now.Sub(m.at)
	if err != nil || passed <= 0 {
		return used{}, false
	}
	u := used{ran: float64(sum-m.ran) / float64(passed)}
	m.at, m.ran = now, sum
	switch m.left--; {
	case u.ran < quietUse:
		m.left, m.waited, m.since = queueEvery, 0, time.Time{}
	case m.since.IsZero():
		m.queues.waited()
		m.since = now
	case m.left <= 0:
		m.waited = float64(m.queues.waited()) / float64(now.Sub(m.since))
		m.since, m.left = now, queueEvery
	}
	u.waited = m.waited
	if u.ran > little {
		u.free = m.idle.free(now)
	} else {
		m.idle.forget()
	}
	return u, true
}
