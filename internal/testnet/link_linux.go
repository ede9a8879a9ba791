package testnet

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Direction says which way packets go over a Link.
type Direction int

const (
	AtoB Direction = iota
	BtoA
)

// LinkOptions says how a Link treats packets. The zero value is a perfect link.
type LinkOptions struct {
	AtoB, BtoA Impairment
	Seed       uint64 // the same seed and packets give the same losses
}

// Link is a wire between two network namespaces, each with its own TCP: what
// happens between two machines happens here between A and B. It is made of a TUN
// device in each and a goroutine pair per direction that carries packets over.
//
// Addresses are 10.99.0.1/30 and fd00:99::1/126 in A, .2 and ::2 in B. All
// methods may be called from any goroutine.
type Link struct {
	A, B           *Netns
	AddrA, AddrB   netip.Addr // IPv4
	Addr6A, Addr6B netip.Addr // zero where the kernel has no IPv6

	dir  [2]*shaper
	tun  [2]*os.File // A's, B's
	stop chan struct{}
	once sync.Once
	wg   sync.WaitGroup
}

const (
	tunName = "weir0"

	// The device drops what its reader has not yet taken beyond this many
	// packets; the default of 500 is less than one connection has in flight.
	tunQueue = 16 << 10
)

// NewLink makes two namespaces and the link between them. It needs root and
// /dev/net/tun.
func NewLink(t testing.TB, o LinkOptions) *Link {
	t.Helper()
	l := &Link{
		A: NewNetns(t), B: NewNetns(t),
		AddrA: netip.MustParseAddr("10.99.0.1"), AddrB: netip.MustParseAddr("10.99.0.2"),
		Addr6A: netip.MustParseAddr("fd00:99::1"), Addr6B: netip.MustParseAddr("fd00:99::2"),
		stop: make(chan struct{}),
	}
	t.Cleanup(l.Close)
	if !l.addTun(t, 0, l.A, l.AddrA, l.Addr6A) || !l.addTun(t, 1, l.B, l.AddrB, l.Addr6B) {
		l.Addr6A, l.Addr6B = netip.Addr{}, netip.Addr{}
	}
	for dir, imp := range []Impairment{o.AtoB, o.BtoA} {
		to := l.tun[1-dir]
		l.dir[dir] = newShaper(imp, o.Seed, uint64(dir), func(p []byte) error {
			_, err := to.Write(p)
			return err
		})
		l.wg.Go(func() { l.read(l.tun[dir], l.dir[dir]) })
		l.wg.Go(func() { l.dir[dir].run(l.stop) })
	}
	return l
}

// addTun makes the device of one end. It returns false where IPv6 is missing.
func (l *Link) addTun(t testing.TB, i int, ns *Netns, a4, a6 netip.Addr) (six bool) {
	t.Helper()
	var err error
	ns.Do(func() { l.tun[i], six, err = newTun(tunName, a4, a6) })
	if err != nil {
		t.Fatal(err)
	}
	if six {
		WaitFor(t, 5*time.Second, "the IPv6 address of the link can be bound", func() bool {
			ln, err := ns.Listen("tcp", netip.AddrPortFrom(a6, 0).String())
			if err == nil {
				ln.Close()
			}
			return err == nil
		})
	}
	return six
}

// read hands over what A or B sends, until Close.
func (l *Link) read(from *os.File, s *shaper) {
	buf := make([]byte, mtu+4)
	for {
		n, err := from.Read(buf)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			select {
			case <-l.stop:
				return
			default:
				panic(fmt.Sprintf("testnet: the TUN device of a link failed: %v", err))
			}
		}
		s.take(buf[:n], time.Now())
	}
}

// Set changes one direction for the packets that come from now on.
func (l *Link) Set(d Direction, imp Impairment) { l.dir[d].set(imp) }

// Traffic returns what went over in one direction.
func (l *Link) Traffic(d Direction) Traffic { return l.dir[d].traffic() }

// DeviceDrops is the number of packets the sending device of a direction lost
// before the link could read them. A test that needs a perfect link checks for 0.
func (l *Link) DeviceDrops(t testing.TB, d Direction) uint64 {
	t.Helper()
	var text []byte
	var err error
	[...]*Netns{l.A, l.B}[d].Do(func() { text, err = os.ReadFile("/proc/thread-self/net/dev") })
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		name, numbers, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok || name != tunName {
			continue
		}
		var v [12]uint64
		for i, f := range strings.Fields(numbers) {
			if i < len(v) {
				fmt.Sscan(f, &v[i])
			}
		}
		return v[11] // eight received columns, then sent: bytes, packets, errs, drop
	}
	t.Fatalf("no device %s in /proc/net/dev", tunName)
	return 0
}

// Close cuts the link and waits for its goroutines. It is called by the test's
// Cleanup; a test may call it earlier.
func (l *Link) Close() {
	l.once.Do(func() {
		close(l.stop)
		for _, f := range l.tun {
			if f != nil {
				f.Close()
			}
		}
		l.wg.Wait()
	})
}

// newTun makes a device in the calling thread's namespace and gives it its
// addresses. It says whether IPv6 could be set.
func newTun(name string, a4, a6 netip.Addr) (*os.File, bool, error) {
	fd, err := openTun()
	if err != nil {
		return nil, false, err
	}
	six, err := configureTun(fd, name, a4, a6)
	if err != nil {
		unix.Close(fd)
		return nil, false, err
	}
	// The descriptor does not block, so the runtime's poller waits for it and
	// Close wakes a Read.
	return os.NewFile(uintptr(fd), "tun "+name), six, nil
}

const tunDevice = "/dev/net/tun"

func openTun() (int, error) {
	fd, err := unix.Open(tunDevice, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		// Containers often come without the node; the driver may be there all the same.
		if err := os.MkdirAll("/dev/net", 0o755); err != nil {
			return 0, err
		}
		if err := unix.Mknod(tunDevice, unix.S_IFCHR|0o600, int(unix.Mkdev(10, 200))); err != nil && !errors.Is(err, unix.EEXIST) {
			return 0, fmt.Errorf("make %s: %w", tunDevice, err)
		}
		fd, err = unix.Open(tunDevice, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return 0, fmt.Errorf("open %s: %w (a link needs root and the kernel's tun driver)", tunDevice, err)
	}
	return fd, nil
}

func configureTun(fd int, name string, a4, a6 netip.Addr) (six bool, err error) {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return false, err
	}
	ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		return false, fmt.Errorf("make the TUN device %s: %w", name, err)
	}
	steps := []struct {
		what string
		req  uint
		set  func(*unix.Ifreq) error
	}{
		{"queue length", unix.SIOCSIFTXQLEN, func(i *unix.Ifreq) error { i.SetUint32(tunQueue); return nil }},
		{"address", unix.SIOCSIFADDR, func(i *unix.Ifreq) error { return i.SetInet4Addr(a4.AsSlice()) }},
		{"netmask", unix.SIOCSIFNETMASK, func(i *unix.Ifreq) error { return i.SetInet4Addr([]byte{255, 255, 255, 252}) }},
	}
	for _, st := range steps {
		err := withIfreq(unix.AF_INET, name, func(sock int, ifr *unix.Ifreq) error {
			if err := st.set(ifr); err != nil {
				return err
			}
			return unix.IoctlIfreq(sock, st.req, ifr)
		})
		if err != nil {
			return false, fmt.Errorf("set the %s of %s: %w", st.what, name, err)
		}
	}
	if err := setUp(name); err != nil {
		return false, err
	}
	return setAddr6(name, a6), nil
}
