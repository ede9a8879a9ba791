package audit

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strconv"

	"weir/tcpstat"
)

// Sockets is what the kernel holds now, in groups.
type Sockets struct {
	States    tcpstat.Counts
	Outbound  []Tuple // by destination, the fullest first; at most keptTuples
	Bound     int     // ports for connect() that none gets: a socket listens on them or is bound to them
	Listens   []Queue // the longest queue first
	CloseWait []Group // the greatest first
}

// Tuple is the connections from one local address to one destination: each of
// them needs a local port of its own.
type Tuple struct {
	Source   netip.Addr
	Remote   netip.AddrPort
	Sockets  int // that keep their port, in all states
	TimeWait int // of these
	Again    int // in TIME_WAIT besides, whose ports the kernel would use again
}

// Queue is the accept queue of a listening socket.
type Queue struct {
	Local          netip.AddrPort
	Waiting, Limit int // Limit 0: unknown
}

// Group is a number of sockets of one listener or destination.
type Group struct {
	Where   string
	Sockets int
}

const (
	// maxTuples bounds the map while sockets are counted. What comes beyond
	// has few connections, or it would have been met before.
	maxTuples  = 1 << 16
	keptTuples = 1 << 10
)

// Count lists the kernel's sockets. Outbound connections are told from accepted
// ones by their local port: it is nobody's that listens, and one of ports, which
// connect takes them from. Which of them keeps its port is tcpstat's rule. ports
// may be nil: then nothing is outbound.
func Count(r *tcpstat.Reader, ports *tcpstat.LocalPorts) (*Sockets, error) {
	c := counter{ports: ports, listening: map[uint16]bool{}}
	if ports == nil {
		c.ports = new(tcpstat.LocalPorts)
	}
	listen := tcpstat.Filter{States: tcpstat.MaskOf(tcpstat.Listen)}
	if err := r.Each(listen, c.listen); err != nil && !errors.Is(err, tcpstat.ErrChanged) {
		return nil, err
	}
	c.bound, c.tuples, c.waits = maps.Clone(c.listening), map[tcpstat.Pair]*Tuple{}, map[string]int{}
	rest := tcpstat.Filter{States: tcpstat.All&^listen.States | tcpstat.MaskOf(tcpstat.Bound)}
	// A table that changed meanwhile is off by a few: fine for a look.
	if err := r.Each(rest, c.add); err != nil && !errors.Is(err, tcpstat.ErrChanged) {
		return nil, err
	}
	return c.result(), nil
}

type counter struct {
	ports     *tcpstat.LocalPorts
	listening map[uint16]bool
	bound     map[uint16]bool // those that listen too
	tuples    map[tcpstat.Pair]*Tuple
	waits     map[string]int
	out       Sockets
}

func (c *counter) listen(s *tcpstat.Socket) bool {
	c.out.States[s.State]++
	if len(c.listening) < maxTuples {
		c.listening[s.Local.Port()] = true
		c.out.Listens = append(c.out.Listens, Queue{Local: s.Local, Waiting: int(s.RecvQ), Limit: int(s.SendQ)})
	}
	return len(c.out.Listens) < maxTuples
}

func (c *counter) add(s *tcpstat.Socket) bool {
	c.out.States[s.State]++
	if s.State == tcpstat.Bound {
		c.bound[s.Local.Port()] = true
		return true
	}
	accepted := c.listening[s.Local.Port()]
	if s.State == tcpstat.CloseWait && len(c.waits) < maxTuples {
		where := "to " + s.Remote.String()
		if accepted {
			where = "on port " + strconv.Itoa(int(s.Local.Port()))
		}
		c.waits[where]++
	}
	if accepted || !c.ports.Has(s.Local.Port()) {
		return true
	}
	k := tcpstat.Pair{Source: s.Local.Addr(), Dest: s.Remote}
	t := c.tuples[k]
	if t == nil {
		if len(c.tuples) == maxTuples {
			return true
		}
		t = &Tuple{Source: k.Source, Remote: k.Dest}
		c.tuples[k] = t
	}
	switch {
	case s.State != tcpstat.TimeWait:
		t.Sockets++
	case c.ports.Blocked(k, s.Expires) > 0:
		t.Sockets++
		t.TimeWait++
	default:
		t.Again++
	}
	return true
}

func (c *counter) result() *Sockets {
	for port := range c.bound {
		if c.ports.Has(port) {
			c.out.Bound++
		}
	}
	for _, t := range c.tuples {
		c.out.Outbound = append(c.out.Outbound, *t)
	}
	slices.SortFunc(c.out.Outbound, func(a, b Tuple) int {
		if a.Sockets != b.Sockets {
			return b.Sockets - a.Sockets
		}
		if a.Again != b.Again {
			return b.Again - a.Again
		}
		return a.Remote.Compare(b.Remote)
	})
	c.out.Outbound = slices.Clip(c.out.Outbound[:min(len(c.out.Outbound), keptTuples)])
	slices.SortStableFunc(c.out.Listens, func(a, b Queue) int { return b.Waiting - a.Waiting })
	for where, n := range c.waits {
		c.out.CloseWait = append(c.out.CloseWait, Group{where, n})
	}
	slices.SortFunc(c.out.CloseWait, func(a, b Group) int { return b.Sockets - a.Sockets })
	return &c.out
}
