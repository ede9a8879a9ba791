package configs

import (
	_ "embed"
	"reflect"
	"strings"
	"sync"
	"time"
)

//go:embed default.yaml
var defaultYAML []byte

//go:embed minimal.yaml
var minimalYAML string

// Minimal returns the least configuration that is worth running, as a file of
// it would be, for those who have the binary alone.
func Minimal() string {
	_, text, _ := strings.Cut(minimalYAML, "\n") // the first line is for editors
	return text
}

// defaultsOf is default.yaml decoded, once: it is compiled in, so an error in
// it is a bug that every test finds.
var defaultsOf = sync.OnceValue(func() *Config {
	root, yerr := parseYAML(defaultYAML)
	if yerr != nil {
		panic("BUG: default.yaml: " + yerr.Error())
	}
	d := newDecoder("default.yaml", root, func(t reflect.Type, _ string) reflect.Value { return reflect.New(t).Elem() })
	c := new(Config)
	d.structure(root, reflect.ValueOf(c).Elem(), "")
	if len(d.errs.List) > 0 {
		panic("BUG: " + d.errs.Error())
	}
	return c
})

// Default returns what default.yaml says: every default, and one listener and
// one backend of each protocol as examples. The caller owns the value.
func Default() *Config {
	c, _, err := Parse("default.yaml", defaultYAML)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	clear(c.set)
	return c
}

// newConfig is the beginning of each load: the defaults, without the examples.
func newConfig() *Config {
	c := *defaultsOf()
	c.Listeners, c.Backends = nil, nil
	return &c
}

// newElement is the beginning of each entry of a list: the entry of that
// protocol in default.yaml, without its examples, which are the keys that are
// needed.
func newElement(t reflect.Type, protocol string) reflect.Value {
	v := reflect.New(t).Elem()
	switch t {
	case reflect.TypeFor[Listener]():
		v.Set(reflect.ValueOf(ofProtocol(defaultsOf().Listeners, protocol)))
	case reflect.TypeFor[Backend]():
		v.Set(reflect.ValueOf(ofProtocol(defaultsOf().Backends, protocol)))
	case reflect.TypeFor[Route]():
		v.Addr().Interface().(*Route).Limits.complete()
	}
	for _, f := range fieldsOf(t) {
		if f.need || f.oneof != "" {
			v.Field(f.index).SetZero()
		}
	}
	return v
}

// ofProtocol finds the entry of a protocol, and gives the first for one that
// is not known: that is an error elsewhere.
func ofProtocol[T any](entries []T, protocol string) T {
	for _, e := range entries {
		if p, _ := protocolOf(reflect.ValueOf(e)); p == protocol {
			return e
		}
	}
	return entries[0]
}

// The dial rate follows max_open, so that a pool can refill in a quarter of a
// second; the floor lets small pools recover at once.
const (
	dialRatePerOpen = 4
	leastDialRate   = 50
)

// complete fills the defaults that follow from other keys, and folds what
// compares without case.
func (c *Config) complete() {
	for i := range c.Backends {
		b := &c.Backends[i]
		b.Limits.complete()
		if b.Dial.Rate == (Rate{}) {
			b.Dial.Rate = Rate{Count: int64(max(leastDialRate, dialRatePerOpen*b.Pool.MaxOpen)), Per: time.Second}
		}
	}
	for i := range c.Listeners {
		c.Listeners[i].Limits.complete()
		for j := range c.Listeners[i].Routes {
			r := &c.Listeners[i].Routes[j]
			r.Host = strings.ToLower(r.Host)
			r.Limits.complete()
			if r.Path == "" {
				r.Path = "/"
			}
		}
	}
}
