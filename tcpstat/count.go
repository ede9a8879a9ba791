package tcpstat

import (
	"errors"
	"net/netip"
)

// Counts holds a number of sockets per State.
type Counts [NumStates]int

// Total is the number of sockets in all states.
func (c *Counts) Total() int {
	n := 0
	for _, v := range c {
		n += v
	}
	return n
}

// Of is the number of sockets in the given states.
func (c *Counts) Of(list ...State) int {
	n := 0
	for _, s := range list {
		n += c[s]
	}
	return n
}

// Side says which end of a socket an address is.
type Side uint8

const (
	Local  Side = iota // sockets that have the address: a listener and what it accepted
	Remote             // sockets that talk to the address: the dialled ends
)

func (s Side) String() string {
	if s == Remote {
		return "remote"
	}
	return "local"
}

// Tally counts sockets by state in groups, a group for each (side, address)
// that was asked for. On a loopback path the ends of one connection are
// different sockets and fall into different groups: the accepted end into
// (Local, listener), the dialled end into (Remote, listener). The zero value has
// no groups. A Tally is for one goroutine at a time.
type Tally struct {
	groups []Counts
	ports  [2]map[uint16][]entry // by Side
}

type entry struct {
	addr  netip.Addr // unspecified or zero: any address with the port
	group int
}

// Watch adds a group and returns its number. An unspecified or zero address
// stands for every address; a socket that an exact address claims as well counts
// there and not here. Several groups may name the same address.
func (t *Tally) Watch(side Side, addr netip.AddrPort) int {
	if t.ports[side] == nil {
		t.ports[side] = make(map[uint16][]entry)
	}
	e := entry{addr: addr.Addr().Unmap(), group: len(t.groups)}
	if !e.addr.IsValid() || e.addr.IsUnspecified() {
		e.addr = netip.Addr{}
	}
	t.ports[side][addr.Port()] = append(t.ports[side][addr.Port()], e)
	t.groups = append(t.groups, Counts{})
	return e.group
}

// Counts returns what group holds.
func (t *Tally) Counts(group int) Counts { return t.groups[group] }

// Reset sets all counts to zero and keeps the groups.
func (t *Tally) Reset() { clear(t.groups) }

// Add counts one socket in the groups it belongs to and says whether there was
// one.
func (t *Tally) Add(s *Socket) bool {
	local := t.add(t.ports[Local][s.Local.Port()], s.Local.Addr(), s.State)
	remote := t.add(t.ports[Remote][s.Remote.Port()], s.Remote.Addr(), s.State)
	return local || remote
}

func (t *Tally) add(list []entry, addr netip.Addr, st State) bool {
	exact := false
	for i := range list {
		if list[i].addr == addr {
			t.groups[list[i].group][st]++
			exact = true
		}
	}
	if exact {
		return true
	}
	for i := range list {
		if !list[i].addr.IsValid() {
			t.groups[list[i].group][st]++
			exact = true
		}
	}
	return exact
}

// maxRepeats bounds how often Count starts over when the kernel reports a
// change. A table that changes shape four times in a row is being resized by
// other means than load.
const maxRepeats = 3

// Count resets t and counts every socket that f chooses. A list that the kernel
// reports as changed is taken again, a bounded number of times; ErrChanged then
// says that t holds the last one.
func (r *Reader) Count(f Filter, t *Tally) error {
	var err error
	for range 1 + maxRepeats {
		t.Reset()
		err = r.Each(f, func(s *Socket) bool { t.Add(s); return true })
		if !errors.Is(err, ErrChanged) {
			return err
		}
	}
	return err
}

// Counts counts the sockets that f chooses by state.
func (r *Reader) Counts(f Filter) (Counts, error) {
	var c Counts
	var err error
	for range 1 + maxRepeats {
		clear(c[:])
		err = r.Each(f, func(s *Socket) bool { c[s.State]++; return true })
		if !errors.Is(err, ErrChanged) {
			break
		}
	}
	return c, err
}
