//go:build !linux

package sock

import "golang.org/x/sys/unix"

func peek(fd uintptr) Sight {
	var b [1]byte
	for {
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return Quiet
		case err != nil:
			return Broken
		case n == 0:
			return PeerFIN
		}
		return Readable
	}
}

func writeOnce(fd uintptr, p []byte) (int, error) {
	for {
		n, err := unix.Write(int(fd), p)
		switch err {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return 0, nil
		case nil:
			return n, nil
		}
		return 0, err
	}
}

// tcpInfo is Linux's. Without it nothing is closed by a reset after success.
func tcpInfo(uintptr) (Info, bool) { return Info{}, false }
