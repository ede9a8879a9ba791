//go:build !weir_netconn

package sock_test

import (
	"io"
	"net"
	"testing"
	"time"

	"weir/internal/sock"
)

// Who has left must not keep its place; who has only said all that it will say is
// still waiting for answers.
func TestAFINWakesAClientLeftUnreadUnlessSomethingIsBeforeIt(t *testing.T) {
	const wait = 300 * time.Millisecond
	for says, want := range map[string]sock.Wake{"": sock.WakeReadable, "hello": sock.WakeExpired} {
		l, h := hold(t, map[string]time.Duration{"": time.Minute, "hello": wait}[says], sock.ListenOptions{})
		c := dial(t, l)
		<-h.begun
		waitFor(t, "it is left unread", func() bool { return l.Stats().Unread == 1 })
		io.WriteString(c, says)
		c.(*net.TCPConn).CloseWrite()
		if woke := <-h.woken; woke.w != want {
			t.Errorf("a FIN after %q: woke as %v, want %v", says, woke.w, want)
		}
	}
}

func TestAResetWakesAClientLeftUnread(t *testing.T) {
	l, h := hold(t, time.Minute, sock.ListenOptions{})
	c := dial(t, l)
	<-h.begun
	waitFor(t, "it is left unread", func() bool { return l.Stats().Unread == 1 })
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
	if woke := <-h.woken; woke.w != sock.WakeReadable {
		t.Errorf("woke as %v", woke.w)
	}
}
