package storm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"unicode"
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

// refusal is an answer that says no. It is its own kind, also when it comes
// while the storm is being ended.
type refusal string

func (r refusal) Error() string { return string(r) }

// What is wrong with an answer. The texts are kinds.
var (
	errHalf = errors.New("closed within an answer")
	errTail = errors.New("no clean end after the answer")
)

// tailError is about what was read in place of the end: a byte, where err is nil.
func tailError(err error) error {
	if err == nil {
		return fmt.Errorf("%w: more bytes", errTail)
	}
	return fmt.Errorf("%w: %s", errTail, kind(err))
}

// named are errors whose texts are kinds.
var named = []error{
	errHalf, errTail,
	errMalformed, errLongHead, errLongBody,
	errNotMySQL, errNoGreeting, errInLogin, errPlugin, errNoTLS,
}

// kind folds an error into one of few words.
func kind(err error) string {
	if r, ok := errors.AsType[refusal](err); ok {
		return string(r)
	}
	for _, known := range named {
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
	return plain(err.Error())
}

// NoPort is the kind of requests for which this machine had no port left.
const NoPort = "no local port free (EADDRNOTAVAIL)"

// maxText bounds what of a server's text is shown, in runes.
const maxText = 160

// plain makes a server's text fit for a terminal: one line, of no great length,
// and nothing that a terminal would obey.
func plain(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if r := []rune(text); len(r) > maxText {
		text = string(r[:maxText]) + "..."
	}
	return text
}
