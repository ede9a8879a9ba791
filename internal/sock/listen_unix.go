package sock

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// cutUnix takes the path out of unix:/path.
func cutUnix(address string) (path string, ok bool) { return strings.CutPrefix(address, "unix:") }

// listenUnix opens a unix socket. A file that a dead process left is removed;
// one that somebody answers on is an error.
func (l *Listener) listenUnix(path string) error {
	ln, err := net.Listen("unix", path)
	if errors.Is(err, syscall.EADDRINUSE) {
		if c, derr := net.DialTimeout("unix", path, time.Second); derr == nil {
			c.Close()
			return fmt.Errorf("listen unix:%s: another process answers there", path)
		}
		if fi, serr := os.Lstat(path); serr != nil || fi.Mode()&os.ModeSocket == 0 {
			return fmt.Errorf("listen unix:%s: the file exists and is not a socket; remove it or choose another path", path)
		}
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("listen unix:%s: remove the old socket: %w", path, err)
		}
		ln, err = net.Listen("unix", path)
	}
	if err != nil {
		return fmt.Errorf("listen unix:%s: %w", path, err)
	}
	l.shards = []shard{{ln: ln}}
	return nil
}
