package testnet

import (
	"context"
	"net"
	"os"
	"sync"
	"syscall"
)

// pipeBacklog is how many dialled connections wait for Accept before Dial waits.
const pipeBacklog = 128

// PipeNet is a network inside the process: listeners by address, connected
// through Pipe. With it a Backend runs inside a synctest bubble. The zero value
// is an empty network; it is safe for concurrent use.
type PipeNet struct {
	mu       sync.Mutex // guards the rest
	listen   map[string]*pipeListener
	nextPort int
}

type pipeListener struct {
	net    *PipeNet
	addr   *net.TCPAddr
	queue  chan *PipeConn
	closed chan struct{}
	once   sync.Once
}

// Listen is net.Listen in this network. It may be given to NewBackendAt. A zero
// port means a free one.
func (n *PipeNet) Listen(network, address string) (net.Listener, error) {
	addr, err := net.ResolveTCPAddr(network, address)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listen == nil {
		n.listen = make(map[string]*pipeListener)
		n.nextPort = 10000
	}
	if addr.Port == 0 {
		addr.Port = n.port()
	}
	if n.listen[addr.String()] != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: addr, Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}
	}
	l := &pipeListener{net: n, addr: addr, queue: make(chan *PipeConn, pipeBacklog), closed: make(chan struct{})}
	n.listen[addr.String()] = l
	return l, nil
}

// port is the next one. mu is held.
func (n *PipeNet) port() int {
	n.nextPort++
	return n.nextPort
}

// Dial connects to a listener of this network. Where there is none it fails as a
// machine without a listener does.
func (n *PipeNet) Dial(ctx context.Context, address string) (*PipeConn, error) {
	n.mu.Lock()
	l := n.listen[address]
	local := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: n.port()}
	n.mu.Unlock()
	refused := &net.OpError{Op: "dial", Net: "tcp", Source: local, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	if l == nil {
		return nil, refused
	}
	refused.Addr = l.addr
	near, far := pipeBetween(local, l.addr)
	select {
	case l.queue <- far:
		return near, nil
	case <-l.closed:
		return nil, refused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	// A closed listener hands out nothing, whatever is queued.
	select {
	case <-l.closed:
	default:
		select {
		case c := <-l.queue:
			return c, nil
		case <-l.closed:
		}
	}
	return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
}

// Close resets the connections that nobody accepted, as a kernel does.
func (l *pipeListener) Close() error {
	l.once.Do(func() {
		l.net.mu.Lock()
		delete(l.net.listen, l.addr.String())
		l.net.mu.Unlock()
		close(l.closed)
		for {
			select {
			case c := <-l.queue:
				c.Reset()
			default:
				return
			}
		}
	})
	return nil
}

func (l *pipeListener) Addr() net.Addr { return l.addr }
