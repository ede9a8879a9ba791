package configs

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

func (ch *checker) routes(l *Listener, path string) {
	type place struct{ host, path string }
	first := map[place]string{}
	for i, r := range l.Routes {
		p := fmt.Sprintf("%s[%d]", path, i)
		ch.refers(r.Backend, p+".backend")
		ch.headers(l, r, p)
		if !ch.good(p, p+".host", p+".path") {
			continue
		}
		at := place{r.Host, r.Path}
		if other, twice := first[at]; twice {
			ch.reject(p, "host and path are those of %s on line %d; the second would never be taken", other, ch.at(other).line)
		} else {
			first[at] = p
		}
		if r.Strip && r.Path == "/" {
			ch.warn(p+".strip", "has no effect: path / leaves nothing to cut")
		}
	}
}

// headers holds the rules between a route's header fields and what else writes
// them.
func (ch *checker) headers(l *Listener, r Route, path string) {
	set := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(r.SetHeader)) {
		set[strings.ToLower(name)] = true
		ch.keyWrites(l, name, join(path, "set_header."+shownKey(name)))
	}
	for j, name := range r.RemoveHeader {
		p := fmt.Sprintf("%s.remove_header[%d]", path, j)
		ch.keyWrites(l, name, p)
		if set[strings.ToLower(name)] {
			ch.reject(p, "%s is also in set_header, which replaces what the client sent; take it out here", clip(name))
		}
	}
}

// keyWrites refuses header fields that a key of the listener writes.
func (ch *checker) keyWrites(l *Listener, name, path string) {
	key := ""
	switch low := strings.ToLower(name); {
	case strings.HasPrefix(low, "x-forwarded-") && l.XForwarded:
		switch low {
		case "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host":
			key = "x_forwarded: true"
		}
	case low == "forwarded" && l.Forwarded:
		key = "forwarded: true"
	case low == "via" && l.Via != "":
		key = "via"
	case low == "x-request-id" && l.RequestID == "make":
		key = "request_id: make"
	}
	if key != "" {
		ch.reject(path, "%s is written by %s of this listener; change that key, or take the field out here", clip(name), key)
	}
}
