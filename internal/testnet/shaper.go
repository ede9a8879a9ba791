package testnet

import (
	"container/heap"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Impairment is what one direction of a Link does to its packets. The zero value
// delivers each at once and in order.
type Impairment struct {
	Delay  time.Duration // every packet takes at least this long
	Jitter time.Duration // and up to this much longer; jitter alone never reorders
	Loss   float64       // probability of being lost, 0 to 1

	// Reorder is the probability that a packet is held back for ReorderBy
	// more, so that those behind it overtake it. ReorderBy is 1 ms if zero.
	Reorder   float64
	ReorderBy time.Duration

	// Hook, if set, sees each packet before anything else happens to it, and
	// may decide about it. It runs on the goroutine that reads the sending
	// device: it must not block, nor use the Link.
	Hook func(*Packet)
}

// Traffic counts the packets of one direction as its sender sent them.
type Traffic struct {
	Packets, Bytes       uint64
	SYN, FIN, RST        uint64 // packets with the flag; a SYN-ACK counts as SYN
	Data                 uint64 // TCP packets that carry data
	Delivered            uint64
	Lost, Hooked         uint64 // dropped by Loss, by the Hook
	Overflow, Unroutable uint64 // dropped against the test's will: the queue was full, the kernel refused
}

// queueBound is how many packets may be under way in one direction. At 1500
// bytes it is 24 MB, and ten times what one connection with the kernel's default
// buffers keeps in flight.
const queueBound = 16 << 10

// mtu is the size of packet that buffers are made for.
const mtu = 1500

// shaper is one direction: take decides about packets as they come, run delivers
// them when they are due.
type shaper struct {
	deliver func([]byte) error

	mu   sync.Mutex // guards imp, rng, queue, last, order, closed. Nothing is delivered under it.
	imp  Impairment
	rng  *rand.Rand
	due  queue
	last time.Time // no packet with the ordinary delay is due before this
	seq  uint64

	wake chan struct{} // one slot: the first packet of the queue is a new one
	pool sync.Pool

	count struct {
		packets, bytes, syn, fin, rst, data, delivered, lost, hooked, overflow, unroutable atomic.Uint64
	}
}

func newShaper(imp Impairment, seed, stream uint64, deliver func([]byte) error) *shaper {
	return &shaper{
		deliver: deliver,
		imp:     imp,
		rng:     rand.New(rand.NewPCG(seed, stream)),
		wake:    make(chan struct{}, 1),
		pool:    sync.Pool{New: func() any { b := make([]byte, 0, mtu); return &b }},
	}
}

func (s *shaper) set(imp Impairment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.imp = imp
}

// take decides about one packet. data is copied if it is kept.
func (s *shaper) take(data []byte, now time.Time) {
	p := Packet{Data: data}
	p.parse()
	s.see(&p)

	s.mu.Lock()
	defer s.mu.Unlock()
	imp := &s.imp
	if imp.Hook != nil {
		imp.Hook(&p)
	}
	if p.Drop {
		s.count.hooked.Add(1)
		return
	}
	for range 1 + p.Copies {
		s.push(&p, now)
	}
}

// push gives the packet its time and queues it. mu is held.
func (s *shaper) push(p *Packet, now time.Time) {
	// Every number is drawn for every packet, so that one probability does
	// not change what another one hits.
	loss, reorder, jitter := s.rng.Float64(), s.rng.Float64(), s.rng.Float64()
	imp := &s.imp
	if loss < imp.Loss {
		s.count.lost.Add(1)
		return
	}
	if len(s.due) >= queueBound {
		s.count.overflow.Add(1)
		return
	}
	due := now.Add(imp.Delay + time.Duration(jitter*float64(imp.Jitter)))
	if due.Before(s.last) {
		due = s.last
	}
	held := p.Delay
	if reorder < imp.Reorder {
		held += max(imp.ReorderBy, 0)
		if imp.ReorderBy == 0 {
			held += time.Millisecond
		}
	}
	if held == 0 {
		s.last = due
	}
	b := s.pool.Get().(*[]byte)
	*b = append((*b)[:0], p.Data...)
	s.seq++
	heap.Push(&s.due, parcel{due: due.Add(held), seq: s.seq, data: b})
	if s.due[0].seq == s.seq {
		select {
		case s.wake <- struct{}{}:
		default: // run will look anyway
		}
	}
}

// run delivers packets until stop is closed. Those still under way are lost.
func (s *shaper) run(stop <-chan struct{}) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		b, wait := s.next(time.Now())
		if b != nil {
			if err := s.deliver(*b); err != nil {
				s.count.unroutable.Add(1)
			} else {
				s.count.delivered.Add(1)
			}
			s.pool.Put(b)
			select {
			case <-stop:
				return
			default:
				continue
			}
		}
		timer.Reset(wait)
		select {
		case <-stop:
			return
		case <-s.wake:
		case <-timer.C:
		}
	}
}

// next takes the packet that is due, or says how long there will be none.
func (s *shaper) next(now time.Time) (*[]byte, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.due) == 0 {
		return nil, time.Hour
	}
	if wait := s.due[0].due.Sub(now); wait > 0 {
		return nil, wait
	}
	return heap.Pop(&s.due).(parcel).data, 0
}

func (s *shaper) see(p *Packet) {
	c := &s.count
	c.packets.Add(1)
	c.bytes.Add(uint64(len(p.Data)))
	for _, f := range []struct {
		flag Flags
		n    *atomic.Uint64
	}{{SYN, &c.syn}, {FIN, &c.fin}, {RST, &c.rst}} {
		if p.Flags.Has(f.flag) {
			f.n.Add(1)
		}
	}
	if p.Payload > 0 {
		c.data.Add(1)
	}
}

func (s *shaper) traffic() Traffic {
	c := &s.count
	return Traffic{
		Packets: c.packets.Load(), Bytes: c.bytes.Load(),
		SYN: c.syn.Load(), FIN: c.fin.Load(), RST: c.rst.Load(), Data: c.data.Load(),
		Delivered: c.delivered.Load(), Lost: c.lost.Load(), Hooked: c.hooked.Load(),
		Overflow: c.overflow.Load(), Unroutable: c.unroutable.Load(),
	}
}

// parcel is a packet under way. seq keeps those due at one instant in order.
type parcel struct {
	due  time.Time
	seq  uint64
	data *[]byte
}

// queue is a heap by due time.
type queue []parcel

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if q[i].due.Equal(q[j].due) {
		return q[i].seq < q[j].seq
	}
	return q[i].due.Before(q[j].due)
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(parcel)) }
func (q *queue) Pop() any {
	old := *q
	last := old[len(old)-1]
	old[len(old)-1] = parcel{}
	*q = old[:len(old)-1]
	return last
}
