package accept

import (
	"errors"
	"io"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weir/internal/testnet"
)

func TestAcceptHalfClosingClientsGetEveryByteAndTheEnd(t *testing.T) {
	t.Parallel()
	const n, size = 200, 20_000
	for _, delay := range []time.Duration{0, farDelay} {
		for _, late := range []int{0, 50} {
			for _, last := range []bool{true, false} {
				f := startFar(t, delayed(delay), "")
				var good atomic.Int64
				f.each(n, 50, func(i int) {
					c, err := f.dial(netip.Addr{}, nil)
					if err != nil {
						t.Error(err)
						return
					}
					defer c.Close()
					io.WriteString(c, farRequest(size, late, last))
					c.CloseWrite()
					got, err := io.ReadAll(c)
					if err != nil || !farWhole(got, size) {
						t.Errorf("client %d got %d bytes, then %v", i, len(got), err)
						return
					}
					good.Add(1)
				})
				if good.Load() != n {
					t.Errorf("delay %s, answer after %d ms, Connection: close %t: %d of %d got all and EOF", delay, late, last, good.Load(), n)
				}
				f.perfect()
			}
		}
	}
}

func TestAcceptAClientWhoseFINCrossesTheResponseGetsEveryByte(t *testing.T) {
	const n, size = 400, 5000 // what goes out in one flight
	f := startFar(t, delayed(farDelay), "")
	// Each client comes from an address of its own, so that none profits from
	// what was learnt of another.
	run(t, f.link.A, "ip", "addr", "add", "10.98.0.0/16", "dev", "lo")
	run(t, f.link.B, "ip", "route", "add", "10.98.0.0/16", "dev", "weir0")
	for _, own := range []bool{true, false} {
		var mu sync.Mutex
		var clients, resets [2]int // the FIN left before the response was there, after
		f.each(n, 50, func(i int) {
			var from netip.Addr
			if own {
				from = netip.AddrFrom4([4]byte{10, 98, byte(1 + i/200), byte(1 + i%200)})
			}
			c, err := f.dial(from, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			wait := time.Duration(rand.Int64N(int64(60 * time.Millisecond)))
			sent := time.Now()
			io.WriteString(c, farRequest(size, 0, true))
			fin := make(chan time.Duration, 1)
			go func() {
				testnet.Pace(nil, wait) // so that some FINs cross the response
				c.CloseWrite()
				fin <- time.Since(sent)
			}()
			got, err := io.ReadAll(c)
			after := 0
			if <-fin > 2*farDelay {
				after = 1
			}
			mu.Lock()
			defer mu.Unlock()
			clients[after]++
			if errors.Is(err, syscall.ECONNRESET) {
				resets[after]++
			} else if err != nil {
				t.Errorf("client %d: %v", i, err)
			}
			if !farWhole(got, size) {
				t.Errorf("client %d got %d bytes, then %v", i, len(got), err)
			}
		})
		whose := "addresses of their own"
		if !own {
			whose = "one address"
		}
		figure(t, "half-closing clients of %s, 40 ms round trip: a reset in place of EOF, after every byte, for %d of %d whose FIN crossed the response and %d of %d whose FIN came after it",
			whose, resets[0], clients[0], resets[1], clients[1])
	}
	st := f.status()
	figure(t, "closed %v; with bytes in flight %d", st.Listeners[0].Closed, st.Closing.InFlight)
}

// run runs a program in a namespace.
func run(t *testing.T, ns *testnet.Netns, name string, args ...string) {
	t.Helper()
	if out, err := ns.Command(testnet.NeedProgram(t, name), args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

func TestAcceptShortFarClientsLeaveNoTimeWait(t *testing.T) {
	const n, size = 2000, 300
	for _, row := range []struct {
		name string
		loss float64
		most int
	}{
		// Of 20,000 clients 20 may. A machine that stops for longer than two
		// round trips leaves a few more, all from that moment: then once more.
		{"no loss", 0, n / 100},
		{"3 % loss", 0.03, n},
	} {
		for tries := 1; ; tries++ {
			left := shortFarClients(t, row.name, row.loss, n, size)
			if left <= row.most || t.Failed() {
				break
			}
			if tries == 3 {
				t.Errorf("%s: %d stand in TIME_WAIT, want %d at most", row.name, left, row.most)
				break
			}
		}
	}
}

// shortFarClients makes n short clients ask over a path that loses packets, and
// counts the TIME_WAIT that they leave.
func shortFarClients(t *testing.T, name string, loss float64, n, size int) (left int) {
	o := delayed(farDelay)
	o.AtoB.Loss, o.BtoA.Loss, o.Seed = loss, loss, 1
	f := startFar(t, o, "")
	began := time.Now()
	f.each(n, 100, func(i int) {
		if err := f.farOne(size); err != nil {
			t.Errorf("client %d: %v", i, err)
		}
	})
	last := time.Now()
	took := last.Sub(began)
	settled(t, last)
	e, st := f.timeWaits(), f.status()
	figure(t, "%s, 40 ms round trip: %d short clients in %s leave TIME_WAIT at client %d, listener %d, weir's backend side %d, backend %d; closed %v",
		name, n, took.Round(time.Millisecond), e.client, e.listener, e.dialled, e.backend, st.Listeners[0].Closed)
	if st.Listeners[0].Clients != 0 && loss == 0 {
		t.Errorf("%d clients are counted as open", st.Listeners[0].Clients)
	}
	f.perfect()
	return e.sum()
}
