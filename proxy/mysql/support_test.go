package mysql_test

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"weir/internal/sock"
	"weir/internal/testnet"
	"weir/pool"
	"weir/proxy/mysql"
	"weir/proxy/mysql/wire"
)

// testWait is the patience of tests with what should take no time.
const testWait = 15 * time.Second

// password is that of all accounts.
const password = "secret"

// rig is a front before one backend, as cmd/weir puts them together.
type rig struct {
	t       testing.TB
	pool    *pool.Pool
	server  *mysql.Server
	opt     *mysql.ServerOptions
	be      *mysql.Backend
	set     *mysql.Settings
	front   *mysql.Front
	l       *sock.Listener
	sweeper *sock.Sweeper
}

type rigOptions struct {
	backend  string // host:port or unix:/path
	source   netip.Addr
	listen   string // "" is a port of 127.0.0.1
	users    []*mysql.User
	tls      *tls.Config // toward the backend
	version  string
	maxOpen  int
	pool     func(*pool.Options)
	be       func(*mysql.Backend)
	settings func(*mysql.Settings)
	unknown  bool // do not wait until the server is known
}

func withPassword(name, password string) *mysql.User {
	u := &mysql.User{Name: name}
	u.SetPassword(password)
	return u
}

func withHash(name, password string) *mysql.User {
	u := &mysql.User{Name: name}
	u.SetNativeHash(wire.NewNativeKey(password).Hash())
	return u
}

// shared is mode transaction.
func shared(b *mysql.Backend) { b.Sharing = true }

func newRig(t testing.TB, o rigOptions) *rig {
	t.Helper()
	if o.users == nil {
		o.users = []*mysql.User{withPassword("app", password)}
	}
	if o.maxOpen == 0 {
		o.maxOpen = 8
	}
	r := &rig{t: t, sweeper: sock.NewSweeper()}
	r.opt = &mysql.ServerOptions{Name: "db", Address: o.backend, Source: o.source, Users: map[string]*mysql.User{}, TLS: o.tls, Version: o.version}
	for _, u := range o.users {
		r.opt.Users[u.Name] = u
	}
	r.server = mysql.NewServer(r.opt)
	po := pool.Options{
		Name: "db", Address: o.backend, MaxOpen: o.maxOpen, Reserved: 2, HolderLooks: true,
		IdleTimeout: 50 * time.Second, MaxLifetime: 30 * time.Minute,
		DialTimeout: 5 * time.Second, DialRate: 1000, DialConcurrent: 8,
		QueueMax: 256, QueueTimeout: testWait,
		Connect: r.server.Connect, Quit: r.server.Quit,
	}
	if o.pool != nil {
		o.pool(&po)
	}
	var err error
	if r.pool, err = pool.New(po); err != nil {
		t.Fatal(err)
	}
	r.be = &mysql.Backend{Name: "db", Pool: r.pool, Server: r.server, Seen: new(mysql.Seen), Plugin: wire.PluginNative}
	if o.be != nil {
		o.be(r.be)
	}
	r.opt.Track = r.be.Sharing
	r.set = &mysql.Settings{
		Backend: r.be, LoginTimeout: 10 * time.Second, SendTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxLogins: 1000,
	}
	if o.settings != nil {
		o.settings(r.set)
	}
	r.front = mysql.NewFront("sql", r.set, r.sweeper, mysql.NewSessions(), slog.New(slog.DiscardHandler))
	poller, err := sock.NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	if o.listen == "" {
		o.listen = "127.0.0.1:0"
	}
	r.l, err = sock.Listen(sock.ListenOptions{Address: o.listen, Handler: r.front, Poller: poller, MaxClients: 20000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.front.Interrupt()
		r.l.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		r.sweeper.Close(ctx)
		if err := r.pool.Close(ctx); err != nil {
			t.Errorf("pool: %v", err)
		}
		poller.Close()
		if n := r.l.Stats().Open; n != 0 {
			t.Errorf("%d clients are counted as open after the end", n)
		}
		if st := r.front.Stats(); st.Logins != 0 || st.IdleAttached != 0 {
			t.Errorf("%d logins and %d idle attached clients are counted after the end", st.Logins, st.IdleAttached)
		}
		if n := r.pool.Stats().Leased; n != 0 {
			t.Errorf("%d leases are held after the end", n)
		}
	})
	if !o.unknown {
		ctx, cancel := context.WithTimeout(context.Background(), testWait)
		defer cancel()
		r.server.Learn(ctx, r.pool, mysql.WarmKey(o.users[0].Name, ""), slog.New(slog.DiscardHandler))
		if l, err := r.server.Learned(); l == nil {
			t.Fatalf("the server is not known: %v", err)
		}
	}
	return r
}

// address is what net.Dial takes.
func (r *rig) address() (network, address string) {
	return r.l.Addr().Network(), r.l.Addr().String()
}

// dsn is what go-sql-driver takes.
func (r *rig) dsn(user, password, database, params string) string {
	network, address := r.address()
	return user + ":" + password + "@" + network + "(" + address + ")/" + database + "?timeout=5s&readTimeout=30s&writeTimeout=30s&" + params
}

func (r *rig) dial() net.Conn {
	r.t.Helper()
	network, address := r.address()
	c, err := net.Dial(network, address)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// idle waits until no connection is leased or being closed.
func (r *rig) idle() {
	r.t.Helper()
	testnet.WaitFor(r.t, testWait, "no backend connection is in use", func() bool {
		s := r.pool.Stats()
		return s.Leased == 0 && s.Closing == 0
	})
}

// closes counts the backend connections that were closed, by reason.
func (r *rig) closes() map[string]uint64 {
	m := map[string]uint64{}
	for why, n := range r.pool.Stats().Closes {
		if n > 0 && why.String() != "reserved" {
			m[why.String()] = n
		}
	}
	return m
}

// resets is how often that was done with a connection at a session's end.
func (r *rig) resets(kind string) uint64 {
	n := uint64(0)
	for _, m := range r.front.Stats().Resets {
		n += m[kind]
	}
	return n
}

// outcomes is how many commands and logins ended so.
func (r *rig) outcomes(kind string) uint64 {
	n := uint64(0)
	for _, m := range r.front.Stats().Requests {
		n += m[kind]
	}
	return n
}

// opened is how many connections for clients were dialled.
func (r *rig) opened() uint64 {
	n := uint64(0)
	for why, k := range r.pool.Stats().Opens {
		if why.String() != "reserved" {
			n += k
		}
	}
	return n
}

// forgetDatabases has the next login ask the backend about its database.
func (r *rig) forgetDatabases() {
	set, be := *r.set, *r.be
	be.Seen, set.Backend = new(mysql.Seen), &be
	r.set, r.be = &set, &be
	r.front.Apply(&set)
}
