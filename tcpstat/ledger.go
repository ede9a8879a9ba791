package tcpstat

import (
	"net/netip"
	"sync"
	"time"
)

// Pair is one source address and one destination. Each pair has the whole range
// of local ports for itself, because a connection is named by all four numbers.
type Pair struct {
	Source netip.Addr
	Dest   netip.AddrPort
}

// End says what a close of ours leaves in the kernel.
type End uint8

const (
	EndGone     End = iota // nothing: one of the two sides has reset the connection
	EndAnswered            // the peer's FIN was first and ours answers it: LAST-ACK, for a round trip
	EndFirst               // our FIN was first: FIN-WAIT, then TIME-WAIT, for a minute
)

// Ledger knows the connections that a process has dialled to one backend, by
// pair and local port: those that are open, and those it closed a short while
// ago. So a list of the kernel's sockets, which names no process for TIME-WAIT
// and none without privilege for the rest, is told apart into ours and others.
//
// The zero value is not usable; see NewLedger. All methods are safe for
// concurrent use. A dial costs two lookups and an atomic, a close a lock of its
// pair. Nothing waits on a list; a close may wait until Prune is through its pair.
type Ledger struct {
	mu       sync.RWMutex // guards pairs; what is in a book has locks of its own
	pairs    map[Pair]*portBook
	overflow uint64
}

// MaxPairs bounds a Ledger's pairs: a name that resolves to more addresses than
// this has its last ones counted as others'. See Overflow.
const MaxPairs = 64

// NewLedger returns an empty Ledger.
func NewLedger() *Ledger { return &Ledger{pairs: map[Pair]*portBook{}} }

// Entry is one open connection in a Ledger. The zero Entry is in none.
type Entry struct {
	book *portBook
	port uint16
}

// Opened books a connection that was just dialled. Addresses that are not valid,
// as those of unix sockets, give a zero Entry.
func (l *Ledger) Opened(local, remote netip.AddrPort) Entry {
	if !local.IsValid() || !remote.IsValid() {
		return Entry{}
	}
	p := Pair{plain(local.Addr()), netip.AddrPortFrom(plain(remote.Addr()), remote.Port())}
	l.mu.RLock()
	b := l.pairs[p]
	if b != nil { // under the lock, so that Prune sees it
		b.set(local.Port())
	}
	l.mu.RUnlock()
	if b == nil {
		b = l.begin(p, local.Port())
	}
	if b == nil {
		return Entry{}
	}
	return Entry{b, local.Port()}
}

// begin adds a pair with one open port. It returns nil if there are too many.
func (l *Ledger) begin(p Pair, port uint16) *portBook {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.pairs[p]
	if b == nil {
		if len(l.pairs) >= MaxPairs {
			l.overflow++
			return nil
		}
		b = &portBook{used: time.Now()}
		l.pairs[p] = b
	}
	b.set(port)
	return b
}

// Closed books the connection's end. It is to be called once, after the close.
func (e Entry) Closed(how End) {
	if e.book != nil {
		e.book.close(e.port, how, time.Now())
	}
}

// Open is how many connections are open.
func (l *Ledger) Open() (n int) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, b := range l.pairs {
		n += int(b.count.Load())
	}
	return n
}

// Counts are the own sockets as the ledger alone has them, for where the kernel's
// cannot be listed: those that are open, as Established whatever they are in
// between, and those in TimeWait.
func (l *Ledger) Counts(now time.Time) (c Counts) {
	for _, b := range l.books() {
		c[Established] += int(b.count.Load())
		c[TimeWait] += b.timeWaits(now)
	}
	return c
}

// Overflow is how many connections found no room for their pair.
func (l *Ledger) Overflow() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.overflow
}

// books returns the pairs there are.
func (l *Ledger) books() map[Pair]*portBook {
	l.mu.RLock()
	defer l.mu.RUnlock()
	out := make(map[Pair]*portBook, len(l.pairs))
	for p, b := range l.pairs {
		out[p] = b
	}
	return out
}

// unusedFor is how long a pair is kept that nothing uses: a backend's name may
// resolve to its address again.
const unusedFor = 10 * time.Minute

// Prune forgets closes that were long ago and pairs that are not used any more.
// It is to be called every now and then, whether sockets can be listed or not. It
// looks through one pair after the other, and no dial waits for that.
func (l *Ledger) Prune(now time.Time) {
	for p, b := range l.books() {
		if b.prune(now) {
			l.drop(p, b)
		}
	}
}

// drop forgets a pair, unless it has been used again.
func (l *Ledger) drop(p Pair, b *portBook) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.empty() && l.pairs[p] == b {
		delete(l.pairs, p)
	}
}

// plain is the address as lists of sockets show it.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
