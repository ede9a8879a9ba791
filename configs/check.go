package configs

import (
	"fmt"
	"slices"
	"strings"
)

// checker applies the rules between keys to a decoded configuration. A rule
// leaves values alone that were wrong in themselves, so that one mistake gives
// one error. Warnings are kept only if there is no error at all, so those rules
// need not look.
type checker struct {
	*decoder
	c     *Config
	known []string // names of the backends, sorted; nil while one of them is not known
	warns []Error
}

func (ch *checker) run() {
	ch.names()
	for i := range ch.c.Listeners {
		at := fmt.Sprintf("listeners[%d]", i)
		ch.listener(&ch.c.Listeners[i], at)
		ch.keyPair(ch.c.Listeners[i].TLS.Cert, ch.c.Listeners[i].TLS.Key, at+".tls")
	}
	for i := range ch.c.Backends {
		ch.backend(&ch.c.Backends[i], fmt.Sprintf("backends[%d]", i))
	}
	ch.protocol()
	ch.limits()
	ch.unused()
	ch.addresses()
	ch.memory()
	ch.slowQueryLog()
	ch.admin()
}

// sorted gives the warnings in the order of the file.
func (ch *checker) sorted() []Warning {
	slices.SortStableFunc(ch.warns, before)
	var out []Warning
	for _, w := range ch.warns {
		out = append(out, Warning(w))
	}
	return out
}

// at is the place of a path, or of the nearest parent that the file wrote.
func (ch *checker) at(path string) mark {
	for p := path; p != ""; {
		if m, ok := ch.marks[p]; ok {
			return m
		}
		p = p[:max(strings.LastIndexAny(p, ".["), 0)]
	}
	return mark{1, 1}
}

func (ch *checker) reject(path, format string, args ...any) {
	ch.fail(ch.at(path), path, format, args...)
}

func (ch *checker) warn(path, format string, args ...any) {
	m := ch.at(path)
	ch.warns = append(ch.warns, Error{File: ch.file, Line: m.line, Col: m.col, Path: ch.shown(path), Text: fmt.Sprintf(format, args...)})
}

// good says whether none of these paths has an error.
func (ch *checker) good(paths ...string) bool {
	return !slices.ContainsFunc(paths, func(p string) bool { return ch.wrong[p] })
}

func (ch *checker) names() {
	first := map[string]string{}
	unique := func(path, name string) {
		if name == "" || !ch.good(path) {
			return
		}
		kind, _, _ := strings.Cut(path, "[")
		if at, twice := first[kind+name]; twice {
			ch.reject(path, "the name %q is taken by %s on line %d", name, strings.TrimSuffix(at, ".name"), ch.at(at).line)
			return
		}
		first[kind+name] = path
	}
	for i, l := range ch.c.Listeners {
		unique(fmt.Sprintf("listeners[%d].name", i), l.Name)
	}
	for i, b := range ch.c.Backends {
		unique(fmt.Sprintf("backends[%d].name", i), b.Name)
	}
	for _, b := range ch.c.Backends {
		if b.Name == "" {
			ch.known = nil // a reference may mean this one
			return
		}
		ch.known = append(ch.known, b.Name)
	}
	slices.Sort(ch.known)
	ch.known = slices.Compact(ch.known)
}

func (ch *checker) listener(l *Listener, path string) {
	ch.refers(l.Backend, path+".backend")
	ch.routes(l, path+".routes")

	if ch.good(path+".protocol", path+".max_header", path+".max_uri") && l.MaxURI > l.MaxHeader {
		if ch.set[path+".max_uri"] {
			ch.reject(path+".max_uri", "must be at most max_header, which is %s: the head holds the target; is %s", l.MaxHeader, l.MaxURI)
		} else {
			ch.reject(path+".max_header", "must be at least max_uri, which is %s by default: the head holds the target; write max_uri too", l.MaxURI)
		}
	}
	if l.MaxLogins > l.MaxClients && ch.set[path+".max_logins"] {
		ch.warn(path+".max_logins", "has no effect: it is more than max_clients, which is %d", l.MaxClients)
	}
	for i, p := range l.TrustedProxies {
		if p.Bits() == 0 {
			ch.warn(fmt.Sprintf("%s.trusted_proxies[%d]", path, i), "%s trusts everyone to say who they are; name the proxies in front", p)
		}
	}
	onlyUnix := !slices.ContainsFunc(l.Address, func(a Address) bool { return a.Network() != "unix" })
	if at := path + ".priority_header"; l.PriorityHeader != "" && len(l.TrustedProxies) == 0 && ch.good(at, path+".trusted_proxies") {
		ch.warn(at, "has no effect without trusted_proxies: it is believed of those alone")
	}
	switch at := path + ".proxy_protocol"; {
	case l.ProxyProtocol && len(l.TrustedProxies) == 0 && !onlyUnix && ch.good(path+".trusted_proxies"):
		ch.reject(at, "needs trusted_proxies: a PROXY header from anyone could name any client")
	case !l.ProxyProtocol && l.Protocol == ProtocolMySQL && len(l.TrustedProxies) > 0:
		ch.warn(path+".trusted_proxies", "has no effect without proxy_protocol")
	}
	if onlyUnix && !l.ProxyProtocol {
		ch.unixOnly(l, path)
	}
}

// unixOnly warns of keys that need client addresses, which unix sockets lack.
func (ch *checker) unixOnly(l *Listener, path string) {
	if len(l.Allow) > 0 {
		ch.warn(path+".allow", "has no effect: clients of a unix socket have no address; the socket's permissions decide who may connect")
	}
	if l.DeferAccept && ch.set[path+".defer_accept"] {
		ch.warn(path+".defer_accept", "has no effect on unix sockets")
	}
	if l.Connections.PerClient > 0 || l.Connections.Rate != (Rate{}) {
		ch.warn(path+".connections", "has no effect: clients of a unix socket have no address to tell them apart")
	}
	if l.Limits.PerRate != (Rate{}) && l.Limits.Per == defaultPer {
		ch.warn(path+".limits.per_rate", "counts all clients as one: those of a unix socket have no address; write limits.per to tell them apart")
	}
}

// refers checks that a backend of that name exists.
func (ch *checker) refers(name, path string) {
	if name == "" || !ch.good(path) || ch.known == nil {
		return
	}
	if _, ok := slices.BinarySearch(ch.known, name); ok {
		return
	}
	text := ""
	if !ch.errs.full() { // else the text is not kept, and comparing names takes its time
		if near := suggest(name, ch.known); near != "" {
			text = "; did you mean " + near + "?"
		}
	}
	ch.reject(path, "no backend is named %q; there %s%s", name, thereAre(ch.known), text)
}

func thereAre(names []string) string {
	if len(names) == 1 {
		return "is: " + names[0]
	}
	const most = 20
	if len(names) > most {
		return fmt.Sprintf("are: %s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return "are: " + strings.Join(names, ", ")
}

// unused warns of backends that no listener names.
func (ch *checker) unused() {
	used := map[string]bool{}
	for _, l := range ch.c.Listeners {
		used[l.Backend] = true
		for _, r := range l.Routes {
			used[r.Backend] = true
		}
	}
	for i, b := range ch.c.Backends {
		if b.Name != "" && !used[b.Name] {
			ch.warn(fmt.Sprintf("backends[%d].name", i), "no listener sends requests to %q; its pool stays open but idle", b.Name)
		}
	}
}
