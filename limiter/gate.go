package limiter

import (
	"sync/atomic"
	"time"
)

// Verdict is what a Gate says to a request.
type Verdict uint8

const (
	Pass         Verdict = iota
	OverRate             // all requests together come too fast
	OverPerRate          // those of its key do
	OverInFlight         // as many are under way as may be

	verdicts
)

func (v Verdict) String() string {
	return [...]string{"pass", "rate", "per_rate", "in_flight"}[v&3]
}

// GateOptions are the limits of one place. Zero values are no limits.
type GateOptions struct {
	Rate     Limit
	PerRate  Limit
	Keys     int // that PerRate remembers; see NewRates
	InFlight int
}

// Gate lets requests in, or says which limit they are over. It is the limits
// block of a listener, a route or a backend. All methods are safe for concurrent
// use, allocate nothing and do not wait. A nil Gate lets everything in.
type Gate struct {
	set      atomic.Pointer[gateSet]
	inFlight atomic.Int64
	refused  [verdicts]atomic.Uint64
	told     atomic.Int64 // when Tell last said yes, in ns
}

// KeyBy says what the keys of a Gate stand for: the value of a request's header
// field, the MySQL account, or else the client's address by its leading bits.
type KeyBy struct {
	Header     string
	User       bool
	IPv4, IPv6 int
}

// Name is the short name of what is counted by.
func (k *KeyBy) Name() string {
	switch {
	case k.Header != "":
		return k.Header
	case k.User:
		return "user"
	}
	return "client"
}

// epoch is the beginning of the gates' time. It is long before any now, for a now
// of 0 stands for "never".
var epoch = time.Now().Add(-time.Hour)

// Nanos is t on the gates' clock, the monotonic one.
func Nanos(t time.Time) int64 { return int64(t.Sub(epoch)) }

// gateSet is what Apply replaces as a whole. What counts is carried over.
type gateSet struct {
	opt  GateOptions
	rate *Rate
	per  *Rates
}

// NewGate makes a Gate. It fails for Keys that are out of range.
func NewGate(opt GateOptions) (*Gate, error) {
	g := new(Gate)
	g.set.Store(&gateSet{})
	return g, g.Apply(opt, 0, false)
}

// Apply changes the limits, at now. Counts go on; those by key begin anew if Keys
// changes, or where the keys mean something else than before. On an error nothing
// has changed. It must not be called twice at the same time.
func (g *Gate) Apply(opt GateOptions, now int64, otherKeys bool) error {
	old := g.set.Load()
	next := &gateSet{opt: opt, rate: old.rate, per: old.per}
	switch {
	case opt.PerRate == (Limit{}):
		next.per = nil
	case old.per == nil || otherKeys || opt.Keys != old.opt.Keys:
		var err error
		if next.per, err = NewRates(opt.PerRate, opt.Keys); err != nil {
			return err
		}
	default:
		next.per.Set(opt.PerRate, now)
	}
	switch {
	case opt.Rate == (Limit{}):
		next.rate = nil
	case old.rate == nil:
		next.rate = NewRate(opt.Rate)
	default:
		next.rate.Set(opt.Rate, now)
	}
	g.set.Store(next)
	return nil
}

// Options are the limits that hold now.
func (g *Gate) Options() GateOptions { return g.set.Load().opt }

// InFlight is how many requests are under way.
func (g *Gate) InFlight() int {
	if g == nil {
		return 0
	}
	return int(g.inFlight.Load())
}

// Refused is how many requests were refused, by Verdict.
func (g *Gate) Refused() (out [verdicts]uint64) {
	for v := range out {
		out[v] = g.refused[v].Load()
	}
	return out
}

// GateStats is what a Gate is doing.
type GateStats struct {
	InFlight int
	Refused  [verdicts]uint64 // by Verdict
	Keys     RatesStats       // of PerRate
}

// Stats returns the state at now.
func (g *Gate) Stats(now int64) GateStats {
	st := GateStats{InFlight: g.InFlight(), Refused: g.Refused()}
	if per := g.set.Load().per; per != nil {
		st.Keys = per.Stats(now)
	}
	return st
}

// Tell says, once in ten seconds at most and to one caller of all, that it is time
// to tell the operator of refusals: a log line for each would cost more than what
// is refused.
func (g *Gate) Tell(now int64) bool {
	told := g.told.Load()
	return (told == 0 || now-told > int64(10*time.Second)) && g.told.CompareAndSwap(told, now)
}

// Way is a request's way through the gates: those that it has passed, so that
// one that refuses it costs nothing at those before, and that all are left. It
// belongs to one goroutine. The zero value has passed none.
type Way struct {
	passed [mostGates]passed
	n      int
}

// mostGates: of the listener, the route and the backend.
const mostGates = 3

type passed struct {
	gate *Gate
	set  *gateSet
	key  Key
}

// Enter passes a gate, or takes the request out of all that it has passed. now is
// in nanoseconds of a monotonic clock, key what PerRate counts by. wait is how
// long it will take until a request of that key can pass, if that is known.
func (w *Way) Enter(g *Gate, now int64, key Key) (v Verdict, wait time.Duration) {
	if g == nil {
		return Pass, 0
	}
	set := g.set.Load()
	if set.per != nil {
		if wait, ok := set.per.Take(key, now); !ok {
			return w.refused(g, OverPerRate), wait
		}
	}
	if set.rate != nil {
		if wait, ok := set.rate.Take(now); !ok {
			if set.per != nil {
				set.per.Refund(key)
			}
			return w.refused(g, OverRate), wait
		}
	}
	if n := g.inFlight.Add(1); set.opt.InFlight > 0 && n > int64(set.opt.InFlight) {
		g.inFlight.Add(-1)
		set.refund(key)
		return w.refused(g, OverInFlight), 0
	}
	w.passed[w.n] = passed{g, set, key}
	w.n++
	return Pass, 0
}

// refund gives back what a request has taken.
func (s *gateSet) refund(key Key) {
	if s.per != nil {
		s.per.Refund(key)
	}
	if s.rate != nil {
		s.rate.Refund()
	}
}

// refused counts, and leaves the other gates as if the request had never come.
func (w *Way) refused(g *Gate, v Verdict) Verdict {
	g.refused[v].Add(1)
	for i := range w.passed[:w.n] {
		p := &w.passed[i]
		p.set.refund(p.key)
	}
	w.Leave()
	return v
}

// Leave says that the request is over. It may be called again.
func (w *Way) Leave() {
	for i := range w.passed[:w.n] {
		w.passed[i].gate.inFlight.Add(-1)
		w.passed[i] = passed{}
	}
	w.n = 0
}

// Left tells of the innermost gate with a PerRate, for the RateLimit field: how
// many requests of the key could come now, and when a whole burst could again. g
// is nil where there is none.
func (w *Way) Left(now int64) (g *Gate, limit Limit, left int, full time.Duration) {
	for i := w.n - 1; i >= 0; i-- {
		if p := &w.passed[i]; p.set.per != nil {
			left, full = p.set.per.Left(p.key, now)
			return p.gate, p.set.opt.PerRate, left, full
		}
	}
	return nil, Limit{}, 0, 0
}
