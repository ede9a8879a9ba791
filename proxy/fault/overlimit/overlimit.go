// Package overlimit says that a request is over a limit, alike for every front.
package overlimit

import (
	"context"
	"log/slog"

	"weir/limiter"
	"weir/proxy/fault"
)

// Limit is the limits block of a listener, a route or a backend.
type Limit struct {
	Gate *limiter.Gate // nil: there is none
	By   limiter.KeyBy // what its keys are
	Name string        // for the log
}

var kinds = [...]fault.Kind{
	limiter.OverRate: fault.LimitRate, limiter.OverPerRate: fault.LimitPerRate, limiter.OverInFlight: fault.LimitInFlight,
}

// Kind is the fault of a request that a gate has refused.
func Kind(v limiter.Verdict) fault.Kind { return kinds[v] }

// Log tells the operator, now and then, that l refuses a listener's requests.
func (l *Limit) Log(log *slog.Logger, listener string, v limiter.Verdict, now int64) {
	if !l.Gate.Tell(now) {
		return
	}
	k := Kind(v)
	row := k.Row()
	log.Log(context.Background(), row.Level, "requests are over a limit", "listener", listener, "limit", l.Name,
		"reason", k.String(), "refused", l.Gate.Refused()[v], "hint", row.Hint)
}

// patience is how many refusals in a row a client of one key gets before its
// socket is left unread until it may send again.
const patience = 3

// Patience counts a client's refusals in a row by limits.per_rate, up to three.
type Patience uint8

// Spent is a Patience that has come to its end.
const Spent Patience = patience

// Refuse counts one more, and says whether that is the end of it.
func (p *Patience) Refuse() bool {
	*p = min(*p+1, Spent)
	return *p == Spent
}

// Rested is what is left after the client was left unread: for one refusal.
func (p Patience) Rested() Patience { return min(p, Spent-1) }
