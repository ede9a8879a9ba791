package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"weir/tcpstat"
)

// timeWaitWord makes weir doctor the process that holds the sockets of
// -measure. It is for doctor alone.
const timeWaitWord = "-hold-time-waits"

// The side of a connection that closes first, and so gets the TIME_WAIT.
const (
	connectingSide = "connecting"
	acceptingSide  = "accepting"
)

// mostTimeWaits bounds what one line may ask for.
const mostTimeWaits = 1 << 13

// runTimeWaits makes as many TIME_WAIT sockets as each line of in says, on the
// loopback of a namespace that nothing else uses, and answers each with how many
// there are then, or with what went wrong. It ends with in.
func runTimeWaits(side string, in io.Reader, out io.Writer) int {
	fail := func(err error) int {
		fmt.Fprintln(out, strings.ReplaceAll(err.Error(), "\n", "; "))
		return exitFailed
	}
	if err := loopbackUp(); err != nil {
		return fail(err)
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(context.Background(), "tcp4", "127.0.0.1:0")
	if err != nil {
		return fail(err)
	}
	defer l.Close()
	fmt.Fprintln(out, 0)
	pairs := &pairs{l: l.(*net.TCPListener), side: side}
	for s := bufio.NewScanner(in); s.Scan(); {
		n, err := strconv.Atoi(s.Text())
		if err == nil && (n < 1 || n > mostTimeWaits) {
			err = fmt.Errorf("%d sockets: must be 1 to %d", n, mostTimeWaits)
		}
		for i := 0; i < n && err == nil; i++ {
			err = pairs.one()
		}
		if err != nil {
			return fail(err)
		}
		if n, err = timeWaitsNow(); err != nil {
			return fail(err)
		}
		fmt.Fprintln(out, n)
	}
	return exitOK
}

// pairs makes connections, one at a time.
type pairs struct {
	l    *net.TCPListener
	side string
	port int // of the last one, from firstPort on
}

// pairTimeout bounds each step of a connection over an unused loopback.
const pairTimeout = 5 * time.Second

// firstPort begins the ports that are bound, each once. Left to connect, ports
// would be taken out of TIME_WAIT again, by tcp_tw_reuse or as the other side
// holds it.
const firstPort = 2000

func (p *pairs) one() error {
	if p.port++; firstPort+p.port == p.l.Addr().(*net.TCPAddr).Port {
		p.port++
	}
	d := net.Dialer{Timeout: pairTimeout, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: firstPort + p.port}}
	d.SetMultipathTCP(false)
	c, err := d.Dial("tcp4", p.l.Addr().String())
	if err != nil {
		return err
	}
	defer c.Close()
	p.l.SetDeadline(time.Now().Add(pairTimeout))
	s, err := p.l.Accept()
	if err != nil {
		return err
	}
	defer s.Close()
	first, second := c, s
	if p.side == acceptingSide {
		first, second = s, c
	}
	// The FIN is in the other's queue when Close returns: loopback.
	return errors.Join(first.Close(), second.Close())
}

// timeWaitsNow is what /proc/net/sockstat says of this namespace.
func timeWaitsNow() (int, error) {
	b, err := os.ReadFile("/proc/self/net/sockstat")
	if err != nil {
		return 0, err
	}
	if n, ok := tcpstat.Sockstat(b, "TCP", "tw"); ok {
		return n, nil
	}
	return 0, errors.New("/proc/self/net/sockstat shows no number for tw of TCP")
}
