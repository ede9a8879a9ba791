package oplog

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	// MaxRecent is how many events Recent can give: more than a person reads,
	// and with what follows at most a megabyte.
	MaxRecent = 200

	maxEventAttrs = 16  // more are cut off
	maxEventText  = 400 // bytes of the message and of each value; more are cut off
)

// Event is a line of the log, kept for those who look at it later.
type Event struct {
	N       uint64      `json:"n"` // counts from 1, without gaps
	Time    time.Time   `json:"time"`
	Level   string      `json:"level"`
	Message string      `json:"message"`
	Attrs   [][2]string `json:"attrs"` // names and values, in the line's order
}

// Recent returns the last events after the one numbered after, oldest first: of
// the lines written, those of level warn and more, and those whose message is
// one of New's notable ones. What was folded away is not among them.
func (l *Log) Recent(after uint64) []Event {
	l.kept.mu.Lock()
	defer l.kept.mu.Unlock()
	i, _ := slices.BinarySearchFunc(l.kept.events, after+1, func(e Event, n uint64) int { return int(int64(e.N - n)) })
	return slices.Clone(l.kept.events[i:])
}

// kept is the ring behind Recent.
type kept struct {
	notable map[string]bool

	mu     sync.Mutex // guards below; the log is slow compared with it
	n      uint64
	events []Event // at most MaxRecent, oldest first
}

func (k *kept) add(e Event) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.n++
	e.N = k.n
	if len(k.events) == MaxRecent {
		k.events = append(k.events[:0], k.events[1:]...) // a log line costs more than this
	}
	k.events = append(k.events, e)
}

// keeper stands between the folding and slog's own handler, so that it sees what
// is written and nothing else.
type keeper struct {
	next slog.Handler
	kept *kept

	attrs [][2]string // given to With
	group string      // of the attributes to come, with a dot at its end
}

func (h *keeper) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

func (h *keeper) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn || h.kept.notable[r.Message] {
		e := Event{Time: r.Time, Level: r.Level.String(), Message: short(r.Message), Attrs: append([][2]string{}, h.attrs...)}
		r.Attrs(func(a slog.Attr) bool {
			e.Attrs = h.put(e.Attrs, a)
			return true
		})
		h.kept.add(e)
	}
	return h.next.Handle(ctx, r)
}

func (h *keeper) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	next.next, next.attrs = h.next.WithAttrs(attrs), slices.Clone(h.attrs)
	for _, a := range attrs {
		next.attrs = h.put(next.attrs, a)
	}
	return &next
}

func (h *keeper) WithGroup(name string) slog.Handler {
	next := *h
	next.next, next.group = h.next.WithGroup(name), h.group+name+"."
	return &next
}

func (h *keeper) put(to [][2]string, a slog.Attr) [][2]string {
	if len(to) >= maxEventAttrs {
		return to
	}
	return append(to, [2]string{short(h.group + a.Key), short(a.Value.Resolve().String())})
}

func short(s string) string {
	if len(s) <= maxEventText {
		return s
	}
	return s[:maxEventText] + "..."
}
