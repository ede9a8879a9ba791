package http1

import (
	"weir/internal/sock"
	"weir/proxy/fault"
	"weir/proxy/proxied"
)

// identify reads the PROXY header of a client. Where it is not known after that,
// next is what is to become of it.
func (f *Front) identify(l *sock.Listener, c sock.Conn, w sock.Wake, set *Settings) (next sock.Next, known bool) {
	r := proxied.Identify(l, c, w, set.HeaderTimeout, "listeners[].timeouts.header")
	switch r.Step {
	case proxied.Known:
		return next, true
	case proxied.Wait:
		return sock.Next{Park: set.HeaderTimeout, State: proxied.Waiting}, false
	}
	if r.Err != nil {
		f.stats.refused.count(fault.BadProxyHeader)
		f.logRefused(set, c, fault.BadProxyHeader, nil, 0)
		proxied.Log(f.log, f.name, c, r.Err)
	}
	f.sweeper.End(c, r.Ending, true, l.Gone())
	return next, false
}
