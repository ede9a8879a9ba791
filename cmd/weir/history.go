package main

import (
	"sync"
	"time"

	"weir/internal/hist"
	"weir/proxy/fault"
)

// What is kept for pages that are opened later: 15 minutes, in steps that a
// chart of that width can show. With 20 listeners and 50 backends it is about a
// megabyte; there are no more entries than the configuration has names.
const (
	historyTick = 5 * time.Second
	historyLen  = int(15 * time.Minute / historyTick)
)

// sample is what happened in the time since the one before it.
type sample struct {
	N         uint64                    `json:"n"` // counts from 1, without gaps
	Time      int64                     `json:"t"` // its end, Unix time in ms
	Total     listenerSample            `json:"total"`
	Listeners map[string]listenerSample `json:"listeners"`
	Backends  map[string]backendSample  `json:"backends"`
}

// listenerSample has rates per second, and latencies in seconds.
type listenerSample struct {
	Requests float64 `json:"requests"`
	Errors   float64 `json:"errors"`
	Shed     float64 `json:"shed"`
	P50      float64 `json:"p50"`
	P99      float64 `json:"p99"`
	Clients  int64   `json:"clients"`
}

// backendSample has what a pool held at the sample's end, and its dials a second.
type backendSample struct {
	MaxOpen int     `json:"max_open"`
	Open    int     `json:"open"`
	Leased  int     `json:"leased"`
	Waiting int     `json:"waiting"`
	Dials   float64 `json:"dials"`
	Mode    string  `json:"mode"`
}

// history is the ring of samples. add is called by one goroutine, after from
// any.
type history struct {
	seen tally // by the last add
	at   time.Time

	mu      sync.Mutex // guards below; nothing is computed under it
	n       uint64
	samples []sample // at most historyLen, oldest first
}

// tally is what a graph has counted since its start, and what it holds now.
type tally struct {
	listeners map[string]flow
	dials     map[string]uint64        // by backend
	backends  map[string]backendSample // without Dials
}

// flow is what a listener has counted since its start.
type flow struct {
	requests, errors, shed uint64
	times                  hist.Snapshot
	clients                int64
}

// since is what came after older. A listener or backend that was taken away and
// came back counts from zero again.
func (f flow) since(older flow) flow {
	if f.requests < older.requests || less(&f.times, &older.times) {
		older = flow{}
	}
	return flow{
		requests: f.requests - older.requests, errors: f.errors - min(older.errors, f.errors), shed: f.shed - min(older.shed, f.shed),
		times: f.times.Since(older.times), clients: f.clients,
	}
}

// less says whether a bucket has fewer than before, which is so after a new
// beginning alone. The total may be larger then.
func less(now, before *hist.Snapshot) bool {
	for i, n := range now.Counts {
		if n < before.Counts[i] {
			return true
		}
	}
	return false
}

func (f *flow) add(o flow) {
	f.requests, f.errors, f.shed, f.clients = f.requests+o.requests, f.errors+o.errors, f.shed+o.shed, f.clients+o.clients
	f.times.Merge(o.times)
}

func (f *flow) sample(seconds float64) listenerSample {
	return listenerSample{
		Requests: float64(f.requests) / seconds, Errors: float64(f.errors) / seconds, Shed: float64(f.shed) / seconds,
		P50: quantile(f.times, 0.5), P99: quantile(f.times, 0.99), Clients: f.clients,
	}
}

// count adds the outcomes of requests. full are clients that found no place:
// they asked for nothing that was read, and are refused all the same.
func (f *flow) count(requests map[string]map[string]uint64, full uint64) {
	for _, outcomes := range requests {
		for outcome, n := range outcomes {
			f.requests += n
			switch class := outcomeClass[outcome]; {
			case outcome == fault.MaxClients.String(): // they are in full
			case class == classShed:
				f.shed += n
			case class == classError:
				f.errors += n
			}
		}
	}
	f.shed += full
}

// The classes of outcomes. What a client did wrong is no error of the service.
const (
	classOK     = "ok"
	classError  = "error"
	classShed   = "shed"
	classClient = "client"
)

var outcomeClass = func() map[string]string {
	out := map[string]string{"1xx": classOK, "2xx": classOK, "3xx": classOK, "4xx": classClient, "5xx": classError, "ok": classOK, "error": classError}
	for _, k := range fault.Kinds() {
		switch side := k.Side(); {
		case side == fault.Client:
			out[k.String()] = classClient
		case side == fault.Weir && k != fault.Internal:
			out[k.String()] = classShed
		default:
			out[k.String()] = classError
		}
	}
	return out
}()

// add makes a sample of what was counted up to now. The first call only begins.
func (h *history) add(now time.Time, c tally) {
	last, seconds := h.seen, now.Sub(h.at).Seconds()
	begun := !h.at.IsZero()
	h.seen, h.at = c, now
	if !begun || seconds <= 0 {
		return
	}
	s := sample{Time: now.UnixMilli(), Listeners: map[string]listenerSample{}, Backends: map[string]backendSample{}}
	var total flow
	for name, f := range c.listeners {
		d := f.since(last.listeners[name]) // of a new one all is of this time
		s.Listeners[name] = d.sample(seconds)
		total.add(d)
	}
	s.Total = total.sample(seconds)
	for name, b := range c.backends {
		n, old := c.dials[name], last.dials[name]
		if n < old {
			old = 0
		}
		b.Dials = float64(n-old) / seconds
		s.Backends[name] = b
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.n++
	s.N = h.n
	if len(h.samples) == historyLen {
		h.samples = append(h.samples[:0], h.samples[1:]...)
	}
	h.samples = append(h.samples, s)
}

// after returns the samples after the one numbered n, oldest first. Their maps
// are not written any more.
func (h *history) after(n uint64) []sample {
	h.mu.Lock()
	defer h.mu.Unlock()
	have := uint64(len(h.samples))
	skip := min(have, n-min(n, h.n-have))
	return append([]sample{}, h.samples[skip:]...)
}

// keepHistory begins the history, which goes on until the graph stops.
func (d *daemon) keepHistory() {
	d.history.add(d.started, d.graph.tally())
	d.graph.watch.Go(func() {
		every(historyTick, d.graph.quit, func(now time.Time) { d.history.add(now, d.graph.tally()) })
	})
}

// tally reads what history is made of.
func (g *graph) tally() tally {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := tally{listeners: map[string]flow{}, dials: map[string]uint64{}, backends: map[string]backendSample{}}
	for _, l := range g.listenerStats() {
		st := g.frontStats(l.name)
		f := flow{times: st.RequestSeconds, clients: l.stats.Open}
		f.count(st.Requests, l.stats.Full)
		c.listeners[l.name] = f
	}
	for name, b := range g.backends {
		p := b.pool.Stats()
		for _, n := range p.Dials {
			c.dials[name] += n
		}
		_, _, mode := b.governor.status()
		c.backends[name] = backendSample{MaxOpen: p.MaxOpen, Open: p.Open, Leased: p.Leased, Waiting: p.Waiting, Mode: mode.Now}
	}
	return c
}
