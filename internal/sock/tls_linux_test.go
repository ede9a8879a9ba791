package sock_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/internal/sock"
	"weir/internal/testnet"
)

// certificate makes a self-signed one for 127.0.0.1, and a client's belief in it.
func certificate(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		&tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}
}

func wrapTLS(cfg *tls.Config) func(net.Conn) net.Conn {
	return func(c net.Conn) net.Conn { return tls.Server(c, cfg) }
}

// echo is a front that sends back each byte, parks when none comes, and ends
// after "bye". Reads may cut its input anywhere.
type echo struct {
	sweep *sock.Sweeper
	mu    sync.Mutex
	wakes map[sock.Wake]int
}

func (h *echo) start(t *testing.T, opt sock.ListenOptions) *sock.Listener {
	t.Helper()
	poller, err := sock.NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	h.sweep = sock.NewSweeper()
	opt.Address, opt.Handler, opt.Poller = "127.0.0.1:0", h, poller
	l, err := sock.Listen(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		h.sweep.Close(ctx)
		poller.Close()
		if n := l.Stats().Open; n != 0 {
			t.Errorf("%d clients are counted as open after Close", n)
		}
	})
	return l
}

func (h *echo) Serve(l *sock.Listener, c sock.Conn, w sock.Wake, state any) sock.Next {
	h.mu.Lock()
	h.wakes[w]++
	h.mu.Unlock()
	end := func(e sock.Ending) sock.Next {
		h.sweep.End(c, e, false, l.Gone())
		return sock.Next{}
	}
	switch w {
	case sock.WakeFull:
		c.WriteWithin(10 * time.Second)
		c.TryWrite([]byte("full\n"))
		gone, _ := l.Refuse(w)
		h.sweep.End(c, sock.EndUnread, false, gone)
		return sock.Next{}
	case sock.WakeExpired, sock.WakeDraining:
		return end(sock.EndOurs)
	}
	line, _ := state.(string)
	var buf [256]byte
	for {
		n, err := c.ReadSoon(buf[:])
		switch {
		case errors.Is(err, sock.ErrIdle):
			return sock.Next{Park: time.Minute, State: line}
		case err == io.EOF, errors.Is(err, sock.ErrFIN):
			return end(sock.EndLeft)
		case err != nil:
			return end(sock.EndLost)
		}
		c.Write(buf[:n])
		if line += string(buf[:n]); strings.HasSuffix(line, "bye\n") {
			return end(sock.EndFinished)
		}
	}
}

func TestATLSListenerServesParksAndDrains(t *testing.T) {
	server, client := certificate(t)
	h := &echo{wakes: map[sock.Wake]int{}}
	l := h.start(t, sock.ListenOptions{Wrap: wrapTLS(server)})
	var open []*tls.Conn
	for range 10 {
		c := tls.Client(dial(t, l), client)
		r := bufio.NewReader(c)
		for i := range 3 {
			say(t, c, r, "hello\n", "hello\n")
			if i == 1 {
				waitFor(t, "parked", func() bool { return l.Stats().Parked == int64(len(open)+1) })
			}
		}
		open = append(open, c)
	}
	for i, c := range open[:5] {
		if i%2 == 0 { // with the alert that TLS wants
			c.Close()
		} else { // as many clients do it
			c.NetConn().Close()
		}
	}
	waitFor(t, "half of them gone", func() bool { return l.Stats().Open == 5 })
	if n := l.Stats().Closed[sock.HowReset]; n != 0 {
		t.Errorf("%d clients that closed are counted as resets", n)
	}
	c := tls.Client(dial(t, l), client)
	r := bufio.NewReader(c)
	say(t, c, r, "bye\n", "bye\n")
	if got, err := io.ReadAll(r); err != nil || len(got) != 0 {
		t.Errorf("after bye: %q, %v, want the end that TLS knows", got, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := l.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	for _, c := range open[5:] {
		if got, err := io.ReadAll(c); err != nil || len(got) != 0 {
			t.Errorf("after a drain: %q, %v", got, err)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.wakes[sock.WakeDraining] != 5 {
		t.Errorf("wakes: %v", h.wakes)
	}
}

// slowly sends each piece that is written in two halves, and is longer about
// each than weir waits before it parks a client.
type slowly struct{ net.Conn }

func (c slowly) Write(p []byte) (int, error) {
	const slow = 150 * time.Millisecond
	testnet.Pace(nil, slow)
	n, err := c.Conn.Write(p[:len(p)/2])
	if err != nil {
		return n, err
	}
	testnet.Pace(nil, slow)
	m, err := c.Conn.Write(p[len(p)/2:])
	return n + m, err
}

func TestATLSHandshakeMayTakeLongerThanAClientIsWaitedForBeforeParking(t *testing.T) {
	server, client := certificate(t)
	l := (&echo{wakes: map[sock.Wake]int{}}).start(t, sock.ListenOptions{Wrap: wrapTLS(server)})
	c := tls.Client(slowly{dial(t, l)}, client)
	say(t, c, bufio.NewReader(c), "hello\n", "hello\n")
}

func TestATLSClientBeyondTheBoundIsRefusedInItsLanguage(t *testing.T) {
	server, client := certificate(t)
	l := (&echo{wakes: map[sock.Wake]int{}}).start(t, sock.ListenOptions{Wrap: wrapTLS(server), MaxClients: 1})
	a := tls.Client(dial(t, l), client)
	say(t, a, bufio.NewReader(a), "hello\n", "hello\n")
	b := tls.Client(dial(t, l), client)
	if got, err := io.ReadAll(b); err != nil || string(got) != "full\n" {
		t.Errorf("the second client got %q, %v", got, err)
	}
}

// tlsPair makes a TLS connection and returns the client and our end.
func tlsPair(t *testing.T) (client *tls.Conn, ours sock.Conn) {
	t.Helper()
	server, ccfg := certificate(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	client = tls.Client(nc, ccfg)
	ours = sock.Wrap(tls.Server(accepted, server))
	done := make(chan error, 1)
	go func() {
		_, err := io.WriteString(client, "hello")
		done <- err
	}()
	buf := make([]byte, 5)
	if _, err := io.ReadFull(readSooner{ours}, buf); err != nil || string(buf) != "hello" {
		t.Fatalf("%q, %v", buf, err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return client, ours
}

type readSooner struct{ c sock.Conn }

func (r readSooner) Read(p []byte) (int, error) { return r.c.ReadSoon(p) }

// The alert that ends a TLS stream says that all of it came: a response that
// was cut must not have it.
func TestACutTLSResponseDoesNotEndLikeAWholeOne(t *testing.T) {
	client, ours := tlsPair(t)
	if _, err := ours.Write([]byte(reply)); err != nil {
		t.Fatal(err)
	}
	receive(t, client)
	sweep := sock.NewSweeper()
	defer sweep.Close(t.Context())
	how := make(chan sock.How, 1)
	sweep.End(ours, sock.EndCut, false, func(h sock.How) { how <- h })
	if h := <-how; h != sock.HowAbort {
		t.Errorf("ended %s", h)
	}
	if n, err := client.Read(make([]byte, 1)); n != 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client read %d, %v, want a reset", n, err)
	}
}

// Half a TLS record is all that a client need send to keep a reader waiting.
func TestATLSClientCannotHoldUpTheSweeper(t *testing.T) {
	client, ours := tlsPair(t)
	a := newActor(t, nil)
	ended := make(chan sock.How, 1)
	a.sweep.End(ours, sock.EndUnread, false, func(h sock.How) { ended <- h })
	under := client.NetConn()
	stop := make(chan struct{})
	defer close(stop)
	go func() { // a byte of a record that never ends, again and again
		io.WriteString(under, "\x17\x03\x03\x40\x00")
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if _, err := io.WriteString(under, "x"); err != nil {
					return
				}
			case <-stop:
				return
			}
		}
	}()
	var total time.Duration
	for range 20 {
		c, s := a.open("127.0.0.1", smallWindow)
		send(t, s, reply)
		receive(t, c)
		done := a.end(sock.EndUnread, false)
		began := time.Now()
		c.Close()
		<-done
		total += time.Since(began)
	}
	t.Logf("figure: beside a client that sends half a TLS record twenty others were ended in %s", total)
	if len(ended) > 0 { // a sweeper that waits for it ends a few others in its 5 s
		t.Error("its own end, after its time was up, came before those of twenty other clients")
	}
	under.Close()
	if how := <-ended; how != sock.HowLinger {
		t.Errorf("it was closed %s itself", how)
	}
}

func TestBytesThatCameBeforeATLSClientsFINAreRead(t *testing.T) {
	client, ours := tlsPair(t)
	want := strings.Repeat("0123456789", 1000)
	if _, err := io.WriteString(client, want); err != nil { // one record
		t.Fatal(err)
	}
	client.Close()
	var got []byte
	buf := make([]byte, 100)
	for {
		n, err := ours.ReadSoon(buf)
		got = append(got, buf[:n]...)
		if err == io.EOF || errors.Is(err, sock.ErrFIN) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if string(got) != want {
		t.Errorf("%d of %d bytes were read", len(got), len(want))
	}
	ours.Close()
}
