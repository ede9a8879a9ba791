package pool

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/puddle/v2"

	"weir/internal/hist"
	"weir/internal/reason"
	"weir/limiter"
)

// Pool keeps the connections to one endpoint. All methods are safe for
// concurrent use. Close ends it and everything it started.
type Pool struct {
	epoch time.Time // times are kept as durations since then: small, monotonic
	pacer *limiter.Pacer

	ctx    context.Context // of dials; ends in Close
	cancel context.CancelFunc
	group  sync.WaitGroup // dialers and the reaper

	// mu guards all below, the fields of conns and keys, and both queues.
	// Under it there is no I/O: no dial, no look at a socket, no close, no
	// log line, no hook. Each can take longer than a request may. (Group is
	// called under it, because it only computes.)
	mu      sync.Mutex
	opts    *Options // replaced whole, never changed
	errShed error    // refusals come in storms: built once for these opts
	errFull error    // these two at the first one
	errBusy error
	closed  bool
	emptied chan struct{} // closed when closed and no socket is left

	keys     map[string]*keyed
	idle     idleList
	queue    *limiter.Queue[Lease, want]
	main     census // against MaxOpen
	side     census // against Reserved
	turns    *limiter.Queue[struct{}, struct{}]
	need     int // waiters, of all keys, for whom no connection is on the way
	groups   map[string]*group
	short    int      // of need: their group has no place, nor one about to be free
	late     int      // of need: their group has no place now
	closable int      // idle connections whose place another key of their group needs
	dialers  int      // goroutines
	bent     bent     // see Bend
	inFlight int      // most leases at one time; 0 is no bound
	passed   int      // waiters with Passed above 0
	told     int      // connections that are being dialled and that OnOpen was told of
	granted  int      // the sum of the keys'
	scan     int      // see provided
	culls    []*keyed // keys with condemned connections
	scratch  []*puddle.Resource[*conn]
	rand     *rand.Rand

	hold    holddown
	trouble trouble
	learned idleLimit
	alarm   alarm
	recycle time.Duration // until when turns to close for age are used up

	warm      chan struct{} // closed when MinIdle was reached for the first time
	warmed    bool
	wakeUp    chan struct{} // one token: there is something idle again
	sleeping  bool          // the reaper has nothing to do
	tellLimit time.Duration // the learned limit the reaper has to warn of, and
	toldLimit time.Duration // the one it warned of last

	count counters
	waits hist.Hist
	said  atomic.Int64 // the last LearnIdle, so that its repeats cost nothing

	failing atomic.Bool // hold.failing, for who does not hold mu
}

// want is what a waiter waits for.
type want struct {
	key   *keyed
	fresh bool // newly dialled, nothing else
}

func (w want) fits(c *conn) bool { return w.key == c.key && !(w.fresh && c.used) }

// New returns a pool that dials its MinIdle connections at once; Warm waits for
// them. It fails if the options make no sense.
func New(o Options) (*Pool, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	pacer, err := limiter.NewPacer(o.DialRate)
	if err != nil {
		return nil, fmt.Errorf("backend %q: dial.rate: %w", o.Name, err)
	}
	seed := o.Seed
	if seed == 0 {
		seed = rand.Uint64()
	}
	p := &Pool{
		epoch:   time.Now(),
		pacer:   pacer,
		opts:    &o,
		errShed: o.explain(ErrShed),
		emptied: make(chan struct{}),
		keys:    make(map[string]*keyed),
		rand:    rand.New(rand.NewPCG(seed, seed)),
		warm:    make(chan struct{}),
		wakeUp:  make(chan struct{}, 1),
	}
	p.count.make()
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.queue = limiter.NewQueue[Lease](&p.mu, o.QueueMax, o.QueueTimeout, p.leftQueue)
	p.queue.OnWay = p.onWay
	p.turns = limiter.NewQueue[struct{}, struct{}](&p.mu, sideWaiters, o.QueueTimeout, nil)
	p.alarm.timer = time.AfterFunc(time.Hour, p.ring)
	p.alarm.timer.Stop()
	p.group.Go(p.reap)

	p.mu.Lock()
	p.noteWarm()
	p.plan()
	p.mu.Unlock()
	return p, nil
}

// now is the pool's time.
func (p *Pool) now() time.Duration { return time.Since(p.epoch) }

// Warm returns when MinIdle connections are open for the first time, or with
// ctx, then with the last dial's error if there was one.
func (p *Pool) Warm(ctx context.Context) error {
	select {
	case <-p.warm:
		return nil
	case <-p.ctx.Done():
		return p.options().explain(ErrClosed)
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	o, live := p.opts, 0
	if k := p.keys[o.WarmKey]; k != nil {
		live = k.live()
	}
	err := fmt.Errorf("backend %q: %d of %d connections open (pool.min_idle): %w", o.Name, live, o.MinIdle, ctx.Err())
	if p.hold.last != nil {
		err = fmt.Errorf("%w; %w", err, p.hold.last)
	}
	return err
}

// warmNeed is how many connections MinIdle lacks, not counting those on the way
// or needed anyway.
func (p *Pool) warmNeed() int {
	if p.opts.MinIdle == 0 || p.bent.noDials && p.warmed {
		return 0
	}
	k := p.keyed(p.opts.WarmKey)
	if k.hold.active(p.now()) {
		return 0
	}
	lacks := max(0, p.opts.MinIdle-k.live()-k.n[dialing]-k.need)
	if g := k.group; g != nil {
		return min(lacks, max(0, g.most-g.open-g.need))
	}
	return lacks
}

func (p *Pool) noteWarm() {
	if p.warmed {
		return
	}
	if k := p.keys[p.opts.WarmKey]; p.opts.MinIdle == 0 || k != nil && k.live() >= p.opts.MinIdle {
		p.warmed = true
		close(p.warm)
	}
}

func (p *Pool) options() *Options {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.opts
}

// Apply changes the settings while the pool works. Connections stay, unless
// Address or Stamp changed: then the idle are closed now and the leased when
// they come back. A lower MaxOpen closes the coldest idle ones, and leased ones
// as they come back; until the count is below it, nothing is dialled. The same
// goes for the bound of each group, and for keys that Group now puts elsewhere.
func (p *Pool) Apply(o Options) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := p.pacer.SetRate(o.DialRate); err != nil {
		return fmt.Errorf("backend %q: dial.rate: %w", o.Name, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return o.explain(ErrClosed)
	}
	old := p.opts
	p.opts, p.errShed = &o, o.explain(ErrShed)
	p.setQueueLimits()
	p.turns.SetLimits(sideWaiters, o.QueueTimeout)
	p.regroup()
	if !o.sameEndpoint(old) {
		// What the old endpoint did says nothing of the new one.
		p.answered()
		p.learned = idleLimit{}
		p.said.Store(0)
		for _, k := range p.keys {
			k.hold.ok()
			k.recount()
			p.forget(k) // hold-down may have been all there was
		}
		p.closeColdest(nil, p.main.open, reason.CloseGeneration)
	}
	p.shrink()
	if o.IdleTimeout != old.IdleTimeout || !o.sameEndpoint(old) {
		p.toldLimit = 0
		p.noteLimit()
	}
	p.noteWarm()
	p.plan()
	p.planSide()
	return nil
}

// SetTarget sets the queueing delay that waiters of a class may stand for a while
// (queue.target); see limiter.Queue.SetTarget. 0, as in a new pool, is none.
func (p *Pool) SetTarget(target time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue.SetTarget(target)
}

// surplus is how many more connections are kept than MaxOpen allows.
func (p *Pool) surplus() int { return p.main.open - p.main.n[closing] - p.opts.MaxOpen }

// Close ends the pool: who waits gets ErrClosed, what is idle is closed, what
// is leased is awaited until ctx ends. Connections that come back later are
// still closed properly, and the error says how many. Dials under way are
// cancelled and awaited, whatever ctx says: Connect must heed its context.
func (p *Pool) Close(ctx context.Context) error {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		p.queue.FailAll(ErrClosed)
		p.turns.FailAll(ErrClosed)
		p.closeColdest(nil, p.main.open, reason.CloseDrain)
		p.alarm.timer.Stop()
		p.noteEmpty()
	}
	p.mu.Unlock()
	p.cancel()
	p.pacer.Stop()
	p.group.Wait()

	select {
	case <-p.emptied:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.main.open == 0 && p.side.open == 0 { // ctx may have ended before
		return nil
	}
	return fmt.Errorf("backend %q: %d connections still leased, %d being closed: %w",
		p.opts.Name, p.main.n[leased]+p.side.n[leased], p.main.n[closing]+p.side.n[closing], ctx.Err())
}

func (p *Pool) noteEmpty() {
	if p.closed && p.main.open == 0 && p.side.open == 0 {
		select {
		case <-p.emptied:
		default:
			close(p.emptied)
		}
	}
}
