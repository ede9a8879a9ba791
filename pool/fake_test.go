package pool

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"weir/internal/reason"
	"weir/internal/sock"
	"weir/limiter"
)

// fakeConn is a connection of a fakeBackend. What Look sees is set by the test.
type fakeConn struct {
	sock.Conn // nil: what the pool has no business to call panics

	b     *fakeBackend
	key   string
	id    int
	sight atomic.Int32
	owner atomic.Int64 // of the stress test
	ended atomic.Bool
}

// Info is what a socket that is not TCP says.
func (c *fakeConn) Info() (sock.Info, bool) { return sock.Info{}, false }

func (c *fakeConn) see(s sock.Sight) { c.sight.Store(int32(s)) }

func (c *fakeConn) Look() sock.Sight {
	if c.ended.Load() {
		panic("look at a closed connection")
	}
	if gate := c.b.lookGate.Load(); gate != nil {
		(*gate)(c)
	}
	return sock.Sight(c.sight.Load())
}

func (c *fakeConn) end() error {
	if c.ended.Swap(true) {
		panic("connection closed twice")
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	c.b.open--
	c.b.openBy[c.key]--
	c.b.ends = append(c.b.ends, c.id)
	return nil
}

func (c *fakeConn) Close() error { return c.end() }
func (c *fakeConn) Abort() error { return c.end() }

// fakeBackend counts what is opened and closed on its side of the pool.
type fakeBackend struct {
	lookGate atomic.Pointer[func(*fakeConn)] // called in every Look

	mu     sync.Mutex
	open   int // between Connect's begin and the end of the connection
	most   int
	openBy map[string]int                          // as open, by key
	onDial func(key string, openBy map[string]int) // called under mu at Connect's begin, this one counted
	ids    int
	dials  []time.Time // when each began
	opened []string    // keys of those that succeeded, in order
	ends   []int       // ids in order of their end
	conns  []*fakeConn

	takes time.Duration // a dial
	fail  func(key string) error
}

var errRefused = errors.New("connection refused")

func (b *fakeBackend) connect(ctx context.Context, key string) (sock.Conn, any, error) {
	b.mu.Lock()
	b.open++
	b.most = max(b.most, b.open)
	if b.openBy == nil {
		b.openBy = make(map[string]int)
	}
	b.openBy[key]++
	if b.onDial != nil {
		b.onDial(key, b.openBy)
	}
	b.dials = append(b.dials, time.Now())
	takes := b.takes
	b.mu.Unlock()

	var err error
	if takes > 0 {
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil && b.fail != nil {
		err = b.fail(key)
	}
	if err != nil {
		b.open--
		b.openBy[key]--
		return nil, nil, err
	}
	b.ids++
	c := &fakeConn{b: b, key: key, id: b.ids}
	b.opened = append(b.opened, key)
	b.conns = append(b.conns, c)
	return c, fmt.Sprintf("%s#%d", key, c.id), nil
}

// set changes the backend's behaviour.
func (b *fakeBackend) set(takes time.Duration, fail func(string) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.takes, b.fail = takes, fail
}

func (b *fakeBackend) dialled() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.dials)
}

// mostDialsIn is the highest number of dials that began within any span of d.
func (b *fakeBackend) mostDialsIn(d time.Duration) (most int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, from := range b.dials {
		n := 0
		for _, at := range b.dials[i:] {
			if at.Sub(from) < d {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

func refuse(string) error { return errRefused }

// testOptions are generous but for what a test sets.
func testOptions(b *fakeBackend) Options {
	return Options{
		Name: "api", Address: "192.0.2.1:80",
		MaxOpen: 4, Reserved: 2,
		DialTimeout: time.Second, DialRate: 1000, DialConcurrent: 8,
		QueueMax: 100, QueueTimeout: time.Second,
		Connect: b.connect, Seed: 1,
	}
}

// fixture is a pool before a fake backend, in a bubble.
type fixture struct {
	*testing.T
	*Pool
	b *fakeBackend
}

// bubble runs f with a pool whose options set may change. At the end the pool
// is closed, and everything that was opened must have been closed.
func bubble(t *testing.T, set func(*Options), f func(fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &fakeBackend{}
		o := testOptions(b)
		if set != nil {
			set(&o)
		}
		p, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		x := fixture{t, p, b}
		defer x.closeAll()
		f(x)
	})
}

func (x fixture) closeAll() {
	x.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := x.Pool.Close(ctx); err != nil {
		x.Error(err)
	}
	synctest.Wait()
	x.b.mu.Lock()
	defer x.b.mu.Unlock()
	if x.b.open != 0 {
		x.Errorf("%d connections are open after Close", x.b.open)
	}
	if s := x.Stats(); s.Open != 0 || s.SideOpen != 0 || s.Waiting != 0 || s.Keys > 1 {
		x.Errorf("after Close: %+v", s)
	}
}

func (x fixture) get(key string) Lease {
	x.Helper()
	l, err := x.Acquire(context.Background(), key, limiter.ClassDefault)
	if err != nil {
		x.Fatalf("Acquire(%q): %v", key, err)
	}
	return l
}

// settle lets everything come to rest without letting time pass.
func settle() { synctest.Wait() }

// pass lets time pass, and what is due happen.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// result is what came out of an Acquire in the background.
type result struct {
	Lease
	err  error
	took time.Duration
}

// asks begins an Acquire in the background and lets it come to rest.
func (x fixture) asks(ctx context.Context, key string, fresh bool) <-chan result {
	out := make(chan result, 1)
	began := time.Now()
	go func() {
		l, err := x.acquire(ctx, key, limiter.ClassDefault, fresh)
		out <- result{l, err, time.Since(began)}
	}()
	settle()
	return out
}

func (x fixture) waits(key string) <-chan result { return x.asks(context.Background(), key, false) }

// done is the result if there is one already.
func (x fixture) done(out <-chan result) (result, bool) {
	settle()
	select {
	case r := <-out:
		return r, true
	default:
		return result{}, false
	}
}

func (x fixture) mustGet(out <-chan result) Lease {
	x.Helper()
	r, ok := x.done(out)
	if !ok { // the pacer spaces dials by a millisecond here
		pass(2 * time.Millisecond)
		r, ok = x.done(out)
	}
	if !ok {
		x.Fatal("still waiting")
	}
	if r.err != nil {
		x.Fatal(r.err)
	}
	return r.Lease
}

func (x fixture) mustWait(out <-chan result) {
	x.Helper()
	if r, ok := x.done(out); ok {
		x.Fatalf("does not wait: lease %v, %v", r.Valid(), r.err)
	}
}

func fakeOf(l Lease) *fakeConn { return l.Conn().(*fakeConn) }

func (x fixture) closed(why reason.Close) uint64 { return x.Stats().Closes[why] }

// with is the pool's options after change.
func (x fixture) with(change func(*Options)) Options {
	o := *x.options()
	change(&o)
	return o
}
