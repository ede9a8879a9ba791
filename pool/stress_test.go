package pool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/reason"
	"weir/internal/sock"
	"weir/limiter"
)

// Whatever many users do at once, and a reload, failing dials, FINs and a Close
// in the middle of it, the pool holds these:
//
//   - a connection has one holder, of its own key, and is open while it is held
//   - no more sockets than the highest MaxOpen plus Reserved
//   - no more waiters than QueueMax, but for those a dial is on the way for
//   - every socket that was opened is closed after Close, once
//   - the books are empty after Close
func TestStressOwnershipUnderTraffic(t *testing.T) {
	for seed := range uint64(100) {
		if !stress(t, seed, load{keys: []string{"a", "a", "b"}}) {
			return
		}
	}
}

// load is what one stress test does that others do not.
type load struct {
	keys  []string // drawn from for every lease
	class func(*rand.Rand) limiter.Class
	set   func(*Options, *fakeBackend) // before the pool is made
	next  func(*rand.Rand, *Options)   // what else a reload changes
	check func(*Pool) error            // at any moment
	after func(Stats) error
}

const (
	stressMaxOpen  = 5
	stressReserved = 1
	stressQueue    = 6
	stressWorkers  = 16
	stressOps      = 150
)

func stress(t *testing.T, seed uint64, ld load) (ok bool) {
	t.Helper()
	b := &fakeBackend{}
	o := testOptions(b)
	o.MaxOpen, o.Reserved, o.QueueMax = stressMaxOpen, stressReserved, stressQueue
	o.QueueTimeout, o.DialRate, o.DialConcurrent = 20*time.Millisecond, 1_000_000, 3
	o.MinIdle, o.WarmKey, o.IdleTimeout, o.MaxLifetime = int(seed%3), "a", 5*time.Millisecond, 30*time.Millisecond
	o.Seed = seed + 1
	faults := rand.New(rand.NewPCG(seed, 99))
	b.fail = func(string) error { // the backend's lock is held
		switch faults.IntN(200) {
		case 0:
			return errRefused
		case 1:
			return &KeyError{errors.New("denied")}
		}
		return nil
	}
	if ld.set != nil {
		ld.set(&o, b)
	}
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	// The watchdog: a pool that is stuck says in which state.
	watch := time.AfterFunc(20*time.Second, func() {
		buf := make([]byte, 1<<20)
		panic(fmt.Sprintf("seed %d is stuck: %+v\n%s", seed, p.Stats(), buf[:runtime.Stack(buf, true)]))
	})
	defer watch.Stop()

	var served, wrong atomic.Int64
	fault := func(format string, args ...any) {
		wrong.Add(1)
		t.Errorf("seed %d: %s", seed, fmt.Sprintf(format, args...))
	}
	closing := rand.New(rand.NewPCG(seed, 98)).IntN(2) == 0 // in the middle of the traffic
	var wg, workers sync.WaitGroup
	middle := make(chan struct{}) // closed when a good share was served, or all is over
	var once sync.Once
	for i := range stressWorkers {
		w := &stressWorker{pool: p, id: int64(i + 1), r: rand.New(rand.NewPCG(seed, uint64(i))), keys: ld.keys, class: ld.class, fault: fault}
		workers.Go(func() {
			for range stressOps {
				if w.once(ctx) && served.Add(1) == stressOps {
					once.Do(func() { close(middle) })
				}
			}
		})
	}
	wg.Go(func() {
		workers.Wait()
		once.Do(func() { close(middle) })
	})
	wg.Go(func() {
		r := rand.New(rand.NewPCG(seed, 97))
		for range 10 {
			next := *p.options()
			next.MaxOpen = 2 + r.IntN(stressMaxOpen-1)
			next.Stamp = fmt.Sprint(r.IntN(20) / 19)
			if ld.next != nil {
				ld.next(r, &next)
			}
			if err := p.Apply(next); err != nil && !errors.Is(err, ErrClosed) {
				fault("Apply: %v", err)
			}
			if s := p.Stats(); s.Waiting > o.QueueMax+stressMaxOpen {
				fault("%d wait", s.Waiting)
			}
			if ld.check != nil {
				if err := ld.check(p); err != nil {
					fault("%v", err)
				}
			}
			runtime.Gosched()
		}
		<-middle
		if closing {
			if err := p.Close(ctx); err != nil {
				fault("Close: %v", err)
			}
		}
	})
	wg.Wait()
	if err := p.Close(ctx); err != nil {
		fault("Close: %v", err)
	}
	s := p.Stats()
	if s.Open != 0 || s.SideOpen != 0 || s.Waiting != 0 || s.Leased != 0 || s.Idle != 0 || s.Dialing != 0 || s.Closing != 0 {
		fault("after Close: %+v", s)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open != 0 || len(b.ends) != len(b.conns) {
		fault("%d opened, %d closed", len(b.conns), len(b.ends))
	}
	if b.most > stressMaxOpen+stressReserved || s.MostOpen > stressMaxOpen {
		fault("%d sockets at once, %d by the pool's count", b.most, s.MostOpen)
	}
	if s.MostWaiting > o.QueueMax+stressMaxOpen {
		fault("%d waited at once", s.MostWaiting)
	}
	var opens, dials, closes uint64
	for _, n := range s.Opens {
		opens += n
	}
	for _, n := range s.Dials {
		dials += n
	}
	for _, n := range s.Closes {
		closes += n
	}
	if opens != dials || s.Dials[DialOK] != closes || closes != uint64(len(b.conns)) {
		fault("%d dials begun, %d ended, %d of them well; %d closes of %d connections", opens, dials, s.Dials[DialOK], closes, len(b.conns))
	}
	if served.Load() == 0 {
		fault("nobody was served: %+v", s)
	}
	if ld.after != nil {
		if err := ld.after(s); err != nil {
			fault("%v: %+v", err, s)
		}
	}
	return wrong.Load() == 0
}

type stressWorker struct {
	pool  *Pool
	id    int64
	r     *rand.Rand
	keys  []string
	class func(*rand.Rand) limiter.Class // nil: all are alike, and every lease is used
	fault func(string, ...any)
}

// once leases a connection, checks that nobody else has it, and gives it back
// in one of the ways there are.
func (w *stressWorker) once(ctx context.Context) bool {
	r := w.r
	key := w.keys[r.IntN(len(w.keys))]
	if r.IntN(4) == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(r.IntN(2000))*time.Microsecond)
		defer cancel()
	}
	if r.IntN(50) == 0 {
		if s, err := w.pool.Reserve(ctx, "side"); err == nil {
			s.Close()
		}
	}
	class := limiter.ClassDefault
	if w.class != nil {
		class = w.class(r)
	}
	l, err := w.pool.acquire(ctx, key, class, r.IntN(20) == 0)
	if err != nil {
		if l.Valid() {
			w.fault("a lease came with the error %v", err)
		}
		runtime.Gosched()
		return false
	}
	c := fakeOf(l)
	if other := c.owner.Swap(w.id); other != 0 {
		w.fault("%d and %d have connection %d", other, w.id, c.id)
	}
	if c.key != key {
		w.fault("connection of %q for %q", c.key, key)
	}
	for range r.IntN(20) {
		runtime.Gosched()
	}
	if c.ended.Load() {
		w.fault("connection %d was closed while it was leased", c.id)
	}
	if me := c.owner.Swap(0); me != w.id {
		w.fault("%d took connection %d from %d", me, c.id, w.id)
	}
	if w.class != nil && r.IntN(10) == 0 {
		l.Unused()
		return true
	}
	switch r.IntN(20) {
	case 0:
		l.Discard(reason.CloseSaidClose)
	case 1:
		c.see(sock.PeerFIN)
		l.Release()
	case 2:
		l.Release()
		c.see(sock.PeerFIN) // while it is idle, or with its next holder
	default:
		l.Release()
	}
	return true
}

// Two keys that both want everything must both be served, and soon.
func TestTwoKeysDoNotStarveEachOther(t *testing.T) {
	const clients, each, hold = 20, 50, time.Millisecond
	bubble(t, func(o *Options) { o.MaxOpen, o.QueueTimeout = 2, time.Second }, func(x fixture) {
		var mu sync.Mutex
		longest := make(map[string]time.Duration)
		var wg sync.WaitGroup
		for i := range clients {
			// One key has many clients, the other one.
			key := "many"
			if i == 0 {
				key = "one"
			}
			wg.Go(func() {
				for range each {
					began := time.Now()
					l, err := x.Acquire(context.Background(), key, limiter.ClassDefault)
					if err != nil {
						t.Errorf("%s: %v", key, err)
						return
					}
					mu.Lock()
					longest[key] = max(longest[key], time.Since(began))
					mu.Unlock()
					<-time.After(hold)
					l.Release()
				}
			})
		}
		wg.Wait()
		// Nineteen others on two connections: ten holds and a few dials if
		// all were served in order of arrival.
		for key, d := range longest {
			if d > 40*hold {
				t.Errorf("%s waited %v", key, d)
			}
		}
		if x.b.most > 2 {
			t.Errorf("%d sockets", x.b.most)
		}
	})
}
