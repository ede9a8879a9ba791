package tcpstat

import (
	"sync"
	"sync/atomic"
	"time"
)

// portBook has the local ports of one pair: a bit for each that is open, and the
// closes of the last two minutes that left something in the kernel.
type portBook struct {
	open  [1 << 16 / 64]atomic.Uint64
	count atomic.Int64 // of open

	mu   sync.Mutex
	more map[uint16]int     // of open ports, connections beyond the first; see set
	left map[uint16]parting // at most one per port; prune keeps it to two minutes
	tw   [ringSeconds]second
	used time.Time // last found in use by prune
}

// parting is a close of ours with a FIN.
type parting struct {
	at    time.Time
	first bool // before the peer's
}

// second counts the closes of one second that left a TIME-WAIT.
type second struct {
	at int64
	n  int
}

const (
	// TIME-WAIT lasts TCP_TIMEWAIT_LEN (include/net/tcp.h), which no sysctl
	// of Linux changes.
	timeWait    = 60 * time.Second
	ringSeconds = int(timeWait / time.Second)

	// leftFor is how long a close is remembered: TIME-WAIT, and FIN-WAIT-2
	// before it, last a minute each.
	leftFor = 2 * timeWait

	// startSlack is how far the start of a TIME-WAIT may be from the close: a
	// round trip, the clock's ticks, and what the list takes. Beyond it the
	// peer was slow to close, or the port has been used by another since.
	startSlack = 2 * time.Second
)

// set books a connection. The kernel may give a port again as soon as it is
// closed, which is before we book the close: then the port is there twice, and
// the close that comes must not take the newer connection off the book.
func (b *portBook) set(port uint16) {
	if b.first(port) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.first(port) { // closed meanwhile
		return
	}
	if b.more == nil {
		b.more = map[uint16]int{}
	}
	b.more[port]++
}

// first sets the port's bit, unless it is set.
func (b *portBook) first(port uint16) bool {
	if b.open[port/64].Or(1<<(port%64))&(1<<(port%64)) != 0 {
		return false
	}
	b.count.Add(1)
	return true
}

func (b *portBook) isOpen(port uint16) bool { return b.open[port/64].Load()&(1<<(port%64)) != 0 }

// close books the end of a connection. What it left is booked before the bit
// goes, so that a list never finds the port in neither.
func (b *portBook) close(port uint16, how End, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if how != EndGone {
		if b.left == nil {
			b.left = map[uint16]parting{}
		}
		b.left[port] = parting{now, how == EndFirst}
		if how == EndFirst {
			s := &b.tw[now.Unix()%int64(ringSeconds)]
			if s.at != now.Unix() {
				*s = second{at: now.Unix()}
			}
			s.n++
		}
	}
	switch b.more[port] {
	case 0:
	case 1:
		delete(b.more, port)
		return
	default:
		b.more[port]--
		return
	}
	if b.open[port/64].And(^(1<<(port%64)))&(1<<(port%64)) != 0 {
		b.count.Add(-1)
	}
}

// timeWaits is how many closes of ours are in TIME-WAIT, if no peer was slow to
// close and none was reset or used again: exact without asking the kernel.
func (b *portBook) timeWaits(now time.Time) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.tw {
		if now.Unix()-s.at < int64(ringSeconds) {
			n += s.n
		}
	}
	return n
}

// owner says whose a socket of this pair is.
func (b *portBook) owner(s *Socket, now time.Time) Owner {
	port := s.Local.Port()
	if b.isOpen(port) {
		return Ours
	}
	switch s.State {
	case FinWait1, FinWait2, Closing, LastAck, TimeWait:
	default:
		return Other
	}
	b.mu.Lock()
	p, ok := b.left[port]
	b.mu.Unlock()
	switch {
	case !ok:
		return Other
	case s.State == LastAck || s.State == Closing:
		return Ours
	case !p.first:
		return Other // the peer was first, so this is a later user of the port
	case s.State == TimeWait:
		began := now.Add(s.Expires - timeWait)
		if began.Sub(p.at) > startSlack {
			return Unknown
		}
	}
	return Ours
}

// prune forgets what is long ago, and says whether the pair is not used any
// more.
func (b *portBook) prune(now time.Time) (unused bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for port, p := range b.left {
		if now.Sub(p.at) >= leftFor {
			delete(b.left, port)
		}
	}
	if !b.empty() {
		b.used = now
	}
	return now.Sub(b.used) >= unusedFor
}

// empty is called with mu held.
func (b *portBook) empty() bool { return b.count.Load() == 0 && len(b.left) == 0 }
