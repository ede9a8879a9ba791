package configs

import "strings"

// needs reports keys that are missing, and pairs of which only one may be
// there. A key that a misspelt one stands for is reported with that one, and
// counts as wrong here, not as missing.
func (d *decoder) needs(n *node, fields []field, seen map[string]int, meant map[string]bool, path string) {
	reported := ""
	for _, f := range fields {
		_, there := seen[f.key]
		switch {
		case !there && meant[f.key]:
			d.wrong[join(path, f.key)] = true
		case f.need && !there && (f.only == "" || f.only == d.speaks.protocol):
			d.fail(n.mark(), join(path, f.key), "is missing; it has no default")
		case f.oneof != "" && f.oneof != reported:
			reported = f.oneof
			d.exactlyOne(n, f, seen, meant, path)
		}
	}
}

// inItsPlace says what to write for a key that the protocol does not have.
func (d *decoder) inItsPlace(f field) string {
	for _, r := range f.rivals {
		if r.has(d.speaks.protocol) {
			return "; write " + r.key + " instead"
		}
	}
	return ""
}

// exactlyOne reports the group of keys that f begins if none is there, and each
// that is there beside the first. A key of another protocol is reported by what
// it is, and counts as there.
func (d *decoder) exactlyOne(n *node, f field, seen map[string]int, meant map[string]bool, path string) {
	var keys []string
	first, enough := "", false
	for _, f := range append([]field{f}, f.rivals...) {
		key := f.key
		_, there := seen[key]
		if f.has(d.speaks.protocol) {
			keys = append(keys, key)
		}
		switch {
		case there && !f.has(d.speaks.protocol):
			enough = true
		case there && first != "":
			d.fail(d.marks[join(path, key)], join(path, key), "stands beside %s; keep one of the two", first)
		case there:
			first, enough = key, true
		case meant[key]:
			enough = true
		}
	}
	switch {
	case enough:
	case len(keys) == 1:
		d.fail(n.mark(), join(path, keys[0]), "is missing; it has no default")
	case len(keys) == 2:
		d.fail(n.mark(), join(path, keys[0]), "is missing; write %s, or %s", keys[0], keys[1])
	default:
		d.fail(n.mark(), path, "has no %s; write one of: %s", f.oneof, strings.Join(keys, ", "))
	}
}
