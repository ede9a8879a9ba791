package limiter

import (
	"fmt"
	"math"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Limit is a rate and a burst: one token comes each interval, and after a rest
// there are burst of them. The zero Limit limits nothing. Limits are values and
// can be compared.
//
// It is the virtual scheduling form of the generic cell rate algorithm (ITU-T
// I.371, annex A). All that is remembered is the theoretical arrival time, TAT:
// when all that was taken would have been taken at an even pace. The distance
// from now to it, the debt, is what is missing from a full burst. A TAT that has
// passed says no more than that nobody ever came.
type Limit struct {
	interval int64 // ns from one token to the next; 0: no limit
	burst    int64
}

// The bounds of a Limit, as of the configuration.
const (
	minInterval = time.Microsecond // a million a second
	maxInterval = time.Hour
	maxBurst    = 1_000_000
)

// Times in ns. At most horizon (146 years) from 0 in both directions, they can
// have the greatest debt (114 years) added and fit in an int64. Beyond it time
// stands still, so that a wild clock neither wraps round nor opens the gate.
const (
	moved    = math.MinInt64     // in place of a TAT: the state was replaced
	never    = math.MinInt64 + 1 // the TAT of who never came
	horizon  = 1 << 62
	earliest = -horizon
	latest   = horizon - 1
)

// NewLimit lets n through in each per, and burst at once after a rest. The
// interval is rounded up to whole nanoseconds: a Limit is never above its rate,
// and below it by a thousandth at 999,999/s, by less the slower it is.
func NewLimit(n int64, per time.Duration, burst int) (Limit, error) {
	if n < 1 || per <= 0 {
		return Limit{}, fmt.Errorf("rate %d per %v lets nothing through; leave it out for no limit", n, per)
	}
	interval := (int64(per)-1)/n + 1
	switch {
	case n > int64(per)/int64(minInterval):
		return Limit{}, fmt.Errorf("rate %d per %v: use at most 1000000/s, or leave it out for no limit", n, per)
	case interval > int64(maxInterval):
		return Limit{}, fmt.Errorf("rate %d per %v: use at least 1/h", n, per)
	case burst < 1 || burst > maxBurst:
		return Limit{}, fmt.Errorf("burst %d: use 1 to %d", burst, maxBurst)
	}
	return Limit{interval: interval, burst: int64(burst)}, nil
}

// Interval is the time from one token to the next, 0 without a limit.
func (l Limit) Interval() time.Duration { return time.Duration(l.interval) }

// Burst is the most tokens there can be, 0 without a limit.
func (l Limit) Burst() int { return int(l.burst) }

// take returns the TAT after one token more is used, or, if there is none, how
// long until there is: a wait above 0 is a refusal. now is clamped.
func (l Limit) take(tat, now int64) (int64, time.Duration) {
	debt, most := debtAt(tat, now), uint64(l.interval*(l.burst-1))
	if debt > most {
		return tat, duration(debt - most)
	}
	return now + int64(debt) + l.interval, 0
}

// refund returns the TAT with one token back. From earliest down it says "full"
// as well as it ever will, so no number of refunds wraps round.
func (l Limit) refund(tat int64) int64 {
	if tat <= earliest {
		return tat
	}
	return tat - l.interval
}

func (l Limit) left(tat, now int64) (tokens int, full time.Duration) {
	if l.interval == 0 {
		return math.MaxInt, 0
	}
	debt := debtAt(tat, now)
	if most := uint64(l.interval * l.burst); debt < most {
		tokens = int((most - debt) / uint64(l.interval))
	}
	return tokens, duration(debt)
}

// carry returns the TAT that says under l what tat said under old: as many
// tokens used, but no more than there are, and a part of one rounded up. Left
// as it is, an hour's debt under 1/h would be an hour's debt under 1000/s, too.
func (l Limit) carry(old Limit, tat, now int64) int64 {
	debt := debtAt(tat, now)
	if debt == 0 || old.interval == 0 || l.interval == 0 {
		return now
	}
	used, part := debt/uint64(old.interval), debt%uint64(old.interval)
	if used >= uint64(l.burst) {
		return now + l.interval*l.burst
	}
	// part is less than the old interval, so the division cannot overflow.
	hi, lo := bits.Mul64(part, uint64(l.interval))
	part, rest := bits.Div64(hi, lo, uint64(old.interval))
	if rest > 0 {
		part++
	}
	return now + int64(used)*l.interval + int64(part) // part is at most one interval
}

// debtAt is how far tat is ahead of now, 0 if it has passed.
func debtAt(tat, now int64) uint64 {
	if tat <= now {
		return 0
	}
	return uint64(tat) - uint64(now) // right even where an int64 is too small for it
}

func duration(ns uint64) time.Duration { return time.Duration(min(ns, math.MaxInt64)) }

func clamp(now int64) int64 { return max(earliest, min(now, latest)) }

// Rate lets callers through at a Limit, whoever they are. It never waits: it
// says how long the caller would have to. The state is one word.
//
// now is in nanoseconds of any clock that goes evenly, the same one for all
// calls. A caller whose now is a little behind another's only sees a little more
// debt. All methods are safe for concurrent use, and none but Set allocates. The
// zero Rate has no limit.
type Rate struct {
	setting sync.Mutex // one Set at a time
	state   atomic.Pointer[rateState]
}

// rateState is a limit and what was used under it. Set replaces both: first it
// takes the TAT away and leaves moved in its place, so that nobody can use what
// was already carried over.
type rateState struct {
	Limit
	tat atomic.Int64
}

// NewRate returns a rate with a full burst.
func NewRate(limit Limit) *Rate {
	r := &Rate{}
	r.Set(limit, 0)
	return r
}

// Set changes the limit, at now. What was used stays used: if 6 of a burst of 10
// were, a burst of 20 has 14 left, at whatever rate.
func (r *Rate) Set(limit Limit, now int64) {
	r.setting.Lock()
	defer r.setting.Unlock()
	s := &rateState{Limit: limit}
	s.tat.Store(never)
	old := r.state.Load()
	if old != nil && old.Limit == limit {
		return
	}
	if old != nil { // from here callers spin, so there is nothing else here
		if tat := old.tat.Swap(moved); tat != never {
			s.tat.Store(limit.carry(old.Limit, tat, clamp(now)))
		}
	}
	r.state.Store(s)
}

// Take uses one token. If there is none it returns false and the exact time
// until there is one, should nobody else take it.
func (r *Rate) Take(now int64) (wait time.Duration, ok bool) {
	now = clamp(now)
	for {
		s, old := r.load()
		if s == nil {
			return 0, true
		}
		tat, wait := s.take(old, now)
		if wait > 0 {
			return wait, false
		}
		if s.tat.CompareAndSwap(old, tat) {
			return 0, true
		}
	}
}

// Refund gives one token back that Take gave, as something else refused the
// caller. It must not be called more often than Take said yes.
func (r *Rate) Refund() {
	for {
		s, old := r.load()
		if s == nil || s.tat.CompareAndSwap(old, s.refund(old)) {
			return
		}
	}
}

// Left is how many tokens there are, and in how long there will be a full burst
// if none is taken. Without a limit there are math.MaxInt.
func (r *Rate) Left(now int64) (tokens int, full time.Duration) {
	s, tat := r.load()
	if s == nil {
		return math.MaxInt, 0
	}
	return s.left(tat, clamp(now))
}

// Limit is the limit that was set last.
func (r *Rate) Limit() Limit {
	if s := r.state.Load(); s != nil {
		return s.Limit
	}
	return Limit{}
}

// load returns the state and its TAT, or nil if there is no limit.
func (r *Rate) load() (*rateState, int64) {
	for {
		s := r.state.Load()
		if s == nil || s.interval == 0 {
			return nil, 0
		}
		if tat := s.tat.Load(); tat != moved {
			return s, tat
		}
		runtime.Gosched() // Set is between two lines
	}
}
