//go:build !linux

package main

import (
	"context"
	"errors"

	"weir/tcpstat/audit"
)

func measureTimeWaits(context.Context) ([]audit.Cost, error) { return nil, errors.ErrUnsupported }

func loopbackUp() error { return errors.ErrUnsupported }
