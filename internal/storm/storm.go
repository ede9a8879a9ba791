// Package storm makes the load that weir is for: many short connections. It
// measures what each request took and counts the sockets that the storm left
// behind, by TCP state, at each end.
//
// A storm is bounded in number, in time and in concurrency, and goes to this
// machine only unless it is told otherwise.
package storm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"weir/internal/hist"
)

// Mode is who ends a connection.
type Mode string

const (
	ClientCloses Mode = "client"    // the client closes when it has its response, as most programs do
	ServerCloses Mode = "server"    // the client asks for a close and reads to its end, as ab and PHP do
	Keepalive    Mode = "keepalive" // each worker keeps its connection
)

// Modes returns every Mode, for usage texts.
func Modes() []Mode { return []Mode{ClientCloses, ServerCloses, Keepalive} }

// Options say what to do.
type Options struct {
	URL         string // http://host:port/path
	Requests    int
	Concurrency int
	Mode        Mode
	Timeout     time.Duration // of one request, its connect included
	Limit       time.Duration // of the whole storm
	Remote      bool          // allow targets that are not on this machine

	// Settle is how long to wait before the sockets are counted again, so
	// that closes that are under way have come through.
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
	Target   netip.AddrPort
	Requests int            // answered
	Errors   map[string]int // by kind
	Elapsed  time.Duration
	Latency  hist.Snapshot // from before the connect to the end of the response, of answered requests

	Before, After Ends
}

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

// target is a checked Options.URL.
type target struct {
	addr netip.AddrPort
	host string // as in the URL
	path string
}

// ErrRemote says that a target is not on this machine.
var ErrRemote = errors.New("the target is not a loopback address")

func (o *Options) check(ctx context.Context) (t target, err error) {
	switch {
	case o.Requests < 1 || o.Requests > MaxRequests:
		return t, fmt.Errorf("-n %d: must be 1 to %d", o.Requests, MaxRequests)
	case o.Concurrency < 1 || o.Concurrency > MaxConcurrency:
		return t, fmt.Errorf("-c %d: must be 1 to %d", o.Concurrency, MaxConcurrency)
	case o.Timeout <= 0 || o.Limit <= 0:
		return t, fmt.Errorf("-timeout and -limit must be more than 0")
	case o.Mode != ClientCloses && o.Mode != ServerCloses && o.Mode != Keepalive:
		return t, fmt.Errorf("-mode %q: must be one of %v", o.Mode, Modes())
	}
	u, err := url.Parse(o.URL)
	if err != nil {
		return t, err
	}
	if u.Scheme != "http" || u.Host == "" || u.User != nil {
		return t, fmt.Errorf("%s: must be http://host:port/path", o.URL)
	}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		return t, err
	}
	t.addr, err = netip.ParseAddrPort(net.JoinHostPort(ips[0].Unmap().String(), port))
	if err != nil {
		return t, fmt.Errorf("%s: %w", o.URL, err)
	}
	if !t.addr.Addr().IsLoopback() && !o.Remote {
		return t, fmt.Errorf("%s: %w; a storm there needs -remote, and the consent of whoever runs it", t.addr, ErrRemote)
	}
	t.host, t.path = u.Host, u.RequestURI()
	return t, nil
}

// Run makes the storm and waits for its end. The error is about the options or
// the machine; failures of requests are in the Result.
func Run(ctx context.Context, o Options) (*Result, error) {
	t, err := o.check(ctx)
	if err != nil {
		return nil, err
	}
	r := &Result{Target: t.addr, Errors: map[string]int{}}
	count, err := openCounter(t.addr)
	if err != nil {
		return nil, err
	}
	defer count.close()
	if r.Before, err = count.now(); err != nil {
		return nil, err
	}

	ctx, cancel := context.WithTimeout(ctx, o.Limit)
	defer cancel()
	s := &run{o: &o, t: t, request: request(t, o.Mode), errors: map[string]int{}}
	stop := s.report()
	began := time.Now()
	var wg sync.WaitGroup
	for range min(o.Concurrency, o.Requests) {
		wg.Go(func() { s.work(ctx) })
	}
	wg.Wait()
	r.Elapsed = time.Since(began)
	stop()

	r.Requests, r.Errors = int(s.answered.Load()), s.errors
	r.Latency = s.latency.Snapshot()
	if unsent := int64(o.Requests) - s.begun.Load(); unsent > 0 && ctx.Err() != nil {
		r.Errors["not begun within -limit"] = int(unsent)
	}
	settle := time.NewTimer(o.Settle)
	defer settle.Stop()
	<-settle.C
	if r.After, err = count.now(); err != nil {
		return nil, err
	}
	return r, nil
}

// run is what the workers share.
type run struct {
	o       *Options
	t       target
	request []byte

	begun    atomic.Int64
	answered atomic.Int64
	failed   atomic.Int64
	latency  hist.Hist

	mu     sync.Mutex
	errors map[string]int
}

// report calls Progress until the returned func is called.
func (s *run) report() (stop func()) {
	if s.o.Progress == nil {
		return func() {}
	}
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.o.Progress(int(s.answered.Load()), int(s.failed.Load()))
			case <-quit:
				return
			}
		}
	})
	return func() {
		close(quit)
		wg.Wait()
		s.o.Progress(int(s.answered.Load()), int(s.failed.Load()))
	}
}
