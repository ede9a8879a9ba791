package configs

import (
	"reflect"
	"slices"
)

// LoadAdmin reads of a file what those need who ask a running weir: where it is
// asked. The rest is not looked at, as it may be good where weir runs and not
// here (passwords in the environment, relative paths), or half edited, and a hand
// that has to act must not have to mend it first. Where admin.socket is good, no
// other key needs to be. An error is an *Errors.
func LoadAdmin(path string) (*Admin, error) {
	data, err := readRegular(path, maxFile)
	if err != nil {
		return nil, &Errors{List: []Error{{File: path, Text: err.Error()}}}
	}
	root, yerr := parseYAML(data)
	if yerr != nil {
		yerr.File = path
		return nil, &Errors{List: []Error{*yerr}}
	}
	d := newDecoder(path, &node{}, newElement)
	c := newConfig()
	d.admin(root, c)
	switch wrong := func(key string) bool { return d.wrong[key] }; {
	case wrong("") || wrong("admin") || wrong("admin.socket"):
		return nil, &d.errs
	case c.Admin.Socket != "":
		return &c.Admin, nil
	}
	ch := checker{decoder: d, c: c}
	ch.adminToken(&c.Admin)
	tls := []string{"admin.tls", "admin.tls.cert", "admin.tls.key", "admin.tls.client_ca"}
	if !ch.good(append(tls, "admin.address", "admin.token_file")...) {
		return nil, &d.errs
	}
	return &c.Admin, nil
}

// admin decodes the block of that name alone.
func (d *decoder) admin(root *node, c *Config) {
	if root.kind != mappingKind {
		d.fail(root.mark(), "", "must be a mapping with keys such as admin, is %s", root.kind)
		return
	}
	fields := fieldsOf(reflect.TypeFor[Config]())
	f := fields[slices.IndexFunc(fields, func(f field) bool { return f.key == "admin" })]
	for i, k := range root.keys {
		switch first, twice := d.marks["admin"]; {
		case k.text != "admin":
		case twice:
			d.fail(k.mark(), "admin", "appears twice; first on line %d", first.line)
		default:
			d.value(root.items[i], f, reflect.ValueOf(&c.Admin).Elem(), "admin")
		}
	}
}
