package sock_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"weir/internal/sock"
)

// lines is a front that answers each line with the same line, parks between
// lines, and ends after "bye".
type lines struct {
	sweep *sock.Sweeper
	park  time.Duration

	mu    sync.Mutex
	wakes map[sock.Wake]int
}

func (h *lines) Serve(l *sock.Listener, c sock.Conn, w sock.Wake, state any) sock.Next {
	h.mu.Lock()
	h.wakes[w]++
	h.mu.Unlock()
	switch w {
	case sock.WakeFull:
		c.Write([]byte("full\n"))
		gone, _ := l.Refuse(w)
		h.sweep.End(c, sock.EndUnread, false, gone)
		return sock.Next{}
	case sock.WakeExpired, sock.WakeDraining:
		h.sweep.End(c, sock.EndOurs, false, l.Gone())
		return sock.Next{}
	}
	count, _ := state.(int)
	var buf [256]byte
	for {
		n, err := c.ReadSoon(buf[:])
		switch {
		case errors.Is(err, sock.ErrIdle):
			return sock.Next{Park: h.park, State: count}
		case err == io.EOF, errors.Is(err, sock.ErrFIN):
			h.sweep.End(c, sock.EndLeft, false, l.Gone())
			return sock.Next{}
		case err != nil:
			h.sweep.End(c, sock.EndLost, false, l.Gone())
			return sock.Next{}
		}
		count++
		fmt.Fprintf(connWriter{c}, "%d %s", count, buf[:n])
		if string(buf[:n]) == "stay\n" {
			h.sweep.End(c, sock.EndUnread, false, l.Gone()) // held until the client closes
			return sock.Next{}
		}
		if string(buf[:n]) == "bye\n" {
			h.sweep.End(c, sock.EndFinished, false, l.Gone())
			return sock.Next{}
		}
	}
}

type connWriter struct{ c sock.Conn }

func (w connWriter) Write(p []byte) (int, error) { return w.c.WriteTwo(p[:1], p[1:]) }

func start(t *testing.T, opt sock.ListenOptions, park time.Duration) (*sock.Listener, *lines) {
	t.Helper()
	poller, err := sock.NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	h := &lines{sweep: sock.NewSweeper(), park: park, wakes: map[sock.Wake]int{}}
	opt.Handler, opt.Poller = h, poller
	if opt.Address == "" {
		opt.Address = "127.0.0.1:0"
	}
	l, err := sock.Listen(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		h.sweep.Close(ctx)
		poller.Close()
		if n := l.Stats().Open; n != 0 {
			t.Errorf("%d clients are counted as open after Close", n)
		}
	})
	return l, h
}

func dial(t *testing.T, l *sock.Listener) net.Conn {
	t.Helper()
	c, err := net.Dial(l.Addr().Network(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

func say(t *testing.T, c net.Conn, r *bufio.Reader, line, want string) {
	t.Helper()
	if _, err := io.WriteString(c, line); err != nil {
		t.Fatal(err)
	}
	if got, err := r.ReadString('\n'); err != nil || got != want {
		t.Fatalf("%q was answered with %q, %v; want %q", line, got, err, want)
	}
}

// waitFor polls until cond holds.
func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	end := time.After(60 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("still not: %s", what)
		}
	}
}

func TestParkedClientKeepsItsStateAndResumes(t *testing.T) {
	l, _ := start(t, sock.ListenOptions{}, time.Minute)
	c := dial(t, l)
	r := bufio.NewReader(c)
	for i := range 4 {
		say(t, c, r, "hello\n", fmt.Sprintf("%d hello\n", i+1))
		waitFor(t, "parked", func() bool { return l.Stats().Parked == 1 })
	}
	say(t, c, r, "bye\n", "5 bye\n")
	c.Close()
	waitFor(t, "client gone", func() bool { return l.Stats().Open == 0 })
}

func TestBriskClientIsServedWithoutParking(t *testing.T) {
	l, h := start(t, sock.ListenOptions{}, time.Minute)
	c := dial(t, l)
	r := bufio.NewReader(c)
	for i := range 200 {
		say(t, c, r, "hello\n", fmt.Sprintf("%d hello\n", i+1))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := h.wakes[sock.WakeReadable]; n > 100 {
		t.Errorf("a client without pauses was parked %d times in 200 exchanges", n)
	}
}

func TestSilentParkedClientExpires(t *testing.T) {
	l, _ := start(t, sock.ListenOptions{}, 50*time.Millisecond)
	c := dial(t, l)
	if _, err := io.ReadAll(c); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "client gone", func() bool { return l.Stats().Open == 0 })
}

func TestParkedClientThatLeavesIsNoticed(t *testing.T) {
	l, _ := start(t, sock.ListenOptions{}, time.Minute)
	c := dial(t, l)
	r := bufio.NewReader(c)
	say(t, c, r, "hello\n", "1 hello\n")
	waitFor(t, "parked", func() bool { return l.Stats().Parked == 1 })
	c.Close()
	waitFor(t, "client gone", func() bool { return l.Stats().Open == 0 })
}

func TestClientsBeyondMaxClientsAreRefused(t *testing.T) {
	l, _ := start(t, sock.ListenOptions{MaxClients: 2}, time.Minute)
	a, b := dial(t, l), dial(t, l)
	say(t, a, bufio.NewReader(a), "x\n", "1 x\n")
	say(t, b, bufio.NewReader(b), "x\n", "1 x\n")
	c := dial(t, l)
	if got, err := io.ReadAll(c); err != nil || string(got) != "full\n" {
		t.Fatalf("the third client got %q, %v", got, err)
	}
	if n := l.Stats().Full; n != 1 {
		t.Errorf("%d refusals are counted", n)
	}
}

func TestClientsThatAreBeingClosedKeepNobodyOut(t *testing.T) {
	const most, more = 16, 16/8 + sock.MaxRefused
	l, _ := start(t, sock.ListenOptions{MaxClients: most}, time.Minute)
	for i := range most + more {
		c := dial(t, l)
		say(t, c, bufio.NewReader(c), "stay\n", "1 stay\n")
		if n := l.Stats().Open; n != int64(i+1) {
			t.Errorf("%d are open after %d have stayed", n, i+1)
		}
	}
	// So many are let out of the count, and no more: each has a descriptor.
	c := dial(t, l)
	if got, err := io.ReadAll(c); err != nil || string(got) != "full\n" {
		t.Fatalf("one more got %q, %v", got, err)
	}
}

func TestDrainEndsParkedAndWaitsForBusy(t *testing.T) {
	l, _ := start(t, sock.ListenOptions{}, time.Minute)
	var cs []net.Conn
	for range 20 {
		c := dial(t, l)
		say(t, c, bufio.NewReader(c), "x\n", "1 x\n")
		cs = append(cs, c)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := l.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	for _, c := range cs {
		if _, err := io.ReadAll(c); err != nil {
			t.Error(err)
		}
	}
	if _, err := net.Dial(l.Addr().Network(), l.Addr().String()); err == nil {
		t.Error("a drained listener took a client")
	}
}

func TestSecondListenerOnTheSameAddressIsAnError(t *testing.T) {
	l, _ := start(t, sock.ListenOptions{}, time.Minute)
	_, err := sock.Listen(sock.ListenOptions{Address: l.Addr().String(), Handler: &lines{}})
	if err == nil {
		t.Fatal("a second listener was opened on the same address")
	}
	t.Log(err)
}

func TestUnixListenerServesAndReplacesADeadSocket(t *testing.T) {
	path := t.TempDir() + "/s"
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	l, _ := start(t, sock.ListenOptions{Address: "unix:" + path}, time.Minute)
	c := dial(t, l)
	r := bufio.NewReader(c)
	say(t, c, r, "a\n", "1 a\n")
	say(t, c, r, "bye\n", "2 bye\n")
	if _, err := sock.Listen(sock.ListenOptions{Address: "unix:" + path, Handler: &lines{}}); err == nil {
		t.Error("a second listener was opened on the same socket")
	}
}
