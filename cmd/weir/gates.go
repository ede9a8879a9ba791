package main

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"weir/configs"
	"weir/limiter"
	"weir/proxy/fault/overlimit"
)

// gate is what counts for a limits block, and what its keys are.
type gate struct {
	*limiter.Gate
	by limiter.KeyBy
}

// gates are those of a configuration, by the path of the block. A reload takes
// over the ones that stay, with their counts.
type gates struct {
	open  *limiter.Counts // connections, of all listeners
	gates map[string]gate
	rates map[string]*limiter.Rates // of connections

	old   *gates
	later []func() // what a reload changes in those that serve
}

// newGates begins those of a new configuration. old is nil at the start.
func newGates(old *gates) *gates {
	if old == nil {
		old = &gates{open: new(limiter.Counts)}
	}
	return &gates{open: old.open, gates: map[string]gate{}, rates: map[string]*limiter.Rates{}, old: old}
}

// limit returns the block at path as fronts take it. Without bounded its in_flight
// is seen to elsewhere.
func (g *gates) limit(path string, l *configs.Limits, bounded bool) (overlimit.Limit, error) {
	x, err := g.of(path, l, bounded)
	if err != nil {
		return overlimit.Limit{}, fmt.Errorf("%s.limits: %w", path, err)
	}
	return overlimit.Limit{Gate: x.Gate, By: x.by, Name: path}, nil
}

// of returns the gate for the block at path, nil if it limits nothing.
func (g *gates) of(path string, l *configs.Limits, bounded bool) (gate, error) {
	if g, ok := g.gates[path]; ok { // a backend that several routes have
		return g, nil
	}
	opt := limiter.GateOptions{Keys: l.PerKeys}
	var err error
	if opt.Rate, err = limitOf(l.Rate, l.Burst); err != nil {
		return gate{}, err
	}
	if opt.PerRate, err = limitOf(l.PerRate, l.PerBurst); err != nil {
		return gate{}, err
	}
	if bounded {
		opt.InFlight = max(0, int(l.InFlight))
	}
	if opt.Rate == (limiter.Limit{}) && opt.PerRate == (limiter.Limit{}) && opt.InFlight == 0 {
		return gate{}, nil
	}
	by := limiter.KeyBy{Header: l.PerHeader(), User: l.Per == "user", IPv4: l.IPv4Prefix, IPv6: l.IPv6Prefix}
	if was, ok := g.old.gates[path]; ok {
		g.gates[path] = gate{was.Gate, by}
		g.later = append(g.later, func() {
			was.Apply(opt, limiter.Nanos(time.Now()), was.by != by) // Keys are in range: configs has seen to it
		})
		return g.gates[path], nil
	}
	fresh, err := limiter.NewGate(opt)
	g.gates[path] = gate{fresh, by}
	return g.gates[path], err
}

// connections returns what bounds the connections of a listener's clients.
func (g *gates) connections(lc *configs.Listener) (overlimit.Connections, error) {
	x := overlimit.Connections{
		All: g.open, Listener: limiter.KeyOfString(lc.Name), PerClient: lc.Connections.PerClient,
		By: limiter.KeyBy{IPv4: lc.Limits.IPv4Prefix, IPv6: lc.Limits.IPv6Prefix},
	}
	if lc.Connections.Rate == (configs.Rate{}) {
		return x, nil
	}
	path := "listeners[" + lc.Name + "].connections"
	rate, err := limitOf(lc.Connections.Rate, lc.Connections.Burst)
	if err != nil {
		return x, fmt.Errorf("%s.rate: %w", path, err)
	}
	if x.Rate = g.old.rates[path]; x.Rate != nil {
		g.later = append(g.later, func() { x.Rate.Set(rate, limiter.Nanos(time.Now())) })
	} else if x.Rate, err = limiter.NewRates(rate, lc.Limits.PerKeys); err != nil {
		return x, fmt.Errorf("%s.rate: %w", path, err)
	}
	g.rates[path] = x.Rate
	return x, nil
}

// commit makes the changes.
func (g *gates) commit() {
	for _, change := range g.later {
		change()
	}
	g.later, g.old = nil, nil
}

// status tells of every limits block. Counting the keys of one takes some
// milliseconds; requests go on meanwhile.
func (g *gates) status() []LimitStatus {
	out := []LimitStatus{}
	now := limiter.Nanos(time.Now())
	for _, path := range slices.Sorted(maps.Keys(g.gates)) {
		st := g.gates[path].Stats(now)
		l := LimitStatus{Of: path, InFlight: st.InFlight, Refused: map[string]uint64{}, Keys: st.Keys.Keys, Evicted: st.Keys.Evicted}
		for v, n := range st.Refused {
			if n > 0 {
				l.Refused[limiter.Verdict(v).String()] = n
			}
		}
		out = append(out, l)
	}
	return out
}

// limitOf is the limiter's form of a rate; without one there is no limit.
func limitOf(r configs.Rate, burst int) (limiter.Limit, error) {
	if r == (configs.Rate{}) {
		return limiter.Limit{}, nil
	}
	return limiter.NewLimit(r.Count, r.Per, configs.BurstOf(burst, r))
}
