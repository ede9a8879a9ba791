package admin

import (
	"errors"
	"net"
	"net/netip"
)

// A listener has places for maxConns connections; streams have a bound of their
// own. On an address that other machines reach, placesNear of them are for this
// machine, and the others for the rest. Who comes when all are taken gets that of
// a connection that waits for its client: the oldest of the strangers' whose
// address has most of them, so that one who is alone at his address keeps his
// place while others fill theirs; where there is no stranger, the one that has
// asked for nothing for the longest time. Nobody loses his place within a request.
//
// A stranger is one who has not logged in. It sends nothing, or its head byte by
// byte; so long it costs a place, and never for longer than readTimeout, twice with TLS.
// Nobody is kept out as long as he has sent his request before as many others as
// there are places have come.
const (
	placesNear = 16
	// maxStrangers are those of one address, so that an address whose clients
	// come and go as fast as they can has few sockets. A browser opens 6, a
	// probe one.
	maxStrangers = 16
)

// errNoPlace: all connections are in the middle of a request.
var errNoPlace = errors.New("there are too many, and all others are being answered")

// hold gives h a place. Where there is none it returns the connection that is to
// be closed first, or an error where that is none: net.ErrClosed after cut.
func (l *conns) hold(h *heldConn) (*heldConn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return nil, net.ErrClosed
	}
	taken, from := 0, map[netip.Addr]int{} // from: strangers by address
	for c := range l.held {
		if c.apart || c.near != h.near {
			continue
		}
		taken++
		if c.stranger {
			from[c.peer]++
		}
	}
	switch {
	case !h.near && from[h.peer] >= maxStrangers:
		return l.first(func(c *heldConn) bool { return c.stranger && c.peer == h.peer }, nil)
	case taken >= l.places(h.near):
		return l.first(func(c *heldConn) bool { return c.near == h.near }, from)
	}
	l.last++
	h.turn = l.last
	l.held[h] = struct{}{}
	return nil, nil
}

func (l *conns) places(near bool) int {
	switch {
	case l.near:
		return maxConns
	case near:
		return placesNear
	}
	return maxConns - placesNear
}

// first returns the connection that loses its place before all others of which
// may is true. from is as in hold. It is called with mu held.
func (l *conns) first(may func(*heldConn) bool, from map[netip.Addr]int) (*heldConn, error) {
	var is *heldConn
	for c := range l.held {
		if c.waits && !c.apart && !c.leaves && may(c) && (is == nil || before(c, is, from)) {
			is = c
		}
	}
	if is == nil {
		return nil, errNoPlace
	}
	is.leaves = true
	return is, nil
}

// before says whether a loses its place before b.
func before(a, b *heldConn, from map[netip.Addr]int) bool {
	switch {
	case a.stranger != b.stranger:
		return a.stranger
	case a.stranger && from[a.peer] != from[b.peer]:
		return from[a.peer] > from[b.peer]
	}
	return a.turn < b.turn
}
