package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"
)

// listen binds address. login says whether those who come over TCP have to show
// who they are. done is called after the listener is closed.
func listen(address string, login bool) (ln net.Listener, done func(), err error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return listenUnix(path)
	}
	if err := allowed(address, login); err != nil {
		return nil, nil, err
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // as all of weir's sockets: what is said of them is TCP's
	ln, err = lc.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, nil, err
	}
	return ln, func() {}, nil
}

// allowed says whether a TCP address may be bound. Whoever reaches it can read
// how the service is doing, and profile it.
func allowed(address string, login bool) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is neither host:port nor unix:/path: %w", address, err)
	}
	if host == "localhost" || login {
		return nil
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Unmap().IsLoopback() {
		return nil
	}
	return fmt.Errorf("%q is not a loopback address, and metrics and status would be open to the network; "+
		"write admin.token_file or admin.tls with client_ca, or use 127.0.0.1, [::1] or unix:/path", address)
}

// answerTimeout is how long a socket file's owner has to take a connection. It
// needs only to be in its accept queue, so this is generous.
const answerTimeout = time.Second

func listenUnix(path string) (net.Listener, func(), error) {
	if err := removeStale(path); err != nil {
		return nil, nil, err
	}
	// On Linux the socket file gets its mode from the socket's own inode, so
	// the mode is set before there is a file: at no time may others connect.
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), 0o600) })
	}}
	ln, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, nil, err
	}
	// The path is removed below, and only if it still leads to our socket.
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	// Other systems do not take the mode from there.
	if err := os.Chmod(path, 0o600); err != nil {
		ln.Close()
		os.Remove(path)
		return nil, nil, err
	}
	ours, err := os.Lstat(path)
	if err != nil {
		ln.Close()
		return nil, nil, err
	}
	return ln, func() {
		if now, err := os.Lstat(path); err == nil && os.SameFile(ours, now) {
			os.Remove(path)
		}
	}, nil
}

// removeStale removes a socket file that a killed process left, and nothing else.
func removeStale(path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("%s exists and is not a socket; remove it or choose another path", path)
	}
	c, err := net.DialTimeout("unix", path, answerTimeout)
	switch {
	case err == nil:
		c.Close()
		return fmt.Errorf("somebody answers on %s already; stop it or choose another path", path)
	case !errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("cannot tell whether %s is in use: %w", path, err)
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	return nil
}
