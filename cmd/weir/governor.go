package main

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"weir/admin"
	"weir/configs"
	"weir/limiter"
	"weir/pool"
)

// governor is what bends before a backend breaks: its guard, which the fronts ask,
// and what the mode means to the pool. A reload keeps it.
type governor struct {
	*limiter.Guard
	pool    *pool.Pool
	address string        // of the endpoint that was judged, and the source it was reached from
	mu      sync.Mutex    // between a reload and what Adaptive finds
	target  time.Duration // queue.target; 0: the mode is never beyond paced
	ports   atomic.Uint64 // the part of local ports in use, as math.Float64bits; see lookSockets
}

func newGovernor(name string, p *pool.Pool, log *slog.Logger) *governor {
	v := &governor{Guard: &limiter.Guard{}, pool: p}
	v.Ladder = limiter.NewLadder(limiter.Nanos(time.Now()), func(c limiter.ModeChange) {
		if c.From == c.To { // a hand took hold of it, or let go
			text := "mode no longer set by hand"
			if c.Held {
				text = "mode set by hand"
			}
			log.Info(text, "backend", name, "mode", c.To.String())
			return
		}
		level := slog.LevelInfo
		if c.To > c.From && c.To > limiter.ModePaced { // paced turns nobody away: each burst on a cold pool passes it
			level = slog.LevelWarn
		}
		log.Log(context.Background(), level, "mode changed", "backend", name, "from", c.From.String(), "to", c.To.String(), "cause", c.Cause)
	})
	v.Breaker = limiter.NewBreaker(func(c limiter.BreakerChange) {
		log.Warn("breaker changed", "backend", name, "from", c.From.String(), "to", c.To.String(), "cause", c.Cause, "for", c.OpenFor)
	})
	return v
}

// apply takes over a configuration.
func (v *governor) apply(bc *configs.Backend) {
	v.target = bc.Queue.Target
	v.Breaks.Store(bc.Breaker)
	v.pool.SetTarget(bc.Queue.Target)
	if address := string(bc.Endpoints[0].Address) + " from " + bc.Source; address != v.address {
		if v.address != "" { // what the old one did says nothing of the new one
			v.Breaker.Reset(limiter.Nanos(time.Now()), "the endpoint or source is another one since a reload")
			v.bound(nil, 0)
		}
		v.address = address
	}
	a := v.Adaptive.Load()
	switch {
	case bc.Limits.InFlight != configs.InFlightAuto:
		v.bound(nil, int(bc.Limits.InFlight))
	case a != nil:
		a.Set(bc.Pool.MaxOpen) // it is at least 1
	default:
		var err error
		if a, err = limiter.NewAdaptive(limiter.AdaptiveOptions{Max: bc.Pool.MaxOpen, OnChange: func(n int) { v.found(a, n) }}); err != nil {
			panic("BUG: " + err.Error()) // max_open is at least 1
		}
		v.bound(a, a.Limit())
	}
}

// bound makes a the one that finds the in-flight limit, or none, and begins with n.
func (v *governor) bound(a *limiter.Adaptive, n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.Adaptive.Store(a)
	v.pool.SetInFlight(n)
}

// found takes what a has found, unless a reload has put something in its place.
func (v *governor) found(a *limiter.Adaptive, n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.Adaptive.Load() == a {
		v.pool.SetInFlight(n)
	}
}

// tick gives the ladder its signals, and the pool what the mode means to it. The
// graph's mu is held.
func (v *governor) tick(now int64) {
	st := v.pool.Load()
	s := limiter.Signals{DialsWaiting: st.DialsWaiting, PortsUsed: math.Float64frombits(v.ports.Load()), Waiting: st.Waiting, Target: v.target, InFlightMax: st.InFlightMax}
	if v.target > 0 { // without it a queue is as long as it may be, and nothing is made of that
		s.LeastDelay = st.Delay
		s.Served, s.Shed, _ = v.Counts()
	}
	if v.Breaks.Load() {
		s.Breaker = v.Breaker.Stats(now).State
	}
	v.Ladder.Tick(now, s)
	e := v.Ladder.Effect()
	v.pool.Bend(e.QueueMax, e.PaceDials)
}

// govern is called once every limiter.ModeTick.
func (g *graph) govern(time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := limiter.Nanos(time.Now())
	for _, b := range g.backends {
		b.governor.tick(now)
	}
}

// setMode sets a backend's mode by hand, or releases it.
func (g *graph) setMode(backend, mode string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := g.backends[backend]
	if b == nil {
		return &admin.Refusal{Err: fmt.Errorf("no backend is named %.60q", backend)}
	}
	now := limiter.Nanos(time.Now())
	if mode == modeAuto {
		b.Ladder.Release(now)
		return nil
	}
	m, err := limiter.ParseMode(mode)
	if err != nil {
		return &admin.Refusal{Err: fmt.Errorf("mode %.60q: must be %s, or %s to let weir find it", mode, strings.Join(modeWords(), ", "), modeAuto)}
	}
	return b.Ladder.Force(now, m)
}

// modeAction is setMode for the admin socket.
func (g *graph) modeAction(_ context.Context, arg func(string) string) error {
	return g.setMode(arg("backend"), arg("mode"))
}

// modeAuto is the word that releases a mode that was set by hand.
const modeAuto = "auto"

func modeWords() []string {
	var out []string
	for _, m := range limiter.Modes() {
		out = append(out, m.String())
	}
	return out
}

// fill tells metrics of the mode.
func (v *governor) fill(bs *admin.BackendSnapshot) {
	now := limiter.Nanos(time.Now())
	st := v.Ladder.Stats(now)
	bs.Mode, bs.ModeByHand, bs.InFlightMax = int(st.Mode), st.Forced, v.pool.Load().InFlightMax
	bs.BreakerOpen = v.Breaks.Load() && v.Breaker.Stats(now).State != limiter.BreakerClosed
	for _, to := range limiter.Modes() {
		bs.ModeChanges = append(bs.ModeChanges, admin.Count{Label: to.String(), N: entered(&st, to)})
	}
}

func entered(st *limiter.LadderStats, to limiter.Mode) (n uint64) {
	for _, from := range limiter.Modes() {
		n += st.Edges[from][to]
	}
	return n
}

// status tells of the mode.
func (v *governor) status() (inFlightMax int, shed map[int]uint64, m ModeStatus) {
	now := limiter.Nanos(time.Now())
	st := v.Ladder.Stats(now)
	m = ModeStatus{
		Now: st.Mode.String(), Seconds: st.For.Seconds(), Cause: st.Cause, ByHand: st.Forced, Signs: st.Signs.String(), Entered: map[string]uint64{},
	}
	for _, to := range limiter.Modes() {
		if n := entered(&st, to); n > 0 {
			m.Entered[to.String()] = n
		}
	}
	if v.Breaks.Load() {
		b := v.Breaker.Stats(now)
		m.Breaker, m.BreakerFor = b.State.String(), b.RetryIn.Seconds()
	}
	shed = map[int]uint64{}
	_, all, alone := v.Counts()
	for class, n := range all {
		if n += alone[class]; n > 0 {
			shed[class] = n
		}
	}
	return v.pool.Load().InFlightMax, shed, m
}
