package accept

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/testnet"
)

// pacedLoad are clients that ask at a pace of their own, whatever they are told,
// each on a kept connection. A request that finds its client still waiting for
// the last answer is offered, and not sent.
type pacedLoad struct {
	stop    chan struct{}
	wg      sync.WaitGroup
	offered atomic.Int64
	mu      sync.Mutex
	got     map[int]int // answers by status
	errs    []error
}

// startPacedLoad has n clients ask a server once each period, spread over it.
func startPacedLoad(t *testing.T, ns *testnet.Netns, addr string, n int, period time.Duration) *pacedLoad {
	t.Helper()
	l := &pacedLoad{stop: make(chan struct{}), got: map[int]int{}}
	conns := make([]net.Conn, n)
	for i := range conns {
		var err error
		if conns[i], err = ns.Dial("tcp", addr); err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range conns {
		l.wg.Go(func() {
			defer c.Close()
			if err := l.client(c, period*time.Duration(i)/time.Duration(n), period); err != nil {
				l.mu.Lock()
				l.errs = append(l.errs, err)
				l.mu.Unlock()
			}
		})
	}
	t.Cleanup(l.end)
	return l
}

func (l *pacedLoad) client(c net.Conn, first, period time.Duration) error {
	testnet.Pace(l.stop, first)
	br := bufio.NewReader(c)
	next := time.Now()
	for {
		for next = next.Add(period); time.Until(next) < 0; next = next.Add(period) {
			l.offered.Add(1) // it was still waiting
		}
		if !testnet.Pace(l.stop, time.Until(next)) {
			return nil
		}
		l.offered.Add(1)
		c.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			return err
		}
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return err
		}
		l.mu.Lock()
		l.got[resp.StatusCode]++
		l.mu.Unlock()
	}
}

// end stops the load and waits for it.
func (l *pacedLoad) end() {
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	l.wg.Wait()
}

// answers are those so far, by status.
func (l *pacedLoad) answers(status int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.got[status]
}
