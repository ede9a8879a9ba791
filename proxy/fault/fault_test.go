package fault

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
)

func TestOfFindsTheKindInAnyTree(t *testing.T) {
	rows := []struct {
		err  error
		want Kind
	}{
		{nil, None},
		{QueueFull, QueueFull},
		{Wrap(DialRefused, io.EOF), DialRefused},
		{fmt.Errorf("exchange: %w", Wrap(BackendReset, io.EOF)), BackendReset},
		{fmt.Errorf("exchange: %w", StaleUnsafe), StaleUnsafe},
		{errors.Join(io.EOF, ResponseStalled), ResponseStalled},
		{io.EOF, Internal},
	}
	for _, r := range rows {
		if got := Of(r.err); got != r.want {
			t.Errorf("Of(%v) = %v, want %v", r.err, got, r.want)
		}
	}
}

func TestAFaultIsItsKindAndItsCause(t *testing.T) {
	err := fmt.Errorf("session: %w", Wrap(BackendClosed, io.ErrUnexpectedEOF))
	if !errors.Is(err, BackendClosed) || !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, BackendReset) {
		t.Errorf("errors.Is does not tell the kinds and causes of %v apart", err)
	}
	if got := err.Error(); got != "session: backend_closed: unexpected EOF" {
		t.Errorf("text %q", got)
	}
	bare := Wrap(QueueFull, nil)
	if !errors.Is(bare, QueueFull) || bare.Error() != QueueFull.Error() || !strings.HasPrefix(bare.Error(), "queue_full: ") {
		t.Errorf("without a cause: %v", bare)
	}
}

func TestTheLogGetsKindSideCauseAndHint(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	log.Warn("no connection", "fault", Wrap(DialRefused, errors.New("10.0.0.1:80: connection refused")))
	log.Warn("refused", "fault", Wrap(QueueFull, nil))
	for _, want := range []string{
		"fault.kind=dial_refused", "fault.side=backend", `fault.error="10.0.0.1:80: connection refused"`,
		"fault.hint=", "fault.kind=queue_full", "fault.side=weir",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the log line lacks %s:\n%s", want, out.String())
		}
	}
}
