package configs

import (
	"fmt"
	"reflect"
	"slices"
)

// The protocols of listeners, and so of backends.
const (
	ProtocolHTTP  = "http"
	ProtocolMySQL = "mysql"
)

// speech is the protocol of a listener or backend, and how that is known. The
// zero value is a protocol that is not known, because the file has an error.
type speech struct {
	protocol string
	entry    string // "listener" or "backend"
	why      string // of a backend: what tells, as the end of a sentence
}

// String is the end of a message that begins with "this".
func (s speech) String() string {
	return s.entry + " is of protocol " + s.protocol + s.why
}

// protocols tells the protocol of each entry before it is decoded: which keys
// there are, and their defaults, go by it. The protocol of a backend is that of
// the listeners that name it, wherever in the file they stand.
type protocols struct {
	backends map[string]speech
}

// protocolsIn looks through the tree of a file. What does not look as it should
// is left for the decoder to report.
func protocolsIn(root *node) protocols {
	p := protocols{map[string]speech{}}
	listeners := root.get("listeners")
	if listeners == nil {
		return p
	}
	for i, l := range listeners.items {
		protocol := protocolIn(l)
		p.use(l.get("backend"), protocol, i)
		if routes := l.get("routes"); routes != nil {
			for _, r := range routes.items {
				p.use(r.get("backend"), protocol, i)
			}
		}
	}
	return p
}

func (p protocols) use(name *node, protocol string, listener int) {
	if name == nil {
		return
	}
	switch s, known := p.backends[name.text]; {
	case !known:
		p.backends[name.text] = speech{protocol, "backend", fmt.Sprintf(", as listeners[%d] is", listener)}
	case s.protocol != protocol:
		p.backends[name.text] = speech{} // check_protocol.go reports it
	}
}

// protocolIn is the protocol a listener names, "" for none that there is.
func protocolIn(listener *node) string {
	if n := listener.get("protocol"); n != nil && (n.text == ProtocolHTTP || n.text == ProtocolMySQL) {
		return n.text
	}
	return ""
}

// of gives the protocol of an entry that has one. A backend that no listener
// names has keys of MySQL, or is taken for one of HTTP.
func (p protocols) of(t reflect.Type, n *node) (speech, bool) {
	switch t {
	case reflect.TypeFor[Listener]():
		return speech{protocol: protocolIn(n), entry: "listener"}, true
	case reflect.TypeFor[Backend]():
		if name := n.get("name"); name != nil {
			if s, ok := p.backends[name.text]; ok {
				return s, true
			}
		}
		for _, f := range fieldsOf(t) {
			if f.only == ProtocolMySQL && n.get(f.key) != nil {
				return speech{ProtocolMySQL, "backend", ", as it has " + f.key}, true
			}
		}
		return speech{protocol: ProtocolHTTP, entry: "backend"}, true
	}
	return speech{}, false
}

// get finds the value of a key, nil if n is no mapping or has no such key.
func (n *node) get(key string) *node {
	at := slices.IndexFunc(n.keys, func(k *node) bool { return k.text == key })
	if at < 0 {
		return nil
	}
	return n.items[at]
}

// protocolOf is the protocol of a decoded listener or backend. ok is false for
// other values.
func protocolOf(v reflect.Value) (protocol string, ok bool) {
	switch x := v.Interface().(type) {
	case Listener:
		return x.Protocol, true
	case Backend:
		return x.Protocol, true
	}
	return "", false
}
