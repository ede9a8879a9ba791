package main

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"weir/admin"
	"weir/internal/pressure"
)

// The last rung of degradation: when weir itself runs short of memory or of
// descriptors its listeners stop accepting, and go on by themselves. Clients wait
// in the kernel's queue meanwhile; those who are connected are served.

// pressureTick is how often weir looks at what it runs on. A burst of clients can
// use up the descriptors between two looks; then accept fails, and is tried again.
const pressureTick = 250 * time.Millisecond

// pressed is what weir found at its last look.
type pressed struct {
	watch  *pressure.Watch
	close  func()
	report atomic.Pointer[pressure.Report]
}

// onThisMachine looks at the real bounds.
func onThisMachine() *pressed {
	m := pressure.NewMeter()
	return newPressed(m.Read, debug.FreeOSMemory, m.Close)
}

func newPressed(read func() pressure.Reading, reclaim, close func()) *pressed {
	p := &pressed{watch: pressure.NewWatch(read, reclaim), close: close}
	p.report.Store(new(pressure.Report))
	return p
}

// lookPressure takes a look, and stops or resumes all listeners. It belongs to one
// goroutine.
func (g *graph) lookPressure(now time.Time) {
	was, is := g.pressed.report.Load(), g.pressed.watch.Look(now)
	g.pressed.report.Store(&is)
	if is.Short() || was.Short() { // each time: a reload may have opened a listener
		g.server.SetAccepting(!is.Short())
	}
	for r := range pressure.Resources {
		f := &is[r]
		switch {
		case f.Short && !was[r].Short:
			g.log.Warn("short of "+r.String()+": clients are not accepted, and wait in the kernel's queue", append(numbers(f), "hint", hints[r])...)
		case !f.Short && was[r].Short:
			lasted := slog.Duration("after", now.Sub(was[r].Since).Round(time.Millisecond))
			g.log.Info("no longer short of "+r.String(), append(numbers(f), lasted, "accepting", !is.Short())...)
		}
	}
}

var hints = [pressure.Resources]string{
	pressure.Memory:      "raise the limit of memory, or lower max_clients or memory.buffers",
	pressure.Descriptors: "raise the limit of open files (ulimit -n, LimitNOFILE=) or lower max_clients",
}

// numbers are the log's attributes of a finding. Since it is short nobody may have
// set the bound lower, or taken it away.
func numbers(f *pressure.Finding) []any {
	if f.Bound == 0 {
		return []any{"bound", "none"}
	}
	return []any{"used", f.Used, "bound", f.Bound, "percent", int(100 * f.Share()), "of", f.Of}
}

// short is why listeners do not accept, a line for each resource.
func (p *pressed) short() (why []string) {
	is := p.report.Load()
	for r := range pressure.Resources {
		if f := &is[r]; f.Short {
			why = append(why, fmt.Sprintf("clients are not accepted: short of %v, %d of %d are in use (%s)", r, f.Used, f.Bound, f.Of))
		}
	}
	return why
}

// shares are the values of weir_pressure.
func (p *pressed) shares() (out []admin.Share) {
	is := p.report.Load()
	for r := range pressure.Resources {
		out = append(out, admin.Share{Label: r.String(), Part: min(1, is[r].Share())})
	}
	return out
}

// PressureStatus tells of one resource that weir itself may run short of.
type PressureStatus struct {
	Used  uint64 `json:"used"`  // bytes or descriptors
	Bound uint64 `json:"bound"` // 0: none
	Of    string `json:"of,omitempty"`
	Short bool   `json:"short"`
	For   string `json:"for,omitempty"` // how long it is short
}

func (p *pressed) status(now time.Time) map[string]PressureStatus {
	is, out := p.report.Load(), map[string]PressureStatus{}
	for r := range pressure.Resources {
		f := &is[r]
		st := PressureStatus{Used: f.Used, Bound: f.Bound, Of: f.Of, Short: f.Short}
		if f.Short {
			st.For = now.Sub(f.Since).Round(time.Millisecond).String()
		}
		out[r.String()] = st
	}
	return out
}
