package nolease

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"weir/pool"
	"weir/proxy/fault"
)

func TestEachErrorOfAcquireHasItsKind(t *testing.T) {
	dial := func(err error) error { return &pool.DialError{Err: err} }
	for _, tc := range []struct {
		err  error
		want fault.Kind
	}{
		{nil, fault.None},
		{pool.ErrQueueFull, fault.QueueFull},
		{fmt.Errorf("api: %w", pool.ErrQueueTimeout), fault.QueueTimeout},
		{pool.ErrClosed, fault.Draining},
		{context.Canceled, fault.Draining},
		{pool.ErrLocal, fault.DialLocal},
		{dial(pool.ErrLocal), fault.DialLocal}, // never blamed on the backend
		{dial(os.ErrDeadlineExceeded), fault.DialTimeout},
		{dial(context.DeadlineExceeded), fault.DialTimeout},
		{dial(syscall.ETIMEDOUT), fault.DialTimeout},
		{dial(syscall.ECONNREFUSED), fault.DialRefused},
		{dial(errors.New("no greeting")), fault.DialRefused},
		{errors.New("unheard of"), fault.Internal},
	} {
		if got := Kind(tc.err); got != tc.want {
			t.Errorf("%v: %v, want %v", tc.err, got, tc.want)
		}
	}
}
