package mysql_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"weir/internal/reason"
	"weir/internal/sock"
	"weir/internal/testnet"
	"weir/limiter"
	"weir/pool"
	"weir/proxy/mysql"
	"weir/proxy/mysql/wire"
	"weir/tcpstat"
)

// booked keeps a ledger of a rig's sockets, as cmd/weir does.
type booked struct {
	t      *testing.T
	ns     *testnet.Netns
	ledger *tcpstat.Ledger
	survey *tcpstat.Survey
	server netip.AddrPort

	mu     sync.Mutex
	open   map[sock.Conn]tcpstat.Entry
	opened int
	why    map[reason.Close]int
}

// keepBooks is for a server in ns, where there is nothing that earlier tests left.
func keepBooks(t *testing.T, ns *testnet.Netns, server string) *booked {
	var r *tcpstat.Reader
	ns.Do(func() {
		var err error
		if r, err = tcpstat.Open(); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { r.Close() })
	return &booked{t: t, ns: ns, ledger: tcpstat.NewLedger(), survey: tcpstat.NewSurvey(r), server: netip.MustParseAddrPort(server),
		open: map[sock.Conn]tcpstat.Entry{}, why: map[reason.Close]int{}}
}

func (b *booked) hooks(o *pool.Options) {
	connect := o.Connect
	o.Connect = func(ctx context.Context, key string) (c sock.Conn, attached any, err error) {
		b.ns.Do(func() { c, attached, err = connect(ctx, key) })
		return c, attached, err
	}
	left := map[sock.How]tcpstat.End{sock.HowPeerFirst: tcpstat.EndAnswered, sock.HowActive: tcpstat.EndFirst}
	o.OnOpen = func(c sock.Conn, _ reason.Open) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.open[c] = b.ledger.Opened(c.LocalAddr(), c.RemoteAddr())
		b.opened++
	}
	o.OnClose = func(c sock.Conn, why reason.Close, how sock.How) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if _, ok := b.open[c]; !ok {
			b.t.Error("told of an end without a beginning")
		}
		b.open[c].Closed(left[how]) // others leave nothing, the zero End
		delete(b.open, c)
		b.why[why]++
	}
}

// see counts the kernel's sockets towards the server by owner.
func (b *booked) see(p *pool.Pool) tcpstat.Owned {
	b.t.Helper()
	r, err := b.survey.Look(time.Now(), tcpstat.All, nil, nil, []tcpstat.BackendPlan{{
		Name: "db", Ledger: b.ledger, Endpoints: []tcpstat.Pair{{Source: b.server.Addr(), Dest: b.server}},
		Dialing: func() int { return p.Load().Dialing },
	}})
	if err != nil {
		b.t.Fatal(err)
	}
	return r.Backends[0].Count
}

// stranger leaves a TIME-WAIT at the server's address that is not weir's.
func (b *booked) stranger() {
	b.t.Helper()
	c, err := b.ns.Dial("tcp", b.server.String())
	if err == nil {
		_, err = c.Read(make([]byte, 1<<10)) // the greeting: what is unread makes a close a reset
	}
	if err != nil {
		b.t.Fatal(err)
	}
	c.Close()
}

// Every socket is ours from the dial to the end of its TIME-WAIT, also where the
// login fails, and those of others are not.
func TestTheSocketOfALoginThatFailsIsOurs(t *testing.T) {
	t.Parallel()
	refuse := func(code wire.Code) [][]byte {
		return [][]byte{wire.AppendERR(nil, mariadbCaps, code, "no")}
	}
	const hang = 2 * time.Second
	for _, tc := range []struct {
		name string
		odd  oddity
		left int // TIME-WAIT of ours
	}{
		{"1040 in the place of a greeting", oddity{at: oddGreeting, frames: true, say: refuse(1040)}, 0},
		{"1045", oddity{at: oddLogin, frames: true, say: refuse(1045)}, 0},
		{"1049", oddity{at: oddLogin, frames: true, say: refuse(1049)}, 0},
		{"1045 and no close", oddity{at: oddLogin, frames: true, say: refuse(1045), holds: true}, 0},
		{"no greeting", oddity{at: oddGreeting, holds: true}, 0},
		{"no answer to the first question", oddity{at: oddQuestion, holds: true}, 1},
	} {
		for _, side := range []bool{false, true} {
			t.Run(tc.name+map[bool]string{true: ", reserved"}[side], func(t *testing.T) {
				t.Parallel()
				ns := testnet.NewNetns(t)
				f := newFake(t, nil, func(f *fake) {
					f.l.Close()
					f.l = mustListen(t, ns)
				})
				b := keepBooks(t, ns, f.address())
				r := newRig(t, rigOptions{backend: f.address(), unknown: true, version: fakeVersion, pool: func(o *pool.Options) {
					o.DialTimeout = hang
					b.hooks(o)
				}})
				f.odd.Store(&tc.odd)
				failed := make(chan error, 1)
				go func() { failed <- dialOnce(t.Context(), r.pool, side) }()
				if tc.odd.holds && tc.odd.say == nil {
					testnet.WaitFor(t, hang, "the socket to be ours while the login lasts", func() bool {
						n := b.see(r.pool)
						return n[tcpstat.Ours][tcpstat.Established] == 1 && n[tcpstat.Unknown].Total() == 0
					})
				}
				if err := <-failed; err == nil {
					t.Fatal("the login did not fail")
				}
				r.idle()
				b.stranger()
				testnet.WaitFor(t, testWait, "the stranger's TIME-WAIT to be other, and what weir has left to be ours", func() bool {
					n := b.see(r.pool)
					return n[tcpstat.Ours].Total() == tc.left && n[tcpstat.Ours][tcpstat.TimeWait] == tc.left &&
						n[tcpstat.Unknown].Total() == 0 && n[tcpstat.Other].Total() == 1 && n[tcpstat.Other][tcpstat.TimeWait] == 1
				})
				b.wantEnds(r.pool, 1)
			})
		}
	}
}

func mustListen(t *testing.T, ns *testnet.Netns) net.Listener {
	t.Helper()
	l, err := ns.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// dialOnce makes the pool dial; it returns the dial's error.
func dialOnce(ctx context.Context, p *pool.Pool, side bool) error {
	if side {
		s, err := p.Reserve(ctx, mysql.WarmKey("app", ""))
		if err == nil {
			s.Close()
		}
		return err
	}
	l, err := p.Acquire(ctx, mysql.WarmKey("app", ""), limiter.ClassDefault)
	if err == nil {
		l.Release()
	}
	return err
}

// wantEnds wants n failed logins, no open socket, and the pool's counts to agree.
func (b *booked) wantEnds(p *pool.Pool, n int) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if st := p.Stats(); b.opened != n || b.why[reason.CloseConnect] != n || len(b.open) != 0 || b.ledger.Open() != 0 || st.Closes[reason.CloseConnect] != uint64(n) {
		b.t.Errorf("%d sockets opened and %v closed, %d and %d are left, the pool has %v; want %d failed logins", b.opened, b.why, len(b.open), b.ledger.Open(), st.Closes, n)
	}
}

// A server that refuses the password, and one whose certificate is not trusted,
// leave nothing that looks like another's, whoever has closed first.
func TestASocketIsOursWhereMariaDBRefusesOrIsNotTrusted(t *testing.T) {
	t.Parallel()
	ns := testnet.NewNetns(t)
	m := testnet.StartMariaDB(t, testnet.MariaDBTLS(), testnet.MariaDBIn(ns, netip.MustParseAddr("127.0.0.1")))
	for name, o := range map[string]rigOptions{
		"a wrong password":          {users: []*mysql.User{withPassword("app", "other")}},
		"a wrong password over TLS": {users: []*mysql.User{withPassword("app", "other")}, tls: noCheck},
		"an unknown certificate":    {tls: &tls.Config{ServerName: "localhost"}},
	} {
		t.Run(name, func(t *testing.T) {
			const dials = 20
			b := keepBooks(t, ns, m.Address())
			strange := 0
			o.backend, o.unknown, o.version, o.pool = m.Address(), true, fakeVersion, b.hooks
			r := newRig(t, o)
			for range dials {
				if err := dialOnce(t.Context(), r.pool, true); err == nil {
					t.Fatal("the login did not fail")
				}
				n := b.see(r.pool)
				strange += n[tcpstat.Other].Total() + n[tcpstat.Unknown].Total()
			}
			if strange != 0 {
				t.Errorf("%d sockets were seen that look like another's", strange)
			}
			b.wantEnds(r.pool, dials)
		})
	}
}
