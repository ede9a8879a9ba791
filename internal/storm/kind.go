package storm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/valyala/fasthttp"
)

// maxKinds bounds the kinds of errors of a storm, beside those of its early end:
// no server fills the screen. The rest are "other".
const maxKinds = 20

// fail counts a failed request.
func (s *run) fail(kind string) {
	s.failed.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.errors[kind]; !known && len(s.errors) >= maxKinds && kind != CutByLimit && kind != Interrupted {
		kind = "other"
	}
	s.errors[kind]++
}

// What is wrong with an answer. The texts are kinds.
var (
	errStatus    = errors.New("status")
	errHalf      = errors.New("closed within an answer")
	errMalformed = errors.New("the answer is not valid HTTP")
	errLongHead  = fmt.Errorf("the answer's head is over %d KiB", maxHead>>10)
	errLongBody  = fmt.Errorf("the answer's body is over %d MiB", maxBody>>20)
	errTail      = errors.New("no clean end after the answer")
)

// explain returns what is behind an error of the parser, in none of its words:
// they have a part of the answer, and advice for its own callers.
func (s *source) explain(err error) error {
	var small *fasthttp.ErrSmallBuffer
	switch {
	case s.err == io.EOF && s.some:
		return errHalf
	case s.err != nil:
		return s.err
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		return errLongBody
	case errors.As(err, &small):
		return errLongHead
	}
	return errMalformed
}

// statusError names the status, and weir's reason where the answer has one.
func statusError(r *fasthttp.Response) error {
	if reason := r.Header.Peek("X-Weir-Reason"); isReason(reason) {
		return fmt.Errorf("%w %d (%s)", errStatus, r.StatusCode(), reason)
	}
	return fmt.Errorf("%w %d", errStatus, r.StatusCode())
}

// isReason says whether b is short and plain enough to be shown.
func isReason(b []byte) bool {
	for _, c := range b {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '/' {
			return false
		}
	}
	return 0 < len(b) && len(b) <= 64
}

// tailError is about what was read in place of the end: a byte, where err is nil.
func tailError(err error) error {
	if err == nil {
		return fmt.Errorf("%w: more bytes", errTail)
	}
	return fmt.Errorf("%w: %s", errTail, kind(err))
}

// kind folds an error into one of few words.
func kind(err error) string {
	for _, known := range []error{errStatus, errHalf, errMalformed, errLongHead, errLongBody, errTail} {
		if errors.Is(err, known) {
			return err.Error()
		}
	}
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return NoPort
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "no descriptor free (EMFILE)"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, io.EOF):
		return "closed without an answer"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	}
	// The innermost has no addresses in it.
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err.Error()
}

// NoPort is the kind of requests for which this machine had no port left.
const NoPort = "no local port free (EADDRNOTAVAIL)"
