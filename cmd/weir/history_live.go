package main

import (
	"slices"
	"time"

	"weir/admin"
	"weir/internal/oplog"
	"weir/internal/pressure"
)

// frame is what the dashboard gets: all there is when it is opened, and then
// once a second what is and what was added.
type frame struct {
	Time    int64         `json:"t"` // Unix time in ms
	Status  Status        `json:"status"`
	Samples []sample      `json:"samples"`
	Events  []oplog.Event `json:"events"`

	Outcomes map[string]string `json:"outcomes,omitempty"` // their classes; at the beginning only
}

// live feeds the dashboard. What two frames have in common is told apart by its
// number, so that a page may miss none and begin at any time.
func (d *daemon) live() *admin.Live {
	var samples, events uint64 // of the last frame; one goroutine makes them
	return &admin.Live{
		Past: func() any {
			return frame{Time: time.Now().UnixMilli(), Status: d.status(), Samples: d.history.after(0), Events: d.events(0), Outcomes: outcomeClass}
		},
		Now: func() any {
			f := frame{Time: time.Now().UnixMilli(), Status: d.status(), Samples: d.history.after(samples), Events: d.events(events)}
			if n := len(f.Samples); n > 0 {
				samples = f.Samples[n-1].N
			}
			if n := len(f.Events); n > 0 {
				events = f.Events[n-1].N
			}
			return f
		},
	}
}

// events are never nil: JSON would say null.
func (d *daemon) events(after uint64) []oplog.Event {
	return append([]oplog.Event{}, d.log.Recent(after)...)
}

// notable are messages that the dashboard shows though they warn of nothing: an
// operator looks for what changed.
var notable = slices.Concat([]string{
	"started", "listening", "mode changed", "configuration reloaded", "reloaded",
	"draining; a second signal stops at once", "draining; a signal stops at once",
	"the backend's server was reached",
}, relieved())

func relieved() (out []string) {
	for r := range pressure.Resources {
		out = append(out, "no longer short of "+r.String())
	}
	return out
}
