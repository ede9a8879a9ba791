package configs

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// decoder fills structs from nodes. It goes on after an error, so that all
// errors of a file are found in one run; a value that is wrong leaves the
// default in its place and its path among the errors.
type decoder struct {
	file  string
	errs  Errors
	wrong map[string]bool   // paths with an error: rules between keys leave them alone
	marks map[string]mark   // path to the place of its value
	set   map[string]bool   // paths that the file wrote
	short map[string]string // paths of values written in their short form, to what the file shows
	elem  func(t reflect.Type, protocol string) reflect.Value

	protocols protocols
	speaks    speech // of the listener or backend that is being decoded
}

// newDecoder returns a decoder of the file whose tree is root, that begins each
// element of a list of structs as what elem gives for its type and protocol.
func newDecoder(file string, root *node, elem func(reflect.Type, string) reflect.Value) *decoder {
	return &decoder{
		file: file, elem: elem, protocols: protocolsIn(root),
		wrong: map[string]bool{}, marks: map[string]mark{}, set: map[string]bool{}, short: map[string]string{},
	}
}

func (d *decoder) fail(at mark, path, format string, args ...any) {
	d.wrong[path] = true
	if d.errs.full() {
		d.errs.More++
		return
	}
	d.errs.List = append(d.errs.List, Error{File: d.file, Line: at.line, Col: at.col, Path: d.shown(path), Text: fmt.Sprintf(format, args...)})
}

// shown is the path as the reader of the file sees it: a list of one that was
// written as a single value has no index.
func (d *decoder) shown(path string) string {
	if s, ok := d.short[path]; ok {
		return s
	}
	return path
}

// value decodes n into v, whose defaults are already in it.
func (d *decoder) value(n *node, f field, v reflect.Value, path string) {
	d.set[path] = true
	d.marks[path] = n.mark()
	if n.kind == nullKind {
		d.fail(n.mark(), path, "has no value; write one%s", d.orLeaveOut(f))
		return
	}
	t := v.Type()
	switch {
	case isLeaf(t):
		d.leaf(n, f, v, path)
	case t.Kind() == reflect.Slice:
		d.list(n, f, v, path)
	case t.Kind() == reflect.Map:
		d.texts(n, f, v, path)
	default:
		d.structure(n, v, path)
	}
}

func (d *decoder) leaf(n *node, f field, v reflect.Value, path string) {
	if n.kind != scalarKind {
		d.fail(n.mark(), path, "must be a single value, is %s", n.kind)
		return
	}
	got, err := parseScalar(n, f, v.Type())
	if errors.Is(err, errNotInFlight) {
		err = d.notInFlight(n, f, path)
	}
	if err != nil {
		d.fail(n.mark(), path, "%s", err)
		return
	}
	v.Set(got)
}

func (d *decoder) list(n *node, f field, v reflect.Value, path string) {
	items := n.items
	switch {
	case n.kind == scalarKind && f.single:
		items = []*node{n}
		d.short[path+"[0]"] = path
	case n.kind == scalarKind:
		d.fail(n.mark(), path, "must be a list; write [%s]", shownKey(n.text))
		return
	case n.kind != listKind:
		d.fail(n.mark(), path, "must be a list, is %s", n.kind)
		return
	case len(items) == 0:
		d.fail(n.mark(), path, "is an empty list; write one entry at least%s", d.orLeaveOut(f))
		return
	}
	out := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		d.entry(item, f, out.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
	v.Set(out)
}

// entry decodes one value of a list. Of a listener and a backend the protocol
// is known before its keys are read, in whatever order they stand.
func (d *decoder) entry(n *node, f field, v reflect.Value, path string) {
	outer := d.speaks
	defer func() { d.speaks = outer }()
	if s, ok := d.protocols.of(v.Type(), n); ok {
		d.speaks = s
	}
	if !isLeaf(v.Type()) {
		v.Set(d.elem(v.Type(), d.speaks.protocol))
	}
	if v.Type() == reflect.TypeFor[Backend]() {
		v.FieldByName("Protocol").SetString(d.speaks.protocol)
	}
	d.value(n, f, v, path)
}

// orLeaveOut says what leaving the key out does, for keys that may be.
func (d *decoder) orLeaveOut(f field) string {
	switch {
	case f.need:
		return ""
	case len(f.rivals) == 1 && f.rivals[0].has(d.speaks.protocol):
		return ", or write " + f.rivals[0].key + " instead"
	case f.oneof != "":
		return ""
	case f.absent != "":
		return ", or leave the key out for " + f.absent
	}
	return ", or leave the key out for its default"
}

// texts decodes a mapping from header names to values. Names are compared
// without their case, as HTTP does.
func (d *decoder) texts(n *node, f field, v reflect.Value, path string) {
	if n.kind != mappingKind || len(n.keys) == 0 {
		d.fail(n.mark(), path, "must be a mapping such as {X-Name: value}, is %s", emptyOr(n))
		return
	}
	out, seen := map[string]string{}, map[string]int{}
	for i, k := range n.keys {
		p := join(path, shownKey(k.text))
		low := strings.ToLower(k.text)
		if first, twice := seen[low]; twice {
			d.fail(k.mark(), p, "appears twice; first on line %d", first)
			continue
		}
		seen[low] = k.line
		d.set[p], d.marks[p] = true, n.items[i].mark()
		if err := forms[f.form](k.text); err != nil {
			d.fail(k.mark(), p, "%s", err)
			continue
		}
		if item := n.items[i]; item.kind != scalarKind {
			d.fail(item.mark(), p, "must be a text, is %s", item.kind)
		} else if err := headerValueForm(item.text); err != nil {
			d.fail(item.mark(), p, "%s", err)
		} else {
			out[k.text] = item.text
		}
	}
	v.Set(reflect.ValueOf(out))
}

func emptyOr(n *node) string {
	if n.kind == mappingKind || n.kind == listKind && len(n.items) == 0 {
		return "empty"
	}
	return n.kind.String()
}

func (d *decoder) structure(n *node, v reflect.Value, path string) {
	fields := fieldsOf(v.Type())
	if n.kind != mappingKind {
		if n.kind == scalarKind && fields[0].short {
			p := join(path, fields[0].key)
			d.short[p] = path
			d.value(n, fields[0], v.Field(fields[0].index), p)
			return
		}
		d.fail(n.mark(), path, "must be a mapping with keys such as %s, is %s", keysOf(v.Type(), d.speaks.protocol)[0], n.kind)
		return
	}
	seen := map[string]int{}
	meant := map[string]bool{} // keys that a misspelt one stands for
	for i, k := range n.keys {
		p := join(path, d.shownKeyOf(k, v.Type()))
		if first, twice := seen[k.text]; twice {
			d.fail(k.mark(), p, "appears twice; first on line %d", first)
			continue
		}
		seen[k.text] = k.line
		at := slices.IndexFunc(fields, func(f field) bool { return f.key == k.text })
		if at < 0 {
			near := suggest(k.text, keysOf(v.Type(), d.speaks.protocol))
			if near != "" {
				meant[near] = true
			}
			d.fail(k.mark(), p, "unknown key%s", d.hint(path, k.text, near, v.Type()))
			continue
		}
		if f := fields[at]; !f.has(d.speaks.protocol) {
			d.fail(k.mark(), p, "is a key of protocol %s; this %s%s", f.only, d.speaks, d.inItsPlace(f))
			continue
		}
		d.value(n.items[i], fields[at], v.Field(fields[at].index), p)
	}
	d.needs(n, fields, seen, meant, path)
}

// hint says what an unknown key most likely meant: a key with nearly that
// name, or the keys of that name that stand the least far from path.
func (d *decoder) hint(path, key, near string, t reflect.Type) string {
	if d.errs.full() {
		return ""
	}
	if near != "" {
		return "; did you mean " + near + "?"
	}
	if key == "mode" && t == reflect.TypeFor[Backend]() && d.speaks.protocol != ProtocolMySQL {
		return "; a mode of degradation is set while weir runs, with weir mode"
	}
	if at := nearestKeys(path, key); at != nil {
		return "; it belongs at " + orList(at)
	}
	return "; there are: " + strings.Join(keysOf(t, d.speaks.protocol), ", ")
}

// shownKeyOf is a key as messages show it. Beside a secret a word that is near
// no key may be a part of it, cut off by a comma: there it is not shown.
func (d *decoder) shownKeyOf(k *node, t reflect.Type) string {
	hidden := slices.ContainsFunc(fieldsOf(t), func(f field) bool { return f.typ == hiddenType })
	if hidden && suggest(k.text, keysOf(t, "")) == "" {
		return hiddenText
	}
	return shownKey(k.text)
}

// shownKey keeps a word of the file from breaking the one line of its message.
func shownKey(s string) string {
	if s == "" || !onlyBytes(s, func(c byte) bool { return c > 0x20 && c < 0x7f }) {
		return strconv.Quote(clip(s))
	}
	return clip(s)
}
