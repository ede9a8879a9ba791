package tcpstat

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var (
	here  = netip.MustParseAddr("10.0.0.1")
	there = ap("10.0.0.2:3306")
)

func (l *Ledger) bookOf(p Pair) *portBook { return l.books()[p] }

func TestALedgerSaysWhoseASocketIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLedger()
		opened := func(port uint16) Entry { return l.Opened(netip.AddrPortFrom(here, port), there) }
		opened(1)
		opened(2).Closed(EndGone)
		opened(3).Closed(EndAnswered)
		opened(4).Closed(EndFirst)
		b := l.bookOf(Pair{here, there})
		whose := func(port uint16, st State, expires time.Duration) Owner {
			return b.owner(&Socket{State: st, Local: netip.AddrPortFrom(here, port), Remote: there, Expires: expires}, time.Now())
		}
		check := func(when string, want map[string]Owner, got func(port uint16, st State) Owner) {
			for port := range uint16(6) {
				for _, st := range States() {
					k := fmt.Sprint(port, " ", st)
					if o := got(port, st); o != want[k] && !(o == Other && func() bool { _, ok := want[k]; return !ok }()) {
						t.Errorf("%s: port %d in %v is %s, want %s", when, port, st, o.Label(), want[k].Label())
					}
				}
			}
		}
		want := map[string]Owner{
			"3 LAST-ACK": Ours, "3 CLOSING": Ours,
			"4 LAST-ACK": Ours, "4 CLOSING": Ours, "4 FIN-WAIT-1": Ours, "4 FIN-WAIT-2": Ours, "4 TIME-WAIT": Ours,
		}
		for _, st := range States() {
			want["1 "+st.String()] = Ours
		}
		fresh := func(port uint16, st State) Owner { return whose(port, st, 60*time.Second) }
		check("at once", want, fresh)
		if n := b.timeWaits(time.Now()); n != 1 {
			t.Errorf("%d TIME-WAIT by the ring, want 1", n)
		}

		pass(50 * time.Second)
		if o := whose(4, TimeWait, 10*time.Second); o != Ours {
			t.Errorf("a TIME-WAIT of 50 s is %s after 50 s, want ours", o.Label())
		}
		want["4 TIME-WAIT"] = Unknown // it has just begun: our peer was slow, or the port is another's now
		check("after 50 s", want, fresh)

		pass(75 * time.Second)
		l.Prune(time.Now())
		for k := range want {
			if k[0] != '1' {
				delete(want, k)
			}
		}
		check("after two minutes", want, fresh)
		if n := b.timeWaits(time.Now()); n != 0 {
			t.Errorf("%d TIME-WAIT by the ring after two minutes, want none", n)
		}
	})
}

// A port is free for the kernel from close(2) on, and our book hears of the close
// later.
func TestAPortThatIsUsedAgainBeforeItsCloseIsBookedStaysOurs(t *testing.T) {
	for _, how := range []End{EndGone, EndAnswered, EndFirst} {
		l := NewLedger()
		local := netip.AddrPortFrom(here, 7)
		old := l.Opened(local, there)
		second, third := l.Opened(local, there), l.Opened(local, there)
		for i, e := range []Entry{old, third} {
			e.Closed(how)
			b := l.bookOf(Pair{here, there})
			if o := b.owner(&Socket{State: Established, Local: local, Remote: there}, time.Now()); o != Ours || l.Open() != 1 {
				t.Errorf("end %d, %d closed: the one that is open is %s, and %d are open", how, i+1, o.Label(), l.Open())
			}
		}
		second.Closed(EndGone)
		b := l.bookOf(Pair{here, there})
		if l.Open() != 0 || b.isOpen(7) || len(b.more) != 0 {
			t.Errorf("end %d: %d are open and %d ports noted after all closes", how, l.Open(), len(b.more))
		}
	}
}

// Both sides of the reuse at once, in any order: nothing is lost, nothing stays.
func TestPortsUsedAgainByManyAtOnceAreExact(t *testing.T) {
	l := NewLedger()
	local := netip.AddrPortFrom(here, 7)
	keep := l.Opened(local, there)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 5000 {
				e := l.Opened(local, there)
				if l.Open() != 1 {
					t.Errorf("%d are open, want one", l.Open())
				}
				e.Closed(End(i % 3))
			}
		})
	}
	wg.Wait()
	if l.Open() != 1 {
		t.Errorf("%d are open, want the one that stayed", l.Open())
	}
	for range 5000 { // and where the first may be gone when the second comes
		wg.Go(func() { keep.Closed(EndGone) })
		next := l.Opened(local, there)
		wg.Wait()
		if l.Open() != 1 {
			t.Fatalf("%d are open after one was replaced", l.Open())
		}
		keep = next
	}
	keep.Closed(EndGone)
	if l.Open() != 0 {
		t.Errorf("%d are open at the end", l.Open())
	}
}

// Who dials reads the pairs; a walk through what a pair has left must not keep
// the others from that.
func TestPruneWalksWithoutTheLockThatDialsTake(t *testing.T) {
	l := NewLedger()
	l.Opened(netip.AddrPortFrom(here, 7), there).Closed(EndFirst)
	l.mu.RLock() // a dial
	defer l.mu.RUnlock()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	go func() { l.Prune(time.Now().Add(leftFor)); cancel() }()
	if <-ctx.Done(); ctx.Err() != context.Canceled {
		t.Fatal("it waits for a dial, and so dials wait for it")
	}
	if n := len(l.pairs[Pair{here, there}].left); n != 0 {
		t.Errorf("%d closes are left, want none after two minutes", n)
	}
}

func TestALedgerIsBoundedAndForgetsWhatIsUnused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLedger()
		for i := range MaxPairs + 5 {
			dest := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 80)
			for port := range uint16(3) {
				e := l.Opened(netip.AddrPortFrom(here, 1+port), dest)
				if i > 0 || port > 0 {
					e.Closed(EndFirst)
				}
			}
		}
		if n := len(l.books()); n != MaxPairs || l.Overflow() != 15 {
			t.Errorf("%d pairs and %d that found no room, want %d and 15", n, l.Overflow(), MaxPairs)
		}
		for range 10 {
			pass(time.Minute)
			l.Prune(time.Now())
		}
		if n := len(l.books()); n != MaxPairs {
			t.Errorf("%d pairs after 10 minutes, want all: the closes were remembered at first", n)
		}
		pass(time.Minute)
		l.Prune(time.Now())
		if n := len(l.books()); n != 1 {
			t.Errorf("%d pairs after 11 minutes, want the one that is open", n)
		}
	})
}

// Connections to a few pairs come and go in many goroutines while the ledger is
// read and pruned: in the end it is exact.
func TestALedgerIsExactAfterManyDialsAtOnce(t *testing.T) {
	l := NewLedger()
	var wg sync.WaitGroup
	stop := make(chan struct{})
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				l.Prune(time.Now())
				for p, b := range l.books() {
					b.owner(&Socket{State: TimeWait, Local: netip.AddrPortFrom(here, 7), Remote: p.Dest}, time.Now())
				}
			}
		}
	})
	for g := range 8 {
		wg.Go(func() {
			for i := range 2000 {
				port := uint16(1 + g*2000 + i)
				e := l.Opened(netip.AddrPortFrom(here, port), netip.AddrPortFrom(there.Addr(), uint16(1+i%4)))
				if i%100 != 0 {
					e.Closed(End(i % 3))
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	reading.Wait()
	open, left := 0, 0
	for _, b := range l.books() {
		n := 0
		for port := range 1 << 16 {
			if b.isOpen(uint16(port)) {
				n++
			}
		}
		if int64(n) != b.count.Load() {
			t.Errorf("%d ports are open, %d are counted", n, b.count.Load())
		}
		open += n
		left += len(b.left)
	}
	if want := 8 * 20; open != want || l.Open() != want {
		t.Errorf("%d are open, want %d", open, want)
	}
	wantLeft := 0
	for i := range 2000 {
		if i%100 != 0 && End(i%3) != EndGone {
			wantLeft += 8
		}
	}
	if left != wantLeft {
		t.Errorf("%d closes are remembered, want %d", left, wantLeft)
	}
}

// pass lets time pass in a bubble.
func pass(d time.Duration) { <-time.After(d) }
