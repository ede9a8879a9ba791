package accept

import (
	endian "encoding/binary"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/internal/testnet"
)

// synWatch notes when each connection to a port of 127.0.0.1 is tried, by its
// SYN: a dial that fails is one as well, and weir's own counts are not asked.
type synWatch struct {
	fd   int
	stop chan struct{}
	wg   sync.WaitGroup

	mu    sync.Mutex
	times []time.Duration // of the kernel's clock
	err   error
}

// watchSYNs begins to look at the loopback of a namespace. The test's end stops
// it.
func watchSYNs(t *testing.T, ns *testnet.Netns, port uint16) *synWatch {
	t.Helper()
	s := &synWatch{stop: make(chan struct{})}
	ns.Do(func() {
		var err error
		if s.fd, err = openSYNs(port); err != nil {
			t.Fatal(err)
		}
	})
	s.wg.Go(s.read)
	t.Cleanup(func() {
		close(s.stop)
		s.wg.Wait()
		unix.Close(s.fd)
	})
	return s
}

// openSYNs opens a packet socket that gets the SYNs to a port and nothing else,
// so that no load makes it lose one.
func openSYNs(port uint16) (fd int, err error) {
	bigEndian := func(n uint16) uint16 { return n<<8 | n>>8 }
	if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, fmt.Errorf("packet socket: %w", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	filter := []unix.SockFilter{ // from the IP header on
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 9}, // protocol
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.IPPROTO_TCP, Jf: 7},
		{Code: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH, K: 0},
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_IND, K: 13}, // TCP flags
		{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: 0x12},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 0x02, Jf: 3}, // SYN without ACK
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_IND, K: 2},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(port), Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 128},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return fd, err
	}
	for _, step := range []func() error{
		func() error {
			return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
		},
		func() error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) },
		func() error {
			return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000})
		},
		func() error {
			return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_IP), Ifindex: lo.Index})
		},
	} {
		if err := step(); err != nil {
			return fd, fmt.Errorf("watch the SYNs to port %d: %w", port, err)
		}
	}
	return fd, nil
}

func (s *synWatch) read() {
	packet, control := make([]byte, 128), make([]byte, 128)
	for {
		select {
		case <-s.stop:
			return
		default:
		}
		_, n, _, _, err := unix.Recvmsg(s.fd, packet, control, 0)
		if err == unix.EAGAIN || err == unix.EINTR {
			continue
		}
		var at time.Duration
		if err == nil {
			at, err = kernelTime(control[:n])
		}
		s.mu.Lock()
		if s.err = err; err != nil {
			s.mu.Unlock()
			return
		}
		s.times = append(s.times, at)
		s.mu.Unlock()
	}
}

// kernelTime is when a packet came, by the message that SO_TIMESTAMPNS adds.
func kernelTime(control []byte) (time.Duration, error) {
	all, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return 0, err
	}
	for _, m := range all {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= 16 {
			seconds, nanos := endian.NativeEndian.Uint64(m.Data), endian.NativeEndian.Uint64(m.Data[8:])
			return time.Duration(seconds)*time.Second + time.Duration(nanos), nil
		}
	}
	return 0, fmt.Errorf("a packet without its time: %v", all)
}

// seen are the times so far, in order.
func (s *synWatch) seen(t *testing.T) []time.Duration {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		t.Fatal(s.err)
	}
	return slices.Sorted(slices.Values(s.times))
}

// mostWithin is how many of the times, which are sorted, are in the fullest
// window of that length.
func mostWithin(times []time.Duration, window time.Duration) (most int) {
	first := 0
	for i, at := range times {
		for at-times[first] >= window {
			first++
		}
		most = max(most, i+1-first)
	}
	return most
}
