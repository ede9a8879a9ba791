package tcpstat

import (
	"cmp"
	"net/netip"
	"slices"
)

// Client is a client address and its sockets at a listener. Of IPv6 it is the
// /64, which is what one customer has.
type Client struct {
	Addr    netip.Addr
	Sockets int
}

// top finds the addresses with the most sockets in bounded memory. Up to
// topCounters addresses it counts exactly; beyond that it is Space-Saving
// (Metwally, Agrawal, El Abbadi: Efficient Computation of Frequent and Top-k
// Elements in Data Streams, 2005): a new address takes over the counter of the
// least, so no count is too low, none is too high by more than the total over
// topCounters, and no address with more than that is missed.
type top struct {
	at   map[netip.Addr]int // place in heap
	heap []Client           // the least first, once it is full
}

const topCounters = 1024

func (t *top) reset() {
	clear(t.at)
	t.heap = t.heap[:0]
}

func (t *top) add(a netip.Addr) {
	if a.Is6() {
		p, _ := a.Prefix(64)
		a = p.Addr()
	}
	if t.at == nil {
		t.at = make(map[netip.Addr]int, topCounters)
		t.heap = make([]Client, 0, topCounters)
	}
	i, ok := t.at[a]
	switch {
	case ok:
		t.heap[i].Sockets++
	case len(t.heap) < topCounters:
		i = len(t.heap)
		t.heap = append(t.heap, Client{a, 1})
		t.at[a] = i
		if len(t.heap) == topCounters {
			for j := topCounters/2 - 1; j >= 0; j-- {
				t.sink(j)
			}
		}
		return
	default:
		i = 0
		delete(t.at, t.heap[0].Addr)
		t.heap[0].Addr = a
		t.heap[0].Sockets++
		t.at[a] = 0
	}
	if len(t.heap) == topCounters {
		t.sink(i)
	}
}

// sink moves an element down to where no child is less.
func (t *top) sink(i int) {
	for {
		least := i
		for _, c := range [2]int{2*i + 1, 2*i + 2} {
			if c < len(t.heap) && t.heap[c].Sockets < t.heap[least].Sockets {
				least = c
			}
		}
		if least == i {
			return
		}
		t.heap[i], t.heap[least] = t.heap[least], t.heap[i]
		t.at[t.heap[i].Addr], t.at[t.heap[least].Addr] = i, least
		i = least
	}
}

// most returns up to n addresses, those with the most sockets first.
func (t *top) most(n int) []Client {
	var out []Client
	for _, c := range t.heap {
		if len(out) == n && c.Sockets <= out[n-1].Sockets {
			continue
		}
		i, _ := slices.BinarySearchFunc(out, c, func(a, b Client) int {
			return cmp.Or(cmp.Compare(b.Sockets, a.Sockets), a.Addr.Compare(b.Addr))
		})
		out = slices.Insert(out, i, c)
		out = out[:min(n, len(out))]
	}
	return out
}
