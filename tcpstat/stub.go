//go:build !linux

package tcpstat

import (
	"errors"
	"fmt"
	"runtime"
)

func open() (*Reader, error) {
	return nil, unsupported("listing sockets")
}

func unsupported(what string) error {
	return fmt.Errorf("tcpstat: %s on %s: %w", what, runtime.GOOS, errors.ErrUnsupported)
}

// ReadLocalPorts is for Linux.
func ReadLocalPorts() (*LocalPorts, error) { return nil, unsupported("the range of local ports") }

// ReadTotals is for Linux.
func ReadTotals() (Totals, error) { return Totals{}, unsupported("the kernel's counts") }
