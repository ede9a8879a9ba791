package sock

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Wake says why a handler is called.
type Wake uint8

const (
	WakeAccepted Wake = iota // a new client
	WakeReadable             // a parked client sent something, or closed
	WakeExpired              // a parked client was silent for as long as it may be
	WakeDraining             // a parked client is in the way of a stop
	WakeFull                 // a new client beyond MaxClients: refuse it
)

// Next is what is to become of a client when its handler returns.
type Next struct {
	// Park is how long to wait for the client's next byte. Zero means that
	// the handler has ended the connection (Sweeper.End).
	Park time.Duration
	// State is given back when the client wakes. It is all that is kept of a
	// parked session, so it should be small.
	State any
	// Unread leaves what the client sends in the socket meanwhile: see unread.go.
	// Ahead says that some of it was read already, and waits in State.
	Unread, Ahead bool
}

// Handler serves clients.
type Handler interface {
	// Serve runs the session of a client of l, in a goroutine of its own,
	// until the session has ended the connection or wants it parked. state
	// is nil for a new client.
	Serve(l *Listener, c Conn, w Wake, state any) Next
}

// ListenOptions is what a Listener is made of.
type ListenOptions struct {
	Address     string  // host:port, or unix:/path
	MaxClients  int     // more are handed over with WakeFull; 0 for no bound
	DeferAccept bool    // TCP_DEFER_ACCEPT: a client is accepted with its first bytes
	Shards      int     // sockets of a TCP listener on the raw path; 0 for one a processor, at most 8
	Handler     Handler // changed by SetHandler
	Poller      *Poller
	Log         *slog.Logger

	// Wrap, if not nil, puts a layer around each connection: TLS. The plain
	// path is taken then.
	Wrap func(net.Conn) net.Conn
}

// Listener accepts clients on one address and runs their sessions. It owns
// their goroutines; Drain and Close wait for them.
type Listener struct {
	opt    ListenOptions
	shards []shard
	addr   net.Addr
	max    atomic.Int64

	sharing atomic.Pointer[[]*Listener] // see ShareMax

	front  atomic.Pointer[Handler]
	gone   func(How)      // these three made once: l.ended,
	left   func(How)      // l.closingEnded,
	away   func(How)      // l.refusedEnded
	wg     sync.WaitGroup // clients, parked ones included
	accept sync.WaitGroup // acceptors
	stop   chan struct{}
	once   sync.Once

	draining atomic.Bool
	held     hold // of the acceptors

	mu     sync.Mutex
	active list // sessions with a goroutine; parked raw clients are in their lot
	cut    bool // Close has interrupted the active ones
	lots   map[time.Duration]*lot

	open, parked        atomic.Int64
	closing             atomic.Int64 // clients whose session is over, as far as open does not count them
	refused             atomic.Int64 // clients that are being told so; they count in no other bound
	accepted            atomic.Uint64
	full, acceptErrors  atomic.Uint64
	lastError, lastFull seldom // for the log
	closed              [hows]atomic.Uint64
	unread              atomic.Int64  // clients that are left unread now
	leftUnread          atomic.Uint64 // how often one was
	heard               atomic.Pointer[chan struct{}]
}

// ListenerStats is a Listener's state by value.
type ListenerStats struct {
	Open         int64 // clients now, those being closed or refused included
	Parked       int64 // of them, idle without a goroutine (raw path) or without a buffer
	Accepted     uint64
	Full         uint64 // refused because of MaxClients
	Unread       int64  // of Parked: not read from, see Next.Unread
	LeftUnread   uint64 // how often a client was
	AcceptErrors uint64 // no descriptor or memory for a new client
	Accepting    bool
	Held         bool         // by SetAccepting
	Closed       [hows]uint64 // by How
}

// MaxShards bounds the sockets of a TCP listener whose options give no number.
// Accepting is a small part of the work, and eight loops of it keep more cores
// busy than a proxy has.
const MaxShards = 8

// Listen opens an address and starts to accept. A second Listener on the same
// address is an error, in this process or another.
func Listen(opt ListenOptions) (*Listener, error) {
	l := &Listener{opt: opt, stop: make(chan struct{}), lots: map[time.Duration]*lot{}}
	l.max.Store(int64(opt.MaxClients))
	l.front.Store(&opt.Handler)
	heard := make(chan struct{})
	l.heard.Store(&heard)
	l.gone, l.left, l.away = l.ended, l.closingEnded, l.refusedEnded
	if opt.Log == nil {
		l.opt.Log = slog.New(slog.DiscardHandler)
	}
	if l.opt.Shards == 0 {
		l.opt.Shards = min(runtime.NumCPU(), MaxShards)
	}
	if path, ok := cutUnix(opt.Address); ok {
		if err := l.listenUnix(path); err != nil {
			return nil, err
		}
	} else if err := l.listenTCP(); err != nil {
		return nil, err
	}
	l.addr = l.shards[0].ln.Addr()
	for i := range l.shards {
		if err := l.shards[i].open(l); err != nil {
			l.closeShards()
			return nil, fmt.Errorf("listen %s: %w", opt.Address, err)
		}
	}
	for _, s := range l.shards {
		l.accept.Go(func() { l.acceptLoop(s) })
	}
	return l, nil
}

func (l *Listener) closeShards() {
	for _, s := range l.shards {
		s.ln.Close()
		s.close()
	}
}

// Addr is the address that is listened on, its port chosen where it was 0.
func (l *Listener) Addr() net.Addr { return l.addr }

// SetMaxClients changes the bound for clients that come from now on.
func (l *Listener) SetMaxClients(n int) { l.max.Store(int64(n)) }

// ShareMax makes the bound one for all of these listeners, l among them,
// together.
func (l *Listener) ShareMax(all []*Listener) { l.sharing.Store(&all) }

// together is how many clients count against the bound.
func (l *Listener) together() (n int64) {
	all := l.sharing.Load()
	if all == nil {
		return l.open.Load()
	}
	for _, o := range *all {
		n += o.open.Load()
	}
	return n
}

// SetDeferAccept changes TCP_DEFER_ACCEPT for clients that come from now on.
// The plain path keeps what it was opened with.
func (l *Listener) SetDeferAccept(on bool) {
	for i := range l.shards {
		l.shards[i].setDeferAccept(on)
	}
}

// SetHandler changes who serves: new clients, and parked ones when they wake.
func (l *Listener) SetHandler(h Handler) { l.front.Store(&h) }

// Handler is who serves new clients now. A session that goes on past SetHandler
// may ask.
func (l *Listener) Handler() Handler { return *l.front.Load() }

// Draining says whether Drain or Close was called: sessions should end after
// the exchange they are in.
func (l *Listener) Draining() bool { return l.draining.Load() }

// Gone is called when a client's session is over, and returns what is to be given
// to Sweeper.End with it: it counts how the client ended. From now on the client
// does not count in MaxClients, or those whose FIN is waited for would keep new
// ones out; but no more than an eighth of MaxClients, and MaxRefused, are let out
// of the count, since they still have their descriptors.
func (l *Listener) Gone() func(How) {
	if n := l.closing.Add(1); n > MaxClosing(l.max.Load()) {
		l.closing.Add(-1)
		return l.gone
	}
	l.open.Add(-1)
	return l.left
}

// MaxClosing is how many clients that are being closed do not count in a bound.
func MaxClosing(maxClients int64) int64 { return maxClients/8 + MaxRefused }

func (l *Listener) ended(how How) {
	l.closed[how].Add(1)
	l.open.Add(-1)
}

// MaxRefused is how many refused clients a listener holds, so that they can read
// why. They are beyond MaxClients; more are closed without a word, or a flood
// of them would use up the descriptors of those who are served.
const MaxRefused = 64

// Refuse takes a client out of the count that MaxClients bounds, because it
// will be turned away, and returns what to give to Sweeper.End for it. hold is
// false when enough such clients are held: then it should be closed at once.
func (l *Listener) Refuse(w Wake) (gone func(How), hold bool) {
	if w == WakeFull {
		return l.away, true // admit has counted it
	}
	l.open.Add(-1)
	return l.away, l.refused.Add(1) <= MaxRefused
}

func (l *Listener) closingEnded(how How) {
	l.closed[how].Add(1)
	l.closing.Add(-1)
}

func (l *Listener) refusedEnded(how How) {
	l.closed[how].Add(1)
	l.refused.Add(-1)
}

// Stats returns the state now.
func (l *Listener) Stats() ListenerStats {
	st := ListenerStats{
		Open: l.open.Load() + l.closing.Load() + l.refused.Load(), Parked: l.parked.Load(), Accepted: l.accepted.Load(),
		Unread: l.unread.Load(), LeftUnread: l.leftUnread.Load(), Full: l.full.Load(), AcceptErrors: l.acceptErrors.Load(), Accepting: !l.draining.Load() && !l.held.shut(), Held: l.held.shut(),
	}
	for i := range st.Closed {
		st.Closed[i] = l.closed[i].Load()
	}
	return st
}

// admit starts the session of an accepted client. n is its node.
func (l *Listener) admit(c Conn, n *node) {
	l.accepted.Add(1)
	w := WakeAccepted
	l.open.Add(1)
	if most := l.max.Load(); most > 0 && l.together() > most {
		l.full.Add(1)
		w = WakeFull
		l.open.Add(-1)
		l.sayFull(most)
		if l.refused.Add(1) > MaxRefused {
			c.Close()
			l.away(HowActive)
			return
		}
	}
	n.conn = c
	l.enter(n)
	l.wg.Add(1)
	go l.run(c, n, w, nil)
}

// sayFull logs, once in ten seconds at most, that clients are refused.
func (l *Listener) sayFull(most int64) {
	if l.lastFull.now() {
		l.opt.Log.Warn("max_clients is reached; new clients are refused",
			"listener", l.opt.Address, "max_clients", most, "refused", l.full.Load())
	}
}

// seldom is for what is news once in ten seconds.
type seldom struct{ last atomic.Int64 } // Unix nanoseconds

// now says whether it is time again, to one caller of all.
func (s *seldom) now() bool {
	now, last := time.Now().UnixNano(), s.last.Load()
	return now-last > int64(10*time.Second) && s.last.CompareAndSwap(last, now)
}

func (l *Listener) enter(n *node) {
	l.mu.Lock()
	l.active.push(n)
	if l.cut { // it was on its way from the parked ones when Close interrupted the active
		n.conn.Interrupt()
	}
	l.mu.Unlock()
}

func (l *Listener) leave(n *node) {
	l.mu.Lock()
	l.active.remove(n)
	l.mu.Unlock()
}

// run is the goroutine of a client's session. When the session is parked on
// the raw path the goroutine ends and the client stays counted in wg.
func (l *Listener) run(c Conn, n *node, w Wake, state any) {
	growStack(w)
	for {
		heard := l.heard.Load()
		next := (*l.front.Load()).Serve(l, c, w, state)
		if next.Park == 0 {
			l.leave(n)
			l.wg.Done()
			return
		}
		l.limitUnread(&next)
		if raw, ok := parkable(c); ok {
			if l.park(raw, next, heard) {
				return
			}
			w, state = WakeDraining, next.State
			continue
		}
		w, state = l.parkPlain(c.(*plainConn), next, heard), next.State
	}
}

// Rouse interrupts a client of the listener's, which may lie under a Layer, and
// wakes it if it is parked: with WakeDraining, or with WakeExpired on the plain
// path. Whoever wants the session of an idle client to end says so first where
// the session will look.
func (l *Listener) Rouse(c Conn) {
	c.Interrupt()
	if p, ok := c.(*plainConn); ok {
		if u, ok := p.below().(under); ok {
			c = u.Conn
		}
	}
	if raw, ok := parkable(c); ok {
		raw.Interrupt()
		l.rouse(raw)
	}
}

// growStack makes the goroutine's stack as large as a session needs, while there
// is nothing on it: to grow it step by step under a session means to copy and
// adjust all of its frames, for each short client anew.
//
//go:noinline
func growStack(w Wake) byte {
	var frame [5 << 10]byte
	frame[w] = 1 // so that the compiler keeps the frame
	return frame[w+1]
}

// parkPlain parks a connection of the plain path: its goroutine waits.
func (l *Listener) parkPlain(c *plainConn, next Next, heard *chan struct{}) Wake {
	l.parked.Add(1)
	defer l.parked.Add(-1)
	if next.Unread {
		defer l.unread.Add(-1)
	}
	// Drain sets the flag and then the deadlines of those it sees parked; we
	// say that we are parked, set our deadline, and then look for the flag.
	l.setParked(c, true)
	c.SetReadDeadline(time.Now().Add(next.Park))
	err := os.ErrDeadlineExceeded
	switch {
	case l.draining.Load():
	case next.Unread:
		l.leaveUnread(next.Park, *heard)
	default:
		err = c.await()
	}
	l.setParked(c, false)
	c.SetReadDeadline(time.Time{}) // what Drain may have set must not hit the next exchange
	switch {
	case err == nil || !errors.Is(err, os.ErrDeadlineExceeded):
		return WakeReadable
	case l.draining.Load():
		return WakeDraining
	}
	return WakeExpired
}

// setParked says whether c's goroutine waits as a parked one. Under l.mu, so
// that wakeParked sets no deadline on a connection that is back at work.
func (l *Listener) setParked(c *plainConn, yes bool) {
	l.mu.Lock()
	c.parked = yes
	l.mu.Unlock()
}

// Drain stops accepting, ends parked clients, and waits until every session
// has ended or ctx has. Clients in the accept queue are still served.
func (l *Listener) Drain(ctx context.Context) error {
	l.StopAccepting(ctx)
	l.wakeParked()
	done := make(chan struct{})
	go func() { // ends with the sessions, all of which have deadlines
		l.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		l.forgetLots()
		return nil
	case <-ctx.Done():
		return fmt.Errorf("drain %s: %d clients are still open: %w", l.addr, l.open.Load(), context.Cause(ctx))
	}
}

// Close is Drain without patience: sessions that still run are interrupted.
func (l *Listener) Close() error {
	expired, cancel := context.WithCancel(context.Background())
	cancel()
	if l.Drain(expired) == nil {
		return nil
	}
	l.mu.Lock()
	l.cut = true
	for n := l.active.front(); n != nil && n != &l.active.root; n = n.next {
		n.conn.Interrupt()
	}
	l.mu.Unlock()
	l.wg.Wait()
	l.forgetLots()
	return nil
}

// wakeParked ends the waiting of all parked clients.
func (l *Listener) wakeParked() {
	l.mu.Lock()
	for n := l.active.front(); n != nil && n != &l.active.root; n = n.next {
		if p, ok := n.conn.(*plainConn); ok && p.parked {
			p.Conn.SetReadDeadline(past)
		}
	}
	lots := make([]*lot, 0, len(l.lots))
	for _, lot := range l.lots {
		lots = append(lots, lot)
	}
	l.mu.Unlock()
	for _, lot := range lots {
		lot.drain()
	}
}

// acceptError waits after a failed accept and reports whether to go on. With
// no descriptor or memory left the client stays in the kernel's queue.
func (l *Listener) acceptError(err error, wait time.Duration) bool {
	if l.draining.Load() || errors.Is(err, net.ErrClosed) {
		return false
	}
	if errors.Is(err, syscall.ECONNABORTED) {
		return true
	}
	l.acceptErrors.Add(1)
	if l.lastError.now() {
		l.opt.Log.Error("cannot accept clients; they wait in the kernel's queue",
			"listener", l.opt.Address, "err", err, "open", l.open.Load(), "retry_in", wait,
			"hint", "raise the limit of open files (ulimit -n, LimitNOFILE=) or lower max_clients")
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-l.stop:
		return false
	}
}

// The waits between failed accepts.
const (
	minAcceptWait = 5 * time.Millisecond
	maxAcceptWait = time.Second
)
