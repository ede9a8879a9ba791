package pool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"weir/internal/reason"
	"weir/internal/sock"
)

// Options are one backend's settings. The key of the configuration that sets
// each is named. Nothing has a default here: configs has them all.
type Options struct {
	Name    string // of the backend, for messages
	Address string // of the endpoint, for messages

	// Stamp names everything else a connection depends on (TLS, password).
	// When Apply brings another Address or Stamp, no connection made before
	// is used again.
	Stamp string

	MaxOpen  int // pool.max_open: sockets of all keys, being dialled and being closed included
	Reserved int // more sockets, for kills and checks only

	// MinIdle (pool.min_idle) connections of WarmKey are opened at once and
	// kept, used or idle, whatever IdleTimeout says.
	MinIdle int
	WarmKey string

	// Group names the group that key belongs to and the most sockets its keys
	// may have together, counted as MaxOpen does (users[].max_open, the group
	// being the user); less than 1 is no bound but MaxOpen. Nil is no groups.
	// All keys of a group must give the same bound. It is called with the
	// pool's lock held, for new keys, by Apply and by Stats: it must depend on
	// key alone, be fast, and use nothing of the pool.
	Group func(key string) (group string, most int)

	IdleTimeout time.Duration // pool.idle_timeout; 0 is no limit
	MaxLifetime time.Duration // pool.max_lifetime, give or take a tenth; 0 is no limit

	DialTimeout    time.Duration // dial.timeout: connecting and, for MySQL, logging in
	DialRate       int           // dial.rate, a second
	DialConcurrent int           // dial.concurrent

	// QueueMax (queue.max) bounds those who wait for others to finish; 0
	// refuses at once. Those a dial is on the way for do not count.
	QueueMax     int
	QueueTimeout time.Duration // queue.timeout

	// Connect opens a connection for key, ready for its first request.
	// attached is whatever the front wants to find with it again
	// (Lease.Attached). ctx ends with DialTimeout or the pool, never with a
	// request. Wrap an error that concerns this key alone in a KeyError. One
	// that logs in tells of its socket before: see Dialled.
	Connect func(ctx context.Context, key string) (c sock.Conn, attached any, err error)

	// HolderLooks says that the holder of a lease looks at the connection
	// itself, directly before it writes (sock.Conn.Exchange does), and
	// discards it as CloseBackendFIN if it is not quiet. Then the pool does
	// not: two looks fewer an exchange.
	HolderLooks bool

	// Quit says goodbye and closes; nil is sock.EndBackend. It may take its
	// time: it runs in a goroutine of its own, and the socket counts until
	// it returns. A connection that was found broken is closed without it.
	Quit func(c sock.Conn, attached any, why reason.Close) sock.How

	// OnOpen and OnClose, if not nil, are told of every socket, from several
	// goroutines at once and with no lock held: as soon as Connect has one, also
	// where its login then fails (CloseConnect). Both get the same c, which
	// need not be what a Lease has; of it OnOpen may use the addresses, and
	// Interrupt for as long as it is open. OnClose runs after the close and
	// must not use c beyond telling it from others.
	OnOpen  func(c sock.Conn, why reason.Open)
	OnClose func(c sock.Conn, why reason.Close, how sock.How)

	Log  *slog.Logger // nil is silence
	Seed uint64       // of the jitter; 0 is a random one
}

func (o *Options) check() error {
	bad := func(key, is, want string) error {
		return fmt.Errorf("backend %q: %s is %s: %s", o.Name, key, is, want)
	}
	var errs []error
	need := func(ok bool, key string, is any, want string) {
		if !ok {
			errs = append(errs, bad(key, fmt.Sprint(is), want))
		}
	}
	need(o.MaxOpen >= 1, "pool.max_open", o.MaxOpen, "must be at least 1")
	need(o.Reserved >= 0, "reserved", o.Reserved, "must not be negative")
	need(o.MinIdle >= 0 && o.MinIdle <= o.MaxOpen, "pool.min_idle", o.MinIdle,
		fmt.Sprintf("must be 0 to pool.max_open, %d", o.MaxOpen))
	if o.MinIdle > 0 {
		name, most := o.group(o.WarmKey)
		need(most < 1 || o.MinIdle <= most, "pool.min_idle", o.MinIdle,
			fmt.Sprintf("must be 0 to users[].max_open of %q, %d", name, most))
	}
	need(o.IdleTimeout >= 0, "pool.idle_timeout", o.IdleTimeout, "must not be negative")
	need(o.MaxLifetime >= 0, "pool.max_lifetime", o.MaxLifetime, "must not be negative")
	need(o.DialTimeout > 0, "dial.timeout", o.DialTimeout, "must be more than 0")
	need(o.DialRate >= 1, "dial.rate", o.DialRate, "must be at least 1/s")
	need(o.DialConcurrent >= 1, "dial.concurrent", o.DialConcurrent, "must be at least 1")
	need(o.QueueMax >= 0, "queue.max", o.QueueMax, "must not be negative; 0 refuses at once")
	need(o.QueueTimeout > 0, "queue.timeout", o.QueueTimeout, "must be more than 0")
	need(o.Connect != nil, "Connect", nil, "a pool needs to be told how to connect")
	return errors.Join(errs...)
}

// group is Group, if there is one.
func (o *Options) group(key string) (name string, most int) {
	if o.Group == nil {
		return "", 0
	}
	name, most = o.Group(key)
	return name, max(0, most)
}

func (o *Options) sameEndpoint(other *Options) bool {
	return o.Address == other.Address && o.Stamp == other.Stamp
}

func (o *Options) quit(c *conn) sock.How {
	if c.why == reason.CloseBroken {
		// There is nobody to say goodbye to, and the look that found it
		// has used up the socket's error: another would call it a FIN.
		c.sock.Close()
		return sock.HowReset
	}
	if o.Quit == nil {
		return sock.EndBackend(c.sock)
	}
	return o.Quit(c.sock, c.attached, c.why)
}
