// Package oplog makes the log for operators: log/slog, as text on a terminal and
// as JSON lines elsewhere, with repeats folded.
//
// A failure under load happens a thousand times a second and is one piece of
// news. An event that carries a Fold attribute is written at once the first time;
// those that follow with the same key are counted, and ten seconds later one line
// says how many there were and shows the last:
//
//	level=WARN msg="dial failed" backend=api error="connection refused"
//	level=WARN msg="dial failed" backend=api error="connection refused" repeats=1203 in=10s
//
// The attribute is a plain one, so a package needs only slog to use it:
//
//	log.Warn("dial failed", "fold", "dial", "backend", name, "error", err)
//
// It is a leaf: it imports nothing of ours.
package oplog

import (
	"io"
	"log/slog"
	"os"
	"time"
)

// FoldKey is the name of the attribute whose value folds events. It is not
// written. Events are the same if this value, the message, the level, the backend
// and the listener that they name, and all that was added by With are the same;
// other attributes of the single event may differ.
const FoldKey = "fold"

const backendKey, listenerKey = "backend", "listener"

const (
	// Window is how long repeats are counted before a line says so. Ten
	// seconds: long enough to keep a storm at six lines a minute, short enough
	// to see that it goes on.
	Window = 10 * time.Second

	// MaxKeys bounds the number of keys that are counted apart. A key per
	// backend and kind of failure is a few dozen; above it all share one count,
	// so a key made of something a client chooses cannot fill memory or log.
	MaxKeys = 256
)

// Log is a logger and the folding behind it. The embedded *slog.Logger may be
// handed on, and all methods are safe for concurrent use. The owner calls Close
// when nobody logs any more.
type Log struct {
	*slog.Logger
	f    *folder
	kept *kept
}

// New returns a Log that writes to w all of at least the given level: as text
// with the time of day if terminal is true, else as JSON lines with full times.
// level may be a *slog.LevelVar, to be changed while running. w gets one Write
// for each line, never two at a time. notable are messages that Recent gives
// below the level of a warning too.
func New(w io.Writer, level slog.Leveler, terminal bool, notable ...string) *Log {
	var h slog.Handler
	if terminal {
		h = slog.NewTextHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: clock})
	} else {
		h = slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: units})
	}
	k := &kept{notable: make(map[string]bool, len(notable))}
	for _, message := range notable {
		k.notable[message] = true
	}
	f := newFolder(Window, MaxKeys)
	return &Log{Logger: slog.New(&handler{next: &keeper{next: h, kept: k}, f: f}), f: f, kept: k}
}

// Close writes what has been counted and not yet said, and waits until that is
// done. Events logged afterwards are written one by one. It closes no writer.
func (l *Log) Close() { l.f.close() }

// clock leaves of the time what a person at a terminal looks at.
func clock(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime {
		return slog.String(slog.TimeKey, a.Value.Time().Format("15:04:05.000"))
	}
	return a
}

// units writes durations as "1.5s" in JSON too: slog would write a bare number
// of nanoseconds, which nobody reads right.
func units(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		return slog.String(a.Key, a.Value.Duration().String())
	}
	return a
}

// Terminal says whether f is a terminal, or at least no file, pipe or socket.
func Terminal(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}
