package storm

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"weir/internal/hist"
)

// Run makes the storm and waits for its end. The error is about the options or
// the machine; failures of requests are in the Result. When ctx ends, or
// Options.Limit has passed, every connection is ended at once.
func Run(ctx context.Context, o Options) (*Result, error) {
	t, err := o.check(ctx)
	if err != nil {
		return nil, err
	}
	r := &Result{Target: t.address, Unit: t.unit, TCP: t.addr.IsValid()}
	var count *counter
	if r.TCP {
		if count, err = openCounter(t.addr); err != nil {
			return nil, err
		}
		defer count.close()
		if r.Before, err = count.now(); err != nil {
			return nil, err
		}
	}

	s := &run{o: &o, t: t, errors: map[string]int{}}
	workers, err := s.workers()
	if err != nil {
		return nil, err
	}
	stop := s.report()
	began := time.Now()
	s.until = began.Add(o.Limit)
	s.rage(ctx, workers)
	r.Elapsed = time.Since(began)
	stop()

	r.Requests, r.Errors = int(s.answered.Load()), s.errors
	r.NotBegun = max(0, o.Requests-int(s.begun.Load()))
	r.Latency = s.latency.Snapshot()
	if r.NotBegun > 0 || r.Errors[CutByLimit]+r.Errors[Interrupted] > 0 {
		r.Ended = s.ended(ctx)
	}
	if !r.TCP {
		return r, nil
	}
	settle := time.NewTimer(o.Settle)
	defer settle.Stop()
	select {
	case <-settle.C:
	case <-ctx.Done():
		r.Ended = Interrupted // the sockets were not counted when they should have been
	}
	if r.After, err = count.now(); err != nil {
		return nil, err
	}
	return r, nil
}

// run is what the workers share.
type run struct {
	o     *Options
	t     target
	until time.Time // asked by the clock: a timer may be late on a busy machine

	begun    atomic.Int64
	answered atomic.Int64
	failed   atomic.Int64
	latency  hist.Hist

	mu     sync.Mutex
	errors map[string]int
}

// ended is what ended the storm early, or empty.
func (s *run) ended(ctx context.Context) string {
	switch {
	case ctx.Err() != nil:
		return Interrupted
	case !time.Now().Before(s.until):
		return CutByLimit
	}
	return ""
}

// deadline is when a request that begins now has to be over.
func (s *run) deadline() time.Time {
	if d := time.Now().Add(s.o.Timeout); d.Before(s.until) {
		return d
	}
	return s.until
}

// workers makes those that the storm needs.
func (s *run) workers() ([]*worker, error) {
	all := make([]*worker, min(s.o.Concurrency, s.o.Requests))
	for i := range all {
		w := &worker{run: s}
		var err error
		if w.client, err = s.t.client(s, &w.link); err != nil {
			return nil, err
		}
		all[i] = w
	}
	return all, nil
}

// rage makes all requests. It returns when they are done, or soon after the
// storm was ended: by ctx, or at until.
func (s *run) rage(ctx context.Context, workers []*worker) {
	var working, watching sync.WaitGroup
	for _, w := range workers {
		working.Go(func() { w.work(ctx) })
	}
	done := make(chan struct{})
	watching.Go(func() {
		select {
		case <-ctx.Done():
			for _, w := range workers {
				w.link.cut()
			}
		case <-done:
		}
	})
	working.Wait()
	close(done)
	watching.Wait()
}

// report calls Progress until the returned func is called.
func (s *run) report() (stop func()) {
	if s.o.Progress == nil {
		return func() {}
	}
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.o.Progress(int(s.answered.Load()), int(s.failed.Load()))
			case <-quit:
				return
			}
		}
	})
	return func() {
		close(quit)
		wg.Wait()
		s.o.Progress(int(s.answered.Load()), int(s.failed.Load()))
	}
}
