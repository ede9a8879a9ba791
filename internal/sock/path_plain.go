//go:build !linux || weir_netconn

package sock

import "net"

const rawPath = false

// Poller parks idle clients on the raw path. Without that path it has nothing
// to do: a parked client's goroutine waits.
type Poller struct{}

// NewPoller makes a Poller.
func NewPoller() (*Poller, error) { return &Poller{}, nil }

// Close ends a Poller.
func (*Poller) Close() {}

type (
	rawConn struct{}
	lot     struct{}
)

func (*lot) drain() {}

func parkable(Conn) (*rawConn, bool) { return nil, false }

func (l *Listener) rouse(*rawConn) {}

func (c *rawConn) Interrupt() {}

func (l *Listener) hearParked() {}

func (l *Listener) park(*rawConn, Next, *chan struct{}) bool {
	panic("BUG: raw path in a build without it")
}

// shard is one listening socket.
type shard struct{ ln net.Listener }

// socket is what the shard's acceptor waits on.
func (s *shard) socket() acceptSocket { return s.ln.(acceptSocket) }

func (*shard) open(*Listener) error { return nil }
func (*shard) close()               {}
func (s *shard) stop(patient bool)  { stopPlain(s.ln, patient) }
func (*shard) setDeferAccept(bool)  {}

func (l *Listener) acceptLoop(s shard) { l.acceptLoopPlain(s.ln) }

func (*Listener) forgetLots() {}
