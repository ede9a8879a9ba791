//go:build !weir_netconn

package sock_test

import (
	"net"
	"testing"
	"time"

	"weir/internal/sock"
)

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
