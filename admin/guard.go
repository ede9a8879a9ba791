package admin

import (
	"bytes"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/valyala/fasthttp"
)

// guard says which requests may come in at one listener.
type guard struct {
	unix   bool // the file's mode has let the caller in already
	access *atomic.Pointer[Access]
}

// refuse returns why a request is not served, or "".
//
// A listener on loopback is open to every process of the machine, and two of
// them carry the requests of others: a proxy, and a browser. A proxy is known by
// the fields it adds. A browser's page from another site is known by Origin and
// Sec-Fetch-Site, or, where its own name was made to resolve to 127.0.0.1 (DNS
// rebinding), by the Host it asks for, which is never ours.
func (g *guard) refuse(h *fasthttp.RequestHeader) string {
	for key := range h.All() {
		if forwarding(key) {
			return "this request came through a proxy (it has " + string(key) + "), and the admin pages are not for those behind one; " +
				"take the route to them out of the proxy"
		}
	}
	host := string(h.Host())
	if !g.hostAllowed(host) {
		return "the admin pages are not served under this host name; ask by IP address or as localhost"
	}
	if site := h.Peek("Sec-Fetch-Site"); len(site) > 0 && string(site) != "same-origin" && string(site) != "none" && !link(h) {
		return "this request was made by another site's page"
	}
	if origin := h.Peek("Origin"); len(origin) > 0 {
		u, err := url.Parse(string(origin))
		if err != nil || u.Host == "" || !strings.EqualFold(u.Host, host) {
			return "this request was made by another site's page"
		}
	}
	return ""
}

// link says whether a browser opens the dashboard because its user has followed a
// link: the site that has the link sees nothing of the page.
func link(h *fasthttp.RequestHeader) bool {
	path, _, _ := bytes.Cut(h.RequestURI(), []byte("?"))
	return h.IsGet() && string(path) == "/" && string(h.Peek("Sec-Fetch-Mode")) == "navigate" && string(h.Peek("Sec-Fetch-Dest")) == "document"
}

func forwarding(key []byte) bool {
	k := bytes.ToLower(key)
	return bytes.HasPrefix(k, []byte("x-forwarded-")) ||
		bytes.Equal(k, []byte("forwarded")) || bytes.Equal(k, []byte("via")) || bytes.Equal(k, []byte("x-real-ip"))
}

// hostAllowed: a browser always sends a Host, so a request without one is a
// probe's, in HTTP/1.0. Where clients have to log in any name will do: what a
// browser has for our name it does not send to another one, which leads here.
func (g *guard) hostAllowed(host string) bool {
	if g.unix || host == "" || g.access.Load().asks() {
		return true
	}
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.Trim(name, "[]"))
	if name == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.Unmap().IsLoopback()
}
