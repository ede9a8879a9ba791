package configs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// object is a JSON object that keeps the order of its keys, so that the schema
// lists keys as the documentation does.
type object []member

type member struct {
	name  string
	value any
}

func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Quote(m.name) + ":")
		v, err := marshal(m.value)
		if err != nil {
			return nil, err
		}
		b.Write(v)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// marshal is json.Marshal without the escapes that keep HTML safe.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}

// comments reads the field comments of the schema: type name and field name to text.
func comments(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, name := range []string{"config.go", "config_mysql.go", "config_limits.go", "config_overload.go", "config_admin.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		readComments(f, out)
	}
	return out
}

func readComments(f *ast.File, out map[string]string) {
	ast.Inspect(f, func(n ast.Node) bool {
		ts, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		st, ok := ts.Type.(*ast.StructType)
		if !ok {
			return true
		}
		for _, field := range st.Fields.List {
			text := strings.Join(strings.Fields(field.Doc.Text()), " ")
			for _, name := range field.Names {
				out[ts.Name.Name+"."+name.Name] = text
			}
		}
		return true
	})
}

type generator struct {
	t    *testing.T
	docs map[string]string
}

// start is a value as an entry of each protocol begins. Outside of listeners
// and backends the two are one.
type start struct{ http, mysql reflect.Value }

// field is the value of a key; of one that a protocol alone has, both are its.
func (s start) field(f field) start {
	http, mysql := s.http.Field(f.index), s.mysql.Field(f.index)
	switch f.only {
	case ProtocolHTTP:
		mysql = http
	case ProtocolMySQL:
		http = mysql
	}
	return start{http, mysql}
}

// one says whether the protocols have the same default.
func (s start) one() bool { return reflect.DeepEqual(s.http.Interface(), s.mysql.Interface()) }

func (g generator) structure(typ reflect.Type, defaults start) object {
	var props object
	var needed []string
	var oneOf []object
	for _, f := range fieldsOf(typ) {
		name := typ.Field(f.index).Name
		doc := g.docs[typ.Name()+"."+name]
		if doc == "" {
			g.t.Errorf("%s.%s has no comment to be its description", typ.Name(), name)
		}
		def := defaults.field(f)
		s := g.value(f.typ, f, def)
		switch {
		case f.absent != "":
			doc += " Left out: " + f.absent + "."
		case f.need || f.oneof != "" || !isLeaf(f.typ):
		case !def.one():
			doc += fmt.Sprintf(" Left out: %s for http, %s for mysql.", formatScalar(def.http), formatScalar(def.mysql))
		case !def.http.IsZero() || f.typ.Kind() == reflect.Bool:
			s = append(s, member{"default", jsonValue(def.http)})
		}
		if f.only != "" && !isChoice(typ) {
			doc += " For protocol " + f.only + "."
		}
		s = append(object{{"description", doc}}, s...)
		props = append(props, member{f.key, s})
		switch {
		case f.need && f.only == "":
			needed = append(needed, f.key)
		case f.oneof != "":
			oneOf = append(oneOf, object{{"required", []string{f.key}}})
		}
	}
	out := object{{"type", "object"}, {"additionalProperties", false}}
	if len(needed) > 0 {
		out = append(out, member{"required", needed})
	}
	if len(oneOf) > 0 {
		out = append(out, member{"oneOf", oneOf})
	}
	out = append(out, member{"properties", props})
	if isChoice(typ) {
		out = append(out,
			member{"if", object{{"properties", object{{"protocol", object{{"const", ProtocolMySQL}}}}}}},
			member{"then", without(typ, ProtocolHTTP)}, member{"else", without(typ, ProtocolMySQL)})
	}
	return out
}

// isChoice says whether the protocol is among the entry's own keys. That of a
// backend is elsewhere in the file, where a schema does not look.
func isChoice(typ reflect.Type) bool { return typ == reflect.TypeFor[Listener]() }

// without refuses the keys that one protocol alone has.
func without(typ reflect.Type, protocol string) object {
	var props object
	for _, f := range fieldsOf(typ) {
		switch {
		case f.only == protocol:
			props = append(props, member{f.key, false})
		case f.typ.Kind() == reflect.Struct && !isLeaf(f.typ):
			if sub := without(f.typ, protocol); sub != nil {
				props = append(props, member{f.key, sub})
			}
		}
	}
	if props == nil {
		return nil
	}
	return object{{"properties", props}}
}

func (g generator) value(typ reflect.Type, f field, def start) object {
	switch {
	case isLeaf(typ):
		return scalarSchema(typ, f)
	case typ.Kind() == reflect.Map:
		return object{{"type", "object"}, {"minProperties", 1}, {"additionalProperties", object{{"type", "string"}}}}
	case typ.Kind() == reflect.Slice:
		elem := typ.Elem()
		var item object
		if isLeaf(elem) {
			item = scalarSchema(elem, f)
		} else {
			item = g.structure(elem, start{newElement(elem, ProtocolHTTP), newElement(elem, ProtocolMySQL)})
			if first := fieldsOf(elem)[0]; first.short {
				item = object{{"oneOf", []object{scalarSchema(first.typ, first), item}}}
			}
		}
		list := object{{"type", "array"}, {"minItems", 1}, {"items", item}}
		if f.single {
			return object{{"oneOf", []object{item, list}}}
		}
		return list
	}
	return g.structure(typ, def)
}

func scalarSchema(typ reflect.Type, f field) object {
	text := func(pattern string) object { return object{{"type", "string"}, {"pattern", pattern}} }
	switch typ {
	case durationType:
		return text(`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`)
	case sizeType:
		return text(`^[0-9]+(B|KiB|MiB|GiB)$`)
	case rateType:
		return text(`^[1-9][0-9]*/(s|m|h)$`)
	case inFlightType:
		return object{{"oneOf", []object{{{"const", "auto"}}, {{"type", "integer"}, {"minimum", json.Number(f.least)}, {"maximum", json.Number(f.most)}}}}}
	case percentType:
		return text(`^[0-9]{1,3}(\.[0-9]{1,2})?%$`)
	}
	switch {
	case typ.Kind() == reflect.Bool:
		return object{{"type", "boolean"}}
	case typ.Kind() == reflect.Int && len(f.enum) > 0:
		var numbers []json.Number
		for _, n := range f.enum {
			numbers = append(numbers, json.Number(n))
		}
		return object{{"enum", numbers}}
	case typ.Kind() == reflect.Int:
		return object{{"type", "integer"}, {"minimum", json.Number(f.least)}, {"maximum", json.Number(f.most)}}
	case len(f.enum) > 0:
		return object{{"enum", f.enum}}
	case f.form == "name":
		return text(`^[a-z0-9_-]{1,63}$`)
	case f.form == "variable":
		return text(`^[A-Za-z_][A-Za-z0-9_]*$`)
	case f.form == "nativehash":
		return text(`^\*[0-9A-Fa-f]{40}$`)
	case f.form == "path":
		return text(`^/`)
	}
	return object{{"type", "string"}}
}

func jsonValue(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Bool, reflect.Int:
		return v.Interface()
	}
	return formatScalar(v)
}

func TestSchemaFileIsGeneratedFromTheStructs(t *testing.T) {
	g := generator{t, comments(t)}
	s := object{
		{"$schema", "https://json-schema.org/draft/2020-12/schema"},
		{"title", "weir configuration"},
	}
	all := reflect.ValueOf(*newConfig())
	s = append(s, g.structure(reflect.TypeFor[Config](), start{all, all})...)
	flat, err := marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, flat, "", "  "); err != nil {
		t.Fatal(err)
	}
	b.WriteByte('\n')
	if *update {
		if err := os.WriteFile("schema.json", b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, b.Bytes()) {
		t.Error("schema.json is not what the structs say; run go test ./configs -update")
	}
}
