// Package nolease says why a session got no backend connection, alike for every
// front.
package nolease

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"syscall"

	"weir/pool"
	"weir/proxy/fault"
)

// Kind sorts the errors of pool.Pool's Acquire and AcquireFresh. What a backend
// answered to a login is for the front to know; here it is a dial that failed.
func Kind(err error) fault.Kind {
	_, dial := errors.AsType[*pool.DialError](err)
	switch {
	case err == nil:
		return fault.None
	case errors.Is(err, pool.ErrShed):
		return fault.Shed
	case errors.Is(err, pool.ErrQueueFull):
		return fault.QueueFull
	case errors.Is(err, pool.ErrQueueTimeout):
		return fault.QueueTimeout
	case errors.Is(err, pool.ErrClosed), errors.Is(err, context.Canceled):
		return fault.Draining
	case errors.Is(err, pool.ErrLocal):
		return fault.DialLocal
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return fault.DialTimeout
	case dial:
		return fault.DialRefused
	}
	return fault.Internal
}

// Log tells the operator that a session of the listener got none, for which k is
// the reason. Alike lines are folded.
func Log(log *slog.Logger, listener, backend string, k fault.Kind, err error) {
	row := k.Row()
	log.Log(context.Background(), row.Level, "no connection to the backend", "fold", k.String(),
		"listener", listener, "backend", backend, "reason", k.String(), "err", err, "hint", row.Hint)
}
