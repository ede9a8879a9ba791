package main

import "weir/internal/oplog"

// statusPage is what /api/status shows, and weir status -json prints:
// docs/status.md has each name in it.
type statusPage struct {
	Status
	// Recent is what happened in the last five seconds that are over; null in
	// the first five.
	Recent *sample `json:"recent"`
	// LastEvent is what an operator looks for first: the last warning, change of
	// a mode, or reload; null before there is one.
	LastEvent *oplog.Event `json:"last_event"`
}

func (d *daemon) statusPage() statusPage {
	p := statusPage{Status: d.status(), Recent: d.history.last()}
	if events := d.events(0); len(events) > 0 {
		p.LastEvent = &events[len(events)-1]
	}
	return p
}

// last returns the newest sample, nil if there is none. Its maps are not written
// any more.
func (h *history) last() *sample {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.samples) == 0 {
		return nil
	}
	s := h.samples[len(h.samples)-1]
	return &s
}
