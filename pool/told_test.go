package pool

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/reason"
	"weir/internal/sock"
	"weir/limiter"
)

// cutConn is a fakeConn that counts interrupts.
type cutConn struct {
	*fakeConn
	cuts atomic.Int32
}

func (c *cutConn) Interrupt() { c.cuts.Add(1) }

// logins has a pool's connections log in, for a second after the dial.
type logins struct {
	dialled, layered cutConn // the socket, and what Connect returns
	refuse           bool

	mu sync.Mutex
	hooked
}

// hooked is what the hooks were told.
type hooked struct {
	opened  []sock.Conn
	reasons []reason.Close
	hows    []sock.How
}

func (s *logins) seen() hooked {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hooked
}

func (s *logins) set(o *Options) {
	up := o.Connect
	o.DialTimeout, o.QueueTimeout = 5*time.Second, 5*time.Second
	o.Connect = func(ctx context.Context, key string) (sock.Conn, any, error) {
		c, attached, err := up(ctx, key)
		if err != nil {
			return nil, nil, err
		}
		s.dialled.fakeConn, s.layered.fakeConn = c.(*fakeConn), c.(*fakeConn)
		ended := Dialled(ctx, &s.dialled)
		<-time.After(time.Second)
		if s.refuse {
			c.Close()
			ended(sock.HowPeerFirst)
			return nil, nil, errRefused
		}
		return &s.layered, attached, nil
	}
	o.OnOpen = func(c sock.Conn, _ reason.Open) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.opened = append(s.opened, c)
	}
	o.OnClose = func(c sock.Conn, why reason.Close, how sock.How) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if c != s.opened[len(s.opened)-1] {
			panic("an end of another socket than the one that was opened")
		}
		s.reasons, s.hows = append(s.reasons, why), append(s.hows, how)
	}
}

// begin begins a dial, whose connection is closed at once, and is in its login.
func (s *logins) begin(x fixture, side bool) {
	go func() {
		if side {
			if c, err := x.Reserve(context.Background(), ""); err == nil {
				c.Close()
			}
		} else if l, err := x.Acquire(context.Background(), "", limiter.ClassDefault); err == nil {
			l.Discard(reason.CloseTimeout)
		}
	}()
	pass(500 * time.Millisecond)
}

func TestHooksSeeASocketBeforeItsLoginAndItsEndIfThatFails(t *testing.T) {
	for _, side := range []bool{false, true} {
		s := &logins{refuse: true}
		bubble(t, s.set, func(x fixture) {
			s.begin(x, side)
			h := s.seen()
			if st, l := x.Stats(), x.Load(); len(h.opened) != 1 || len(h.hows) != 0 || st.Dialing+st.SideOpen != 1 || l.Dialing != 0 {
				t.Errorf("during the login: %d opened, %d ended, dialing %d and reserved %d, %d of them without a socket", len(h.opened), len(h.hows), st.Dialing, st.SideOpen, l.Dialing)
			}
			pass(time.Second)
			h, st := s.seen(), x.Stats()
			if len(h.opened) != 1 || len(h.hows) != 1 || h.reasons[0] != reason.CloseConnect || h.hows[0] != sock.HowPeerFirst {
				t.Errorf("after it: %d opened, ended %v as %v", len(h.opened), h.reasons, h.hows)
			}
			if st.Closes[reason.CloseConnect] != 1 || st.Hows[sock.HowPeerFirst] != 1 || x.Load().Dialing != 0 {
				t.Errorf("counted: closes %v, %v, dialing %d", st.Closes, st.Hows, x.Load().Dialing)
			}
		})
	}
}

func TestHooksSeeASocketOnceThatALayerIsPutOn(t *testing.T) {
	for _, side := range []bool{false, true} {
		s := &logins{}
		bubble(t, s.set, func(x fixture) {
			s.begin(x, side)
			pass(time.Second)
			if h := s.seen(); len(h.opened) != 1 || len(h.hows) != 1 || h.reasons[0] == reason.CloseConnect || x.Load().Dialing != 0 {
				t.Errorf("%d opened, ended %v, dialing %d", len(h.opened), h.reasons, x.Load().Dialing)
			}
		})
	}
}

// Who stops everything interrupts what OnOpen has told of. During the login that
// is the socket, and the layer must not come back to life after it.
func TestAnInterruptReachesTheLayerWheneverItComes(t *testing.T) {
	s := &logins{}
	bubble(t, s.set, func(x fixture) {
		lease := x.waits("")
		pass(500 * time.Millisecond)
		s.seen().opened[0].Interrupt()
		if s.dialled.cuts.Load() != 1 || s.layered.cuts.Load() != 0 {
			t.Errorf("during the login: %d interrupts below, %d of the layer", s.dialled.cuts.Load(), s.layered.cuts.Load())
		}
		pass(time.Second)
		if n := s.layered.cuts.Load(); n != 1 {
			t.Errorf("after it: %d of the layer, want the one before", n)
		}
		s.seen().opened[0].Interrupt()
		if n := s.layered.cuts.Load(); n != 2 {
			t.Errorf("%d of the layer, want another", n)
		}
		x.mustGet(lease).Release()
	})
}

func TestAConnectWithoutAPoolTellsNobody(t *testing.T) {
	Dialled(t.Context(), nil)(sock.HowAbort)
}
