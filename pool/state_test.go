package pool

import (
	"testing"
	"time"

	"weir/internal/reason"
	"weir/internal/sock"
	"weir/limiter"
)

func TestEveryEdgeOutsideTheTablePanics(t *testing.T) {
	for from := range connStates {
		for next := range connStates {
			if legal[from][next] {
				continue
			}
			mustPanic(t, from.String()+" to "+next.String(), func() {
				(&conn{state: from, book: &census{}}).to(next)
			})
		}
	}
}

// Every legal edge is taken by ordinary use.
func TestEveryLegalEdgeIsTaken(t *testing.T) {
	bubble(t, func(o *Options) { o.MaxOpen = 2; o.IdleTimeout = 10 * time.Second }, func(x fixture) {
		// dialing -> leased -> leased -> idle -> leased -> closing -> closed
		l := x.get("")
		m := x.get("")
		w := x.waits("")
		l.Release()
		x.mustGet(w).Release()
		x.get("").Discard(reason.CloseSaidClose)
		m.Discard(reason.CloseSaidClose)

		// dialing -> closed
		x.b.set(0, refuse)
		pass(time.Millisecond)
		x.Acquire(x.Context(), "", limiter.ClassDefault)
		x.b.set(0, nil)
		pass(time.Second)

		// dialing -> idle: the waiter is served before its dial is done
		l = x.get("")
		x.b.set(100*time.Millisecond, nil)
		w = x.waits("")
		pass(10 * time.Millisecond)
		l.Release()
		l = x.mustGet(w)
		pass(time.Second)
		l.Release()

		// idle -> looking -> idle, looking -> closing
		pass(1100 * time.Millisecond)
		for _, c := range x.b.conns {
			if !c.ended.Load() {
				c.see(sock.PeerFIN)
			}
		}
		pass(1100 * time.Millisecond)

		// looking -> leased
		x.b.set(0, nil)
		x.get("").Release()
		looks, resume := make(chan int), make(chan int)
		gate := func(*fakeConn) {
			x.b.lookGate.Store(nil)
			looks <- 1
			<-resume
		}
		x.b.lookGate.Store(&gate)
		<-looks
		w = x.waits("")
		close(resume)
		x.mustGet(w).Release()

		// idle -> closing
		pass(10 * time.Second)

		// dialing -> closing: it arrives after its endpoint was replaced
		x.b.set(100*time.Millisecond, nil)
		w = x.waits("")
		pass(10 * time.Millisecond)
		x.apply(func(o *Options) { o.Stamp = "new" })
		(<-w).Release()

		x.mu.Lock()
		edges := x.main.edges
		x.mu.Unlock()
		for from := range connStates {
			for next := range connStates {
				if legal[from][next] != (edges[from][next] > 0) {
					t.Errorf("%v -> %v: legal %v, taken %d times", from, next, legal[from][next], edges[from][next])
				}
			}
		}
	})
}
