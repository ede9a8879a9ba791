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
	k := key{fold: h.fold, message: r.Message, level: r.Level, path: h.path}
	r = k.take(r)
	if k.fold == "" {
		return h.next.Handle(ctx, r)
	}
	if h.f.counted(k, event{h.next, r}) {
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

// take completes k with what the event says, and returns the event without the
// fold attribute.
func (k *key) take(r slog.Record) slog.Record {
	found := false
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case FoldKey:
			found, k.fold = true, a.Value.String()
		case backendKey:
			k.backend = a.Value.String()
		case listenerKey:
			k.listener = a.Value.String()
		}
		return true
	})
	if !found {
		return r
	}
	out := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != FoldKey {
			out.AddAttrs(a)
		}
		return true
	})
	return out
}
