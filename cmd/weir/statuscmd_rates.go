package main

import "weir/pool"

// statusRates are what happens per second, as weir status shows it.
type statusRates struct {
	listeners map[string]listenerSample
	dials     map[string]float64 // by backend
	overflows *float64           // of accept queues; nil: not known
}

// ratesOf takes the rates from what was added since older, seconds ago. Without
// an older page, or for what is not in it, they are weir's own, of the last five
// seconds. The latencies are always those: a second has too few requests for them.
func ratesOf(older, p *statusPage, seconds float64) statusRates {
	r := statusRates{listeners: map[string]listenerSample{}, dials: map[string]float64{}}
	if p.Recent != nil {
		for name, l := range p.Recent.Listeners {
			r.listeners[name] = l
		}
		for name, b := range p.Recent.Backends {
			r.dials[name] = b.Dials
		}
	}
	// Another process counts from zero, and its rates would be those of its life.
	if older == nil || seconds <= 0 || p.UptimeSeconds < older.UptimeSeconds {
		return r
	}
	if was, is := older.Sockets.Kernel.ListenOverflows, p.Sockets.Kernel.ListenOverflows; is >= was {
		grown := float64(is-was) / seconds
		r.overflows = &grown
	}
	was := map[string]flow{}
	for _, l := range older.Listeners {
		was[l.Name] = l.flow()
	}
	for _, l := range p.Listeners {
		if old, ok := was[l.Name]; ok {
			d, s := l.flow().since(old), r.listeners[l.Name]
			s.Requests, s.Errors, s.Shed = float64(d.requests)/seconds, float64(d.errors)/seconds, float64(d.shed)/seconds
			r.listeners[l.Name] = s
		}
	}
	dials := map[string]uint64{}
	for _, b := range older.Backends {
		dials[b.Name] = total(b.Dials)
	}
	for _, b := range p.Backends {
		if old, ok := dials[b.Name]; ok && total(b.Dials) >= old {
			r.dials[b.Name] = float64(total(b.Dials)-old) / seconds
		}
	}
	return r
}

func (l *ListenerStatus) flow() (f flow) {
	f.count(l.Requests, l.RefusedFull)
	return f
}

func total(m map[string]uint64) (n uint64) {
	for _, v := range m {
		n += v
	}
	return n
}

// reuse is the part of the requests with a connection that needed no new one, since
// the start, as docs/metrics.md has it: of dials that failed nobody had a connection.
// ok is false before there was such a request.
func (b *BackendStatus) reuse() (share float64, ok bool) {
	if b.Served == 0 {
		return 0, false
	}
	return max(0, 1-float64(b.Dials[pool.DialOK.String()])/float64(b.Served)), true
}
