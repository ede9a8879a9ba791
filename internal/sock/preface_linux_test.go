package sock_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"weir/internal/sock"
)

// The preface of these tests begins with its length, as a byte.
func lengthByte(p []byte) (int, error) {
	switch {
	case len(p) == 0:
		return 1, nil
	case p[0] == 0:
		return 0, errNoPreface
	}
	return int(p[0]), nil
}

var errNoPreface = errors.New("no preface")

// pair is a connection of every kind that a listener has.
type pair struct {
	name   string
	c      net.Conn  // the client, below TLS
	s      sock.Conn // ours
	tls    *tls.Config
	parked bool // may be parked before its first byte
}

// pairs opens one of each. A fresh actor's connection is the listener's own.
func pairs(t *testing.T, a *actor) (all []pair) {
	t.Helper()
	server, client := certificate(t)
	c, s := a.open("127.0.0.1", nil)
	all = append(all, pair{"accepted", c, s, nil, true})
	accept := func(network, address string) (net.Conn, net.Conn) {
		ln, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		c, err := net.Dial(network, ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		s, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close(); s.Close() })
		c.SetDeadline(time.Now().Add(20 * time.Second))
		return c, s
	}
	tc, ts := accept("tcp", "127.0.0.1:0")
	all = append(all, pair{"plain TCP", tc, sock.Wrap(ts), nil, true})
	uc, us := accept("unix", filepath.Join(t.TempDir(), "s"))
	all = append(all, pair{"unix", uc, sock.Wrap(us), nil, true})
	lc, ls := accept("tcp", "127.0.0.1:0")
	all = append(all, pair{"under TLS", lc, sock.Wrap(tls.Server(ls, server)), client, false})
	pc, ps := net.Pipe()
	t.Cleanup(func() { pc.Close(); ps.Close() })
	return append(all, pair{"without a descriptor", pc, sock.Wrap(ps), nil, false})
}

func TestAPrefaceIsReadToItsEndAndNotBeyond(t *testing.T) {
	preface := append([]byte{200}, bytes.Repeat([]byte("preface"), 29)[:199]...)
	for _, step := range []int{1, 7, 199, 200, 1000} {
		a := newActor(t, nil)
		for _, p := range pairs(t, a) {
			sent := make(chan error, 1)
			go func() {
				all, c := preface, p.c
				if p.tls == nil {
					all = append(bytes.Clone(preface), "hello"...)
				}
				for len(all) > 0 {
					n := min(step, len(all))
					if _, err := c.Write(all[:n]); err != nil {
						sent <- err
						return
					}
					all = all[n:]
				}
				if p.tls != nil {
					c = tls.Client(c, p.tls)
					if _, err := c.Write([]byte("hello")); err != nil {
						sent <- err
						return
					}
				}
				sent <- nil
			}()
			buf := make([]byte, 256)
			p.s.Stay()
			n, err := p.s.ReadPreface(buf, 10*time.Second, lengthByte)
			if err != nil || !bytes.Equal(buf[:n], preface) {
				t.Fatalf("%s, %d bytes at a time: %q, %v", p.name, step, buf[:n], err)
			}
			p.s.SetReadDeadline(time.Now().Add(10 * time.Second))
			if n, err = io.ReadFull(p.s, buf[:5]); err != nil || string(buf[:n]) != "hello" {
				t.Errorf("%s, %d bytes at a time: %q follows, %v", p.name, step, buf[:n], err)
			}
			if err := <-sent; err != nil {
				t.Errorf("%s: %v", p.name, err)
			}
		}
	}
}

func TestAPrefaceEndsInOneOfTheWaysThatAreTold(t *testing.T) {
	const d = 200 * time.Millisecond // longer than the grace
	for _, row := range []struct {
		name string
		send string
		then func(c net.Conn)
		n    int // -1: one at most, which is enough to see
		want error
	}{
		{"nothing yet", "", nil, 0, sock.ErrIdle},
		{"it stops in the middle", "\x05abc", nil, 4, nil}, // a deadline
		{"it leaves without a byte", "", func(c net.Conn) { c.Close() }, 0, io.EOF},
		{"it leaves in the middle", "\x05abc", func(c net.Conn) { c.Close() }, 4, io.ErrUnexpectedEOF},
		{"there is none", "\x00abc", nil, -1, errNoPreface},
		{"it does not fit", "\xffabc", nil, -1, io.ErrShortBuffer},
	} {
		a := newActor(t, nil)
		for _, p := range pairs(t, a) {
			sent := make(chan bool)
			go func() {
				defer close(sent)
				p.c.SetWriteDeadline(time.Now().Add(5 * time.Second)) // a pipe holds nothing
				if len(row.send) > 0 {
					io.WriteString(p.c, row.send)
				}
				if row.then != nil {
					row.then(p.c)
				}
			}()
			if p.name != "without a descriptor" {
				<-sent
			}
			want := row.want
			if want == sock.ErrIdle && !p.parked {
				want = nil
			}
			buf := make([]byte, 16)
			if len(row.send) > 0 || row.then != nil {
				p.s.Stay()
			}
			began := time.Now()
			n, err := p.s.ReadPreface(buf, d, lengthByte)
			took := time.Since(began)
			what := fmt.Sprintf("%s, %s", p.name, row.name)
			switch {
			case want != nil && !errors.Is(err, want):
				t.Errorf("%s: %v, want %v", what, err, want)
			case want == nil:
				late(t, what, err)
				if took < d {
					t.Errorf("%s: took %s, may take %s", what, took, d)
				}
			}
			if least := max(row.n, 0); n < least || n > least && (row.n >= 0 || n > 1) || string(buf[:n]) != row.send[:n] {
				t.Errorf("%s: %d bytes, %q", what, n, buf[:n])
			}
			p.c.Close()
			<-sent
		}
	}
}

// The grace is for the first byte, and only for a client that is expected to send.
func TestASilentClientIsAskedToParkAtOnceUnlessItIsAboutToSend(t *testing.T) {
	a := newActor(t, nil)
	c, s := a.open("127.0.0.1", nil)
	buf := make([]byte, 16)
	s.Stay()
	began := time.Now()
	if _, err := s.ReadPreface(buf, time.Hour, lengthByte); err != sock.ErrIdle {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 100*time.Millisecond || took > 10*time.Second {
		t.Errorf("it was waited for %s", took)
	}
	io.WriteString(c, "\x03ab")
	sees(t, s, sock.Readable)
	if n, err := s.ReadPreface(buf, time.Hour, lengthByte); err != nil || string(buf[:n]) != "\x03ab" {
		t.Errorf("%q, %v", buf[:n], err)
	}
	a.end(sock.EndRefused, false)
	_, s = a.open("127.0.0.1", nil)
	result := make(chan error, 1)
	go func() {
		_, err := s.ReadPreface(buf, time.Hour, lengthByte)
		for errors.Is(err, sock.ErrIdle) { // as a front that may not park it
			s.Stay()
			_, err = s.ReadPreface(buf, time.Hour, lengthByte)
		}
		result <- err
	}()
	s.Interrupt()
	late(t, "interrupted", <-result)
}

// A proxy in between passes half-closes on and takes a reset for an error; and
// how it closes says nothing of the clients it stands for.
func TestAConnectionThatAProxyCarriesHasTheClientsAddressAndTheProxysHabits(t *testing.T) {
	a := newActor(t, nil)
	for i := range 5 {
		_, s := a.open("127.0.0.9", nil)
		client := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 7)
		s.SetRemoteAddr(client)
		if got := s.RemoteAddr(); got != client {
			t.Errorf("the client is at %v, want %v", got, client)
		}
		send(t, s, reply)
		if got, want := <-a.end(sock.EndFinished, false), (end{sock.HowActive, i >= 3}); got != want {
			t.Errorf("connection %d of a proxy that does not close: %+v, want %+v", i, got, want)
		}
	}
	for _, from := range []string{"127.0.0.1", "127.0.0.2"} {
		c, s := a.open(from, nil)
		want := sock.HowQuiet
		if from == "127.0.0.1" {
			s.SetRemoteAddr(netip.MustParseAddrPort("10.0.0.1:7"))
			want = sock.HowPeerFirst
		}
		send(t, s, reply)
		receive(t, c)
		c.Close()
		sees(t, s, sock.PeerFIN)
		if got := <-a.end(sock.EndLeft, false); got.how != want {
			t.Errorf("from %s: closed %s, want %s", from, got.how, want)
		}
	}
}

func TestALayerKeepsTheClientsAddress(t *testing.T) {
	client := netip.MustParseAddrPort("[2001:db8::7]:9")
	a := newActor(t, nil)
	for _, p := range pairs(t, a)[:3] {
		p.s.SetRemoteAddr(client)
		over := sock.Layer(p.s, func(c net.Conn) net.Conn { return tls.Server(c, new(tls.Config)) })
		if got := over.RemoteAddr(); got != client {
			t.Errorf("%s: the client is at %v under TLS, want %v", p.name, got, client)
		}
	}
}
