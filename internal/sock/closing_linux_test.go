package sock_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/internal/sock"
	"weir/internal/testnet"
	"weir/tcpstat"
)

// actor is a front that leaves everything to the test: it hands over each
// connection, and ends it as it is told.
type actor struct {
	t     *testing.T
	ns    *testnet.Netns
	l     *sock.Listener
	sweep *sock.Sweeper
	conns chan sock.Conn
	says  chan verdict
	quit  chan struct{}
}

type verdict struct {
	e        sock.Ending
	graceful bool
	ended    chan end
}

// end is what became of a connection.
type end struct {
	how    sock.How
	atOnce bool // before End returned
}

func (a *actor) Serve(l *sock.Listener, c sock.Conn, _ sock.Wake, _ any) sock.Next {
	select {
	case a.conns <- c:
	case <-a.quit:
		a.sweep.End(c, sock.EndRefused, false, l.Gone())
		return sock.Next{}
	}
	var v verdict
	select {
	case v = <-a.says:
	case <-a.quit:
		v = verdict{sock.EndRefused, false, make(chan end, 1)}
	}
	var mu sync.Mutex
	var returned bool
	a.sweep.End(c, v.e, v.graceful, func(how sock.How) {
		l.Gone()(how)
		mu.Lock()
		defer mu.Unlock()
		v.ended <- end{how, !returned}
	})
	mu.Lock()
	returned = true
	mu.Unlock()
	return sock.Next{}
}

// newActor starts one in a namespace, by default of its own: other tests leave
// TIME_WAIT sockets behind, whose ports come again.
func newActor(t *testing.T, ns *testnet.Netns) *actor {
	t.Helper()
	// A kernel that handles two segments of a connection at once, the delayed
	// acknowledgment of a FIN and the reset behind it, may find the socket for
	// the reset, make it a FIN_WAIT2 for the acknowledgment, and then drop the
	// reset at the old socket, which is closed by now: tcp_v4_rcv looks up
	// before it locks. That happens between two programs on one machine, once
	// in ten thousand closes on busy cores, and is not what is tested here.
	testnet.OneCPU(t)
	if ns == nil {
		ns = testnet.NewNetns(t)
		// On a busy machine a FIN may be sent again after its end is closed;
		// the reset that answers it must not end the other's TIME_WAIT.
		ns.Sysctl("net.ipv4.tcp_rfc1337", "1")
	}
	poller, err := sock.NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	a := &actor{t: t, ns: ns, sweep: sock.NewSweeper(), conns: make(chan sock.Conn), says: make(chan verdict), quit: make(chan struct{})}
	ns.Do(func() {
		a.l, err = sock.Listen(sock.ListenOptions{Address: "127.0.0.1:0", Handler: a, Poller: poller, Shards: 1})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		close(a.quit)
		a.l.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		a.sweep.Close(ctx)
		poller.Close()
		if n := a.l.Stats().Open; n != 0 {
			t.Errorf("%d clients are counted as open after Close", n)
		}
	})
	return a
}

// open makes a connection and returns both ends. from is the client's address.
func (a *actor) open(from string, control func(fd uintptr)) (*net.TCPConn, sock.Conn) {
	a.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	if control != nil {
		d.Control = func(_, _ string, rc syscall.RawConn) error { return rc.Control(control) }
	}
	var nc net.Conn
	var err error
	a.ns.Do(func() { nc, err = d.Dial("tcp", a.l.Addr().String()) })
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(30 * time.Second))
	return nc.(*net.TCPConn), <-a.conns
}

// end has the one connection that is open ended.
func (a *actor) end(e sock.Ending, graceful bool) chan end {
	v := verdict{e, graceful, make(chan end, 1)}
	a.says <- v
	return v.ended
}

// sockets counts what the kernel has on the listener's port: the accepted ends
// and the clients'.
func (a *actor) sockets() (server, client tcpstat.Counts) {
	a.t.Helper()
	var r *tcpstat.Reader
	var err error
	a.ns.Do(func() { r, err = tcpstat.Open() })
	if err != nil {
		a.t.Fatal(err)
	}
	defer r.Close()
	// By the whole address: a client's own port may have the listener's number.
	var all tcpstat.Tally
	at := a.l.Addr().(*net.TCPAddr).AddrPort()
	local, remote := all.Watch(tcpstat.Local, at), all.Watch(tcpstat.Remote, at)
	if err = r.Count(tcpstat.Filter{}, &all); err != nil {
		a.t.Fatal(err)
	}
	server, client = all.Counts(local), all.Counts(remote)
	server[tcpstat.Listen] = 0
	return server, client
}

// wantTimeWaits waits until the ends of all connections have TIME_WAIT, as many
// as they should, or nothing.
func (a *actor) wantTimeWaits(server, client int) {
	a.t.Helper()
	var s, c tcpstat.Counts
	if !testnet.Poll(10*time.Second, func() bool {
		s, c = a.sockets()
		return s[tcpstat.TimeWait] == server && c[tcpstat.TimeWait] == client && s.Total() == server && c.Total() == client
	}) {
		a.t.Errorf("the listener has %v and the clients %v, want %d and %d in TIME_WAIT and nothing else", s, c, server, client)
	}
}

const reply = "the answer"

func send(t *testing.T, c sock.Conn, text string) {
	t.Helper()
	if n, err := c.Write([]byte(text)); err != nil || n != len(text) {
		t.Fatalf("wrote %d of %d: %v", n, len(text), err)
	}
}

// receive reads the reply and no further.
func receive(t *testing.T, c net.Conn) {
	t.Helper()
	got := make([]byte, len(reply))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != reply {
		t.Fatalf("got %q, %v", got, err)
	}
}

// receiveAll reads up to the end of the stream, which must be in order.
func receiveAll(t *testing.T, c net.Conn, want string) {
	t.Helper()
	if got, err := io.ReadAll(c); err != nil || string(got) != want {
		t.Fatalf("got %d bytes, %v, want %d and EOF", len(got), err, len(want))
	}
}

func sees(t *testing.T, c sock.Conn, want sock.Sight) {
	t.Helper()
	waitFor(t, "the socket is "+want.String(), func() bool { return c.Look() == want })
}

func TestEveryEndingClosesAsTheTableSays(t *testing.T) {
	const n = 10
	rows := []struct {
		name     string
		e        sock.Ending
		graceful bool
		before   func(c *net.TCPConn, s sock.Conn)
		after    func(c *net.TCPConn)
		how      sock.How
		server   int // TIME_WAIT of each connection
		client   int
	}{{
		name: "finished, the client closed", e: sock.EndFinished, how: sock.HowQuiet,
		before: func(c *net.TCPConn, s sock.Conn) {
			send(t, s, reply)
			receive(t, c)
			c.Close()
			sees(t, s, sock.PeerFIN)
		},
	}, {
		name: "finished, the client closed, graceful", e: sock.EndFinished, graceful: true, how: sock.HowPeerFirst, client: 1,
		before: func(c *net.TCPConn, s sock.Conn) {
			send(t, s, reply)
			receive(t, c)
			c.Close()
			sees(t, s, sock.PeerFIN)
		},
	}, {
		name: "ours", e: sock.EndOurs, how: sock.HowActive, server: 1,
		before: func(c *net.TCPConn, s sock.Conn) { send(t, s, reply) },
		after:  func(c *net.TCPConn) { receiveAll(t, c, reply); c.Close() },
	}, {
		name: "unread", e: sock.EndUnread, how: sock.HowLinger, server: 1,
		before: func(c *net.TCPConn, s sock.Conn) {
			io.WriteString(c, strings.Repeat("x", 100<<10))
			sees(t, s, sock.Readable)
			send(t, s, reply)
		},
		after: func(c *net.TCPConn) { receiveAll(t, c, reply); c.Close() },
	}, {
		name: "left", e: sock.EndLeft, how: sock.HowQuiet,
		before: func(c *net.TCPConn, s sock.Conn) {
			send(t, s, reply)
			receive(t, c)
			c.Close()
			sees(t, s, sock.PeerFIN)
		},
	}, {
		name: "left, graceful", e: sock.EndLeft, graceful: true, how: sock.HowPeerFirst, client: 1,
		before: func(c *net.TCPConn, s sock.Conn) {
			send(t, s, reply)
			receive(t, c)
			c.Close()
			sees(t, s, sock.PeerFIN)
		},
	}, {
		name: "half-closed", e: sock.EndHalfClosed, how: sock.HowHalfClosed, client: 1,
		before: func(c *net.TCPConn, s sock.Conn) { c.CloseWrite(); sees(t, s, sock.PeerFIN); send(t, s, reply) },
		after:  func(c *net.TCPConn) { receiveAll(t, c, reply); c.Close() },
	}, {
		name: "lost", e: sock.EndLost, how: sock.HowReset,
		before: func(c *net.TCPConn, s sock.Conn) { c.SetLinger(0); c.Close(); sees(t, s, sock.Broken) },
	}, {
		name: "silent", e: sock.EndSilent, how: sock.HowPeerFirst, client: 1,
		before: func(c *net.TCPConn, s sock.Conn) { c.Close(); sees(t, s, sock.PeerFIN) },
	}, {
		name: "truncated", e: sock.EndTruncated, how: sock.HowActive, server: 1,
		before: func(c *net.TCPConn, s sock.Conn) { send(t, s, reply) },
		after:  func(c *net.TCPConn) { receiveAll(t, c, reply); c.Close() },
	}, {
		name: "cut", e: sock.EndCut, how: sock.HowAbort,
		before: func(c *net.TCPConn, s sock.Conn) { send(t, s, reply); receive(t, c) },
		after: func(c *net.TCPConn) {
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the client of a response that was cut read %v, want a reset", err)
			}
			c.Close()
		},
	}, {
		name: "refused", e: sock.EndRefused, how: sock.HowActive, server: 1,
		before: func(*net.TCPConn, sock.Conn) {},
		after:  func(c *net.TCPConn) { receiveAll(t, c, ""); c.Close() },
	}}
	tested := map[sock.Ending]bool{}
	for _, row := range rows {
		tested[row.e] = true
		a := newActor(t, nil)
		for i := range n {
			// An address each: a port that comes again would take the place of
			// the TIME_WAIT that has it.
			c, s := a.open(fmt.Sprintf("127.0.1.%d", 1+i), nil)
			row.before(c, s)
			ended := a.end(row.e, row.graceful)
			if row.after != nil {
				row.after(c)
			}
			if got := <-ended; got.how != row.how {
				t.Errorf("%s: closed %s, want %s", row.name, got.how, row.how)
			}
		}
		a.wantTimeWaits(n*row.server, n*row.client)
		if t.Failed() {
			t.Fatalf("failed in the row %q", row.name)
		}
		if got := a.l.Stats().Closed[row.how]; got != n {
			t.Errorf("%s: the listener counts %d as %s, want %d", row.name, got, row.how, n)
		}
		if got := a.sweep.Stats().How[row.how]; got != n {
			t.Errorf("%s: the sweeper counts %d as %s, want %d", row.name, got, row.how, n)
		}
	}
	for e := range sock.EndRefused + 1 {
		if !tested[e] {
			t.Errorf("ending %d has no row", e)
		}
	}
}

func TestClientsThatCloseInTimeLeaveNoTimeWaitAtEitherEnd(t *testing.T) {
	const n = 500
	a := newActor(t, nil)
	quiet := 0
	for range n {
		c, s := a.open("127.0.0.1", nil)
		send(t, s, reply)
		ended := a.end(sock.EndFinished, false)
		receive(t, c)
		c.Close()
		if (<-ended).how == sock.HowQuiet {
			quiet++
		}
	}
	server, client := a.sockets()
	t.Logf("figure: %d of %d short clients were closed quietly; TIME_WAIT %d at the listener, %d at the clients",
		quiet, n, server[tcpstat.TimeWait], client[tcpstat.TimeWait])
	// A client that the machine kept for longer than the wait is closed actively.
	if quiet < n*8/10 {
		t.Errorf("only %d of %d were closed quietly", quiet, n)
	}
	a.wantTimeWaits(n-quiet, 0)
}

func TestAWaitThatRunsOutIsAnActiveCloseAndThreeOfThemEndTheWaiting(t *testing.T) {
	a := newActor(t, nil)
	for i := range 6 {
		c, s := a.open("127.0.0.1", nil)
		send(t, s, reply)
		got := <-a.end(sock.EndFinished, false)
		if want := (end{sock.HowActive, i >= 3}); got != want {
			t.Errorf("client %d, which stays: %+v, want %+v", i, got, want)
		}
		receiveAll(t, c, reply)
		c.Close()
	}
	a.wantTimeWaits(6, 0)
	c, s := a.open("127.0.0.2", nil)
	send(t, s, reply)
	receive(t, c)
	c.Close()
	sees(t, s, sock.PeerFIN)
	if got := <-a.end(sock.EndFinished, false); got != (end{sock.HowQuiet, false}) {
		t.Errorf("a client of another address: %+v", got)
	}
}

func TestAnAddressThatHalfClosedIsClosedGracefullyFromThenOn(t *testing.T) {
	a := newActor(t, nil)
	c, s := a.open("127.0.0.1", nil)
	c.CloseWrite()
	sees(t, s, sock.PeerFIN)
	send(t, s, reply)
	<-a.end(sock.EndHalfClosed, false)
	receiveAll(t, c, reply)
	c.Close()
	for _, row := range []struct {
		from string
		want sock.How
	}{{"127.0.0.1", sock.HowPeerFirst}, {"127.0.0.2", sock.HowQuiet}} {
		for _, e := range []sock.Ending{sock.EndFinished, sock.EndLeft} {
			c, s := a.open(row.from, nil)
			send(t, s, reply)
			receive(t, c)
			c.CloseWrite()
			sees(t, s, sock.PeerFIN)
			if got := <-a.end(e, false); got.how != row.want {
				t.Errorf("%s, ending %d: closed %s, want %s", row.from, e, got.how, row.want)
			}
			if row.want == sock.HowPeerFirst {
				receiveAll(t, c, "")
			}
		}
	}
}

func TestWithoutTimestampsNoResetAnswersAFIN(t *testing.T) {
	ns := testnet.NewNetns(t)
	ns.Sysctl("net.ipv4.tcp_timestamps", "0")
	a := newActor(t, ns)
	for _, e := range []sock.Ending{sock.EndFinished, sock.EndLeft} {
		c, s := a.open("127.0.0.1", nil)
		send(t, s, reply)
		receive(t, c)
		c.Close()
		sees(t, s, sock.PeerFIN)
		if got := <-a.end(e, false); got.how != sock.HowPeerFirst {
			t.Errorf("ending %d: closed %s", e, got.how)
		}
	}
	a.wantTimeWaits(0, 2)
	if st := a.sweep.Stats(); st.NoTimestamps != 2 || st.InFlight != 0 {
		t.Errorf("counted %+v", st)
	}
}

// smallWindow gives a client a receive buffer of a few KiB.
func smallWindow(fd uintptr) {
	syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10)
}

// fill writes until the socket takes no more, and returns what it took.
func fill(t *testing.T, s sock.Conn) []byte {
	t.Helper()
	var all []byte
	for i := 0; ; i++ {
		p := bytes.Repeat([]byte{byte(i), byte(i >> 8), 7}, 5000)
		n, err := s.TryWrite(p)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return all
		}
		all = append(all, p[:n]...)
	}
}

func TestNoByteIsLostToAClientWithAClosedWindowThatHasSentItsFIN(t *testing.T) {
	a := newActor(t, nil)
	for i, e := range []sock.Ending{sock.EndFinished, sock.EndLeft, sock.EndFinished, sock.EndHalfClosed} {
		c, s := a.open("127.0.0.1", smallWindow)
		want := fill(t, s)
		var ended chan end
		if i == 2 { // the FIN comes while it is held
			ended = a.end(e, false)
			c.CloseWrite()
		} else {
			c.CloseWrite()
			sees(t, s, sock.PeerFIN)
			ended = a.end(e, false)
		}
		if got := <-ended; got.how != sock.HowPeerFirst {
			t.Errorf("ending %d: closed %s with %d bytes on their way", e, got.how, len(want))
		}
		got, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("ending %d: %d of %d bytes arrived, then %v", e, len(got), len(want), err)
		}
		c.Close()
	}
	if st := a.sweep.Stats(); st.InFlight != 3 || st.How[sock.HowQuiet] != 0 {
		t.Errorf("counted %+v", st)
	}
}

func TestAClientThatReadsSlowlyAndThenClosesIsClosedQuietlyWithEveryByte(t *testing.T) {
	a := newActor(t, nil)
	c, s := a.open("127.0.0.1", smallWindow)
	want := fill(t, s)
	ended := a.end(sock.EndFinished, false)
	got := make([]byte, len(want))
	for i := 0; i < len(got); i += 64 << 10 { // in steps, so that the sweep looks in between
		end := min(i+64<<10, len(got))
		if _, err := io.ReadFull(c, got[i:end]); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	if !bytes.Equal(got, want) {
		t.Error("wrong bytes")
	}
	if got := <-ended; got.how != sock.HowQuiet && got.how != sock.HowActive {
		t.Errorf("closed %s", got.how)
	}
}

func TestAClientThatResetsWhileItIsHeldIsCountedAsReset(t *testing.T) {
	a := newActor(t, nil)
	c, s := a.open("127.0.0.1", smallWindow)
	fill(t, s) // else the wait could run out before the reset
	ended := a.end(sock.EndFinished, false)
	c.SetLinger(0)
	c.Close()
	if got := <-ended; got.how != sock.HowReset {
		t.Errorf("closed %s", got.how)
	}
	// A FIN and then a reset: the socket is in CLOSE when it is looked at.
	c, s = a.open("127.0.0.1", nil)
	c.CloseWrite()
	sees(t, s, sock.PeerFIN)
	c.SetLinger(0)
	c.Close()
	waitFor(t, "in CLOSE", func() bool { i, _ := s.Info(); return i.State == sock.Closed })
	if got := <-a.end(sock.EndLeft, false); got.how != sock.HowReset {
		t.Errorf("after FIN and reset: closed %s", got.how)
	}
	a.wantTimeWaits(0, 0)
}

func TestAClientThatGoesOnSendingGetsItsAnswerWhole(t *testing.T) {
	a := newActor(t, nil)
	for _, e := range []sock.Ending{sock.EndUnread, sock.EndFinished} {
		c, s := a.open("127.0.0.1", nil)
		io.WriteString(c, "first")
		sees(t, s, sock.Readable)
		send(t, s, reply)
		ended := a.end(e, false)
		if n, err := c.Write(make([]byte, 4<<20)); err != nil {
			t.Errorf("ending %d: the client's write ended after %d bytes: %v", e, n, err)
		}
		receiveAll(t, c, reply)
		c.Close()
		if got := <-ended; got.how != sock.HowLinger {
			t.Errorf("ending %d: closed %s", e, got.how)
		}
	}
	a.wantTimeWaits(2, 0)
}

func TestASweeperThatHoldsNothingWaitsForNothing(t *testing.T) {
	a := newActor(t, nil)
	for range 3 {
		waitFor(t, "the sweeper sleeps", func() bool { return strings.HasPrefix(sweeperState(), "chan receive") })
		c, s := a.open("127.0.0.1", smallWindow)
		fill(t, s)
		ended := a.end(sock.EndFinished, false)
		waitFor(t, "the sweeper waits with a timer", func() bool { return strings.HasPrefix(sweeperState(), "select") })
		c.SetLinger(0)
		c.Close()
		<-ended
	}
	waitFor(t, "the sweeper sleeps", func() bool { return strings.HasPrefix(sweeperState(), "chan receive") })
}

// sweeperState says what the goroutine of the only Sweeper waits for.
func sweeperState() string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	for g := range strings.SplitSeq(string(buf), "\n\n") {
		if strings.Contains(g, "sock.(*Sweeper).run(") {
			_, state, _ := strings.Cut(g, "[")
			return state
		}
	}
	return "no sweeper"
}

func TestCloseOfASweeperEndsAllThatIsHeld(t *testing.T) {
	a := newActor(t, nil)
	var clients []*net.TCPConn
	var ends []chan end
	for range 50 {
		c, s := a.open("127.0.0.1", smallWindow)
		fill(t, s)
		clients = append(clients, c)
		ends = append(ends, a.end(sock.EndFinished, false))
	}
	waitFor(t, "all are held", func() bool { return a.sweep.Stats().Held == 50 })
	expired, cancel := context.WithCancel(t.Context())
	cancel()
	a.sweep.Close(expired)
	for _, e := range ends {
		if got := <-e; got.how != sock.HowActive {
			t.Errorf("closed %s", got.how)
		}
	}
	if n := a.sweep.Stats().Held; n != 0 {
		t.Errorf("%d are held after Close", n)
	}
	c, s := a.open("127.0.0.1", nil)
	send(t, s, reply)
	if got := <-a.end(sock.EndFinished, false); got != (end{sock.HowActive, true}) {
		t.Errorf("after Close: %+v", got)
	}
	receiveAll(t, c, reply)
	for _, c := range clients {
		c.Close()
	}
}

func TestABackendThatClosedFirstKeepsTheTimeWaitAndElseThereIsNone(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, row := range []struct {
		name   string
		server func(*net.TCPConn)
		sight  sock.Sight
		want   sock.How
	}{
		{"idle", func(*net.TCPConn) {}, sock.Quiet, sock.HowAbort},
		{"unread bytes", func(c *net.TCPConn) { io.WriteString(c, "x") }, sock.Readable, sock.HowAbort},
		{"FIN", func(c *net.TCPConn) { c.CloseWrite() }, sock.PeerFIN, sock.HowPeerFirst},
		{"reset", func(c *net.TCPConn) { c.SetLinger(0); c.Close() }, sock.Broken, sock.HowReset},
	} {
		c, err := sock.Dial(t.Context(), ln.Addr().String(), netip.Addr{})
		if err != nil {
			t.Fatal(err)
		}
		server, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		row.server(server.(*net.TCPConn))
		sees(t, c, row.sight)
		if got := sock.EndBackend(c); got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
		server.SetReadDeadline(time.Now().Add(10 * time.Second))
		switch _, err := server.Read(make([]byte, 1)); row.want {
		case sock.HowAbort:
			if !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%s: the backend read %v", row.name, err)
			}
		case sock.HowPeerFirst:
			if err != io.EOF {
				t.Errorf("%s: the backend read %v", row.name, err)
			}
		}
		server.Close()
	}
}
