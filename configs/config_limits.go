package configs

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Limits is the limits block of a listener, of a route, and of a backend. Each
// counts for itself; a request has to pass all that it meets.
type Limits struct {
	// Most requests (mysql: statements) let through in a unit of time, all clients together. Beyond it 503 (http) or error 1040 (mysql).
	Rate Rate `key:"rate" range:"1/h..1000000/s" absent:"no limit"`
	// How many may come at once after a pause, with rate.
	Burst int `key:"burst" range:"1..1000000" absent:"as many as rate lets through in a second"`
	// Most requests at one time, from their head to the end of their response. On a listener or route one more is answered with 503 at once; on a backend the rest wait in its queue, and auto finds the number itself, from how long the backend takes.
	InFlight InFlight `key:"in_flight" range:"1..1000000" absent:"no limit"`
	// What per_rate counts by: client is the address, user the MySQL account, header:NAME the value of a request's field.
	Per string `key:"per" form:"per"`
	// Most requests (mysql: statements) of one key in a unit of time. Beyond it 429 (http) or error 1040 (mysql).
	PerRate Rate `key:"per_rate" range:"1/h..1000000/s" absent:"no limit"`
	// How many of one key may come at once after a pause, with per_rate.
	PerBurst int `key:"per_burst" range:"1..1000000" absent:"as many as per_rate lets through in a second"`
	// Most keys that are remembered at one time, at 16 bytes each.
	PerKeys int `key:"per_keys" range:"1024..67108864"`
	// Leading bits of an IPv4 address that make one client.
	IPv4Prefix int `key:"ipv4_prefix" range:"8..32"`
	// Leading bits of an IPv6 address that make one client.
	IPv6Prefix int `key:"ipv6_prefix" range:"16..128"`
}

// Connections bound what one client, by limits.ipv4_prefix and limits.ipv6_prefix
// of its listener, may do with connections.
type Connections struct {
	// Most connections that one client has open at one time. One more is answered with 429 (http) or error 1040 (mysql) and closed.
	PerClient int `key:"per_client" range:"1..1000000" absent:"no limit"`
	// Most connections that one client opens in a unit of time. One more is answered in the same way.
	Rate Rate `key:"rate" range:"1/h..1000000/s" absent:"no limit"`
	// How many one client may open at once after a pause, with rate.
	Burst int `key:"burst" range:"1..1000000" absent:"as many as rate lets through in a second"`
}

// The defaults of what has one wherever the block stands.
const (
	defaultPer      = "client"
	defaultPerKeys  = 1 << 20
	defaultIPv4Bits = 32
	defaultIPv6Bits = 64
)

// InFlight is a number of requests, or auto.
type InFlight int

// InFlightAuto stands for auto.
const InFlightAuto InFlight = -1

func (n InFlight) String() string {
	if n == InFlightAuto {
		return "auto"
	}
	return strconv.Itoa(int(n))
}

func parseInFlight(s string) (InFlight, error) {
	if s == "auto" {
		return InFlightAuto, nil
	}
	n, err := parseInt(s)
	if err != nil && !errors.Is(err, errTooLarge) {
		err = errNotInFlight
	}
	return InFlight(n), err
}

// errNotInFlight is of a text that is neither a number nor auto. The decoder says
// what it may be: that goes by where the block stands.
var errNotInFlight = errors.New("must be a whole number or auto")

// notInFlight is errNotInFlight as the user reads it.
func (d *decoder) notInFlight(n *node, f field, path string) error {
	err := fmt.Errorf("%q must be a whole number from %s to %s", clip(n.text), f.least, f.most)
	if strings.HasPrefix(path, "backends") && d.speaks.protocol == ProtocolHTTP {
		if suggest(n.text, []string{"auto"}) != "" {
			return fmt.Errorf("%w, or auto; did you mean auto?", err)
		}
		return fmt.Errorf("%w, or auto", err)
	}
	return err
}

func (l *Limits) complete() {
	if l.Per == "" {
		l.Per = defaultPer
	}
	fill := func(n *int, def int) {
		if *n == 0 {
			*n = def
		}
	}
	fill(&l.PerKeys, defaultPerKeys)
	fill(&l.IPv4Prefix, defaultIPv4Bits)
	fill(&l.IPv6Prefix, defaultIPv6Bits)
}

// BurstOf is a burst that the file wrote, or what a rate lets through in a second.
func BurstOf(burst int, rate Rate) int {
	if burst > 0 {
		return burst
	}
	return max(1, int(rate.PerSecond()))
}

// PerHeader is the name of the field that header:NAME counts by, "" for another
// key.
func (l *Limits) PerHeader() string {
	if len(l.Per) > len(perHeader) && l.Per[:len(perHeader)] == perHeader {
		return l.Per[len(perHeader):]
	}
	return ""
}

const perHeader = "header:"
