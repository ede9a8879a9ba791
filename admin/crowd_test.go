package admin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

const (
	probeHead = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
	loginHead = "GET /healthz HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + secretToken + "\r\n\r\n"
)

// faraway is a listener to which clients come from addresses of the test's choice,
// and which says that it is bound to an address that other machines reach.
type faraway struct {
	net.Listener
	from chan string
	fail error // once
}

func (f *faraway) Addr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: f.Listener.Addr().(*net.TCPAddr).Port}
}

func (f *faraway) Accept() (net.Conn, error) {
	if err := f.fail; err != nil {
		f.fail = nil
		return nil, err
	}
	c, err := f.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return cameFrom{c, &net.TCPAddr{IP: net.ParseIP(<-f.from), Port: 4711}}, nil
}

type cameFrom struct {
	net.Conn
	at net.Addr
}

func (c cameFrom) RemoteAddr() net.Addr { return c.at }

// farServer serves those who come from where the test says, and knows secretToken.
func farServer(t *testing.T, opt Options) *faraway {
	t.Helper()
	f := &faraway{Listener: mustListen(t), from: make(chan string, 1)}
	opt.Log, opt.Access.Token = quiet(), NewToken(secretToken)
	s := New(opt)
	if err := s.serve(f, func() {}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		s.Close(ctx)
	})
	return f
}

func mustListen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// dial comes from an address, and says something. It goes on when the server has
// accepted it, so that others come later.
func (f *faraway) dial(t *testing.T, from, says string) net.Conn {
	t.Helper()
	f.from <- from
	return dials(t, f.Listener.Addr().String(), says)
}

// closedByServer says whether the server has closed c, which the test has begun to
// wait for.
func closedByServer(t *testing.T, c net.Conn) bool {
	t.Helper()
	return answer(t, c) == ""
}

func TestSilentStrangersFromManyAddressesKeepNobodyOut(t *testing.T) {
	for _, addresses := range []int{1, 4, 12, 200} {
		f := farServer(t, Options{})
		stranger := func(i int) string { return fmt.Sprintf("198.51.100.%d", 1+i%addresses) }
		for i := range 3 * maxConns {
			f.dial(t, stranger(i), []string{"", "GET /healthz HTTP/1.1\r\nHo"}[i%2])
		}
		for name, tc := range map[string]struct{ from, head string }{
			"a probe of this machine":            {"127.0.0.1", probeHead},
			"one with the token":                 {"203.0.113.7", loginHead},
			"one with the token, at the same":    {stranger(0), loginHead},
			"a probe of another":                 {"203.0.113.8", probeHead},
			"one in IPv6":                        {"2001:db8::7", loginHead},
			"one of this machine with the token": {"::1", loginHead},
		} {
			if got := answer(t, f.dial(t, tc.from, tc.head)); got != ok {
				t.Errorf("%d addresses, %s: %q", addresses, name, got)
			}
		}
	}
}

// Those who come after it take the places of strangers of other addresses first,
// however old it is.
func TestWhoIsAloneAtHisAddressKeepsHisPlaceWhileOthersFillTheirs(t *testing.T) {
	f := farServer(t, Options{})
	alone := f.dial(t, "203.0.113.7", "GET /healthz HTT")
	near := f.dial(t, "127.0.0.1", "GET /healthz HTT")
	oldest := f.dial(t, "198.51.100.1", "")
	for i := range 3 * maxConns {
		f.dial(t, fmt.Sprintf("198.51.100.%d", 1+i%5), "")
	}
	if !closedByServer(t, oldest) {
		t.Error("the oldest of a crowd kept its place")
	}
	for name, c := range map[string]net.Conn{"who is alone": alone, "this machine's": near} {
		io.WriteString(c, "P/1.1\r\nHost: x\r\n\r\n")
		if got := answer(t, c); got != ok {
			t.Errorf("%s was sent away: %q", name, got)
		}
	}
}

func TestOneAddressHasFewConnectionsWithoutALogin(t *testing.T) {
	f := farServer(t, Options{})
	var silent []net.Conn
	for range maxStrangers + 1 {
		silent = append(silent, f.dial(t, "203.0.113.7", ""))
	}
	if !closedByServer(t, silent[0]) {
		t.Errorf("one address has more than %d", maxStrangers)
	}
	for _, c := range silent[1:] { // each has its turn, and gives its place back
		io.WriteString(c, "GET /healthz HTTP/1.0\r\n\r\n")
		if got := answer(t, c); got != ok {
			t.Errorf("a stranger: %q", got)
		}
	}
}

// A page is open for days, and a scraper is silent for a minute between two
// requests.
func TestThoseWhoHaveLoggedInDoNotGiveWayToStrangers(t *testing.T) {
	f := farServer(t, Options{Live: &Live{Past: func() any { return 1 }, Now: func() any { return 1 }}})
	for range maxConns { // they take no places
		if got := answer(t, f.dial(t, "203.0.113.7", "GET /api/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+secretToken+"\r\n\r\n")); got != ok {
			t.Fatalf("a page: %q", got)
		}
	}
	var scrapers []net.Conn
	for range maxConns - placesNear - 2 {
		c := f.dial(t, "203.0.113.7", loginHead)
		if got := whole(t, c); got != ok {
			t.Fatalf("a scraper: %q", got)
		}
		scrapers = append(scrapers, c)
	}
	for i := range 2 * maxConns {
		f.dial(t, fmt.Sprintf("198.51.100.%d", i%250), "")
	}
	for i, c := range scrapers {
		io.WriteString(c, loginHead)
		if got := whole(t, c); got != ok {
			t.Fatalf("scraper %d the second time: %q", i, got)
		}
	}
	// Where there are none but them, the one that was silent for the longest
	// time makes room: here the second, as the first asks again.
	for range 2 {
		if got := whole(t, f.dial(t, "203.0.113.9", loginHead)); got != ok {
			t.Errorf("one more with the token: %q", got)
		}
	}
	io.WriteString(scrapers[0], loginHead)
	if got := whole(t, scrapers[0]); got != ok {
		t.Errorf("the first scraper, with a third request: %q", got)
	}
	if got := whole(t, f.dial(t, "203.0.113.9", loginHead)); got != ok {
		t.Errorf("one more than there are places: %q", got)
	}
	if !closedByServer(t, scrapers[1]) {
		t.Error("the scraper that asked for nothing for the longest time kept its place")
	}
}

// whole reads the answer to a probe to its end.
func whole(t *testing.T, c net.Conn) string {
	t.Helper()
	var b []byte
	for one := make([]byte, 1); len(b) < 3 || string(b[len(b)-3:]) != "ok\n"; b = append(b, one[0]) {
		if _, err := io.ReadFull(c, one); err != nil {
			return fmt.Sprintf("%s, %v", b, err)
		}
	}
	return string(b[:len(ok)])
}

// They say nothing before the handshake, and nothing is said to them.
func TestSilentTLSClientsHoldNobodyUp(t *testing.T) {
	ca := newAuthority(t)
	at := listens(t, "127.0.0.1:0", Options{Access: Access{Certificate: ca.sign(t, x509.ExtKeyUsageServerAuth)}})
	oldest := dials(t, at, "")
	for range 2 * maxConns {
		dials(t, at, "")
	}
	if !closedByServer(t, oldest) {
		t.Error("the oldest kept its place")
	}
	tcp := client(t, "tcp", at)
	defer tcp.CloseIdleConnections()
	if status, _, _ := ask(t, overHTTPS(t, tcp, ca.pool, nil), "GET", "https://localhost/healthz"); status != 200 {
		t.Errorf("a probe after them: %d", status)
	}
}

// However many come of one side, the other keeps its places.
func TestThisMachineAndOthersKeepTheirPlacesApart(t *testing.T) {
	const far, near = "203.0.113.7", "127.0.0.1"
	for come, stay := range map[string]string{near: far, far: near} {
		f := farServer(t, Options{})
		kept := map[string][]net.Conn{}
		for from, n := range map[string]int{far: maxConns - placesNear, near: placesNear} {
			for range n {
				c := f.dial(t, from, loginHead)
				if got := whole(t, c); got != ok {
					t.Fatalf("%s: %q", from, got)
				}
				kept[from] = append(kept[from], c)
			}
		}
		for range 2 * maxConns {
			f.dial(t, come, "")
		}
		for i, c := range kept[stay] {
			io.WriteString(c, loginHead)
			if got := whole(t, c); got != ok {
				t.Fatalf("%d of %s, when many of %s had come: %q", i, stay, come, got)
			}
		}
	}
}

// On the way from the choice to the close nothing may be begun whose answer is lost.
func TestWhoGivesWayIsNotServedAnyMore(t *testing.T) {
	l := newConns(&faraway{Listener: mustListen(t)}, quiet())
	var leaves *heldConn
	for range maxConns {
		other, err := l.hold(&heldConn{l: l, waits: true})
		if err != nil {
			t.Fatal(err)
		}
		if other != nil {
			leaves = other
			break
		}
	}
	if leaves == nil || asked(leaves, false) {
		t.Errorf("%+v: a request is served on a connection that is being closed", leaves)
	}
	for c := range l.held {
		if c != leaves && !asked(c, false) {
			t.Error("a request of another is not served")
		}
	}
}

// With TLS the HTTP server has another connection, and it is the same one.
func TestAConnectionIsFoundUnderTLS(t *testing.T) {
	l := newConns(&faraway{Listener: mustListen(t)}, quiet())
	h := &heldConn{Conn: addressed{}, l: l, waits: true, stranger: true}
	c := shaken{tls.Server(h, new(tls.Config))}
	asked(c, false)
	streamed(c)
	if h.waits || h.stranger || !h.apart {
		t.Errorf("it is %+v", h)
	}
}

// A client of this machine comes from the address that it goes to.
func TestWhoComesFromTheAddressOfTheListenerIsOfThisMachine(t *testing.T) {
	own, other := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 9900}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 4711}
	for _, tc := range []struct {
		from, to net.Addr
		want     bool
	}{{own, own, true}, {other, own, false}, {&net.TCPAddr{IP: net.IPv6loopback}, own, true}} {
		if got := isNear(addressed{from: tc.from, to: tc.to}); got != tc.want {
			t.Errorf("%v to %v: %v", tc.from, tc.to, got)
		}
	}
}

// Nobody is cut off in the middle of a request to make room.
func TestARequestThatIsServedDoesNotGiveWay(t *testing.T) {
	release, inside := make(chan struct{}), make(chan struct{}, maxConns)
	f := farServer(t, Options{Status: func() any { inside <- struct{}{}; <-release; return 1 }})
	var served []net.Conn
	for range maxConns - placesNear {
		served = append(served, f.dial(t, "203.0.113.7", "GET /api/status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+secretToken+"\r\n\r\n"))
		<-inside
	}
	if !closedByServer(t, f.dial(t, "203.0.113.8", "")) {
		t.Error("one more has found a place")
	}
	if got := answer(t, f.dial(t, "127.0.0.1", probeHead)); got != ok {
		t.Errorf("a probe of this machine: %q", got)
	}
	close(release)
	for _, c := range served {
		if got := answer(t, c); got != ok {
			t.Errorf("one who was served: %q", got)
		}
	}
}

// The HTTP server would never accept again.
func TestFailuresToAcceptDoNotCloseTheDoor(t *testing.T) {
	f := &faraway{Listener: mustListen(t), from: make(chan string, 1), fail: &net.OpError{Op: "accept", Err: syscall.EMFILE}}
	s := New(Options{Log: quiet()})
	if err := s.serve(f, func() {}); err != nil {
		t.Fatal(err)
	}
	if got := answer(t, f.dial(t, "127.0.0.1", "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")); got != ok {
		t.Errorf("after a failure for want of descriptors: %q", got)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
