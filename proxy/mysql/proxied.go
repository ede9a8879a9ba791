package mysql

import (
	"net/netip"

	"weir/internal/sock"
	"weir/proxy/fault"
	"weir/proxy/proxied"
)

// identify reads the PROXY header of a client, which comes before the greeting.
// Where it is not known after that, next is what is to become of it. It counts
// in max_logins only from then on: until then it holds a connection and no more.
func (f *Front) identify(l *sock.Listener, c sock.Conn, w sock.Wake, set *Settings) (next sock.Next, known bool) {
	r := proxied.Identify(l, c, w, set.LoginTimeout, "listeners[].timeouts.login")
	switch r.Step {
	case proxied.Known:
		return next, true
	case proxied.Wait:
		return sock.Next{Park: set.LoginTimeout, State: proxied.Waiting}, false
	}
	if r.Err != nil {
		f.stats.refused.count(fault.BadProxyHeader)
		proxied.Log(f.log, f.name, c, r.Err)
	}
	f.sweeper.End(c, r.Ending, true, l.Gone())
	return next, false
}

// graceful says whether a client at peer is never to be reset.
func (set *Settings) graceful(peer netip.Addr) bool {
	return set.Graceful || set.ProxyProtocol && proxied.Expected(set.Trusted, peer)
}
