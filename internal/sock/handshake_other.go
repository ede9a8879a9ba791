//go:build !linux

package sock

import (
	"errors"
	"syscall"
)

func noNewClients(syscall.RawConn) error { return errors.ErrUnsupported }
