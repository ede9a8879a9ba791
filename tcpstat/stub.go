//go:build !linux

package tcpstat

import (
	"errors"
	"fmt"
	"runtime"
)

func open() (*Reader, error) {
	return nil, fmt.Errorf("tcpstat: listing sockets on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
