package sock

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// What is remembered of a client address, and for how long.
const (
	missesToWait = 3                // waits that ran out in a row before we stop waiting
	closesToWait = 3                // waits in a row that the client ended before we wait longer
	missFor      = time.Minute      // how long an address that waits for our FIN is not waited for
	halfFor      = 10 * time.Minute // how long an address that half-closed is closed gracefully

	memoryWays = 4
	memorySets = 2048 // 8,192 addresses, about 0.5 MiB; beyond that the least useful is forgotten
)

// memory remembers how client addresses close, in a bounded table: four ways a
// set, the address of no more use, or the oldest, makes room.
type memory struct {
	seed maphash.Seed
	sets [memorySets]struct {
		sync.Mutex
		ways [memoryWays]habit
	}
}

// habit is what one address did. Times are Unix nanoseconds.
type habit struct {
	addr      netip.Addr
	streak    int8 // waits in a row that the client ended by its FIN, or, below zero, that ran out
	missUntil int64
	halfUntil int64
}

func newMemory() *memory { return &memory{seed: maphash.MakeSeed()} }

// with calls fn on the habit of a, under its set's lock. An address that is not
// known is added where add says so.
func (m *memory) with(a netip.Addr, add bool, fn func(*habit)) {
	if !a.IsValid() {
		return
	}
	set := &m.sets[maphash.Comparable(m.seed, a)%memorySets]
	set.Lock()
	defer set.Unlock()
	worst := &set.ways[0]
	for i := range set.ways {
		h := &set.ways[i]
		if h.addr == a {
			fn(h)
			return
		}
		if worst.addr.IsValid() && (!h.addr.IsValid() || h.until() < worst.until()) {
			worst = h
		}
	}
	if add {
		*worst = habit{addr: a}
		fn(worst)
	}
}

func (h *habit) until() int64 { return max(h.missUntil, h.halfUntil) }

// patience says how long to wait for the FIN of a client at a that was given
// wait at the least: not at all if its last waits ran out, and longer if the
// address is known to close first, since then only a busy machine keeps it.
func (m *memory) patience(a netip.Addr, now int64, wait time.Duration) time.Duration {
	m.with(a, false, func(h *habit) {
		switch {
		case h.streak <= -missesToWait && now < h.missUntil:
			wait = 0
		case h.streak >= closesToWait:
			wait = max(wait, knownCloserWait)
		}
	})
	return wait
}

// halfCloses says whether a was seen to half-close lately.
func (m *memory) halfCloses(a netip.Addr, now int64) (yes bool) {
	m.with(a, false, func(h *habit) { yes = now < h.halfUntil })
	return yes
}

func (m *memory) sawHalfClose(a netip.Addr, now int64) {
	m.with(a, true, func(h *habit) { h.halfUntil = now + int64(halfFor) })
}

func (m *memory) missed(a netip.Addr, now int64) {
	m.with(a, true, func(h *habit) {
		h.streak = max(min(h.streak, 0)-1, -missesToWait)
		h.missUntil = now + int64(missFor)
	})
}

// lastMiss is when a wait for a last ran out, Unix nanoseconds, and long ago if
// none did.
func (m *memory) lastMiss(a netip.Addr) (t int64) {
	m.with(a, false, func(h *habit) { t = h.missUntil - int64(missFor) })
	return t
}

func (m *memory) closedFirst(a netip.Addr) {
	m.with(a, true, func(h *habit) { h.streak = min(max(h.streak, 0)+1, closesToWait) })
}
