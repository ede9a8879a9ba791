package oplog

import (
	"context"
	"log/slog"
	"strings"
)

// handler stands before slog's own and takes out of the stream what repeats.
// It is immutable; With makes a new one with the same folder.
type handler struct {
	next slog.Handler
	f    *folder

	// path tells the handlers of different With calls apart in keys, so that
	// "dial failed" of backend a and of backend b are counted apart.
	path string
	// fold is set where the attribute was given to With.
	fold string
}

func (h *handler) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	fold, r := takeFold(h.fold, r)
	if fold == "" {
		return h.next.Handle(ctx, r)
	}
	e := event{h.next, r}
	if h.f.counted(key{fold, r.Message, r.Level, h.path}, e) {
		return nil
	}
	return h.next.Handle(ctx, r)
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	kept := make([]slog.Attr, 0, len(attrs))
	var path strings.Builder
	path.WriteString(h.path)
	for _, a := range attrs {
		if a.Key == FoldKey {
			next.fold = a.Value.String()
			continue
		}
		kept = append(kept, a)
		path.WriteString(a.String())
		path.WriteByte(0)
	}
	next.path = path.String()
	next.next = h.next.WithAttrs(kept)
	return &next
}

func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	next := *h
	next.path += name + "\x01"
	next.next = h.next.WithGroup(name)
	return &next
}

// takeFold returns the event's fold value, if it has one, and the event without
// that attribute.
func takeFold(fold string, r slog.Record) (string, slog.Record) {
	found := false
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == FoldKey {
			found, fold = true, a.Value.String()
		}
		return !found
	})
	if !found {
		return fold, r
	}
	out := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != FoldKey {
			out.AddAttrs(a)
		}
		return true
	})
	return fold, out
}
