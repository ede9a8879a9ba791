package sock_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"weir/internal/sock"
)

// late says that a call ended because of its deadline or an Interrupt.
func late(t *testing.T, what string, err error) {
	t.Helper()
	var ne net.Error
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
		t.Errorf("%s: %v, want a timeout that wraps os.ErrDeadlineExceeded", what, err)
	}
}

func TestAReadEndsAtItsDeadline(t *testing.T) {
	a := newActor(t, nil)
	c, s := a.open("127.0.0.1", nil)
	defer a.end(sock.EndRefused, false)
	const d = 50 * time.Millisecond
	buf := make([]byte, 10)
	for i := range 3 { // the first time it is bare, then it is in the poller
		began := time.Now()
		s.SetReadDeadline(began.Add(d))
		_, err := s.Read(buf)
		late(t, "read", err)
		if took := time.Since(began); took < d {
			t.Errorf("read %d ended %s after it began, before its deadline", i, took)
		}
	}
	// Set by another goroutine while the read is pending.
	s.SetReadDeadline(time.Time{})
	began := time.Now()
	result := make(chan error)
	go func() { _, err := s.Read(buf); result <- err }()
	s.SetReadDeadline(began.Add(d))
	late(t, "pending read", <-result)
	// A deadline that passed takes nothing from the stream, and a later one
	// lets it go on.
	io.WriteString(c, "hello")
	s.SetReadDeadline(time.Time{})
	if n, err := s.Read(buf); err != nil || string(buf[:n]) != "hello" {
		t.Errorf("after the deadlines: %q, %v", buf[:n], err)
	}
}

func TestReadWithinGivesAtLeastItsTime(t *testing.T) {
	a := newActor(t, nil)
	c, s := a.open("127.0.0.1", nil)
	defer a.end(sock.EndRefused, false)
	buf := make([]byte, 1)
	const d = 60 * time.Millisecond
	var longest time.Duration
	for range 10 {
		for range 100 { // busy: most of these calls leave the timer alone
			io.WriteString(c, "x")
			s.ReadWithin(d)
			if _, err := s.Read(buf); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		s.ReadWithin(d)
		_, err := s.Read(buf)
		took := time.Since(began)
		late(t, "read", err)
		if took < d {
			t.Errorf("the read was given %s, want at least %s", took, d)
		}
		longest = max(longest, took)
	}
	t.Logf("figure: a read within %s was given %s at most", d, longest)
}

func TestAWriteEndsAtItsDeadlineAndSaysHowMuchItWrote(t *testing.T) {
	a := newActor(t, nil)
	c, s := a.open("127.0.0.1", smallWindow)
	big := make([]byte, 64<<20)
	for i := range big {
		big[i] = byte(i * 31 >> 8)
	}
	began := time.Now()
	s.SetWriteDeadline(began.Add(50 * time.Millisecond))
	n, err := s.Write(big)
	late(t, "write", err)
	if n == 0 || n == len(big) || time.Since(began) < 50*time.Millisecond {
		t.Errorf("wrote %d in %s", n, time.Since(began))
	}
	s.WriteWithin(50 * time.Millisecond)
	m, err := s.WriteTwo(big[n:n+10], big[n+10:])
	late(t, "write of two", err)
	n += m
	a.end(sock.EndOurs, false)
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, big[:n]) {
		t.Errorf("%d bytes arrived, %d were written, %v", len(got), n, err)
	}
}

func TestInterruptReachesWhoeverIsBlocked(t *testing.T) {
	buf := make([]byte, 10)
	for _, row := range []struct {
		name string
		call func(s sock.Conn) error
	}{
		{"read", func(s sock.Conn) error { _, err := s.Read(buf); return err }},
		{"write", func(s sock.Conn) error { _, err := s.Write(make([]byte, 64<<20)); return err }},
		{"write of two", func(s sock.Conn) error { _, err := s.WriteTwo([]byte("x"), make([]byte, 64<<20)); return err }},
		{"exchange", func(s sock.Conn) error { _, _, err := s.Exchange([]byte("x"), buf); return err }},
		{"read with a deadline of its own", func(s sock.Conn) error {
			s.SetReadDeadline(time.Now().Add(time.Hour))
			_, err := s.Read(buf)
			return err
		}},
	} {
		a := newActor(t, nil)
		_, s := a.open("127.0.0.1", smallWindow)
		for range 2 {
			result := make(chan error, 1)
			go func() { result <- row.call(s) }()
			s.Interrupt() // before, while or after it begins
			late(t, row.name, <-result)
			s.SetReadDeadline(time.Now().Add(time.Hour)) // undoes nothing
			s.SetWriteDeadline(time.Time{})
			late(t, row.name+" later", row.call(s))
		}
		<-a.end(sock.EndCut, false)
		s.Interrupt() // after the end too
	}
}

// A client's read and its write may block at the same moment; both then put
// the connection into the poller.
func TestAReaderAndAWriterMayBlockAtOnce(t *testing.T) {
	a := newActor(t, nil)
	const size = 1 << 20
	for range 20 {
		c, s := a.open("127.0.0.1", smallWindow)
		out, in := make([]byte, size), make([]byte, size)
		for i := range out {
			out[i], in[i] = byte(rand.Uint32()), byte(rand.Uint32())
		}
		s.SetReadDeadline(time.Now().Add(30 * time.Second))
		s.SetWriteDeadline(time.Now().Add(30 * time.Second))
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := s.Write(out); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			got := make([]byte, size)
			if _, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, in) {
				t.Errorf("read: %v, equal %t", err, bytes.Equal(got, in))
			}
		})
		wg.Go(func() {
			got := make([]byte, size)
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, out) {
				t.Errorf("client's read: %v, equal %t", err, bytes.Equal(got, out))
			}
			if _, err := c.Write(in); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		a.end(sock.EndOurs, false)
		c.Close()
	}
}

// The deadline that is set last is the one that binds, also when it is set
// while a read is on its way into the poller.
func TestADeadlineSetWhileAReadBeginsToBlockBinds(t *testing.T) {
	a := newActor(t, nil)
	for i := range 300 {
		c, s := a.open("127.0.0.1", nil)
		s.SetReadDeadline(time.Now().Add(time.Hour))
		result := make(chan error, 1)
		go func() { _, err := s.Read(make([]byte, 1)); result <- err }()
		for range i % 20 * 50 { // at another moment each time
			s.LocalAddr()
		}
		s.SetReadDeadline(time.Unix(1, 0))
		select {
		case err := <-result:
			late(t, "read", err)
		case <-time.After(20 * time.Second):
			t.Fatalf("round %d: the read goes on after its deadline", i)
		}
		a.end(sock.EndOurs, false)
		c.Close()
	}
}

func TestWritesOfTwoPartsArriveInOrderWhateverTheSocketTakes(t *testing.T) {
	a := newActor(t, nil)
	for _, sizes := range [][2]int{{0, 0}, {0, 5}, {5, 0}, {1, 1}, {100, 3 << 20}, {3 << 20, 100}, {2 << 20, 2 << 20}} {
		c, s := a.open("127.0.0.1", smallWindow)
		head, body := make([]byte, sizes[0]), make([]byte, sizes[1])
		for i := range head {
			head[i] = byte(rand.Uint32())
		}
		for i := range body {
			body[i] = byte(rand.Uint32())
		}
		got := make(chan []byte, 1)
		go func() { b, _ := io.ReadAll(c); got <- b }()
		if n, err := s.WriteTwo(head, body); err != nil || n != len(head)+len(body) {
			t.Errorf("%v: wrote %d, %v", sizes, n, err)
		}
		a.end(sock.EndOurs, false)
		if b := <-got; !bytes.Equal(b, append(head, body...)) {
			t.Errorf("%v: %d bytes arrived, or others", sizes, len(b))
		}
		c.Close()
	}
}

func TestAddressesAndInfoAreTheKernels(t *testing.T) {
	a := newActor(t, nil)
	c, s := a.open("127.0.0.3", nil)
	defer a.end(sock.EndRefused, false)
	if got, want := s.RemoteAddr().String(), c.LocalAddr().String(); got != want {
		t.Errorf("the peer is %s, want %s", got, want)
	}
	if got, want := s.LocalAddr().String(), c.RemoteAddr().String(); got != want {
		t.Errorf("we are %s, want %s", got, want)
	}
	io.WriteString(c, "hello")
	sees(t, s, sock.Readable)
	i, ok := s.Info()
	if !ok || i.State != sock.Established || !i.Timestamps || i.Received != 5 || i.Unacked != 0 || i.NotSent != 0 {
		t.Errorf("%+v, %t", i, ok)
	}
}
