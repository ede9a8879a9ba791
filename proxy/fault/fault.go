package fault

import (
	"errors"
	"log/slog"
)

// Fault is a Kind with the error behind it. errors.Is finds both: the Kind, and
// whatever Err wraps.
type Fault struct {
	Kind Kind
	Err  error
}

// Wrap gives err a Kind. The result allocates, so the path of every request
// returns a bare Kind instead.
func Wrap(k Kind, err error) error { return &Fault{k, err} }

func (f *Fault) Error() string {
	if f.Err == nil {
		return f.Kind.Error()
	}
	return f.Kind.String() + ": " + f.Err.Error()
}

func (f *Fault) Unwrap() []error {
	if f.Err == nil {
		return []error{f.Kind}
	}
	return []error{f.Kind, f.Err}
}

// LogValue gives the log what an operator needs and the client is not told.
func (f *Fault) LogValue() slog.Value {
	r := f.Kind.row()
	attrs := []slog.Attr{slog.String("kind", r.Label), slog.String("side", r.Side.String())}
	if f.Err != nil {
		attrs = append(attrs, slog.String("error", f.Err.Error()))
	}
	return slog.GroupValue(append(attrs, slog.String("hint", r.Hint))...)
}

// Of returns the Kind in err's tree: None for nil, Internal where there is none,
// because an error that nobody has classified is a bug of ours.
func Of(err error) Kind {
	if err == nil {
		return None
	}
	if k, ok := err.(Kind); ok {
		return k
	}
	if k, ok := errors.AsType[Kind](err); ok {
		return k
	}
	return Internal
}

var (
	_ error          = None
	_ error          = (*Fault)(nil)
	_ slog.LogValuer = (*Fault)(nil)
)
