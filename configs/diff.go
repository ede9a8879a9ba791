package configs

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Change is one key that differs between two configurations.
type Change struct {
	Path string // lists by name: backends[api].pool.max_open
	// Old and New are the values as the file writes them. A whole entry that
	// came or went has "added" in New or "removed" in Old, and the other empty.
	Old, New string
	// Restart says that a running weir cannot take the change: the reload is
	// refused and names the key.
	Restart bool
}

// String is the change as the reload log writes it, without the word
// "reloaded".
func (c Change) String() string {
	switch {
	case c.Old == "":
		return c.Path + ": " + c.New
	case c.New == "":
		return c.Path + ": " + c.Old
	}
	return c.Path + ": " + c.Old + " -> " + c.New
}

// Diff lists what changed from old to new, in the order of the schema.
// Listeners and backends are the same if their names are, routes if host and
// path are; the order of these lists is no change. Values of set_header are
// not shown, as they may be secrets.
func Diff(old, new *Config) []Change {
	var d differ
	d.structure(reflect.ValueOf(old).Elem(), reflect.ValueOf(new).Elem(), "", false)
	return d.out
}

type differ struct{ out []Change }

func (d *differ) add(path, old, new string, restart bool) {
	d.out = append(d.out, Change{path, old, new, restart})
}

func (d *differ) structure(a, b reflect.Value, path string, restart bool) {
	for _, f := range fieldsOf(a.Type()) {
		x, y := a.Field(f.index), b.Field(f.index)
		p, rs := join(path, f.key), restart || f.restart
		switch {
		case f.typ.Kind() == reflect.Struct && !isLeaf(f.typ):
			d.structure(x, y, p, rs)
		case f.typ.Kind() == reflect.Slice && identity(f.typ.Elem()) != nil:
			d.entries(x, y, p, rs, identity(f.typ.Elem()))
		case f.typ.Kind() == reflect.Map:
			d.texts(x, y, p, rs)
		default:
			if s, t := show(x, f), show(y, f); s != t {
				d.add(p, s, t, rs)
			}
		}
	}
}

// identity tells what makes an entry of a list the same entry in two
// configurations, nil for lists that are compared as one value.
func identity(t reflect.Type) func(reflect.Value) string {
	switch t {
	case reflect.TypeFor[Listener](), reflect.TypeFor[Backend]():
		return func(v reflect.Value) string { return v.FieldByName("Name").String() }
	case reflect.TypeFor[Route]():
		return func(v reflect.Value) string {
			r := v.Interface().(Route)
			return r.Host + r.Path
		}
	}
	return nil
}

func (d *differ) entries(a, b reflect.Value, path string, restart bool, name func(reflect.Value) string) {
	find := func(list reflect.Value) map[string]reflect.Value {
		m := map[string]reflect.Value{}
		for i := range list.Len() {
			m[name(list.Index(i))] = list.Index(i)
		}
		return m
	}
	was, is := find(a), find(b)
	for i := range a.Len() {
		n := name(a.Index(i))
		if now, ok := is[n]; ok {
			d.structure(a.Index(i), now, fmt.Sprintf("%s[%s]", path, n), restart)
		} else {
			d.add(fmt.Sprintf("%s[%s]", path, n), "removed", "", restart)
		}
	}
	for i := range b.Len() {
		if n := name(b.Index(i)); !was[n].IsValid() {
			d.add(fmt.Sprintf("%s[%s]", path, n), "", "added", restart)
		}
	}
}

// texts compares header fields one by one and shows no value.
func (d *differ) texts(a, b reflect.Value, path string, restart bool) {
	old, new := a.Interface().(map[string]string), b.Interface().(map[string]string)
	for _, k := range sortedKeys(a) {
		if v, ok := new[k]; !ok {
			d.add(join(path, k), "removed", "", restart)
		} else if v != old[k] {
			d.add(join(path, k), "(a value)", "(another value)", restart)
		}
	}
	for _, k := range sortedKeys(b) {
		if _, ok := old[k]; !ok {
			d.add(join(path, k), "", "added", restart)
		}
	}
}

// show writes a leaf or a list of leaves for the log.
func show(v reflect.Value, f field) string {
	if f.absent != "" && v.IsZero() {
		return f.absent
	}
	if v.Kind() != reflect.Slice {
		if v.Kind() == reflect.String && v.Len() == 0 {
			return strconv.Quote("")
		}
		return formatScalar(v)
	}
	items := make([]string, v.Len())
	for i := range items {
		e := v.Index(i)
		if !isLeaf(e.Type()) {
			e = e.Field(0) // an endpoint is its address
		}
		items[i] = formatScalar(e)
	}
	return "[" + strings.Join(items, ", ") + "]"
}
