package configs

import (
	"bytes"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Effective writes the whole configuration as YAML: what the file said, and
// the defaults for the rest, each marked. Read again, it gives an equal Config.
// Keys that stand for nothing when they are left out appear as comments. It
// shows the values of set_header, as the file does, but no password and no
// hash: where the file holds one, a comment says so, and what was written is
// not a whole configuration.
func Effective(c *Config, w io.Writer) error {
	p := printer{c: c}
	p.structure(reflect.ValueOf(c).Elem(), "", "", "")
	_, err := w.Write(p.out.Bytes())
	return err
}

type printer struct {
	out      bytes.Buffer
	c        *Config
	protocol string // of the listener or backend that is being written
}

// structure writes the keys of v. The first line begins with lead, which is
// the dash of a list entry or the indent of the others.
func (p *printer) structure(v reflect.Value, path, lead, indent string) {
	for _, f := range fieldsOf(v.Type()) {
		fv, fp := v.Field(f.index), join(path, f.key)
		// A comment is on a line of its own, before the dash if that is still to come.
		switch {
		case !f.has(p.protocol):
			continue
		case fv.IsZero() && f.absent != "":
			fmt.Fprintf(&p.out, "%s# %s: not set (%s)\n", indent, f.key, f.absent)
			continue
		case fv.IsZero() && f.oneof != "":
			continue
		case f.typ == hiddenType:
			fmt.Fprintf(&p.out, "%s# %s: %s\n", indent, f.key, hiddenText)
			continue
		}
		p.out.WriteString(lead + f.key + ":")
		p.value(fv, fp, indent+"  ")
		lead = indent
	}
}

func (p *printer) value(v reflect.Value, path, indent string) {
	t := v.Type()
	switch {
	case isLeaf(t):
		p.out.WriteString(" " + quote(formatScalar(v), t))
		p.origin(path)
	case t.Kind() == reflect.Struct:
		p.out.WriteByte('\n')
		p.structure(v, path, indent, indent)
	case t.Kind() == reflect.Map:
		p.out.WriteByte('\n')
		for _, k := range sortedKeys(v) {
			fmt.Fprintf(&p.out, "%s%s: %s\n", indent, quote(k, t.Key()), quote(v.MapIndex(reflect.ValueOf(k)).String(), t.Elem()))
		}
	case isLeaf(t.Elem()):
		items := make([]string, v.Len())
		for i := range items {
			items[i] = quote(formatScalar(v.Index(i)), t.Elem())
		}
		p.out.WriteString(" [" + strings.Join(items, ", ") + "]")
		p.origin(path)
	default:
		p.out.WriteByte('\n')
		outer := p.protocol
		defer func() { p.protocol = outer }()
		for i := range v.Len() {
			if protocol, ok := protocolOf(v.Index(i)); ok {
				p.protocol = protocol
			}
			p.structure(v.Index(i), fmt.Sprintf("%s[%d]", path, i), indent+"- ", indent+"  ")
		}
	}
}

// origin ends a line, and says where its value came from if not from the file.
func (p *printer) origin(path string) {
	if !p.c.set[path] {
		p.out.WriteString("  # default")
	}
	p.out.WriteByte('\n')
}

func sortedKeys(v reflect.Value) []string {
	var keys []string
	for _, k := range v.MapKeys() {
		keys = append(keys, k.String())
	}
	slices.Sort(keys)
	return keys
}

// quote writes a value so that YAML reads the same text back, in a block and in
// [brackets] alike. Numbers, sizes and truth values are never quoted.
func quote(s string, t reflect.Type) string {
	if t.Kind() != reflect.String {
		if t != prefixType || !strings.Contains(s, ":") {
			return s
		}
	} else if plainText(s) {
		return s
	}
	// Every escape that strconv writes is one of YAML's double quotes.
	return strconv.Quote(s)
}

// plainText says whether s needs no quotes: a letter or slash first, then
// nothing that YAML gives a meaning, and no word that it reads as another type.
func plainText(s string) bool {
	switch strings.ToLower(s) {
	case "", "null", "true", "false", "yes", "no", "on", "off", "y", "n":
		return false
	}
	plain := func(c byte) bool { return isAlnum(c) || strings.IndexByte("_./:-", c) >= 0 }
	if c := s[0]; !isAlnum(c) && c != '/' || !onlyBytes(s, plain) || s[len(s)-1] == ':' {
		return false
	}
	// A text of digits alone would be a number to other readers of the output.
	return strings.ContainsFunc(s, func(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }) || strings.Count(s, ".") == 3
}
