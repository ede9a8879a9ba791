package pool

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"weir/limiter"
)

// What Acquire returns, wrapped with the backend's name and numbers, besides
// *DialError and the context's error.
var (
	ErrQueueFull    = limiter.ErrQueueFull
	ErrQueueTimeout = limiter.ErrQueueTimeout
	ErrShed         = limiter.ErrShed
	ErrClosed       = errors.New("pool is closed")
)

// ErrLocal is matched by a DialError whose cause is on this machine (no ports,
// no descriptors, no memory, a firewall). The backend is not to blame for it
// and must not be ejected.
var ErrLocal = errors.New("local resources are exhausted")

// DialError is a failed dial. Waiters that have nothing else to hope for get
// it, and so do those who come while dials are held down.
type DialError struct {
	Backend  string
	Address  string
	Local    bool          // see ErrLocal
	KeyOnly  bool          // see KeyError
	Failures int           // in a row
	Hold     time.Duration // no dial for so long from then
	Err      error
}

func (e *DialError) Error() string {
	cause := e.Err
	if op, ok := errors.AsType[*net.OpError](cause); ok && op.Op == "dial" {
		cause = op.Err // it would say the address again
	}
	text := fmt.Sprintf("backend %q: dial %s: %v", e.Backend, e.Address, cause)
	switch {
	case e.Failures > 0 && e.Hold > 0:
		text += fmt.Sprintf(" (failure %d in a row, next dial in %v)", e.Failures, e.Hold.Round(time.Millisecond))
	case e.Failures > 0:
		text += fmt.Sprintf(" (failure %d in a row)", e.Failures)
	}
	if hint := localHint(e.Err); hint != "" {
		text += "; " + hint
	}
	return text
}

// Kept is Error without the time of the next dial, for a text that is read later:
// by then it is over, and nobody dials unless somebody asks.
func (e *DialError) Kept() string {
	k := *e
	k.Hold = 0
	return k.Error()
}

func (e *DialError) Unwrap() error { return e.Err }

func (e *DialError) Is(target error) bool { return e.Local && target == ErrLocal }

// KeyError is for Connect to return: the backend was reached and refused this
// key (a wrong password, an unknown database). Other keys are dialled on.
type KeyError struct{ Err error }

func (e *KeyError) Error() string { return e.Err.Error() }
func (e *KeyError) Unwrap() error { return e.Err }

// localErrors are those errnos of socket, bind and connect that speak of this
// machine, each with what to do. EACCES and EPERM: a rule of the local
// firewall (ip_local_out answers with EPERM) or a security module.
var localErrors = []struct {
	errno syscall.Errno
	hint  string
}{
	{syscall.EADDRNOTAVAIL, "no local port is free towards this address: widen net.ipv4.ip_local_port_range or lower pool.max_open and dial.rate"},
	{syscall.EADDRINUSE, "the local port is taken: widen net.ipv4.ip_local_port_range or drop backends[].source"},
	{syscall.EMFILE, "this process may open no more files: raise its limit (ulimit -n, LimitNOFILE)"},
	{syscall.ENFILE, "the system may open no more files: raise fs.file-max"},
	{syscall.ENOBUFS, "the kernel has no buffers left: look at net.ipv4.tcp_mem"},
	{syscall.ENOMEM, "the kernel has no memory left"},
	{syscall.EACCES, "this machine forbids it: look at its firewall and security modules"},
	{syscall.EPERM, "this machine forbids it: look at its firewall and security modules"},
}

// IsLocal says whether err, of a dial, has its cause on this machine.
func IsLocal(err error) bool { return localHint(err) != "" }

func localHint(err error) string {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return ""
	}
	if call, ok := errors.AsType[*os.SyscallError](err); ok && call.Syscall == "bind" && errno == syscall.EADDRNOTAVAIL {
		return bindHint(err)
	}
	for _, l := range localErrors {
		if errno == l.errno {
			return l.hint
		}
	}
	return ""
}

// bindHint is of a source address that could not be bound: it is not for want of
// ports, which are chosen later, with the destination (IP_BIND_ADDRESS_NO_PORT).
func bindHint(err error) string {
	source := ""
	if op, ok := errors.AsType[*net.OpError](err); ok {
		if a, ok := op.Source.(*net.TCPAddr); ok {
			source = ", " + a.IP.String() + ","
		}
	}
	return "backends[].source" + source + " is not an address of this machine: write one that ip address shows, or leave the key out"
}

// explain wraps what ended a wait.
func (o *Options) explain(err error) error { return o.explainWait(err, o.QueueMax, o.bound) }

func (o *Options) bound() string { return fmt.Sprintf("%d connections (pool.max_open)", o.MaxOpen) }

// explainSide wraps what ended the wait for a reserved connection.
func (o *Options) explainSide(err error) error {
	switch {
	case errors.Is(err, ErrQueueFull):
		return fmt.Errorf("backend %q: %w: %d wait already for one of %d reserved connections (pool.reserved)",
			o.Name, ErrQueueFull, sideWaiters, o.Reserved)
	case errors.Is(err, ErrQueueTimeout):
		return fmt.Errorf("backend %q: %w: %v (queue.timeout) for one of %d reserved connections (pool.reserved)",
			o.Name, ErrQueueTimeout, o.QueueTimeout, o.Reserved)
	}
	return o.explain(err)
}

// explainWait wraps what ended the wait for one of bound, where so many may wait.
func (o *Options) explainWait(err error, queue int, bound func() string) error {
	switch {
	case errors.Is(err, ErrQueueFull) && queue < o.QueueMax:
		return fmt.Errorf("backend %q: %w: %d may wait in the present mode of overload (queue.max: %d) for %s",
			o.Name, ErrQueueFull, queue, o.QueueMax, bound())
	case errors.Is(err, ErrQueueFull):
		return fmt.Errorf("backend %q: %w: %d may wait (queue.max) for %s",
			o.Name, ErrQueueFull, o.QueueMax, bound())
	case errors.Is(err, ErrQueueTimeout):
		return fmt.Errorf("backend %q: %w: %v (queue.timeout) for one of %s",
			o.Name, ErrQueueTimeout, o.QueueTimeout, bound())
	case errors.Is(err, ErrShed):
		return fmt.Errorf("backend %q: %w: %d may wait (queue.max), and under overload nobody for longer than 2 x queue.target",
			o.Name, ErrShed, o.QueueMax)
	default:
		if _, ok := errors.AsType[*DialError](err); ok {
			return err // names the backend itself
		}
		return fmt.Errorf("backend %q: %w", o.Name, err)
	}
}
