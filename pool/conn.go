package pool

import (
	"sync/atomic"
	"time"

	"github.com/jackc/puddle/v2"

	"weir/internal/reason"
	"weir/internal/sock"
)

// conn is one backend connection, from its dial to its close. Its fields belong
// to the pool's lock, but for sock, told and attached, which belong to whoever holds
// the connection: the dialer, the holder of the lease, the reaper while it
// looks, the goroutine that closes it. So does waited, which is the holder's.
type conn struct {
	pool *Pool
	key  *keyed   // nil for a reserved connection
	opts *Options // it was dialled under
	book *census

	sock     sock.Conn
	told     sock.Conn // as OnOpen was told of it, for OnClose; see Dialled
	attached any
	res      *puddle.Resource[*conn]

	state     connState
	used      bool          // was idle or leased before: the backend may have closed it meanwhile
	leases    uint64        // how many there were
	born      time.Duration // pool time, as all times here
	jitter    int64         // of MaxLifetime, in thousandths
	idleSince time.Duration
	why       reason.Close
	condemned bool // see Pool.condemn
	cold      bool // was idle for longer than the backend allows when it was leased

	waited time.Duration // the holder, for this lease

	older, newer *conn // in the idle list

	// turn is odd while leased. It grows by one at the start and at the end
	// of every lease, so an old Lease never fits again.
	turn atomic.Uint64
}

// lease begins a lease; the pool's lock must be held and the state be leased.
func (c *conn) lease() Lease {
	c.leases++
	return Lease{c: c, turn: c.turn.Add(1)}
}

// expires is when c is past a lifetime of life, give or take a tenth, so that
// connections opened together do not end together.
func (c *conn) expires(life time.Duration) time.Duration {
	return c.born + life + life/1000*time.Duration(c.jitter)
}

// idleList has the idle connections of all keys, newest first, by idleSince.
type idleList struct {
	newest, oldest *conn
}

// push puts c where idleSince says: at the newest end, but for one that was
// leased for a moment and not used.
func (l *idleList) push(c *conn) {
	after := l.newest
	for after != nil && c.idleSince < after.idleSince {
		after = after.older
	}
	c.older = after
	if after != nil {
		c.newer, after.newer = after.newer, c
	} else {
		c.newer, l.oldest = l.oldest, c
	}
	if c.newer != nil {
		c.newer.older = c
	} else {
		l.newest = c
	}
}

func (l *idleList) remove(c *conn) {
	if c.older != nil {
		c.older.newer = c.newer
	} else {
		l.oldest = c.newer
	}
	if c.newer != nil {
		c.newer.older = c.older
	} else {
		l.newest = c.older
	}
	c.older, c.newer = nil, nil
}
