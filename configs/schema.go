package configs

import (
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"time"
)

// field is what the tags of one struct field say.
type field struct {
	key     string
	index   int
	typ     reflect.Type
	need    bool
	oneof   string
	rivals  []field // the others of oneof
	only    string
	enum    []string
	least   string
	most    string
	form    string
	absent  string
	single  bool
	short   bool
	restart bool
	secret  bool
}

var fieldCache sync.Map // reflect.Type to []field: types never change

// fieldsOf returns the keys of a struct in the order of the struct.
func fieldsOf(t reflect.Type) []field {
	if f, ok := fieldCache.Load(t); ok {
		return f.([]field)
	}
	var out []field
	for i := range t.NumField() {
		sf := t.Field(i)
		key, ok := sf.Tag.Lookup("key")
		if !ok {
			continue
		}
		f := field{
			key: key, index: i, typ: sf.Type,
			need: sf.Tag.Get("need") != "", oneof: sf.Tag.Get("oneof"), only: sf.Tag.Get("only"), form: sf.Tag.Get("form"), absent: sf.Tag.Get("absent"),
			enum:  strings.Fields(sf.Tag.Get("enum")),
			short: sf.Tag.Get("short") != "", single: sf.Tag.Get("single") != "",
			restart: sf.Tag.Get("reload") == "restart", secret: sf.Tag.Get("secret") != "",
		}
		f.least, f.most, _ = strings.Cut(sf.Tag.Get("range"), "..")
		if sf.Type == durationType && f.least == "" {
			f.least, f.most = "1ms", "8760h"
		}
		out = append(out, f)
	}
	for i, f := range out {
		for _, r := range out {
			if f.oneof != "" && f.oneof == r.oneof && f.key != r.key {
				out[i].rivals = append(out[i].rivals, r)
			}
		}
	}
	fieldCache.Store(t, out)
	return out
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	sizeType     = reflect.TypeFor[Size]()
	rateType     = reflect.TypeFor[Rate]()
	percentType  = reflect.TypeFor[Percent]()
	inFlightType = reflect.TypeFor[InFlight]()
	addressType  = reflect.TypeFor[Address]()
	prefixType   = reflect.TypeFor[netip.Prefix]()
	hiddenType   = reflect.TypeFor[Hidden]()
)

// isLeaf says whether values of t are written as one scalar.
func isLeaf(t reflect.Type) bool {
	switch t {
	case rateType, prefixType:
		return true
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Slice, reflect.Map:
		return false
	}
	return true
}

// has says whether entries of a protocol have the key. Of a protocol that is
// not known, which is an error of its own, they have all.
func (f field) has(protocol string) bool {
	return f.only == "" || protocol == "" || f.only == protocol
}

// keysOf names the keys that a struct has for a protocol.
func keysOf(t reflect.Type, protocol string) []string {
	var out []string
	for _, f := range fieldsOf(t) {
		if f.has(protocol) {
			out = append(out, f.key)
		}
	}
	return out
}

// KeyPaths returns every key of the schema by its path, lists as name[]:
// listeners[].timeouts.header.
func KeyPaths() []string {
	var out []string
	walkSchema(reflect.TypeFor[Config](), "", func(path string, _ field) { out = append(out, path) })
	return out
}

// walkSchema calls visit for each key below t, parents first.
func walkSchema(t reflect.Type, path string, visit func(path string, f field)) {
	for _, f := range fieldsOf(t) {
		p, elem := join(path, f.key), f.typ
		if elem.Kind() == reflect.Slice && !isLeaf(elem.Elem()) {
			p, elem = p+"[]", elem.Elem()
		}
		visit(p, f)
		if elem.Kind() == reflect.Struct && !isLeaf(elem) {
			walkSchema(elem, p, visit)
		}
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
