package configs

import (
	"reflect"
)

// Parse reads and checks a configuration; name is the file's name in messages.
// An error is an *Errors with everything that is wrong, and then there is no
// Config. Warnings come in the order of the file. It reads the environment
// variables and files that hold the passwords of users.
func Parse(name string, data []byte) (*Config, []Warning, error) {
	root, yerr := parseYAML(data)
	if yerr != nil {
		yerr.File = name
		return nil, nil, &Errors{List: []Error{*yerr}}
	}
	d := newDecoder(name, root, newElement)
	c := newConfig()
	if root.kind == nullKind {
		d.fail(root.mark(), "", "the file is empty; it needs a listener and a backend, and weir check without -config prints an example")
	} else {
		d.structure(root, reflect.ValueOf(c).Elem(), "")
	}
	c.set, c.marks = d.set, d.marks
	c.complete()
	ch := checker{decoder: d, c: c}
	ch.run()
	if len(d.errs.List) > 0 {
		d.errs.sort()
		return nil, nil, &d.errs
	}
	return c, ch.sorted(), nil
}
