package configs

import "fmt"

// protocol refuses a backend that listeners of different protocols use: its
// connections speak one.
func (ch *checker) protocol() {
	type use struct{ protocol, path string }
	first := map[string]use{}
	uses := func(name, protocol, path string) {
		if name == "" || protocol == "" || !ch.good(path) {
			return
		}
		switch u, again := first[name]; {
		case !again:
			first[name] = use{protocol, path}
		case u.protocol != protocol:
			ch.reject(path, "%q is a backend of protocol %s for %s on line %d; a backend speaks one protocol, write another entry for %s",
				name, u.protocol, u.path, ch.at(u.path).line, protocol)
		}
	}
	for i, l := range ch.c.Listeners {
		path := fmt.Sprintf("listeners[%d]", i)
		uses(l.Backend, l.Protocol, path+".backend")
		for j, r := range l.Routes {
			uses(r.Backend, l.Protocol, fmt.Sprintf("%s.routes[%d].backend", path, j))
		}
	}
}
