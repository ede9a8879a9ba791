package configs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

const (
	// maxFile bounds a file. A hundred listeners need about 50 KiB.
	maxFile = 1 << 20
	// maxDepth bounds the nesting; the schema has 8 levels.
	maxDepth = 16
	// maxAliased bounds how many values aliases may stand for, all together:
	// nested aliases double with each level.
	maxAliased = 10000
)

// Load reads and checks the file of that path. An error is an *Errors.
func Load(path string) (*Config, []Warning, error) {
	data, err := readRegular(path, maxFile)
	if err != nil {
		return nil, nil, &Errors{List: []Error{{File: path, Text: err.Error()}}}
	}
	return Parse(path, data)
}

// readRegular reads a file of at most that many bytes, and one more of a longer
// one: the caller refuses that.
func readRegular(path string, most int) ([]byte, error) {
	// With O_NONBLOCK the open of a pipe that nobody writes to returns, and the
	// kind that is looked at is that of what is read, whatever the path leads to
	// by then. Links are followed: a mounted ConfigMap is made of them.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		if info, e := os.Stat(path); e == nil && info.Mode()&fs.ModeSocket != 0 { // which no open takes
			err = notRegular(info.Mode())
		}
		return nil, withoutPath(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, withoutPath(err)
	}
	if !info.Mode().IsRegular() {
		return nil, notRegular(info.Mode())
	}
	// Whatever the file's size says: files of /proc say 0.
	data, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	return data, withoutPath(err)
}

func notRegular(m fs.FileMode) error {
	return fmt.Errorf("is %s; weir reads a regular file, or a link to one, as each reload reads it again", kindOfFile(m))
}

func kindOfFile(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a directory"
	case m&fs.ModeNamedPipe != 0:
		return "a pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}

// withoutPath drops the path from an error of package os, as the message
// begins with it.
func withoutPath(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("cannot %s the file: %w", strings.Replace(pe.Op, "stat", "open", 1), pe.Err)
	}
	return err
}

// parseYAML turns the bytes of a file into a tree. It is the only function
// that meets the YAML library.
func parseYAML(data []byte) (*node, *Error) {
	if len(data) > maxFile {
		return nil, &Error{Line: 1, Col: 1, Text: fmt.Sprintf("the file is larger than 1MiB (%d bytes), the most weir reads", maxFile)}
	}
	if e := checkText(data); e != nil {
		return nil, e
	}
	var doc yaml.Node
	limits := loaderlimits.New(loaderlimits.DepthValue(maxDepth), loaderlimits.AliasNone())
	if err := yaml.Load(data, &doc, yaml.WithPlugin(limits)); err != nil {
		return nil, syntaxError(data, err)
	}
	c := converter{open: map[*yaml.Node]bool{}}
	root := &doc
	if root.Kind == yaml.DocumentNode && len(root.Content) == 1 {
		root = root.Content[0]
	}
	n := c.convert(root)
	return n, c.err
}

// checkText refuses what is not text. The library would too, but without
// saying where.
func checkText(data []byte) *Error {
	line, col := 1, 1
	for rest := data; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		switch {
		case r == utf8.RuneError && size == 1:
			return &Error{Line: line, Col: col, Text: fmt.Sprintf("byte 0x%02x is not UTF-8; save the file as UTF-8", rest[0])}
		case r == '\n':
			line, col = line+1, 0
		case r == '\r' || r == '\t' || r == 0x85:
		case r < 0x20 || r >= 0x7f && r < 0xa0:
			return &Error{Line: line, Col: col, Text: fmt.Sprintf("control character 0x%02x is not allowed", r)}
		}
		rest = rest[size:]
		col++
	}
	return nil
}

// syntaxError turns an error of the library into one of ours.
func syntaxError(data []byte, err error) *Error {
	e := &Error{Line: 1, Col: 1}
	le, ok := errors.AsType[*yaml.LoadError](err)
	switch {
	case !ok:
		e.Text = "not valid YAML: " + err.Error()
		return e
	case strings.Contains(le.Message, "no documents"):
		e.Text = "the file is empty; it needs a listener and a backend, and weir check without -config prints an example"
		return e
	case strings.Contains(le.Message, "found multiple"):
		e.Line, e.Col = secondDocument(data)
		e.Text = "a second document begins here; weir reads one configuration from a file"
		return e
	}
	if le.Mark.Line > 0 {
		e.Line, e.Col = le.Mark.Line, max(le.Mark.Column, 1)
	}
	if strings.Contains(le.Message, "max depth") {
		e.Text = fmt.Sprintf("values are nested more than %d deep; a configuration has 8 levels", maxDepth)
		return e
	}
	e.Text = "not valid YAML: " + le.Message
	if strings.Contains(le.Message, "unknown anchor") {
		// The message has the name, which may be a secret without its quotes.
		e.Text = "not valid YAML: no value has this alias's name"
	}
	if at := le.ContextMark; at.Line > 0 && at.Line < e.Line {
		e.Text += fmt.Sprintf(" (%s that began at line %d)", le.ContextMsg, at.Line)
	}
	if hint := syntaxHint(data, e.Line, e.Col, le); hint != "" {
		e.Text += "; " + hint
	}
	return e
}

// syntaxHint says what to do about the mistakes that are made most.
func syntaxHint(data []byte, line, col int, le *yaml.LoadError) string {
	text := lineOf(data, line)
	at := []rune(text)
	switch {
	case strings.HasPrefix(strings.TrimLeft(text, " "), "\t"):
		return "this line begins with a tab, YAML indents with spaces"
	case strings.Contains(le.ContextMsg, "alias") || strings.Contains(le.Message, "unknown anchor"):
		return "a value that begins with a star stands for another one; quote it if it is a text, as a host or a hash: \"*.shop.test\""
	case strings.Contains(text, "[::") || strings.Contains(text, "]:"):
		return "quote an IPv6 address: \"[::1]:8080\""
	case strings.Contains(le.Message, "cannot start any token") && col <= len(at):
		return fmt.Sprintf("quote a value that begins with %c", at[col-1])
	case strings.Contains(le.Message, "mapping values are not allowed"):
		return "look for a colon in a value that needs quotes, or a line indented too far"
	}
	return ""
}

func lineOf(data []byte, line int) string {
	for l := range strings.Lines(string(data)) {
		if line--; line == 0 {
			return strings.TrimRight(l, "\r\n")
		}
	}
	return ""
}

// secondDocument finds where the second document begins: at the first --- that
// follows anything but comments and directives.
func secondDocument(data []byte) (line, col int) {
	begun := false
	for l := range strings.Lines(string(data)) {
		line++
		l = strings.TrimRight(l, "\r\n")
		switch marker := l == "---" || strings.HasPrefix(l, "--- "); {
		case marker && begun:
			return line, 1
		case marker || strings.TrimSpace(l) != "" && l[0] != '#' && l[0] != '%':
			begun = true
		}
	}
	return 1, 1
}

// converter turns the library's tree into ours. The first error ends it.
type converter struct {
	err     *Error
	open    map[*yaml.Node]bool // anchored values being converted: one inside itself never ends
	inAlias int
	aliased int
}

func (c *converter) fail(y *yaml.Node, format string, args ...any) *node {
	if c.err == nil {
		c.err = &Error{Line: max(y.Line, 1), Col: max(y.Column, 1), Text: fmt.Sprintf(format, args...)}
	}
	return &node{kind: nullKind, line: 1, col: 1}
}

func (c *converter) convert(y *yaml.Node) *node {
	if c.err != nil {
		return &node{kind: nullKind, line: 1, col: 1}
	}
	if c.inAlias > 0 {
		if c.aliased++; c.aliased > maxAliased {
			return c.fail(y, "aliases stand for more than %d values; write them out", maxAliased)
		}
	}
	if y.Kind == yaml.AliasNode {
		return c.alias(y)
	}
	if y.Style&yaml.TaggedStyle != 0 {
		return c.fail(y, "a tag is not taken; write the value alone, in quotes if it begins with !")
	}
	if y.Anchor != "" {
		c.open[y] = true
		defer delete(c.open, y)
	}
	n := &node{line: max(y.Line, 1), col: max(y.Column, 1)}
	switch y.Kind {
	case yaml.ScalarNode:
		n.text = y.Value
		n.quoted = y.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
		if y.Tag == "!!null" && !n.quoted {
			n.kind = nullKind
		}
	case yaml.SequenceNode:
		n.kind = listKind
		for _, item := range y.Content {
			n.items = append(n.items, c.convert(item))
		}
	case yaml.MappingNode:
		n.kind = mappingKind
		for i := 0; i+1 < len(y.Content); i += 2 {
			c.pair(n, y.Content[i], y.Content[i+1])
		}
	default:
		n.kind = nullKind
	}
	return n
}

func (c *converter) pair(n *node, key, value *yaml.Node) {
	switch {
	case key.Tag == "!!merge":
		c.fail(key, "merge keys (<<) are not taken: which value wins is hard to see; write the keys out, or use an alias for the whole value")
	case key.Kind != yaml.ScalarNode:
		c.fail(key, "a key must be a word, is a list, a mapping or an alias")
	}
	n.keys = append(n.keys, c.convert(key))
	n.items = append(n.items, c.convert(value))
}

// alias gives the anchored value the place of the alias's use only in errors
// about the alias itself; errors inside the value point to where it is written.
func (c *converter) alias(y *yaml.Node) *node {
	if y.Alias == nil || c.open[y.Alias] {
		return c.fail(y, "the alias *%s stands for a value that holds itself", shownKey(y.Value))
	}
	c.inAlias++
	defer func() { c.inAlias-- }()
	return c.convert(y.Alias)
}
