package pool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weir/internal/oplog"
	"weir/internal/reason"
	"weir/internal/sock"
	"weir/limiter"
)

func noPort(string) error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.EADDRNOTAVAIL)}
}

func TestDialsAreOnlyAsManyAsWaiters(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen = 10 }, func(x fixture) {
		x.b.set(100*time.Millisecond, nil)
		var waits []<-chan result
		for range 3 {
			waits = append(waits, x.waits(""))
		}
		pass(50 * time.Millisecond)
		if s, l := x.Stats(), x.Load(); s.Dialing != 3 || l.Dialing != 3 || s.Waiting != 3 {
			t.Errorf("%d dials, %d by Load, for %d waiters", s.Dialing, l.Dialing, s.Waiting)
		}
		pass(time.Second / 2)
		for _, w := range waits {
			x.mustGet(w).Release()
		}
		if x.b.dialled() != 3 {
			t.Errorf("%d dials", x.b.dialled())
		}
	})
}

func TestDialsAtOnceAreBounded(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen, o.DialConcurrent = 10, 2 }, func(x fixture) {
		x.b.set(100*time.Millisecond, nil)
		var waits []<-chan result
		for range 6 {
			waits = append(waits, x.waits(""))
		}
		for range 40 {
			pass(10 * time.Millisecond)
			if s := x.Stats(); s.Dialing > 2 {
				t.Fatalf("%d dials at once", s.Dialing)
			}
		}
		for _, w := range waits {
			x.mustGet(w).Release()
		}
	})
}

func TestAKilledBackendSeesAtMostTheDialRate(t *testing.T) {
	for _, takes := range []time.Duration{0, 5 * time.Millisecond, 2 * time.Second} {
		bubble(t, func(o *Options) {
			o.MaxOpen, o.DialRate, o.QueueMax = 64, 20, 1000
		}, func(x fixture) {
			x.b.set(takes, refuse)
			for range 50 {
				for range 100 {
					ctx, cancel := context.WithTimeout(x.Context(), time.Second)
					go func() {
						defer cancel()
						x.Acquire(ctx, "", limiter.ClassDefault)
					}()
				}
				pass(100 * time.Millisecond)
			}
			pass(5 * time.Second)
			if n := x.b.mostDialsIn(time.Second); n > 20 || n == 0 {
				t.Errorf("dials of %v: %d in a second", takes, n)
			}
			if x.b.most > 64 {
				t.Errorf("%d sockets", x.b.most)
			}
		})
	}
}

func TestServiceReturnsWithinASecondOfTheBackend(t *testing.T) {
	bubble(t, nil, func(x fixture) {
		x.b.set(0, refuse)
		for range 100 {
			if _, err := x.Acquire(x.Context(), "", limiter.ClassDefault); !errors.Is(err, errRefused) {
				t.Fatalf("got %v", err)
			}
			pass(37 * time.Millisecond)
		}
		x.b.set(0, nil)
		back := time.Now()
		for {
			l, err := x.Acquire(x.Context(), "", limiter.ClassDefault)
			if err == nil {
				l.Release()
				break
			}
			pass(10 * time.Millisecond)
		}
		if d := time.Since(back); d > 300*time.Millisecond {
			t.Errorf("after %v", d)
		}
		if s := x.Stats(); s.HoldDown != 0 || s.DialFailures != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestAFailedDialFailsAllWhoHaveNothingElseToHopeFor(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen, o.DialConcurrent = 4, 1 }, func(x fixture) {
		x.b.set(100*time.Millisecond, refuse)
		a, b := x.waits(""), x.waits("")
		pass(100 * time.Millisecond)
		for _, w := range []<-chan result{a, b} {
			r, ok := x.done(w)
			e, is := errors.AsType[*DialError](r.err)
			if !ok || !is || !errors.Is(r.err, errRefused) || e.Local || e.Failures != 1 || e.Hold != 50*time.Millisecond {
				t.Fatalf("%v %+v", ok, r.err)
			}
		}
		// Those who come while dials are held down do not wait at all.
		r, ok := x.done(x.waits(""))
		if !ok || r.took != 0 || !errors.Is(r.err, errRefused) {
			t.Errorf("%v after %v: %v", ok, r.took, r.err)
		}
		if n := x.Stats().FailedFast; n != 3 {
			t.Errorf("%d counted", n)
		}
	})
}

func TestWaitersOutlastAFailedDialWhileOthersAreLeased(t *testing.T) {
	bubble(t, nil, func(x fixture) {
		l := x.get("")
		x.b.set(0, refuse)
		w := x.waits("")
		fresh := x.asks(x.Context(), "", true)
		pass(300 * time.Millisecond)
		x.mustWait(w)
		if r, ok := x.done(fresh); !ok || !errors.Is(r.err, errRefused) {
			t.Errorf("one who needs a fresh one: %v, %v", ok, r.err)
		}
		l.Release()
		x.mustGet(w).Release()
	})
}

func TestHoldDownDoublesToItsLimitAndDialsOneAtATime(t *testing.T) {
	for _, c := range []struct {
		fail  func(string) error
		holds []int // ms
	}{
		{refuse, []int{50, 100, 200, 250, 250}},
		{noPort, []int{100, 200, 400, 800, 1000, 1000}},
	} {
		bubble(t, func(o *Options) { o.MaxOpen = 8 }, func(x fixture) {
			x.b.set(5*time.Millisecond, c.fail)
			for i, ms := range c.holds {
				hold := time.Duration(ms) * time.Millisecond
				before := x.b.dialled()
				var out []<-chan result
				for range 5 {
					out = append(out, x.waits(""))
				}
				pass(4 * time.Millisecond)
				if i > 0 && x.b.dialled() != before+1 {
					t.Fatalf("%d dials at once", x.b.dialled()-before)
				}
				pass(10 * time.Millisecond)
				for _, w := range out {
					r, ok := x.done(w)
					if e, is := errors.AsType[*DialError](r.err); !ok || !is || e.Hold > hold || e.Hold < hold-10*time.Millisecond || e.Failures != i+1 {
						t.Fatalf("failure %d: %v, %v", i+1, ok, r.err)
					}
				}
				pass(hold)
			}
		})
	}
}

func TestLocalErrorsDoNotBlameTheBackend(t *testing.T) {
	bubble(t, nil, func(x fixture) {
		x.b.set(0, noPort)
		_, err := x.Acquire(x.Context(), "", limiter.ClassDefault)
		if !errors.Is(err, ErrLocal) || !errors.Is(err, syscall.EADDRNOTAVAIL) || !strings.Contains(err.Error(), "ip_local_port_range") {
			t.Errorf("got %v", err)
		}
		if n := x.Stats().Dials[DialLocal]; n != 1 {
			t.Errorf("%d counted", n)
		}
	})
}

func TestLocalErrorsAreThoseOfThisMachine(t *testing.T) {
	for _, e := range []error{
		syscall.EADDRNOTAVAIL, syscall.EADDRINUSE, syscall.EMFILE, syscall.ENFILE,
		syscall.ENOMEM, syscall.ENOBUFS, syscall.EACCES, syscall.EPERM,
		fmt.Errorf("wrapped: %w", os.NewSyscallError("socket", syscall.EMFILE)),
	} {
		if !IsLocal(e) {
			t.Errorf("%v is not local", e)
		}
	}
	for _, e := range []error{
		nil, errRefused, syscall.ECONNREFUSED, syscall.ETIMEDOUT, syscall.EHOSTUNREACH,
		syscall.ENETUNREACH, syscall.ECONNRESET, context.DeadlineExceeded,
	} {
		if IsLocal(e) {
			t.Errorf("%v is local", e)
		}
	}
}

// Both are EADDRNOTAVAIL: bind has no such address, connect no port.
func TestASourceThatIsNotHereIsNotTakenForPortsThatRanOut(t *testing.T) {
	_, err := sock.Dial(t.Context(), "127.0.0.1:1", netip.MustParseAddr("192.0.2.77"))
	text := (&Options{Name: "api", Address: "127.0.0.1:1"}).dialError(err).Error()
	if !IsLocal(err) || !strings.Contains(text, "backends[].source, 192.0.2.77, is not an address of this machine") || strings.Contains(text, "port_range") {
		t.Errorf("local %v: %s", IsLocal(err), text)
	}
	text = (&Options{Name: "api", Address: "127.0.0.1:1"}).dialError(noPort("")).Error()
	if !strings.Contains(text, "port_range") || strings.Contains(text, "not an address of this machine") {
		t.Errorf("without ports: %s", text)
	}
}

func TestANameOfAnotherFamilyThanTheSourceIsSaidToBe(t *testing.T) {
	_, err := sock.Dial(t.Context(), "127.0.0.1:1", netip.MustParseAddr("::1"))
	text := (&Options{Name: "api", Address: "127.0.0.1:1"}).dialError(err).Error()
	if !strings.Contains(text, "family of backends[].source, ::1") {
		t.Error(text)
	}
}

func TestAKeyErrorHoldsDownItsKeyAlone(t *testing.T) {
	bubble(t, nil, func(x fixture) {
		x.b.set(0, func(key string) error {
			if key == "bad" {
				return fmt.Errorf("login: %w", &KeyError{errors.New("access denied")})
			}
			return nil
		})
		for range 2 {
			_, err := x.Acquire(x.Context(), "bad", limiter.ClassDefault)
			if e, ok := errors.AsType[*DialError](err); !ok || !e.KeyOnly {
				t.Errorf("got %v", err)
			}
		}
		if n := x.b.dialled(); n != 1 {
			t.Errorf("%d dials", n)
		}
		x.get("good").Release()
		pass(50 * time.Millisecond)
		if _, err := x.Acquire(x.Context(), "bad", limiter.ClassDefault); err == nil {
			t.Error("no error")
		}
		if s := x.Stats(); s.Dials[DialDenied] != 2 || s.DialFailures != 0 {
			t.Errorf("%+v", s)
		}
		pass(time.Second)
		if n := x.Stats().Keys; n != 1 {
			t.Errorf("%d keys are remembered", n)
		}
		x.Acquire(x.Context(), "bad", limiter.ClassDefault)
		x.apply(func(o *Options) { o.Stamp = "another password" })
		settle()
		if n := x.Stats().Keys; n != 0 {
			t.Errorf("%d keys are remembered of the old endpoint", n)
		}
	})
}

func TestADialThatHangsEndsWithItsTimeout(t *testing.T) {
	bubble(t, func(o *Options) { o.QueueTimeout = time.Minute }, func(x fixture) {
		x.b.set(time.Hour, nil)
		w := x.waits("")
		pass(time.Second)
		r, ok := x.done(w)
		if !ok || !errors.Is(r.err, context.DeadlineExceeded) {
			t.Errorf("%v, %v", ok, r.err)
		}
		if n := x.Stats().Dials[DialTimeout]; n != 1 {
			t.Errorf("%d counted", n)
		}
	})
}

func TestMinIdleIsDialledBeforeWarmAndKept(t *testing.T) {
	set := func(o *Options) { o.MinIdle, o.WarmKey, o.IdleTimeout = 3, "w", 10*time.Second }
	bubble(t, set, func(x fixture) {
		if err := x.Warm(x.Context()); err != nil {
			t.Fatal(err)
		}
		if s := x.Stats(); s.Idle != 3 || s.Opens[reason.OpenMinIdle] != 3 {
			t.Errorf("%+v", s)
		}
		l := x.get("w")
		if !l.Reused() {
			t.Error("one that was idle counts as new")
		}
		l.Discard(reason.CloseSaidClose)
		pass(time.Second)
		if s := x.Stats(); s.Idle != 3 {
			t.Errorf("after a discard: %+v", s)
		}
		pass(time.Minute)
		if s := x.Stats(); s.Idle != 3 || s.Closes[reason.CloseIdle] != 0 {
			t.Errorf("after a minute: %+v", s)
		}
	})
}

func TestWarmReportsWhyItIsNot(t *testing.T) {
	var down atomic.Bool
	down.Store(true)
	set := func(o *Options) {
		up := o.Connect
		o.MinIdle = 3
		o.Connect = func(ctx context.Context, key string) (sock.Conn, any, error) {
			if down.Load() {
				return nil, nil, errRefused
			}
			return up(ctx, key)
		}
	}
	bubble(t, set, func(x fixture) {
		ctx, cancel := context.WithTimeout(x.Context(), time.Second)
		defer cancel()
		err := x.Warm(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errRefused) || !strings.Contains(err.Error(), "0 of 3") {
			t.Errorf("got %v", err)
		}
		down.Store(false)
		if err := x.Warm(x.Context()); err != nil {
			t.Error(err)
		}
		if n := x.Stats().Idle; n != 3 {
			t.Errorf("%d idle", n)
		}
	})
}

func TestHooksSeeEverySocketOnce(t *testing.T) {
	var opened, closed atomic.Int32
	set := func(o *Options) {
		o.OnOpen = func(c sock.Conn, why reason.Open) { opened.Add(1) }
		o.OnClose = func(c sock.Conn, why reason.Close, how sock.How) {
			closed.Add(1)
			if !c.(*fakeConn).ended.Load() {
				t.Error("told before the close")
			}
		}
	}
	bubble(t, set, func(x fixture) {
		x.get("a").Release()
		x.get("b").Discard(reason.CloseTimeout)
		s, err := x.Reserve(x.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		x.b.set(0, refuse)
		x.Acquire(x.Context(), "b", limiter.ClassDefault)
		x.closeAll()
		if opened.Load() != 3 || closed.Load() != 3 {
			t.Errorf("%d opened, %d closed", opened.Load(), closed.Load())
		}
	})
}

func TestFailuresAreLoggedFolded(t *testing.T) {
	var buf bytes.Buffer
	var log *oplog.Log
	set := func(o *Options) {
		log = oplog.New(&buf, slog.LevelInfo, false)
		o.Log = log.Logger
	}
	bubble(t, set, func(x fixture) {
		x.b.set(0, refuse)
		for range 250 {
			x.Acquire(x.Context(), "", limiter.ClassDefault)
			pass(100 * time.Millisecond)
		}
		x.b.set(0, nil)
		pass(time.Second)
		x.get("").Release()
		x.get("").Discard(reason.CloseTimeout)
		pass(time.Second)
		x.get("").Release()
		log.Close()
		text := buf.String()
		if n := strings.Count(text, "dial failed"); n < 2 || n > 5 {
			t.Errorf("%d lines in 25 s:\n%s", n, text)
		}
		if n := strings.Count(text, "succeeded again"); n != 1 {
			t.Errorf("%d lines of its end:\n%s", n, text)
		}
	})
}

func TestAReservedDialEndsWithItsAskerOrThePool(t *testing.T) {
	bubble(t, nil, func(x fixture) {
		x.b.set(500*time.Millisecond, nil)
		ctx, cancel := context.WithTimeout(x.Context(), 100*time.Millisecond)
		defer cancel()
		began := time.Now()
		if _, err := x.Reserve(ctx, ""); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 100*time.Millisecond {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		done := make(chan error, 1)
		go func() {
			_, err := x.Reserve(x.Context(), "")
			done <- err
		}()
		pass(10 * time.Millisecond)
		x.closeAll()
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
		if n := x.Stats().Dials[DialAbandoned]; n != 2 {
			t.Errorf("%d counted", n)
		}
	})
}

func TestReservedSocketsAreApartAndBounded(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen, o.Reserved = 1, 2 }, func(x fixture) {
		l := x.get("")
		var sides []*Side
		for range 2 {
			s, err := x.Reserve(x.Context(), "kill")
			if err != nil {
				t.Fatal(err)
			}
			sides = append(sides, s)
		}
		ctx, cancel := context.WithTimeout(x.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := x.Reserve(ctx, "kill"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("third: %v", err)
		}
		third := make(chan *Side, 1)
		go func() {
			s, err := x.Reserve(x.Context(), "kill")
			if err != nil {
				t.Error(err)
			}
			third <- s
		}()
		settle()
		sides[0].Close()
		s := <-third
		if s.Attached() != "kill#4" || s.Conn().Look() != sock.Quiet {
			t.Errorf("got %v", s.Attached())
		}
		if st := x.Stats(); st.SideOpen != 2 || st.Open != 1 || x.b.most != 3 {
			t.Errorf("%+v, %d at most", st, x.b.most)
		}
		mustPanic(t, "second Close", sides[0].Close)
		s.Close()
		sides[1].Close()
		l.Release()
		if st := x.Stats(); st.Closes[reason.CloseReserved] != 3 || st.SideOpen != 0 {
			t.Errorf("%+v", st)
		}
	})
}

func TestWhoGetsNoReservedSocketIsToldItsKeys(t *testing.T) {
	for _, places := range []int{0, 1} {
		bubble(t, func(o *Options) { o.MaxOpen, o.Reserved, o.QueueTimeout = 7, places, time.Second }, func(x fixture) {
			if places > 0 {
				s, err := x.Reserve(x.Context(), "kill")
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
			}
			errs := make(chan error, sideWaiters)
			for range sideWaiters {
				go func() {
					_, err := x.Reserve(x.Context(), "kill")
					errs <- err
				}()
			}
			settle()
			_, err := x.Reserve(x.Context(), "kill")
			full := fmt.Sprintf("%v: 64 wait already for one of %d reserved connections (pool.reserved)", ErrQueueFull, places)
			if !errors.Is(err, ErrQueueFull) || !strings.HasSuffix(err.Error(), full) {
				t.Errorf("got %v, want ...%s", err, full)
			}
			late := fmt.Sprintf("%v: 1s (queue.timeout) for one of %d reserved connections (pool.reserved)", ErrQueueTimeout, places)
			for range sideWaiters {
				if err := <-errs; !errors.Is(err, ErrQueueTimeout) || !strings.HasSuffix(err.Error(), late) {
					t.Errorf("got %v, want ...%s", err, late)
				}
			}
		})
	}
}

func TestAReservedDialEndsHoldDown(t *testing.T) {
	bubble(t, nil, func(x fixture) {
		x.b.set(0, refuse)
		x.Acquire(x.Context(), "", limiter.ClassDefault)
		if _, err := x.Reserve(x.Context(), ""); !errors.Is(err, errRefused) {
			t.Errorf("got %v", err)
		}
		x.b.set(0, nil)
		s, err := x.Reserve(x.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		x.get("").Release()
	})
}
