package tcpstat

import (
	"errors"
	"net/netip"
	"time"
)

// Socket is one entry of the kernel's list.
type Socket struct {
	State  State
	Timer  Timer
	Local  netip.AddrPort // IPv4 also where an IPv6 socket carries IPv4
	Remote netip.AddrPort // unspecified for Listen and Bound

	// For Listen, RecvQ is the number of connections that wait for accept
	// and SendQ how many may (zero from /proc). Else both are bytes: not
	// yet read by the program, and not yet acknowledged by the peer.
	RecvQ, SendQ uint32

	// Both are zero for TimeWait, which belongs to no process. Inode is also
	// zero for SynRecv and for sockets that their process has closed.
	UID, Inode uint32

	// Expires is the time until Timer fires. For TimeWait it is what
	// remains of the 60 s.
	Expires time.Duration
}

// Filter chooses sockets. The zero value chooses All.
type Filter struct {
	States                Mask   // 0: All
	LocalPort, RemotePort uint16 // 0: any
}

func (f *Filter) states() Mask {
	if f.States == 0 {
		return All
	}
	return f.States
}

func (f *Filter) match(s *Socket) bool {
	return f.states().Has(s.State) &&
		(f.LocalPort == 0 || f.LocalPort == s.Local.Port()) &&
		(f.RemotePort == 0 || f.RemotePort == s.Remote.Port())
}

// ErrChanged says that the kernel's tables changed shape during a list, so that
// sockets may be missing from it or be in it twice. The list was delivered
// whole; whoever needs an exact one asks again.
var ErrChanged = errors.New("tcpstat: the socket table changed while it was listed")

// Reader lists sockets. It holds one or two descriptors and one buffer, and is
// for one goroutine at a time. It sees the network namespace of the thread that
// called Open, also when it is used from another one.
type Reader struct {
	src source
	s   Socket // handed to the callback, so that no list allocates
}

// source is where a list comes from: sock_diag or /proc.
type source interface {
	each(f Filter, s *Socket, fn func(*Socket) bool) error
	close() error
	name() string
}

// Open returns a Reader. The caller closes it.
func Open() (*Reader, error) { return open() }

// Each calls fn for every socket that f chooses. The Socket is reused and valid
// during the call only. Where fn returns false no more calls follow. fn must not
// use the Reader.
//
// A list is no snapshot: the kernel walks its table while connections come and
// go, so one that moves from one state to the next may be seen twice or not at
// all. A failed Each leaves the Reader usable; the next one starts over.
func (r *Reader) Each(f Filter, fn func(*Socket) bool) error {
	return r.src.each(f, &r.s, fn)
}

// Source names where the lists come from: "sock_diag" or "proc". From proc they
// cost more, Bound is never seen, and Listen shows no limit of its queue.
func (r *Reader) Source() string { return r.src.name() }

// Close frees the descriptors. The Reader is of no use after it.
func (r *Reader) Close() error { return r.src.close() }
