// Package proxied finds out who a client is that comes through a proxy which
// says so in a PROXY header, for all fronts alike:
//
//	accepted --nothing came--> parked --bytes--> accepted
//	accepted --header--> known: it is served as if it had connected itself
//	   any   --broken, too long, late--> ended, a fault
//	   any   --left without a byte, or the listener drains--> ended, no fault
//
// A front asks for the header before all else, only where its listener is told
// to expect one, and only of peers that are trusted: nobody else may say that he
// is another, and nothing is guessed from the bytes.
package proxied

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"time"

	"weir/internal/proxyproto"
	"weir/internal/sock"
	"weir/proxy/fault"
)

// Expected says whether a peer has to send a header: whether it is in one of the
// networks that are trusted. A peer on a unix socket has no address; the
// permissions of the file have let it in, so it counts as trusted.
func Expected(trusted []netip.Prefix, peer netip.Addr) bool {
	if !peer.IsValid() {
		return true
	}
	for _, p := range trusted {
		if p.Contains(peer) {
			return true
		}
	}
	return false
}

// Behind says whether a client, which is new or was parked with state, has its
// header yet to send, where on says that its listener expects one of those trusted.
func Behind(on bool, trusted []netip.Prefix, c sock.Conn, state any) bool {
	return state == Waiting || state == nil && on && Expected(trusted, c.RemoteAddr().Addr())
}

// Log tells the operator of a header that was none, alike for every front.
func Log(log *slog.Logger, listener string, c sock.Conn, err error) {
	const k = fault.BadProxyHeader
	log.Warn("a connection without a valid PROXY header was closed", "fold", k.String(), "listener", listener,
		"proxy", c.RemoteAddr().Addr(), "reason", k.String(), "err", err, "hint", k.Row().Hint)
}

// Waiting is the state to park a client with whose header has not come.
var Waiting any = waiting{}

type waiting struct{}

// Result is what is to become of a client.
type Result struct {
	Step   Step
	Ending sock.Ending // to give to Sweeper.End
	Err    error       // what was wrong with the header; nil: nothing to complain of
}

// Step is what a front has to do next.
type Step uint8

const (
	Known Step = iota // the header was read: RemoteAddr is the client's, if the header has told it
	Wait              // park with Waiting
	End               // end the connection without a word
)

// Identify reads a client's header: a new one's (WakeAccepted), or that of one
// that was parked, however it wakes. Once a byte has come the rest has to come
// within limit, and a client that is parked may be silent for limit as well; key
// is what limit is called in the configuration.
//
// A client of which nothing came for a moment is to be parked, so a proxy that
// connects long before its client speaks costs no goroutine.
func Identify(l *sock.Listener, c sock.Conn, w sock.Wake, limit time.Duration, key string) Result {
	switch w {
	case sock.WakeAccepted:
		c.Stay() // proxies send it as soon as they are connected
	case sock.WakeExpired, sock.WakeDraining:
		// One that has just come is read, as a request is.
		if c.Look() != sock.Quiet {
			break
		}
		if w == sock.WakeExpired {
			return Result{End, sock.EndOurs, fmt.Errorf("%w in %s, the limit of %s", proxyproto.ErrMissing, limit, key)}
		}
		return Result{Step: End, Ending: sock.EndOurs}
	}
	buf := headers.Get().(*header)
	defer headers.Put(buf)
	n, err := c.ReadPreface(buf[:], limit, proxyproto.Len)
	if err != nil {
		return failed(l, n, err, limit, key)
	}
	client, err := proxyproto.Parse(buf[:n])
	if err != nil {
		return Result{End, sock.EndRefused, err}
	}
	if client.IsValid() {
		c.SetRemoteAddr(client)
	}
	return Result{Step: Known}
}

// failed is the Result of a header of which n bytes have come and then an error.
func failed(l *sock.Listener, n int, err error, limit time.Duration, key string) Result {
	broken := errors.Is(err, proxyproto.ErrMissing) || errors.Is(err, proxyproto.ErrBroken) || errors.Is(err, proxyproto.ErrTooLong)
	switch {
	case errors.Is(err, sock.ErrIdle):
		return Result{Step: Wait}
	case broken:
		return Result{End, sock.EndRefused, err}
	case err == io.EOF: // as health checks do
		return Result{Step: End, Ending: sock.EndSilent}
	case err == io.ErrUnexpectedEOF:
		return Result{End, sock.EndSilent, fmt.Errorf("%w: the proxy has left after %d bytes of it", proxyproto.ErrBroken, n)}
	case errors.Is(err, os.ErrDeadlineExceeded) && l.Draining(): // interrupted
		return Result{Step: End, Ending: sock.EndOurs}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return Result{End, sock.EndOurs, fmt.Errorf("%w: %d bytes of it came in %s, the limit of %s", proxyproto.ErrBroken, n, limit, key)}
	case n > 0:
		return Result{End, sock.EndLost, fmt.Errorf("%w: after %d bytes of it: %w", proxyproto.ErrBroken, n, err)}
	}
	return Result{Step: End, Ending: sock.EndLost}
}

// header has room for the longest.
type header [proxyproto.MaxLen]byte

var headers = sync.Pool{New: func() any { return new(header) }}
