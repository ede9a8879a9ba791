package sock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// listenTCP opens the shards of a TCP address. The first bind is made without
// SO_REUSEPORT and given up again, for with it a second weir on the port would
// silently take half of the clients.
func (l *Listener) listenTCP() error {
	ctx := context.Background()
	address := l.opt.Address
	shards := l.opt.Shards
	if !rawPath || l.opt.Wrap != nil {
		shards = 1
	}
	if shards > 1 {
		probe := net.ListenConfig{}
		probe.SetMultipathTCP(false)
		ln, err := probe.Listen(ctx, "tcp", address)
		if err != nil {
			return listenError(address, err)
		}
		address = ln.Addr().String() // the port that was chosen, if it was 0
		ln.Close()
	}
	lc := net.ListenConfig{
		KeepAliveConfig: keepAlive,
		Control: func(_, _ string, rc syscall.RawConn) error {
			return listenSockopts(rc, shards > 1, l.opt.DeferAccept)
		},
	}
	lc.SetMultipathTCP(false)
	for range shards {
		ln, err := lc.Listen(ctx, "tcp", address)
		if err != nil {
			l.closeShards()
			return listenError(address, err)
		}
		l.shards = append(l.shards, shard{ln: ln})
	}
	return nil
}

func listenError(address string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("listen %s: the address is in use by another process (ss -ltnp shows which): %w", address, err)
	}
	return fmt.Errorf("listen %s: %w", address, err)
}

// keepAlive finds clients that vanished without a word.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 60 * time.Second, Interval: 15 * time.Second, Count: 4}

// lastHandshakes is how long a listener that stops waits for clients whose
// handshakes are under way. It should be a round trip and a little; clients
// farther away than that are reset, as all would be without the wait.
const lastHandshakes = 50 * time.Millisecond

// stopPlain makes acceptLoopPlain return. If it is patient those who have
// connected are accepted first, as far as they can be told from those who come.
func stopPlain(ln net.Listener, patient bool) {
	switch ln := ln.(type) {
	case *net.TCPListener:
		if rc, err := ln.SyscallConn(); err == nil && patient && noNewClients(rc) == nil {
			ln.SetDeadline(time.Now().Add(lastHandshakes))
			return
		}
	case *net.UnixListener:
		if name := ln.Addr().String(); patient && strings.HasPrefix(name, "/") {
			os.Remove(name) // nobody new finds it
			ln.SetUnlinkOnClose(false)
			ln.SetDeadline(time.Now().Add(lastHandshakes))
			return
		}
	}
	ln.Close()
}

// acceptLoopPlain accepts by the net package.
func (l *Listener) acceptLoopPlain(ln net.Listener) {
	defer ln.Close()
	wait := minAcceptWait
	for {
		l.held.pass()
		nc, err := ln.Accept()
		switch {
		case err == nil:
			wait = minAcceptWait
			l.held.pass()
			l.takePlain(nc)
		case l.acceptError(err, wait):
			wait = min(2*wait, maxAcceptWait)
		default:
			if errors.Is(err, os.ErrDeadlineExceeded) {
				l.takeRest(ln)
			}
			return
		}
	}
}

func (l *Listener) takePlain(nc net.Conn) {
	if l.opt.Wrap != nil {
		nc = l.opt.Wrap(nc)
	}
	c := wrap(nc)
	l.admit(c, &c.node)
}
