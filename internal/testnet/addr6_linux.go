package testnet

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// in6Ifreq is struct in6_ifreq of include/uapi/linux/ipv6.h.
type in6Ifreq struct {
	addr   [16]byte
	prefix uint32
	index  int32
}

// setAddr6 gives an interface of the calling thread's namespace an IPv6 address.
// It returns false where the kernel has no IPv6 or it is turned off. The address
// can be bound a moment later: the kernel looks for no duplicates on a device
// without link addresses, but clears the address on a work queue
// (net/ipv6/addrconf.c, addrconf_dad_begin).
func setAddr6(name string, a netip.Addr) bool {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq(name)
	if err != nil || unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, ifr) != nil {
		return false
	}
	req := in6Ifreq{addr: a.As16(), prefix: 126, index: int32(ifr.Uint32())}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCSIFADDR, uintptr(unsafe.Pointer(&req)))
	return errno == 0
}
