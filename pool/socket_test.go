package pool

import (
	"bufio"
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"weir/internal/reason"
	"weir/internal/sock"
	"weir/limiter"
)

// lineBackend is a real server that answers each line with one, and hands its
// side of every connection to the test.
type lineBackend struct {
	net.Listener
	accepted chan net.Conn
	wg       sync.WaitGroup
}

func startLineBackend(t *testing.T) *lineBackend {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &lineBackend{Listener: ln, accepted: make(chan net.Conn, 16)}
	b.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			b.accepted <- c
			b.wg.Go(func() {
				for r := bufio.NewScanner(c); r.Scan(); {
					c.Write([]byte("answer\n"))
				}
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		b.wg.Wait()
	})
	return b
}

func realPool(t *testing.T, b *lineBackend) *Pool {
	t.Helper()
	o := testOptions(nil)
	o.QueueTimeout, o.DialTimeout = 10*time.Second, 10*time.Second
	o.Connect = func(ctx context.Context, _ string) (sock.Conn, any, error) {
		c, err := sock.Dial(ctx, b.Addr().String(), netip.Addr{})
		return c, nil, err
	}
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return p
}

func roundTrip(t *testing.T, l Lease) {
	t.Helper()
	l.Conn().SetReadDeadline(time.Now().Add(10 * time.Second))
	buf := make([]byte, 16)
	_, n, err := l.Conn().Exchange([]byte("hello\n"), buf)
	if err != nil || string(buf[:n]) != "answer\n" {
		t.Fatalf("got %q, %v", buf[:n], err)
	}
}

func TestRealSocketsAreReusedUntilTheBackendClosesOrSpeaks(t *testing.T) {
	for _, c := range []struct {
		why reason.Close
		how sock.How
		do  func(net.Conn)
	}{
		{reason.CloseBackendFIN, sock.HowPeerFirst, func(s net.Conn) { s.(*net.TCPConn).CloseWrite() }},
		{reason.CloseUnsolicited, sock.HowAbort, func(s net.Conn) { s.Write([]byte("HTTP/1.1 408 Request Timeout\r\n")) }},
		{reason.CloseBroken, sock.HowReset, func(s net.Conn) { s.(*net.TCPConn).SetLinger(0); s.Close() }},
	} {
		t.Run(c.why.String(), func(t *testing.T) {
			b := startLineBackend(t)
			p := realPool(t, b)
			l, err := p.Acquire(t.Context(), "", limiter.ClassDefault)
			if err != nil {
				t.Fatal(err)
			}
			server := <-b.accepted
			defer server.Close()
			for range 20 {
				roundTrip(t, l)
				l.Release()
				if l, err = p.Acquire(t.Context(), "", limiter.ClassDefault); err != nil || !l.Reused() {
					t.Fatalf("not reused, %v", err)
				}
			}
			conn := l.Conn()
			l.Release()
			c.do(server)
			await(t, conn, c.why)
			if l, err = p.Acquire(t.Context(), "", limiter.ClassDefault); err != nil {
				t.Fatal(err)
			}
			defer (<-b.accepted).Close()
			if l.Reused() {
				t.Error("got the dead one")
			}
			roundTrip(t, l)
			l.Release()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := p.Close(ctx); err != nil {
				t.Fatal(err)
			}
			if s := p.Stats(); s.Closes[c.why] != 1 || s.Hows[c.how] == 0 || s.Opens[reason.OpenDemand] != 2 {
				t.Errorf("closes %v, hows %v, opens %v", s.Closes, s.Hows, s.Opens)
			}
		})
	}
}

// await waits until the kernel shows what the backend did. Nothing else uses the
// idle connection: the reaper looks a second later at the earliest. A reset is
// awaited without a look, which would use up the socket's error.
func await(t *testing.T, c sock.Conn, why reason.Close) {
	t.Helper()
	there := func() bool { return c.Look() != sock.Quiet }
	if why == reason.CloseBroken {
		there = func() bool {
			i, ok := c.Info()
			return !ok || i.State != sock.Established
		}
	}
	for deadline := time.Now().Add(900 * time.Millisecond); !there(); {
		if time.Now().After(deadline) {
			t.Fatal("it did not arrive")
		}
	}
}

func TestARefusedRealDialBlamesTheBackend(t *testing.T) {
	b := startLineBackend(t)
	p := realPool(t, b)
	b.Close()
	_, err := p.Acquire(t.Context(), "", limiter.ClassDefault)
	if err == nil || IsLocal(err) {
		t.Errorf("got %v", err)
	}
	if n := p.Stats().Dials[DialRefused]; n != 1 {
		t.Errorf("%d counted, %v", n, err)
	}
}
