package proxied_test

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"weir/internal/proxyproto"
	"weir/internal/sock"
	"weir/proxy/proxied"
)

// conn is a connection whose preface is what a test says.
type conn struct {
	sock.Conn
	sight   sock.Sight
	preface string
	err     error
	stays   bool
	client  netip.AddrPort
}

func (c *conn) Stay()                          { c.stays = true }
func (c *conn) Look() sock.Sight               { return c.sight }
func (c *conn) SetRemoteAddr(a netip.AddrPort) { c.client = a }

func (c *conn) ReadPreface(buf []byte, _ time.Duration, length sock.PrefaceLen) (int, error) {
	n := copy(buf, c.preface)
	if whole, err := length(buf[:n]); err != nil {
		return n, err
	} else if whole <= n {
		return whole, nil
	}
	return n, c.err
}

func TestWhatBecomesOfAClientBehindAProxy(t *testing.T) {
	const line = "PROXY TCP4 203.0.113.7 198.51.100.1 56324 80\r\n"
	const unknown = "PROXY UNKNOWN\r\n"
	for _, row := range []struct {
		name   string
		wake   sock.Wake
		c      conn
		step   proxied.Step
		ending sock.Ending
		fault  error // nil: none
	}{
		{"a header at once", sock.WakeAccepted, conn{preface: line}, proxied.Known, 0, nil},
		{"a header that names nobody", sock.WakeAccepted, conn{preface: unknown}, proxied.Known, 0, nil},
		{"a header after a while", sock.WakeReadable, conn{preface: line}, proxied.Known, 0, nil},
		{"a header as the time runs out", sock.WakeExpired, conn{sight: sock.Readable, preface: line}, proxied.Known, 0, nil},
		{"a header as weir drains", sock.WakeDraining, conn{sight: sock.Readable, preface: line}, proxied.Known, 0, nil},
		{"nothing yet", sock.WakeAccepted, conn{err: sock.ErrIdle}, proxied.Wait, 0, nil},
		{"nothing for too long", sock.WakeExpired, conn{err: sock.ErrIdle}, proxied.End, sock.EndOurs, proxyproto.ErrMissing},
		{"nothing as weir drains", sock.WakeDraining, conn{err: sock.ErrIdle}, proxied.End, sock.EndOurs, nil},
		{"a part, and silence", sock.WakeReadable, conn{preface: line[:9], err: os.ErrDeadlineExceeded}, proxied.End, sock.EndOurs, proxyproto.ErrBroken},
		{"a part, and a close", sock.WakeReadable, conn{preface: line[:9], err: io.ErrUnexpectedEOF}, proxied.End, sock.EndSilent, proxyproto.ErrBroken},
		{"a part, and a reset", sock.WakeReadable, conn{preface: line[:9], err: syscall.ECONNRESET}, proxied.End, sock.EndLost, proxyproto.ErrBroken},
		{"a close", sock.WakeReadable, conn{err: io.EOF}, proxied.End, sock.EndSilent, nil},
		{"a close as the time runs out", sock.WakeExpired, conn{sight: sock.PeerFIN, err: io.EOF}, proxied.End, sock.EndSilent, nil},
		{"a reset", sock.WakeReadable, conn{err: syscall.ECONNRESET}, proxied.End, sock.EndLost, nil},
		{"no header", sock.WakeAccepted, conn{preface: "GET / HTTP/1.1\r\n"}, proxied.End, sock.EndRefused, proxyproto.ErrMissing},
		{"a broken one", sock.WakeAccepted, conn{preface: "PROXY TCP4 1 2 3 4\r\n"}, proxied.End, sock.EndRefused, proxyproto.ErrBroken},
		{"one that is too long", sock.WakeAccepted, conn{preface: "\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff"}, proxied.End, sock.EndRefused, proxyproto.ErrTooLong},
	} {
		r := proxied.Identify(new(sock.Listener), &row.c, row.wake, time.Second, "the.key")
		if r.Step != row.step || r.Ending != row.ending || (r.Err != nil) != (row.fault != nil) || !errors.Is(r.Err, row.fault) {
			t.Errorf("%s: %+v, want %v %v %v", row.name, r, row.step, row.ending, row.fault)
		}
		want := netip.AddrPort{}
		if row.step == proxied.Known && row.c.preface == line {
			want = netip.MustParseAddrPort("203.0.113.7:56324")
		}
		if row.c.client != want {
			t.Errorf("%s: the client is at %v, want %v", row.name, row.c.client, want)
		}
		if row.c.stays != (row.wake == sock.WakeAccepted) {
			t.Errorf("%s: a new proxy is about to send, one that was parked is not: %v", row.name, row.c.stays)
		}
	}
}
