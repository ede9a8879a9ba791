package sock_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"weir/internal/sock"
	"weir/internal/testnet"
)

// named is a front whose clients say a name first and then numbers. It answers
// each line with the name and the line, and keeps the name in the parked state:
// a session that woke with another's state would give the wrong one.
type named struct {
	sweep *sock.Sweeper
	park  time.Duration
	woken atomic.Int64
}

func (h *named) Serve(l *sock.Listener, c sock.Conn, w sock.Wake, state any) sock.Next {
	name, _ := state.(string)
	if w == sock.WakeExpired || w == sock.WakeDraining {
		h.sweep.End(c, sock.EndOurs, false, l.Gone())
		return sock.Next{}
	}
	if w == sock.WakeReadable {
		h.woken.Add(1)
	}
	var buf [64]byte
	for {
		n, err := c.ReadSoon(buf[:])
		switch {
		case errors.Is(err, sock.ErrIdle):
			return sock.Next{Park: h.park, State: name}
		case err == io.EOF, errors.Is(err, sock.ErrFIN):
			h.sweep.End(c, sock.EndLeft, false, l.Gone())
			return sock.Next{}
		case err != nil:
			h.sweep.End(c, sock.EndLost, false, l.Gone())
			return sock.Next{}
		}
		line := strings.TrimSuffix(string(buf[:n]), "\n")
		if name == "" {
			name = line
		}
		c.WriteWithin(10 * time.Second)
		if _, err := c.Write([]byte(name + " " + line + "\n")); err != nil {
			h.sweep.End(c, sock.EndLost, false, l.Gone())
			return sock.Next{}
		}
	}
}

// serve starts h; the caller ends the listener, or it is ended here.
func serve(t *testing.T, h *named, opt sock.ListenOptions) *sock.Listener {
	t.Helper()
	poller, err := sock.NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	h.sweep = sock.NewSweeper()
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
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		h.sweep.Close(ctx)
		poller.Close()
		if st := l.Stats(); st.Open != 0 || st.Parked != 0 {
			t.Errorf("after Close %d clients are open and %d parked", st.Open, st.Parked)
		}
	})
	return l
}

// ask sends a line and checks the answer. false: the connection has ended.
func ask(t *testing.T, c net.Conn, r *bufio.Reader, name, line string) bool {
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		return false
	}
	got, err := r.ReadString('\n')
	if err != nil {
		return false
	}
	if want := name + " " + line + "\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	return true
}

// pause waits a time that makes a client park, expire or stay, by chance.
func pause(rng *rand.Rand, stop <-chan struct{}) {
	wait := time.Duration(rng.IntN(1000)) * time.Microsecond
	if rng.IntN(4) == 0 {
		wait = time.Duration(rng.IntN(150)) * time.Millisecond
	}
	testnet.Pace(stop, wait)
}

func TestClientsThatParkResumeAndLeaveSurviveADrainInTheMiddle(t *testing.T) {
	const clients = 2000
	for round, end := range []func(l *sock.Listener) error{
		func(l *sock.Listener) error {
			ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
			defer cancel()
			return l.Drain(ctx)
		},
		func(l *sock.Listener) error { return l.Close() },
	} {
		h := &named{park: 100 * time.Millisecond}
		l := serve(t, h, sock.ListenOptions{})
		stop := make(chan struct{})
		var answered, opened atomic.Int64
		var wg sync.WaitGroup
		for i := range clients {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(round), uint64(i)))
				name := fmt.Sprintf("client-%d", i)
				// It comes back until the drain: on a slow machine many
				// expire before their second line.
				for session := 0; ; session++ {
					pause(rng, stop)
					c, err := net.Dial("tcp", l.Addr().String())
					if err != nil {
						return // it drains already
					}
					if session == 0 {
						opened.Add(1)
					}
					c.SetDeadline(time.Now().Add(60 * time.Second))
					r := bufio.NewReader(c)
					ok := ask(t, c, r, name, name)
					for n := 0; ok && rng.IntN(40) > 0; n++ {
						pause(rng, stop)
						if ok = ask(t, c, r, name, fmt.Sprint(n)); ok {
							answered.Add(1)
						}
					}
					if rng.IntN(3) == 0 {
						c.(*net.TCPConn).SetLinger(0)
					}
					c.Close()
					select {
					case <-stop:
						return
					default:
					}
				}
			})
		}
		waitFor(t, "clients are at it", func() bool { return opened.Load() >= clients*3/4 && answered.Load() >= clients })
		began := time.Now()
		if err := end(l); err != nil {
			t.Error(err)
		}
		took := time.Since(began)
		close(stop)
		wg.Wait()
		waitFor(t, "all counted as closed", func() bool { return l.Stats().Open == 0 })
		st := l.Stats()
		var closed uint64
		for _, n := range st.Closed {
			closed += n
		}
		if closed != st.Accepted || st.Parked != 0 {
			t.Errorf("%d were accepted, %d closed, %d are parked", st.Accepted, closed, st.Parked)
		}
		t.Logf("figure: %d clients, %d answers, %d wake-ups; ended in %s", opened.Load(), answered.Load(), h.woken.Load(), took.Round(time.Millisecond))
	}
}

// Descriptors are used again at once, so an event meant for a client that has
// left finds another one under its number.
func TestANewClientUnderAnOldDescriptorIsNotMistaken(t *testing.T) {
	h := &named{park: time.Minute}
	l := serve(t, h, sock.ListenOptions{})
	for i := range 8 {
		var old [100]net.Conn
		for j := range old {
			old[j] = dial(t, l)
			name := fmt.Sprintf("old-%d-%d", i, j)
			if !ask(t, old[j], bufio.NewReader(old[j]), name, name) {
				t.Fatal("no answer")
			}
		}
		waitFor(t, "parked", func() bool { return l.Stats().Parked == int64(len(old)) })
		for j, c := range old {
			if j%2 == 0 {
				io.WriteString(c, "bye\n") // bytes, then a FIN or a reset
			}
			c.Close()
		}
		for j := range old {
			c := dial(t, l)
			r := bufio.NewReader(c)
			name := fmt.Sprintf("new-%d-%d", i, j)
			for _, line := range []string{name, "1", "2"} {
				if !ask(t, c, r, name, line) {
					t.Fatalf("%s got no answer", name)
				}
			}
			c.Close()
		}
		waitFor(t, "all gone", func() bool { return l.Stats().Open == 0 })
	}
}

func TestWithoutDescriptorsClientsWaitInTheQueueAndAreServedLater(t *testing.T) {
	h := &named{park: time.Minute}
	l := serve(t, h, sock.ListenOptions{})
	to := l.Addr().(*net.TCPAddr).AddrPort()
	const clients = 5
	var fds [clients]int
	for i := range fds {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		fds[i] = fd
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	low := limit
	low.Cur = uint64(fds[clients-1]) + 16
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	var filler []int
	for {
		fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			break
		}
		filler = append(filler, fd)
	}
	freed := false
	free := func() {
		if freed {
			return
		}
		freed = true
		for _, fd := range filler {
			unix.Close(fd)
		}
		syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	}
	defer free()
	for i, fd := range fds {
		if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Write(fd, fmt.Appendf(nil, "client-%d\n", i)); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "failed accepts are counted", func() bool { return l.Stats().AcceptErrors >= 3 })
	// 5, 10, 20 ms...: a tight loop would have made thousands by then.
	if st := l.Stats(); st.AcceptErrors > 50 || st.Accepted != 0 {
		t.Errorf("%d accepts have failed, %d clients came in", st.AcceptErrors, st.Accepted)
	}
	free()
	for i, fd := range fds {
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10})
		buf := make([]byte, 64)
		n, err := unix.Read(fd, buf)
		if want := fmt.Sprintf("client-%d client-%d\n", i, i); err != nil || string(buf[:n]) != want {
			t.Errorf("got %q, %v, want %q", buf[:max(n, 0)], err, want)
		}
	}
	t.Logf("figure: %d accepts failed in all", l.Stats().AcceptErrors)
}

// handler serves by a function.
type handler func(l *sock.Listener, c sock.Conn, w sock.Wake) sock.Next

func (h handler) Serve(l *sock.Listener, c sock.Conn, w sock.Wake, _ any) sock.Next {
	return h(l, c, w)
}

func TestCloseInterruptsSessionsThatWouldGoOn(t *testing.T) {
	poller, err := sock.NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	defer poller.Close()
	sweep := sock.NewSweeper()
	defer sweep.Close(t.Context())
	blocked := make(chan struct{}, 100)
	l, err := sock.Listen(sock.ListenOptions{Address: "127.0.0.1:0", Poller: poller, Handler: handler(
		func(l *sock.Listener, c sock.Conn, w sock.Wake) sock.Next {
			blocked <- struct{}{}
			c.SetReadDeadline(time.Now().Add(time.Hour))
			_, err := c.Read(make([]byte, 1))
			late(t, "read", err)
			sweep.End(c, sock.EndLost, false, l.Gone())
			return sock.Next{}
		})})
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		dial(t, l)
		<-blocked
	}
	began := time.Now()
	l.Close()
	if n := l.Stats().Open; n != 0 || time.Since(began) > 30*time.Second {
		t.Errorf("Close took %s and left %d open", time.Since(began), n)
	}
}

// The listener's flag and the parking of a client must not miss each other.
func TestAClientThatIsBeingParkedWhenADrainBeginsIsEnded(t *testing.T) {
	poller, err := sock.NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	defer poller.Close()
	sweep := sock.NewSweeper()
	defer sweep.Close(t.Context())
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 300 {
		address := "127.0.0.1:0"
		if i%2 == 1 {
			address = fmt.Sprintf("unix:%s/%d", dir, i)
		}
		served := make(chan struct{})
		l, err := sock.Listen(sock.ListenOptions{Address: address, Poller: poller, Handler: handler(
			func(l *sock.Listener, c sock.Conn, w sock.Wake) sock.Next {
				if w == sock.WakeAccepted {
					close(served)
					return sock.Next{Park: time.Hour}
				}
				sweep.End(c, sock.EndOurs, false, l.Gone())
				return sock.Next{}
			})})
		if err != nil {
			t.Fatal(err)
		}
		dial(t, l)
		wg.Go(func() {
			<-served
			if err := l.Drain(ctx); err != nil {
				t.Errorf("round %d: %v", i, err)
				l.Close()
			}
		})
	}
	wg.Wait()
}

func TestUnixSocketsServeOnBothSides(t *testing.T) {
	h := &named{park: time.Minute}
	l := serve(t, h, sock.ListenOptions{Address: "unix:" + t.TempDir() + "/s"})
	for i := range 5 {
		c, err := sock.Dial(t.Context(), "unix:"+l.Addr().String(), netip.Addr{})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Look(); got != sock.Quiet {
			t.Errorf("a new connection is %s", got)
		}
		buf := make([]byte, 64)
		name := fmt.Sprintf("client-%d", i)
		for _, line := range []string{name, "1", "2"} {
			c.ReadWithin(10 * time.Second)
			wrote, n, err := c.Exchange([]byte(line+"\n"), buf)
			if want := name + " " + line + "\n"; err != nil || wrote != len(line)+1 || string(buf[:n]) != want {
				t.Fatalf("wrote %d, got %q, %v, want %q", wrote, buf[:n], err, want)
			}
			if line == "1" {
				waitFor(t, "parked", func() bool { return l.Stats().Parked == 1 })
			}
		}
		if _, ok := c.Info(); ok || c.RemoteAddr().IsValid() {
			t.Error("a unix socket has a TCP state or an address with a port")
		}
		if how := sock.EndBackend(c); how != sock.HowAbort {
			t.Errorf("ended %s", how)
		}
		waitFor(t, "gone", func() bool { return l.Stats().Open == 0 })
	}
	// A client that closes first, one that resumes after it was idle, and a stop.
	c := dial(t, l)
	if !ask(t, c, bufio.NewReader(c), "x", "x") {
		t.Fatal("no answer")
	}
	waitFor(t, "parked", func() bool { return l.Stats().Parked == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := l.Drain(ctx); err != nil {
		t.Error(err)
	}
	if got, err := io.ReadAll(c); err != nil || len(got) != 0 {
		t.Errorf("after a drain: %q, %v", got, err)
	}
}
