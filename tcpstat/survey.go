package tcpstat

import (
	"errors"
	"net/netip"
	"slices"
	"time"
)

// ListenerPlan is a listener whose sockets are to be counted. An unspecified
// address stands for all.
type ListenerPlan struct {
	Name      string
	Addresses []netip.AddrPort
}

// BackendPlan is a backend whose sockets are to be counted.
type BackendPlan struct {
	Name   string
	Ledger *Ledger
	// Endpoints has those that are known to be a destination before anything
	// was dialled. Those that Ledger has seen are destinations too.
	Endpoints []Pair
	// Hidden backends get no Group, but their sockets are nobody else's.
	Hidden bool
	// Dialing, if not nil, says how many dials are under way whose sockets are
	// in no ledger yet.
	Dialing func() int
}

// Group is what a listener or a backend has at one moment.
type Group struct {
	Name  string
	Count Owned
	Top   []Client  // of listeners: the clients with the most sockets
	Pairs []PairUse // of backends
}

// PairUse is the local ports of a pair.
type PairUse struct {
	Pair
	Ports         int // of the range, less those reserved
	Bound         int // of these, no dial can have: a socket listens on them or was bound to them
	InUse         int // by sockets of the pair, whoever's, but for TIME-WAIT
	TimeWaitOurs  int
	TimeWaitOther int     // also those of which it is not known
	Free          int     // TIME-WAIT that the kernel would use again counts as free
	SecondsLeft   float64 // until none is free; +Inf: no end is in sight
	Alarm         bool    // see Forecast.Alarm
}

// Used is the part of the ports that no dial can have, 0 to 1. Where all of the
// range is reserved it is 1.
func (p *PairUse) Used() float64 {
	if p.Ports == 0 {
		return 1
	}
	return 1 - float64(p.Free)/float64(p.Ports)
}

// Report is what one look has found. It is not changed afterwards.
type Report struct {
	At        time.Time
	Sockets   int     // in the last list of all
	Changed   bool    // the kernel's tables changed shape meanwhile: see ErrChanged
	Listeners []Group // from the last list of all
	Backends  []Group
}

// lister is a Reader, or a test's.
type lister interface {
	Each(f Filter, fn func(*Socket) bool) error
}

// Survey counts the sockets of a process's listeners and backends by state and
// by owner, and forecasts their ports. One list serves all of them: the walk
// through the kernel's table costs more than what is in it. A socket costs a map
// access or two and no allocation.
//
// At a listener, all sockets with its address are ours: the ends that were
// accepted. Those at the other ends of the same connections have the address as
// their remote one, and are in no group of the listener's. At a backend the
// sockets with its address as the remote one count: ours, if the ledger has them.
//
// A Survey is for one goroutine at a time.
type Survey struct {
	list    lister
	filters bool  // list costs less where it is asked for less
	whole   whole // the last look at everything; see narrow

	listeners []listenerCount
	backends  []backendCount
	local     map[uint16][]localEntry
	remote    map[uint16][]remoteEntry
	ports     *LocalPorts
	taken     portSet        // ports of the range that sockets listen on
	bound     portSet        // and those that were bound, in the last list with Bound
	idle      map[string]int // sockets in Bound, of listeners by name, in that list
	forecasts map[forecastKey]*forecastSlot
	now       time.Time
	seen      int
	towards   int                // of seen, with a remote port that is a backend's
	visit     func(*Socket) bool // made once
}

type listenerCount struct {
	name  string
	count Counts
	top   top
}

type backendCount struct {
	plan    BackendPlan
	count   Owned
	pairs   []pairCount
	dialing int
}

type pairCount struct {
	Pair
	book        *portBook // nil where nothing was dialled yet
	inUse       int       // of the range
	ours, other int       // TIME-WAIT
	use         PortUse
}

type localEntry struct {
	addr     netip.Addr // zero: any
	listener int
}

type remoteEntry struct {
	addr    netip.Addr
	backend int
	pairs   []int // of the backend
}

type forecastKey struct {
	backend string
	pair    Pair
}

type forecastSlot struct {
	Forecast
	used bool // in this look
}

// NewSurvey returns a Survey that lists with r, which stays the caller's.
func NewSurvey(r *Reader) *Survey {
	v := newSurvey(r)
	v.filters = r.Source() == "sock_diag"
	return v
}

func newSurvey(l lister) *Survey {
	v := &Survey{list: l, idle: map[string]int{}, forecasts: map[forecastKey]*forecastSlot{}}
	v.visit = func(s *Socket) bool { v.see(s); return true }
	return v
}

// topShown is how many clients a Group names.
const topShown = 10

// Look lists all sockets in the states of mask and counts those that belong to
// the plans. Bound need not be in every mask, because it makes the list twice as
// dear: what the last list with it has shown stays. Without Bound, and where it
// saves much, sockets that are not towards a backend are left out, and what the
// last list of all has shown of the listeners stays; see narrow. ports may be nil:
// then nothing is said of ports. The ledgers are read only; see Ledger.Prune.
func (v *Survey) Look(now time.Time, mask Mask, ports *LocalPorts, listeners []ListenerPlan, backends []BackendPlan) (*Report, error) {
	v.prepare(now, ports, listeners, backends)
	narrow := v.narrow(mask, listeners)
	var err error
	for range 1 + maxRepeats {
		v.reset()
		if !narrow {
			v.taken = portSet{}
		}
		if mask.Has(Bound) {
			v.bound = portSet{}
		}
		if err = v.each(mask, narrow); !errors.Is(err, ErrChanged) {
			break
		}
	}
	if err != nil && !errors.Is(err, ErrChanged) {
		return nil, err
	}
	if !narrow {
		v.whole = whole{sockets: v.seen}
	}
	r := &Report{At: now, Sockets: v.whole.sockets, Changed: err != nil}
	for i := range v.listeners {
		l := &v.listeners[i]
		if narrow {
			r.Listeners = append(r.Listeners, *v.lastOf(l.name))
			continue
		}
		g := Group{Name: l.name, Top: l.top.most(topShown)}
		if mask.Has(Bound) {
			v.idle[l.name] = l.count[Bound]
		}
		l.count[Bound] = v.idle[l.name]
		g.Count[Ours] = l.count
		r.Listeners = append(r.Listeners, g)
	}
	v.whole.listeners = r.Listeners
	for i := range v.backends {
		b := &v.backends[i]
		if b.plan.Hidden {
			continue
		}
		b.doubt()
		r.Backends = append(r.Backends, Group{Name: b.plan.Name, Count: b.count, Pairs: v.use(b)})
	}
	for name := range v.idle {
		if !slices.ContainsFunc(listeners, func(l ListenerPlan) bool { return l.Name == name }) {
			delete(v.idle, name)
		}
	}
	for k, f := range v.forecasts {
		if !f.used {
			delete(v.forecasts, k)
		}
		f.used = false
	}
	return r, nil
}

// prepare makes the tables that see looks into.
func (v *Survey) prepare(now time.Time, ports *LocalPorts, listeners []ListenerPlan, backends []BackendPlan) {
	v.now, v.ports = now, ports
	v.local, v.remote = map[uint16][]localEntry{}, map[uint16][]remoteEntry{}
	tops := v.listeners // their memory is used again
	v.listeners = make([]listenerCount, len(listeners))
	for i, l := range listeners {
		v.listeners[i].name = l.Name
		if i < len(tops) {
			v.listeners[i].top = tops[i].top
		}
		for _, a := range l.Addresses {
			e := localEntry{plain(a.Addr()), i}
			if e.addr.IsUnspecified() {
				e.addr = netip.Addr{}
			}
			v.local[a.Port()] = append(v.local[a.Port()], e)
		}
	}
	v.backends = make([]backendCount, len(backends))
	for i, b := range backends {
		v.backends[i].plan = b
		if b.Dialing != nil {
			v.backends[i].dialing = b.Dialing()
		}
		books := b.Ledger.books()
		for _, p := range b.Endpoints {
			p = Pair{plain(p.Source), netip.AddrPortFrom(plain(p.Dest.Addr()), p.Dest.Port())}
			if _, ok := books[p]; !ok {
				books[p] = nil
			}
		}
		for p, book := range books {
			v.addPair(i, p, book)
		}
	}
}

func (v *Survey) addPair(backend int, p Pair, book *portBook) {
	b := &v.backends[backend]
	b.pairs = append(b.pairs, pairCount{Pair: p, book: book})
	n, port := len(b.pairs)-1, p.Dest.Port()
	for i := range v.remote[port] {
		if e := &v.remote[port][i]; e.addr == p.Dest.Addr() && e.backend == backend {
			e.pairs = append(e.pairs, n)
			return
		}
	}
	v.remote[port] = append(v.remote[port], remoteEntry{p.Dest.Addr(), backend, []int{n}})
}

// reset makes all counts zero.
func (v *Survey) reset() {
	v.seen, v.towards = 0, 0
	for i := range v.listeners {
		v.listeners[i].count = Counts{}
		v.listeners[i].top.reset()
	}
	for i := range v.backends {
		b := &v.backends[i]
		b.count = Owned{}
		for j := range b.pairs {
			p := &b.pairs[j]
			*p = pairCount{Pair: p.Pair, book: p.book}
		}
	}
}

// see counts one socket.
func (v *Survey) see(s *Socket) {
	v.seen++
	port := s.Local.Port()
	if entries := v.local[port]; entries != nil {
		if i := match(entries, s.Local.Addr()); i >= 0 {
			l := &v.listeners[i]
			l.count[s.State]++
			if s.State != Listen && s.State != Bound {
				l.top.add(s.Remote.Addr())
			}
		}
	}
	if s.State == Listen || s.State == Bound {
		switch {
		case v.ports == nil || !v.ports.Has(port):
		case s.State == Bound:
			v.bound.add(port)
		default:
			v.taken.add(port)
		}
		return
	}
	if entries := v.remote[s.Remote.Port()]; entries != nil {
		v.towards++
		v.seeDialled(entries, s)
	}
}

// match finds the listener of an address: that of exactly it, else that of all.
func match(entries []localEntry, a netip.Addr) int {
	found := -1
	for i := range entries {
		switch e := &entries[i]; {
		case e.addr == a:
			return e.listener
		case !e.addr.IsValid():
			found = e.listener
		}
	}
	return found
}

// seeDialled counts a socket whose remote port is a backend's. Two backends may
// have one address: what one of them owns is not the other's, nor a stranger's.
func (v *Survey) seeDialled(entries []remoteEntry, s *Socket) {
	owned := -1
	for i := range entries {
		e := &entries[i]
		if e.addr != s.Remote.Addr() {
			continue
		}
		b := &v.backends[e.backend]
		for _, n := range e.pairs {
			p := &b.pairs[n]
			if p.Source != s.Local.Addr() {
				continue
			}
			owner := Other
			if p.book != nil {
				owner = p.book.owner(s, v.now)
			}
			v.port(p, s, owner)
			if owner != Other && owned < 0 {
				owned = i
				b.count[owner][s.State]++
			}
		}
	}
	if owned >= 0 {
		return
	}
	for i := range entries {
		if e := &entries[i]; e.addr == s.Remote.Addr() {
			v.backends[e.backend].count[Other][s.State]++
		}
	}
}

// port books the local port of a socket of the pair.
func (v *Survey) port(p *pairCount, s *Socket, owner Owner) {
	if s.State == TimeWait {
		if owner == Ours {
			p.ours++
		} else {
			p.other++
		}
	}
	if v.ports == nil || !v.ports.Has(s.Local.Port()) {
		return
	}
	if s.State != TimeWait {
		p.inUse++
		return
	}
	if left := v.ports.Blocked(p.Pair, s.Expires); left > 0 {
		p.use.Leaving[min(int(left/time.Second), ringSeconds)]++
	}
}

// doubt moves as many of the sockets that look like another's to Unknown as
// there are dials under way: no ledger has them before they are connected.
func (b *backendCount) doubt() {
	n := b.dialing
	if b.plan.Dialing != nil {
		n = max(n, b.plan.Dialing())
	}
	for _, st := range [...]State{SynSent, Established} {
		k := min(n, b.count[Other][st])
		b.count[Other][st] -= k
		b.count[Unknown][st] += k
		n -= k
	}
}

// use says how the ports of a backend's pairs are used, in an order that stays.
func (v *Survey) use(b *backendCount) []PairUse {
	if v.ports == nil {
		return nil
	}
	all := v.taken
	for i := range v.bound {
		all[i] |= v.bound[i]
	}
	bound := all.len()
	var out []PairUse
	for i := range b.pairs {
		p := &b.pairs[i]
		p.use.Ports, p.use.Held, p.use.Life = v.ports.Count, p.inUse+bound, v.ports.hold(p.Pair)
		k := forecastKey{b.plan.Name, p.Pair}
		f := v.forecasts[k]
		if f == nil {
			f = new(forecastSlot)
			v.forecasts[k] = f
		}
		f.used = true
		f.Add(v.now, p.use)
		out = append(out, PairUse{
			Pair: p.Pair, Ports: v.ports.Count, Bound: bound, InUse: p.inUse, TimeWaitOurs: p.ours, TimeWaitOther: p.other,
			Free: p.use.Free(), SecondsLeft: f.SecondsLeft(), Alarm: f.Alarm(),
		})
	}
	sortPairs(out)
	return out
}
