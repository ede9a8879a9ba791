package audit

import (
	"errors"
	"net/netip"
	"slices"
	"strconv"

	"weir/tcpstat"
)

// Sockets is what the kernel holds now, in groups.
type Sockets struct {
	States    tcpstat.Counts
	Outbound  []Tuple // by destination, the fullest first; at most keptTuples
	Listens   []Queue // the longest queue first
	CloseWait []Group // the greatest first
}

// Tuple is the connections from one local address to one destination: each of
// them needs a local port of its own.
type Tuple struct {
	Source   netip.Addr
	Remote   netip.AddrPort
	Sockets  int // in all states
	TimeWait int
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
// ones by their local port: it is nobody's that listens, and within low to high,
// the range that connect takes ports from.
func Count(r *tcpstat.Reader, low, high uint16) (*Sockets, error) {
	c := counter{low: low, high: high, listening: map[uint16]bool{}}
	listen := tcpstat.Filter{States: tcpstat.MaskOf(tcpstat.Listen)}
	if err := r.Each(listen, c.listen); err != nil && !errors.Is(err, tcpstat.ErrChanged) {
		return nil, err
	}
	c.tuples, c.waits = map[tuple]*Tuple{}, map[string]int{}
	rest := tcpstat.Filter{States: tcpstat.All &^ listen.States}
	// A table that changed meanwhile is off by a few: fine for a look.
	if err := r.Each(rest, c.add); err != nil && !errors.Is(err, tcpstat.ErrChanged) {
		return nil, err
	}
	return c.result(), nil
}

type tuple struct {
	source netip.Addr
	remote netip.AddrPort
}

type counter struct {
	low, high uint16
	listening map[uint16]bool
	tuples    map[tuple]*Tuple
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
	accepted := c.listening[s.Local.Port()]
	if s.State == tcpstat.CloseWait && len(c.waits) < maxTuples {
		where := "to " + s.Remote.String()
		if accepted {
			where = "on port " + strconv.Itoa(int(s.Local.Port()))
		}
		c.waits[where]++
	}
	if p := s.Local.Port(); accepted || p < c.low || p > c.high {
		return true
	}
	k := tuple{s.Local.Addr(), s.Remote}
	t := c.tuples[k]
	if t == nil {
		if len(c.tuples) == maxTuples {
			return true
		}
		t = &Tuple{Source: k.source, Remote: k.remote}
		c.tuples[k] = t
	}
	t.Sockets++
	if s.State == tcpstat.TimeWait {
		t.TimeWait++
	}
	return true
}

func (c *counter) result() *Sockets {
	for _, t := range c.tuples {
		c.out.Outbound = append(c.out.Outbound, *t)
	}
	slices.SortFunc(c.out.Outbound, func(a, b Tuple) int {
		if a.Sockets != b.Sockets {
			return b.Sockets - a.Sockets
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
