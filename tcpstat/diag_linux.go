package tcpstat

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// The kernel never fills more than 32 KiB of a list into one datagram
	// (net/netlink/af_netlink.c), whatever buffer it is offered.
	diagBuffer = 64 << 10

	// A list that stands still for this long is given up. The kernel answers
	// within the read itself, so only a stopped machine comes near it.
	diagTimeout = 5 * time.Second
)

// diag lists sockets over netlink.
type diag struct {
	fd       int
	families []uint8 // one request each
	seq      uint32
	req      []byte
	buf      []byte
	busy     bool // the answer to seq was not read to its end
}

func openDiag() (*diag, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("tcpstat: sock_diag: open a netlink socket: %w", err)
	}
	d := &diag{fd: fd, buf: make([]byte, diagBuffer)}
	tv := unix.NsecToTimeval(int64(diagTimeout))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("tcpstat: sock_diag: set a timeout of %s: %w", diagTimeout, err)
	}
	if err := d.probe(); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return d, nil
}

// probe finds the kind of request the kernel answers. It asks for a listener
// that has a peer: there is none, and no table of connections is walked for it.
func (d *diag) probe() error {
	var s Socket
	f := Filter{States: MaskOf(Listen), RemotePort: 1}
	d.families = []uint8{familyAny}
	if d.each(f, &s, nil) == nil {
		return nil
	}
	d.families = []uint8{familyINET, familyINET6}
	return d.each(f, &s, nil)
}

func (d *diag) each(f Filter, s *Socket, fn func(*Socket) bool) error {
	changed := false
	for _, family := range d.families {
		stopped, err := d.family(family, f, s, fn)
		switch {
		case errors.Is(err, ErrChanged):
			changed = true
		case family == familyINET6 && errors.Is(err, unix.ENOENT):
			// A kernel without IPv6 has no such sockets.
		case err != nil:
			return err
		}
		if stopped {
			break
		}
	}
	if changed {
		return ErrChanged
	}
	return nil
}

// family sends one request and reads its answer to the end, also when fn wants
// no more: the kernel takes no new request while one is being answered.
func (d *diag) family(family uint8, f Filter, s *Socket, fn func(*Socket) bool) (stopped bool, err error) {
	if d.busy {
		if _, err := d.answer(&f, s, nil); d.busy {
			return false, err
		}
	}
	d.seq++
	d.req = appendRequest(d.req[:0], family, d.seq, f)
	if err := d.send(); err != nil {
		return false, fmt.Errorf("tcpstat: sock_diag: send a request: %w", err)
	}
	d.busy = true
	return d.answer(&f, s, fn)
}

func (d *diag) send() error {
	for {
		// With a timeout set the kernel does not restart a call by itself.
		if _, err := unix.Write(d.fd, d.req); err != unix.EINTR {
			return err
		}
	}
}

// answer reads datagrams until the list is complete.
func (d *diag) answer(f *Filter, s *Socket, fn func(*Socket) bool) (stopped bool, err error) {
	changed := false
	for {
		n, err := unix.Read(d.fd, d.buf)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return stopped, fmt.Errorf("tcpstat: sock_diag: the kernel did not answer within %s", diagTimeout)
		case err != nil:
			return stopped, fmt.Errorf("tcpstat: sock_diag: read: %w", err)
		case n == 0:
			return stopped, errors.New("tcpstat: sock_diag: an empty answer")
		case n == len(d.buf):
			return stopped, fmt.Errorf("tcpstat: sock_diag: an answer filled the buffer of %d bytes and may be cut", len(d.buf))
		}
		b, err := parseBatch(d.buf[:n], d.seq, f, s, fn)
		changed = changed || b.changed
		if b.stopped {
			stopped, fn = true, nil
		}
		if b.done {
			d.busy = false
		}
		if err == nil && b.done && changed {
			err = ErrChanged
		}
		if b.done || err != nil {
			return stopped, err
		}
	}
}

func (d *diag) name() string { return "sock_diag" }

func (d *diag) close() error {
	if err := unix.Close(d.fd); err != nil {
		return fmt.Errorf("tcpstat: sock_diag: close: %w", err)
	}
	return nil
}
