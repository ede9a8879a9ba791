package configs

import (
	"bytes"
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
// Listeners, backends and users are the same if their names are, routes if host
// and path are; the order of these lists is no change. Values of set_header and
// secrets are not shown. A secret that a file or the environment gives,
// or the page of an overload block, that has changed there is a change too.
func Diff(old, new *Config) []Change {
	var d differ
	d.structure(reflect.ValueOf(old).Elem(), reflect.ValueOf(new).Elem(), "", false)
	if x, y := &old.Admin, &new.Admin; x.TokenFile == y.TokenFile && x.Token() != y.Token() {
		d.add("admin.token_file", aValue, anotherValue, false)
	}
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
		case f.typ == hiddenType:
			d.hidden(x.String(), y.String(), p, rs)
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
	case reflect.TypeFor[Listener](), reflect.TypeFor[Backend](), reflect.TypeFor[User]():
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
			d.entry(a.Index(i), now, named(path, n), restart)
		} else {
			d.add(named(path, n), "removed", "", restart)
		}
	}
	for i := range b.Len() {
		if n := name(b.Index(i)); !was[n].IsValid() {
			d.add(named(path, n), "", "added", restart)
		}
	}
}

// named is the path of an entry. Only a user's name can need quotes.
func named(path, name string) string {
	if !onlyBytes(name, func(c byte) bool { return c > 0x20 && c < 0x7f }) {
		name = strconv.Quote(name)
	}
	return path + "[" + name + "]"
}

// entry compares an entry of a list with what it has become. Of one that
// changed its protocol nothing else is compared: the keys are others.
func (d *differ) entry(a, b reflect.Value, path string, restart bool) {
	was, _ := protocolOf(a)
	if is, ok := protocolOf(b); ok && was != is {
		d.add(path+".protocol", was, is, true)
		return
	}
	d.structure(a, b, path, restart)
	if u, ok := a.Interface().(User); ok {
		d.sources(u, b.Interface().(User), path, restart)
	}
	if x, ok := a.Interface().(Backend); ok {
		y := b.Interface().(Backend)
		if x.Overload.File == y.Overload.File && !bytes.Equal(x.Overload.body, y.Overload.body) {
			d.add(path+".overload.file", aValue, anotherValue, restart)
		}
	}
}

// sources finds a secret that changed where it is, while its place stayed.
func (d *differ) sources(a, b User, path string, restart bool) {
	if a.read == nil || b.read == nil || a.read() == b.read() {
		return
	}
	switch {
	case a.PasswordFile != "" && a.PasswordFile == b.PasswordFile:
		d.add(path+".password_file", aValue, anotherValue, restart)
	case a.PasswordEnv != "" && a.PasswordEnv == b.PasswordEnv:
		d.add(path+".password_env", aValue, anotherValue, restart)
	}
}

// What stands for values that are not shown.
const (
	aValue       = "(a value)"
	anotherValue = "(another value)"
)

func (d *differ) hidden(a, b, path string, restart bool) {
	switch {
	case a == b:
	case a == "":
		d.add(path, "", "added", restart)
	case b == "":
		d.add(path, "removed", "", restart)
	default:
		d.add(path, aValue, anotherValue, restart)
	}
}

// texts compares header fields one by one and shows no value.
func (d *differ) texts(a, b reflect.Value, path string, restart bool) {
	old, new := a.Interface().(map[string]string), b.Interface().(map[string]string)
	for _, k := range sortedKeys(a) {
		if v, ok := new[k]; !ok {
			d.add(join(path, k), "removed", "", restart)
		} else if v != old[k] {
			d.add(join(path, k), aValue, anotherValue, restart)
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
