//go:build bench

package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/internal/testnet"
)

// flood is one or many clients that ask for more than they get, in a process of
// its own, so that it can be scheduled in its own way.
type flood struct {
	To        netip.AddrPort
	From      netip.Addr // of the first client
	Clients   int        // addresses from From on
	Conns     int        // kept connections of all clients together
	PerSecond float64    // what they offer; 0: each connection its next request at once
	Owed      int        // answers that a connection waits for before it asks no more
	Batch     int        // requests in one write
	Path      string
	Fields    int // in each head, beside Host
}

// floodCounts are what became of a flood.
type floodCounts struct {
	Seconds float64
	Offered int         // sent, and what found every connection with as many answers owed as there may be
	Sent    int         // requests that were written
	Answers map[int]int // by status
	Closed  int         // connections that the server ended
	Error   string
}

func (c floodCounts) rate(n int) string { return thousands(int(float64(n)/c.Seconds + 0.5)) }

// floodCommand makes a process of the test binary a flood, as the JSON that
// follows says. On SIGTERM it prints its counts and ends.
const floodCommand = "noisy-flood"

// Before TestMain, which builds weir.
func init() {
	if len(os.Args) != 3 || os.Args[1] != floodCommand {
		return
	}
	var f flooding
	err := json.Unmarshal([]byte(os.Args[2]), &f.flood)
	if err == nil {
		err = f.run()
	}
	if err != nil {
		f.counts.Error = err.Error()
	}
	json.NewEncoder(os.Stdout).Encode(f.counts)
	os.Exit(0)
}

// flooding is a flood at work, on one thread.
type flooding struct {
	flood
	poll    *poller
	request []byte // a batch of them
	conns   []floodConn
	next    int // connection that is looked at first
	counts  floodCounts
	in      [64 << 10]byte
}

type floodConn struct {
	fd   int
	owed int
	part []byte // the beginning of an answer
}

func (f *flooding) run() (err error) {
	runtime.LockOSThread()
	var ended atomic.Bool
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	go func() {
		<-term
		ended.Store(true)
	}()
	if f.poll, err = newPoller(); err != nil {
		return err
	}
	f.request = fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: noisy.test\r\n", f.Path)
	for i := range f.Fields {
		f.request = fmt.Appendf(f.request, "X-Noise-%d: a value of some length, as they are\r\n", i)
	}
	f.request = append(f.request, "\r\n"...)
	f.request = bytes.Repeat(f.request, f.Batch)
	f.conns = make([]floodConn, f.Conns)
	f.counts.Answers = map[int]int{}
	for i := range f.conns {
		if err := f.open(i); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	began := time.Now()
	for !ended.Load() {
		wait := 10 * time.Millisecond
		if f.PerSecond > 0 {
			due := int(time.Since(began).Seconds() * f.PerSecond)
			for ; f.counts.Offered < due; f.counts.Offered += f.Batch {
				if err := f.ask(); err != nil {
					return err
				}
			}
			wait = min(wait, time.Duration(float64(f.Batch)*float64(time.Second)/f.PerSecond)+20*time.Microsecond)
		} else {
			for i := range f.conns {
				if f.conns[i].owed > 0 {
					continue
				}
				if err := f.send(i); err != nil {
					return err
				}
			}
		}
		events, err := f.poll.wait(wait)
		if err != nil {
			return err
		}
		for _, e := range events {
			if e.Fd == timerKey {
				continue
			}
			if err := f.read(int(e.Fd)); err != nil {
				return err
			}
		}
		f.counts.Seconds = time.Since(began).Seconds()
	}
	if f.PerSecond == 0 {
		f.counts.Offered = f.counts.Sent
	}
	return nil
}

// ask sends one batch on the next connection that may have one more.
func (f *flooding) ask() error {
	for range f.conns {
		i := f.next
		f.next = (f.next + 1) % len(f.conns)
		if f.conns[i].owed+f.Batch <= f.Owed {
			return f.send(i)
		}
	}
	return nil
}

// send writes a batch.
func (f *flooding) send(i int) error {
	n, err := unix.Write(f.conns[i].fd, f.request)
	if n > 0 && n < len(f.request) || err == unix.EAGAIN {
		return fmt.Errorf("a socket takes %d of %d bytes: make Owed, Batch or Fields less", n, len(f.request))
	}
	if n == len(f.request) { // else it is closed, which read will see
		f.conns[i].owed += f.Batch
		f.counts.Sent += f.Batch
	}
	return nil
}

// open makes connection i, and waits for it: on loopback that is no time.
func (f *flooding) open(i int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<18); err != nil {
		return err
	}
	from := f.From.As4()
	from[3] += byte(i % f.Clients)
	if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: from}); err != nil {
		return fmt.Errorf("bind %v: %w", from, err)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: f.To.Addr().As4(), Port: int(f.To.Port())}); err != nil {
		return fmt.Errorf("connect to %v: %w", f.To, err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return err
	}
	f.conns[i] = floodConn{fd: fd}
	return f.poll.add(fd, unix.EPOLLIN|unix.EPOLLRDHUP, int32(i))
}

// read counts the answers that have come on connection i.
func (f *flooding) read(i int) error {
	c := &f.conns[i]
	n, err := unix.Read(c.fd, f.in[:])
	if err == unix.EAGAIN {
		return nil
	}
	if n <= 0 {
		f.counts.Closed++
		unix.Close(c.fd)
		return f.open(i)
	}
	b := f.in[:n]
	if len(c.part) > 0 {
		c.part = append(c.part, b...)
		b = c.part
	}
	for len(b) > 0 {
		h, ok, err := readHead(b)
		if err != nil {
			return err
		}
		if !ok || len(b) < h.size {
			break
		}
		f.counts.Answers[h.result]++
		c.owed--
		b = b[h.size:]
	}
	c.part = append(c.part[:0], b...)
	return nil
}

// startFlood starts a flood in a namespace and waits until it is connected. stop
// ends it and returns its counts.
func startFlood(t *testing.T, ns *testnet.Netns, f flood) (stop func() floodCounts) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	spec, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	p := testnet.StartProgram(t, testnet.ProgramOptions{NS: ns, Name: self, Args: []string{floodCommand, string(spec)}})
	testnet.WaitFor(t, 20*time.Second, "the flood to connect", func() bool { return strings.Contains(p.Output(), "\n") })
	return func() floodCounts {
		t.Helper()
		p.Stop()
		_, text, _ := strings.Cut(p.Output(), "\n")
		var c floodCounts
		if err := json.Unmarshal([]byte(text), &c); err != nil || c.Error != "" {
			t.Fatalf("the flood: %v %s\n%s", err, c.Error, p.Output())
		}
		return c
	}
}
