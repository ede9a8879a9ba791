package sock_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"weir/internal/sock"
)

// holder leaves its clients unread after they have connected, and tells of each
// wake. A client that wakes is read from once and ended.
type holder struct {
	sweep *sock.Sweeper
	wait  time.Duration
	begun chan time.Time
	woken chan woke
}

type woke struct {
	w    sock.Wake
	at   time.Time
	text string
}

func (h *holder) Serve(l *sock.Listener, c sock.Conn, w sock.Wake, state any) sock.Next {
	if w == sock.WakeAccepted {
		h.begun <- time.Now()
		return sock.Next{Park: h.wait, State: 1, Unread: true}
	}
	var buf [64]byte
	n, err := c.ReadSoon(buf[:])
	h.woken <- woke{w, time.Now(), string(buf[:n])}
	end := sock.EndOurs
	if err != nil {
		end = sock.EndLost
	}
	h.sweep.End(c, end, false, l.Gone())
	return sock.Next{}
}

func hold(t *testing.T, wait time.Duration, opt sock.ListenOptions) (*sock.Listener, *holder) {
	t.Helper()
	poller, err := sock.NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	h := &holder{sweep: sock.NewSweeper(), wait: wait, begun: make(chan time.Time, 1000), woken: make(chan woke, 1000)}
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
		if st := l.Stats(); st.Open != 0 || st.Unread != 0 {
			t.Errorf("after Close %d clients are open and %d unread", st.Open, st.Unread)
		}
	})
	return l, h
}

func TestAClientLeftUnreadIsReadWhenItsTimeIsOver(t *testing.T) {
	const wait = 200 * time.Millisecond
	l, h := hold(t, wait, sock.ListenOptions{})
	c := dial(t, l)
	io.WriteString(c, "hello") // comes at once, and wakes nobody
	begun, woke := <-h.begun, <-h.woken
	if woke.w != sock.WakeExpired || woke.text != "hello" {
		t.Errorf("woke as %v with %q", woke.w, woke.text)
	}
	if took := woke.at.Sub(begun); took < wait {
		t.Errorf("woke after %v", took)
	}
	if st := l.Stats(); st.LeftUnread != 1 || st.Unread != 0 {
		t.Errorf("%d were left unread, %d are", st.LeftUnread, st.Unread)
	}
}

func TestADrainWakesClientsLeftUnread(t *testing.T) {
	l, h := hold(t, time.Minute, sock.ListenOptions{})
	dial(t, l)
	<-h.begun
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := l.Drain(ctx); err != nil {
		t.Error(err)
	}
	if woke := <-h.woken; woke.w != sock.WakeDraining {
		t.Errorf("woke as %v", woke.w)
	}
}

func TestAQuarterOfTheClientsAreLeftUnreadAtMost(t *testing.T) {
	const most, more = 400/4 + sock.MaxRefused, 6
	l, h := hold(t, time.Minute, sock.ListenOptions{MaxClients: 400})
	var conns []net.Conn
	for range most + more {
		conns = append(conns, dial(t, l))
		<-h.begun
	}
	waitFor(t, "all are parked", func() bool { return l.Stats().Parked == most+more })
	if n := l.Stats().LeftUnread; n != most {
		t.Fatalf("%d of %d were left unread, want %d", n, len(conns), most)
	}
	for _, c := range conns {
		io.WriteString(c, "x")
	}
	for range more {
		if woke := <-h.woken; woke.w != sock.WakeReadable {
			t.Errorf("woke as %v", woke.w)
		}
	}
}

func TestHearAllWakesClientsLeftUnread(t *testing.T) {
	l, h := hold(t, time.Minute, sock.ListenOptions{})
	const clients = 5
	for range clients {
		io.WriteString(dial(t, l), "hello")
		<-h.begun
	}
	waitFor(t, "all are left unread", func() bool { return l.Stats().Unread == clients })
	l.HearAll()
	for range clients {
		if woke := <-h.woken; woke.w != sock.WakeExpired || woke.text != "hello" {
			t.Errorf("woke as %v with %q", woke.w, woke.text)
		}
	}
}

// tooLate leaves its client unread by what was true before it was told otherwise.
type tooLate struct {
	*holder
	heard, goOn chan struct{}
}

func (h tooLate) Serve(l *sock.Listener, c sock.Conn, w sock.Wake, state any) sock.Next {
	if w == sock.WakeAccepted {
		l.HearAll()
		close(h.heard)
		<-h.goOn
	}
	return h.holder.Serve(l, c, w, state)
}

// And nobody else, or each of them would wake all who were refused since.
func TestHearAllWakesAClientOnItsWayToBeLeftUnread(t *testing.T) {
	l, h := hold(t, time.Minute, sock.ListenOptions{})
	late := tooLate{h, make(chan struct{}), make(chan struct{})}
	l.SetHandler(late)
	dial(t, l)
	<-late.heard
	l.SetHandler(h)
	for range 3 {
		dial(t, l)
		<-h.begun
	}
	waitFor(t, "the others are left unread", func() bool { return l.Stats().Unread == 3 })
	close(late.goOn)
	if woke := <-h.woken; woke.w != sock.WakeExpired {
		t.Errorf("woke as %v", woke.w)
	}
	if n := l.Stats().Unread; n != 3 {
		t.Errorf("%d are left unread, want the other 3", n)
	}
}
