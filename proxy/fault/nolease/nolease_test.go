package nolease

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
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
		{fmt.Errorf("api: %w", pool.ErrShed), fault.Shed},
		{pool.ErrQueueFull, fault.QueueFull},
		{fmt.Errorf("api: %w", pool.ErrQueueTimeout), fault.QueueTimeout},
		{pool.ErrClosed, fault.Draining},
		{context.Canceled, fault.Draining},
		{pool.ErrLocal, fault.DialLocal},
		{dial(pool.ErrLocal), fault.DialLocal}, // never blamed on the backend
		{dial(os.ErrDeadlineExceeded), fault.DialTimeout},
		{dial(context.DeadlineExceeded), fault.DialTimeout},
		{dial(syscall.ETIMEDOUT), fault.DialTimeout},
		{context.DeadlineExceeded, fault.DialTimeout}, // a caller's own, before the dial's
		{dial(syscall.ECONNREFUSED), fault.DialRefused},
		{dial(errors.New("no greeting")), fault.DialRefused},
		{errors.New("unheard of"), fault.Internal},
	} {
		if got := Kind(tc.err); got != tc.want {
			t.Errorf("%v: %v, want %v", tc.err, got, tc.want)
		}
	}
}

func TestTheLogSaysWhatToLookAt(t *testing.T) {
	var out bytes.Buffer
	Log(slog.New(slog.NewTextHandler(&out, nil)), "web", "api", fault.DialRefused, errors.New("connection refused"))
	for _, want := range []string{"level=ERROR", "listener=web", "backend=api", "reason=dial_refused", `err="connection refused"`, `hint="` + fault.DialRefused.Row().Hint} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the log line lacks %s:\n%s", want, out.String())
		}
	}
}
