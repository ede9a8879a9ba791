//go:build !weir_netconn

package sock

import (
	"context"
	"net"
	"testing"
	"time"
)

// parker parks each client at once and says which connection it was.
type parker struct {
	sweep *Sweeper
	conns chan *rawConn
	woken chan Wake
}

func (p *parker) Serve(l *Listener, c Conn, w Wake, _ any) Next {
	if w == WakeAccepted {
		p.conns <- c.(*rawConn)
		return Next{Park: time.Hour}
	}
	c.SetReadDeadline(time.Now().Add(time.Hour))
	c.Read(make([]byte, 1))
	p.sweep.End(c, EndOurs, false, l.Gone())
	p.woken <- w
	return Next{}
}

func startParker(t *testing.T) (*Listener, *parker, *Poller) {
	t.Helper()
	poller, err := NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	p := &parker{sweep: NewSweeper(), conns: make(chan *rawConn, 1), woken: make(chan Wake, 10)}
	l, err := Listen(ListenOptions{Address: "127.0.0.1:0", Handler: p, Poller: poller})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		p.sweep.Close(ctx)
		poller.Close()
	})
	return l, p, poller
}

// parkOne opens a client and waits until it is parked.
func parkOne(t *testing.T, l *Listener, p *parker, poller *Poller) (net.Conn, *rawConn) {
	t.Helper()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	c := <-p.conns
	for {
		poller.mu.Lock()
		parked := int(c.fd) < len(poller.byFD) && poller.byFD[c.fd] == c
		poller.mu.Unlock()
		if parked {
			return nc, c
		}
	}
}

func TestAnEventOfAnEarlierLifeOfADescriptorWakesNobody(t *testing.T) {
	l, p, poller := startParker(t)
	_, c := parkOne(t, l, p, poller)
	poller.mu.Lock()
	fd, gen := c.fd, c.slot.gen
	poller.mu.Unlock()
	for _, ev := range []struct {
		fd  int32
		gen uint32
	}{{fd, gen - 1}, {fd, gen + 1}, {fd, 0}, {fd + 1, gen}, {1 << 20, gen}} {
		poller.ready(ev.fd, ev.gen)
	}
	if n := l.Stats().Parked; n != 1 {
		t.Fatalf("%d clients are parked after events that were not theirs", n)
	}
	poller.ready(fd, gen)
	poller.ready(fd, gen) // a second one finds nobody
	if n := l.Stats().Parked; n != 0 {
		t.Errorf("%d clients are parked after the event", n)
	}
}

func TestAClientThatWakesWhileCloseInterruptsIsInterruptedToo(t *testing.T) {
	l, p, poller := startParker(t)
	_, c := parkOne(t, l, p, poller)
	poller.mu.Lock()
	poller.take(c.fd, c.slot.gen) // as its event does, which then waits for a processor
	poller.mu.Unlock()
	closed := make(chan struct{})
	go func() { l.Close(); close(closed) }()
	for {
		l.mu.Lock()
		cut := l.cut
		l.mu.Unlock()
		if cut {
			break
		}
	}
	l.resume(c, WakeReadable)
	select {
	case <-closed:
	case <-time.After(20 * time.Second):
		c.Interrupt()
		t.Fatal("Close waits for a session that nobody interrupts")
	}
	if w := <-p.woken; w != WakeReadable {
		t.Errorf("woken by %d", w)
	}
}

func TestAnIdleClientIsASmallStruct(t *testing.T) {
	l, p, poller := startParker(t)
	_, c := parkOne(t, l, p, poller)
	if c.poll.Load() != nil {
		t.Error("a parked client is in the runtime's poller")
	}
}
