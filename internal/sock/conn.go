// Package sock owns sockets: it listens, dials, reads and writes with
// deadlines, parks idle clients, and closes each connection so that the fewest
// TIME_WAIT sockets stay behind.
//
// There are two paths under one Conn interface. The plain path wraps a
// net.Conn; it is complete, portable, and carries TCP, unix sockets and TLS.
// The raw path (Linux, TCP clients) works on the bare descriptor and meets a
// poller only when a call would block. The build tag weir_netconn leaves the
// raw path out; every test passes on both.
package sock

import (
	"errors"
	"net/netip"
	"time"
)

// Conn is one connected stream socket, a client's or a backend's.
//
// A Conn has one owner at a time. The owner may read in one goroutine while it
// writes in another; all other calls are the owner's alone. Exactly one of
// Close and Abort ends it, whoever the owner is by then; after that no method
// may be called.
type Conn interface {
	// Read and Write are as in net.Conn: Write returns only when all of p
	// is written or an error ends it. A deadline that passed gives an error
	// that wraps os.ErrDeadlineExceeded and is a net.Error.
	Read(p []byte) (int, error)
	Write(p []byte) (int, error)

	// ReadSoon reads what is there or comes within a short grace, and else
	// returns ErrIdle: the connection should be parked. A FIN that was there
	// already is ErrFIN, one that comes in the grace is io.EOF. It leaves a
	// read deadline of its own behind; set another before the next Read.
	ReadSoon(p []byte) (int, error)

	// Stay says that the client is about to send something: until it once does
	// not, ReadSoon and Turn wait out the grace.
	Stay()

	// Turn writes p whole and then does what ReadSoon does, but ErrFIN says
	// for sure that the FIN was there before p was written. With a client
	// that is quick it takes one visit to the poller.
	Turn(p, into []byte) (wrote, read int, err error)

	// ReadPreface reads what a client sends before its protocol begins, below
	// TLS, and not one byte of what follows: see preface.go. It returns
	// ErrIdle like ReadSoon; once a byte has come, the rest has to come
	// within d.
	ReadPreface(buf []byte, d time.Duration, length PrefaceLen) (int, error)

	// WriteTwo writes head and then body, in one system call where it can.
	WriteTwo(head, body []byte) (int, error)

	// TryWrite writes what the socket takes without waiting. It returns
	// 0, nil where nothing could be written. A Conn that cannot try (TLS)
	// writes it all, within the write deadline.
	TryWrite(p []byte) (int, error)

	// Exchange writes req whole and then waits for the first bytes of the
	// answer, which it reads into resp. It returns how many bytes of each
	// went through. Bytes or a FIN that are there before it writes are no
	// answer to it: then it writes nothing and returns ErrNotQuiet, ErrFIN or
	// ErrDead.
	Exchange(req, resp []byte) (wrote, read int, err error)

	// The zero time means no deadline. A deadline may be set while a Read or
	// a Write is pending, by another goroutine too, and binds it.
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error

	// ReadWithin and WriteWithin set a deadline at least d from now and at
	// most an eighth of d later. That lets a busy connection touch its timer
	// a few times per d and not once per call.
	ReadWithin(d time.Duration)
	WriteWithin(d time.Duration)

	// Look says what the socket holds, without waiting and without
	// consuming anything.
	Look() Sight

	// Info asks the kernel about the connection. ok is false where the
	// kernel does not tell (not TCP, not Linux).
	Info() (info Info, ok bool)

	// CloseWrite sends a FIN and leaves the reading side open.
	CloseWrite() error

	// Close closes in the usual way: a FIN after what was written, or, if
	// received bytes were left unread, a reset by the kernel.
	Close() error

	// Abort drops the connection with a reset (the ABORT call of RFC 9293,
	// section 3.10.5). What was written and is not yet acknowledged is lost.
	Abort() error

	// Interrupt makes pending and later reads and writes fail at once, as if
	// their deadlines had passed. Unlike all else it may be called by anybody
	// at any time, after the end too: it is how a stop reaches a connection
	// whose owner is blocked.
	Interrupt()

	// Tag is a number of the owner's, 0 until SetTag. It stays with the
	// connection while that is parked.
	Tag() uint64
	SetTag(tag uint64)

	// LocalAddr and RemoteAddr are zero for unix sockets.
	LocalAddr() netip.AddrPort
	RemoteAddr() netip.AddrPort

	// SetRemoteAddr says that who is connected is a proxy, for a client at a:
	// RemoteAddr is a from then on, as long as the connection lives. Such a
	// connection is closed gracefully (Sweeper.End). It is called once, before
	// a Layer is put on.
	SetRemoteAddr(a netip.AddrPort)
}

// ErrIdle says that a client sent nothing for a while and should be parked.
var ErrIdle = errors.New("idle: nothing to read for now")

// ErrNotQuiet and ErrDead say, as ErrFIN does, that a connection was not silent
// when it should have been, so that nothing was written to it: it held bytes
// that nobody had asked for, or had been reset.
var (
	ErrNotQuiet = errors.New("the peer has sent something unasked")
	ErrDead     = errors.New("the connection was broken before")
)

// Unfit returns the error for a connection that should be silent, nil for one
// that is.
func (s Sight) Unfit() error { return [...]error{nil, ErrNotQuiet, ErrFIN, ErrDead}[s&3] }

// ErrFIN says that the peer's FIN was there before the call, so perhaps before
// the last response was written: the peer may be one that half-closes, and
// must not be answered with a reset.
var ErrFIN = errors.New("the peer has closed its side before")

// grace is how long a client that was quick before keeps its goroutine and its
// buffer while it is silent. Parking and resuming cost about what the grace
// costs in memory for a client that returns ten times a second.
const grace = 100 * time.Millisecond

// Sight is what Look saw.
type Sight uint8

const (
	Quiet    Sight = iota // open, nothing to read
	Readable              // bytes wait to be read
	PeerFIN               // the peer sent its FIN and every byte before it was read
	Broken                // the socket has an error, a reset for example
)

func (s Sight) String() string {
	return [...]string{"quiet", "readable", "peer_fin", "broken"}[s&3]
}

// State is a TCP state by the kernel's numbers (include/net/tcp_states.h).
type State uint8

const (
	Established State = 1 + iota
	SynSent
	SynRecv
	FinWait1
	FinWait2
	TimeWait
	Closed
	CloseWait
	LastAck
	Listening
	Closing
)

// Info is the part of the kernel's struct tcp_info (include/uapi/linux/tcp.h)
// that closing and reports need.
type Info struct {
	State      State
	Timestamps bool          // both sides agreed on RFC 7323 timestamps
	Unacked    uint32        // segments sent and not acknowledged
	NotSent    uint32        // bytes written and not yet sent
	RTT        time.Duration // smoothed
	SinceData  time.Duration // since the last data came, to a few milliseconds
	SinceACK   time.Duration // since the last segment came that was no data alone; a FIN is one
	Received   uint64        // bytes received and acknowledged, a FIN counts as one
	FINAcked   bool          // the peer has acknowledged all bytes and our FIN
}
