package sock

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// A machine that stalls makes all clients late at the same time. If each counted,
// one stall would end the waiting for an address for a minute.
func TestWaitsThatRunOutTogetherCountOnce(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	s := NewSweeper()
	defer s.Close(t.Context())
	peer := netip.MustParseAddr("192.0.2.1")
	now := time.Now().UnixNano()
	// runOut is a client's wait that began and ended at these times.
	runOut := func(began, ended int64) {
		t.Helper()
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		s.heldNow.Add(1) // as hold does
		defer s.heldNow.Add(-1)
		h := held{c: Wrap(c), peer: peer, idle: true, began: began, deadline: ended}
		if !s.look(&h, ended, 0, nil) {
			t.Fatal("the wait has not run out")
		}
	}
	const wait = int64(minWait)
	for i := range int64(10 * missesToWait) {
		runOut(now+i, now+wait+i)
	}
	if s.mem.patience(peer, now+wait, minWait) == 0 {
		t.Error("waits that overlapped ended the waiting")
	}
	for i := int64(1); i < missesToWait; i++ {
		runOut(now+10*i*wait, now+10*i*wait+wait)
	}
	if s.mem.patience(peer, now+100*wait, minWait) != 0 {
		t.Error("waits that ran out one after the other did not end the waiting")
	}
}
