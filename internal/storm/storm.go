// Package storm makes the load that weir is for: many short connections, to an
// HTTP server or to a MySQL one. It measures what each exchange took and counts
// the sockets that the storm left behind, by TCP state, at each end.
//
// An exchange is a request and its response, or a query and its result; what
// both have in common is called a request here.
//
// A storm is bounded in number, in time and in concurrency, and goes to this
// machine only unless it is told otherwise.
package storm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"weir/internal/hist"
)

// Mode is who ends a connection.
type Mode string

const (
	ClientCloses Mode = "client"    // the client closes when it has its response, as most programs do; MySQL: right after COM_QUIT
	ServerCloses Mode = "server"    // the client asks for a close and reads to its end, as ab and PHP do; MySQL: by COM_QUIT
	Keepalive    Mode = "keepalive" // each worker keeps its connection
)

// Modes returns every Mode, for usage texts.
func Modes() []Mode { return []Mode{ClientCloses, ServerCloses, Keepalive} }

// Options say what to do.
type Options struct {
	URL         string // http://host:port/path, or mysql:// as Forms says
	Query       string // what a MySQL target is asked; empty: SELECT 1. No other target has it.
	Password    string // of the URL's user, for a MySQL target whose URL has none
	Requests    int
	Concurrency int
	Mode        Mode
	Timeout     time.Duration // of one request, its connect included
	Limit       time.Duration // of the whole storm; what is under way then is cut
	Remote      bool          // allow targets that are not on this machine

	// Settle is how long to wait before the sockets are counted again, so
	// that closes that are under way have come through. An interruption ends it.
	Settle time.Duration

	Progress func(done, errors int) // called a few times a second, if not nil
}

// The bounds of Options.
const (
	MaxRequests    = 10_000_000
	MaxConcurrency = 10_000
)

// Result is what came of it.
type Result struct {
	Target   string         // host:port, or the path of a unix socket
	Unit     string         // what the requests are, "requests" or "queries"
	TCP      bool           // Target is a TCP address: Before and After are counted
	Requests int            // answered
	Errors   map[string]int // by kind: a bounded number of them
	NotBegun int            // never sent, as the storm was ended before; no failures
	Ended    string         // CutByLimit or Interrupted; empty: the storm came to its own end
	Elapsed  time.Duration
	Latency  hist.Snapshot // from before the connect to the end of the response, of answered requests

	Before, After Ends
}

// What ends a storm early. Requests that are under way then are failures of that kind.
const (
	CutByLimit  = "cut by -limit" // Options.Limit
	Interrupted = "interrupted"   // the context of Run
)

// Failed is the number of requests without an answer.
func (r *Result) Failed() (n int) {
	for _, c := range r.Errors {
		n += c
	}
	return n
}

// PerSecond is the rate of answered requests.
func (r *Result) PerSecond() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Requests) / r.Elapsed.Seconds()
}

// ErrRemote says that a target is not on this machine.
var ErrRemote = errors.New("the target is not a loopback address")

// CheckSize refuses numbers of requests, and of connections at a time, that no
// storm may have.
func CheckSize(requests, concurrency int) error {
	switch {
	case requests < 1 || requests > MaxRequests:
		return fmt.Errorf("-n %d: must be 1 to %d", requests, MaxRequests)
	case concurrency < 1 || concurrency > MaxConcurrency:
		return fmt.Errorf("-c %d: must be 1 to %d", concurrency, MaxConcurrency)
	}
	return nil
}

func (o *Options) check(ctx context.Context) (t target, err error) {
	if err := CheckSize(o.Requests, o.Concurrency); err != nil {
		return t, err
	}
	switch {
	case o.Timeout <= 0 || o.Limit <= 0:
		return t, fmt.Errorf("-timeout and -limit must be more than 0")
	case o.Mode != ClientCloses && o.Mode != ServerCloses && o.Mode != Keepalive:
		return t, fmt.Errorf("-mode %q: must be one of %v", o.Mode, Modes())
	}
	return o.target(ctx)
}
