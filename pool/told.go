package pool

import (
	"context"
	"sync"

	"weir/internal/reason"
	"weir/internal/sock"
)

// Dialled is for an Options.Connect that has more to do than to dial, such as a
// login. It tells the pool of a socket as soon as there is one, so that OnOpen
// and OnClose see it also if the login fails. ctx is the one that Connect got,
// or one made from it.
//
// A Connect that fails after it must end the socket, say by ended how, once, and
// then return. One that succeeds does not call ended, and may return another
// Conn that was put over c, such as TLS. Where ctx is not of a pool, nothing is told.
func Dialled(ctx context.Context, c sock.Conn) (ended func(sock.How)) {
	d, ok := ctx.Value(diallingKey{}).(dialling)
	if !ok {
		return func(sock.How) {}
	}
	d.c.tell(&told{Conn: c, over: c}, d.why)
	return d.c.lost
}

// diallingKey finds a dialling in the context of its Connect.
type diallingKey struct{}

type dialling struct {
	c   *conn
	why reason.Open
}

// tell is called in the dialer's goroutine, as lost is, without the lock.
func (c *conn) tell(s sock.Conn, why reason.Open) {
	if c.told != nil {
		panic("BUG: a dial told of two sockets")
	}
	if c.opts.OnOpen != nil {
		c.opts.OnOpen(s, why)
	}
	p := c.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	c.told = s
	p.told++
}

// lost books the end of a socket whose login failed.
func (c *conn) lost(how sock.How) {
	if c.told == nil {
		panic("BUG: a failed dial told of its end twice")
	}
	if c.opts.OnClose != nil {
		c.opts.OnClose(c.told, reason.CloseConnect, how)
	}
	p := c.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	c.told = nil
	p.told--
	p.count.closes[reason.CloseConnect]++
	p.count.hows[how]++
}

// told is a socket under the name by which OnOpen and OnClose know it, from its
// dial to its end. An Interrupt, which may come at any time, reaches what is over
// it by then: a layer sets deadlines of its own, and undoes one that came below it.
type told struct {
	sock.Conn

	mu   sync.Mutex // guards the rest; no I/O under it
	over sock.Conn
	cut  bool
}

func (t *told) Interrupt() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cut = true
	t.over.Interrupt()
}

// put says what is over the socket from now on.
func (t *told) put(over sock.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over = over; t.cut {
		over.Interrupt()
	}
}
