package http1

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// validAuthority says whether a is host[:port] as weir forwards it: a name of
// letters, digits, "-", ".", "_" and "~" without empty labels (one dot at the
// end is fine), or an IPv6 address in brackets. RFC 3986, section 3.2.2, also
// allows percent escapes and sub-delims; no name that is looked up holds them,
// and each is a way to make two parsers see two hosts. A port is 1 to 65535.
func validAuthority(a []byte) bool {
	host, port, ok := splitPort(a)
	if !ok || !validPort(port) {
		return false
	}
	if len(host) > 0 && host[0] == '[' {
		return validIPv6(host[1 : len(host)-1])
	}
	if n := len(host); n > 1 && host[n-1] == '.' {
		host = host[:n-1]
	}
	if len(host) == 0 || len(host) > maxHost || !all(host, isHost) {
		return false
	}
	return host[0] != '.' && host[len(host)-1] != '.' && !bytes.Contains(host, []byte(".."))
}

// maxHost is the length of the longest DNS name.
const maxHost = 253

// splitPort cuts at the colon of the port, which port keeps: nil means that
// there is none. Brackets stay with the host.
func splitPort(a []byte) (host, port []byte, ok bool) {
	if len(a) > 0 && a[0] == '[' {
		i := bytes.IndexByte(a, ']')
		if i < 0 {
			return nil, nil, false
		}
		host, port = a[:i+1], a[i+1:]
		return host, port, len(port) == 0 || port[0] == ':'
	}
	i := bytes.IndexByte(a, ':')
	if i < 0 {
		return a, nil, true
	}
	return a[:i], a[i:], true
}

func validPort(p []byte) bool {
	if len(p) == 0 {
		return true
	}
	n := 0
	for _, c := range p[1:] {
		if n = n*10 + int(c-'0'); !digit(c) || n > 65535 {
			return false
		}
	}
	return n > 0
}

// validIPv6 follows RFC 4291, section 2.2. Zones are refused: they mean
// something on one machine only.
func validIPv6(a []byte) bool {
	groups, gap, i := 0, false, 0
	if bytes.HasPrefix(a, []byte("::")) {
		gap, i = true, 2
		if len(a) == 2 {
			return true
		}
	}
	for i < len(a) {
		start := i
		for i < len(a) && unhex(a[i]) >= 0 {
			i++
		}
		switch {
		case i < len(a) && a[i] == '.': // the last 32 bits as IPv4
			if !validIPv4(a[start:]) {
				return false
			}
			groups += 2
			return groups == 8 && !gap || groups < 8 && gap
		case i == start || i-start > 4:
			return false
		}
		if groups++; i == len(a) {
			break
		}
		if a[i] != ':' || i+1 == len(a) {
			return false
		}
		if i++; a[i] == ':' {
			if gap {
				return false
			}
			gap = true
			if i++; i == len(a) {
				break
			}
		}
	}
	return groups == 8 && !gap || groups < 8 && gap
}

func validIPv4(a []byte) bool {
	parts := 0
	for {
		n, i := 0, 0
		for i < len(a) && digit(a[i]) && i < 3 {
			n = n*10 + int(a[i]-'0')
			i++
		}
		if i == 0 || n > 255 || i > 1 && a[0] == '0' {
			return false
		}
		if parts++; i == len(a) {
			return parts == 4
		}
		if a[i] != '.' {
			return false
		}
		a = a[i+1:]
	}
}

// AppendHost appends the host of an authority that Parse accepted in the one
// form that hosts are compared in: lower case, without port, brackets and the
// dot at the end.
func AppendHost(dst, authority []byte) []byte {
	host, _, _ := splitPort(authority)
	if n := len(host); n > 1 && host[0] == '[' {
		host = host[1 : n-1]
	} else if n > 1 && host[n-1] == '.' {
		host = host[:n-1]
	}
	for _, c := range host {
		dst = append(dst, lower(c))
	}
	return dst
}

func unhex(c byte) int {
	switch {
	case digit(c):
		return int(c - '0')
	case lower(c) >= 'a' && lower(c) <= 'f':
		return int(lower(c)-'a') + 10
	}
	return -1
}

// escape decodes the percent escape at the start of p.
func escape(p []byte) (c byte, ok bool) {
	if len(p) < 3 || p[0] != '%' {
		return 0, false
	}
	hi, lo := unhex(p[1]), unhex(p[2])
	return byte(hi<<4 | lo), hi >= 0 && lo >= 0
}

func validEscapes(p []byte) bool {
	for {
		i := bytes.IndexByte(p, '%')
		if i < 0 {
			return true
		}
		p = p[i:]
		if _, ok := escape(p); !ok {
			return false
		}
		p = p[3:]
	}
}

// Crosses says whether a backend may read path as one outside the prefix it
// starts with: it has a "." or ".." segment, with %2e for any dot and also with
// a ";" parameter behind it (servlet containers cut that), or a backslash, or
// an encoded slash, backslash or NUL. Escapes of escapes (%252e) are not
// followed: a backend that decodes twice is beyond what a prefix can hold.
func Crosses(path []byte) bool {
	if bytes.IndexByte(path, '\\') >= 0 {
		return true
	}
	for p := path; ; {
		i := bytes.IndexByte(p, '%')
		if i < 0 {
			break
		}
		p = p[i:]
		if c, ok := escape(p); ok && (c == '/' || c == '\\' || c == 0) {
			return true
		}
		p = p[1:]
	}
	for {
		segment, rest, more := bytes.Cut(path, []byte("/"))
		if dots(segment) {
			return true
		}
		if !more {
			return false
		}
		path = rest
	}
}

// dots says whether a segment is "." or "..".
func dots(segment []byte) bool {
	n := 0
	for len(segment) > 0 && segment[0] != ';' {
		c, ok := escape(segment)
		switch {
		case segment[0] == '.':
			segment = segment[1:]
		case ok && c == '.':
			segment = segment[3:]
		default:
			return false
		}
		n++
	}
	return n == 1 || n == 2
}

// Rule is one route. Host is exact ("shop.test"), a wildcard for the first
// labels ("*.shop.test": any number of them as with nginx, but not shop.test
// itself), or empty or "*" for every host that no other rule names. Path "" and "/"
// match all paths; "/static" matches itself and what is below it; "/static/"
// is a plain prefix and does not match "/static".
type Rule struct{ Host, Path string }

// Router finds the rule for a request: first the host (exact, then the longest
// wildcard, then the default), then among that host's rules alone the longest
// path. It is immutable and safe for concurrent use.
type Router struct {
	hosts map[string][]pathRule // "shop.test", ".shop.test" for the wildcard, "" for the default
	all   []pathRule            // those of "" if no host is named: the host need not be looked at
}

type pathRule struct {
	path string
	rule int
}

// NewRouter refuses rules that can match nothing and rules that are there twice.
func NewRouter(rules []Rule) (*Router, error) {
	t := &Router{hosts: map[string][]pathRule{}}
	for i, r := range rules {
		host, err := hostKey(r.Host)
		if err != nil {
			return nil, err
		}
		path, err := pathKey(r.Path)
		if err != nil {
			return nil, err
		}
		set := t.hosts[host]
		for _, p := range set {
			if p.path == path {
				return nil, fmt.Errorf("routes %d and %d have the same host %q and path %q", p.rule, i, r.Host, r.Path)
			}
		}
		set = append(set, pathRule{path, i})
		slices.SortFunc(set, func(a, b pathRule) int { return cmp.Compare(len(b.path), len(a.path)) })
		t.hosts[host] = set
	}
	if len(t.hosts) == 1 {
		t.all = t.hosts[""]
	}
	return t, nil
}

func hostKey(s string) (string, error) {
	if s == "" || s == "*" {
		return "", nil
	}
	name, wild := strings.CutPrefix(s, "*.")
	if _, port, _ := splitPort([]byte(name)); len(port) > 0 || !validAuthority([]byte(name)) || wild && name[0] == '[' {
		return "", fmt.Errorf("host %q: must be a name or an address (IPv6 in brackets) without port, or \"*.\" and a name", s)
	}
	key := string(AppendHost(nil, []byte(name)))
	if wild {
		key = "." + key
	}
	return key, nil
}

// pathKey has one form for "all paths", the empty one.
func pathKey(s string) (string, error) {
	p := []byte(s)
	if len(p) > 0 && (p[0] != '/' || !all(p, isTarget) || bytes.IndexByte(p, '?') >= 0 || !validEscapes(p) || Crosses(p)) {
		return "", fmt.Errorf("path %q: must start with \"/\" and hold no dot segments, backslashes, spaces, \"?\" or \"#\"; bytes that are not ASCII are written %%XX", s)
	}
	if s == "/" {
		s = ""
	}
	return s, nil
}

// Match returns the index of the rule for a request's Host and Path, and how
// many bytes of path its Path covers, for RequestEdit.Strip. rej is
// RejectNoRoute, or RejectCrosses: for a path that a backend may read as one of
// another route, or of none. That is asked only where the host has a path other
// than "/", because else there is no border to cross.
func (t *Router) Match(authority, path []byte) (rule, prefix int, rej *Reject) {
	set := t.all
	if set == nil {
		set = t.named(authority)
	}
	bordered := len(set) > 1 || len(set) == 1 && set[0].path != ""
	if bordered && Crosses(path) {
		return -1, 0, RejectCrosses
	}
	rule, prefix = longest(set, path, false)
	if bordered && (bytes.IndexByte(path, ';') >= 0 || bytes.Contains(path, []byte("//"))) {
		if loose, _ := longest(set, path, true); loose != rule {
			return -1, 0, RejectCrosses
		}
	}
	if rule < 0 {
		return -1, 0, RejectNoRoute
	}
	return rule, prefix, nil
}

// longest returns the rule of the longest path in set that covers path, or -1.
// loose reads path as servers do that merge slashes and cut ";" parameters.
func longest(set []pathRule, path []byte, loose bool) (rule, n int) {
	for _, p := range set {
		if n, ok := covers(path, p.path, loose); ok {
			return p.rule, n
		}
	}
	return -1, 0
}

// named returns the rules of the host in authority.
func (t *Router) named(authority []byte) []pathRule {
	var buf [maxHost + 1]byte
	return t.host(AppendHost(buf[:0], authority))
}

func (t *Router) host(host []byte) []pathRule {
	if set, ok := t.hosts[string(host)]; ok {
		return set
	}
	for {
		i := bytes.IndexByte(host, '.')
		if i < 0 {
			return t.hosts[""]
		}
		if set, ok := t.hosts[string(host[i:])]; ok {
			return set
		}
		host = host[i+1:]
	}
}

// covers says whether path lies under prefix, and how many of its bytes
// prefix takes. "%73" and "s" are the same letter (RFC 3986, section 6.2.2.2):
// escapes of unreserved characters are compared decoded, or a client could
// choose its route by spelling.
func covers(path []byte, prefix string, loose bool) (n int, ok bool) {
	for i := range len(prefix) {
		if loose {
			n = skipLoose(path, n)
		}
		if n == len(path) {
			return 0, false
		}
		if path[n] == prefix[i] && path[n] != '%' {
			n++
			continue
		}
		c, ok := escape(path[n:])
		switch {
		case ok && c == prefix[i] && c < 0x80 && class[c]&isHost != 0:
			n += 3
		case path[n] == prefix[i]:
			n++
		default:
			return 0, false
		}
	}
	if loose {
		n = skipLoose(path, n)
	}
	return n, prefix == "" || prefix[len(prefix)-1] == '/' || n == len(path) || path[n] == '/'
}

// skipLoose moves over a ";" parameter, and to the last of several slashes.
func skipLoose(path []byte, n int) int {
	if n < len(path) && path[n] == ';' {
		for n < len(path) && path[n] != '/' {
			n++
		}
	}
	for n+1 < len(path) && path[n] == '/' && path[n+1] == '/' {
		n++
	}
	return n
}

var (
	RejectNoRoute = reject(404, "no_route", "no route has this host and path")
	RejectCrosses = reject(400, "path", "path has dot segments, backslashes, encoded or doubled slashes, or parameters, and could reach another route's backend")
)
