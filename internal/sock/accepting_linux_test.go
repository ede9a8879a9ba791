package sock_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"weir/internal/sock"
	"weir/internal/testnet"
)

// kinds are the listeners whose acceptors differ.
func kinds(t *testing.T, test func(t *testing.T, opt sock.ListenOptions)) {
	for name, opt := range map[string]sock.ListenOptions{
		"tcp":          {Shards: 4},
		"under a wrap": {Wrap: func(c net.Conn) net.Conn { return c }},
		"unix":         {Address: "unix:" + t.TempDir() + "/s"},
	} {
		t.Run(name, func(t *testing.T) { test(t, opt) })
	}
}

// spoken is a client that has said a word.
type spoken struct {
	net.Conn
	r *bufio.Reader
}

// speak makes n clients that say a word and wait for no answer.
func speak(t *testing.T, l *sock.Listener, n int) (cs []spoken) {
	t.Helper()
	for range n {
		c := dial(t, l)
		if _, err := io.WriteString(c, "hello\n"); err != nil {
			t.Fatal(err)
		}
		cs = append(cs, spoken{c, bufio.NewReader(c)})
	}
	return cs
}

func mustHear(t *testing.T, cs []spoken) {
	t.Helper()
	for i, c := range cs {
		if got, err := c.r.ReadString('\n'); err != nil || got != "1 hello\n" {
			t.Fatalf("client %d of %d got %q, %v", i+1, len(cs), got, err)
		}
	}
}

func mustAccept(t *testing.T, l *sock.Listener, accepting, held bool) {
	t.Helper()
	if st := l.Stats(); st.Accepting != accepting || st.Held != held || st.AcceptErrors != 0 {
		t.Errorf("accepting %v, held %v, %d errors; want %v, %v, 0", st.Accepting, st.Held, st.AcceptErrors, accepting, held)
	}
}

func TestClientsOfAStoppedListenerWaitInTheQueueAndAreServedWhenItGoesOn(t *testing.T) {
	kinds(t, func(t *testing.T, opt sock.ListenOptions) {
		l, _ := start(t, opt, time.Minute)
		old := dial(t, l)
		r := bufio.NewReader(old)
		say(t, old, r, "a\n", "1 a\n")
		for round := range 3 {
			l.SetAccepting(false)
			l.SetAccepting(false) // the same again
			mustAccept(t, l, false, true)
			before := l.Stats().Accepted
			cs := speak(t, l, 40)
			if _, max := l.Backlog(); max > 0 || opt.Address == "" {
				waitFor(t, "forty wait, but for one in an acceptor's hand", func() bool { n, _ := l.Backlog(); return n == 40 || n == 39 })
			}
			// An acceptor that went on would have taken them by now.
			say(t, old, r, "b\n", fmt.Sprintf("%d b\n", round+2))
			if n := l.Stats().Accepted; n != before {
				t.Fatalf("%d were accepted while accepting was stopped", n-before)
			}
			l.SetAccepting(true)
			mustAccept(t, l, true, false)
			mustHear(t, cs)
			if n, _ := l.Backlog(); n != 0 {
				t.Errorf("%d are stranded in the queue", n)
			}
			mustHear(t, speak(t, l, 5)) // and those who come then
		}
	})
}

func TestNobodyIsStrandedHoweverAcceptingChanges(t *testing.T) {
	kinds(t, func(t *testing.T, opt sock.ListenOptions) {
		l, _ := start(t, opt, time.Minute)
		stop, ended := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			for on := false; ; on = !on {
				select {
				case <-stop:
					l.SetAccepting(true)
					return
				default:
					l.SetAccepting(on)
				}
			}
		}()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 100 {
					c, err := net.Dial(l.Addr().Network(), l.Addr().String())
					if err != nil {
						t.Error(err)
						return
					}
					c.SetDeadline(time.Now().Add(20 * time.Second))
					io.WriteString(c, "bye\n")
					if got, err := io.ReadAll(c); err != nil || string(got) != "1 bye\n" {
						t.Errorf("a client got %q, %v", got, err)
					}
					c.Close()
				}
			})
		}
		wg.Wait()
		close(stop)
		<-ended
		mustAccept(t, l, true, false)
	})
}

func TestADrainOfAStoppedListenerServesThoseInItsQueue(t *testing.T) {
	kinds(t, func(t *testing.T, opt sock.ListenOptions) {
		l, _ := start(t, opt, time.Minute)
		l.SetAccepting(false)
		cs := speak(t, l, 60)
		var wg sync.WaitGroup
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		wg.Go(func() {
			if err := l.Drain(ctx); err != nil {
				t.Error(err)
			}
		})
		mustHear(t, cs)
		wg.Wait()
		l.SetAccepting(false)
		mustAccept(t, l, false, false)
		if c, err := net.Dial(l.Addr().Network(), l.Addr().String()); err == nil {
			c.Close()
			t.Error("a drained listener took a client")
		}
	})
}

func TestADrainServesMoreOfThemThanCanBeTakenInItsTime(t *testing.T) {
	slow := func(c net.Conn) net.Conn {
		testnet.Pace(nil, 3*time.Millisecond)
		return c
	}
	l, _ := start(t, sock.ListenOptions{Wrap: slow}, time.Minute)
	l.SetAccepting(false)
	cs := speak(t, l, 40) // of 50 ms
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := l.Drain(ctx); err != nil {
		t.Error(err)
	}
	mustHear(t, cs)
}

func TestAStoppedListenerCloses(t *testing.T) {
	kinds(t, func(t *testing.T, opt sock.ListenOptions) {
		l, _ := start(t, opt, time.Minute)
		l.SetAccepting(false)
		speak(t, l, 3)
		l.Close() // by start's cleanup it has no client open
	})
}

func TestABacklogHasRoomAndAClosedListenerHasNone(t *testing.T) {
	l, _ := start(t, sock.ListenOptions{Shards: 3}, time.Minute)
	waiting, most := l.Backlog()
	if waiting != 0 || most == 0 {
		t.Fatalf("%d of %d wait at a listener without clients", waiting, most)
	}
	l.Close()
	if waiting, most := l.Backlog(); waiting != 0 || most != 0 {
		t.Errorf("%d of %d wait at a closed listener", waiting, most)
	}
}
