package storm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// target is a checked Options.URL.
type target struct {
	network, address string         // to dial: "tcp" and host:port, or "unix" and a path
	addr             netip.AddrPort // address, where it is TCP
	unit             string         // Result.Unit
	encrypted        bool           // there may be bytes of TLS after the last answer

	// client makes what one worker uses over its link. The error is about the URL.
	client func(*run, *link) (client, error)
}

// client makes the requests of one worker, one at a time.
type client interface {
	// once makes one request, on a new connection unless one is kept, and ends
	// the connection unless the mode keeps it. All of it is over at the deadline.
	once(ctx context.Context, deadline time.Time) error
	// hangUp ends the connection, if there is one.
	hangUp()
}

// Forms are the URLs that a storm goes to, for usage texts.
func Forms() []string { return []string{httpForm, mysqlForm} }

const httpForm = "http://HOST:PORT/PATH"

// target reads the URL. What is wrong with one is said without it: a password may be in it.
func (o *Options) target(ctx context.Context) (target, error) {
	scheme, _, _ := strings.Cut(o.URL, "://")
	switch strings.ToLower(scheme) {
	case "http":
		if o.Query != "" {
			return target{}, errors.New("-query: is for a mysql:// URL; what an http:// one is asked for is its path")
		}
		return o.httpTarget(ctx)
	case "mysql":
		return o.mysqlTarget(ctx)
	}
	return target{}, fmt.Errorf("the URL must be %s", strings.Join(Forms(), ", or "))
}

// errNeedsForm is about a URL that is not of its scheme's form.
func errNeedsForm(form string) error { return fmt.Errorf("the URL must be %s", form) }

func (o *Options) httpTarget(ctx context.Context) (t target, err error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" || u.User != nil {
		return t, errNeedsForm(httpForm)
	}
	if t, err = o.tcpTarget(ctx, u, "80"); err != nil {
		return t, err
	}
	t.unit = "requests"
	text := request(u, o.Mode)
	t.client = func(s *run, l *link) (client, error) { return newHTTPClient(s, l, text), nil }
	return t, nil
}

// tcpTarget resolves a URL's host, and refuses one that is not on this machine
// unless the storm may go there.
func (o *Options) tcpTarget(ctx context.Context, u *url.URL, defaultPort string) (t target, err error) {
	port := u.Port()
	if port == "" {
		port = defaultPort
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		return t, err
	}
	t.addr, err = netip.ParseAddrPort(net.JoinHostPort(ips[0].Unmap().String(), port))
	if err != nil || t.addr.Port() == 0 {
		return t, fmt.Errorf("port %s: must be 1 to 65535", port)
	}
	if !t.addr.Addr().IsLoopback() && !o.Remote {
		return t, fmt.Errorf("%s: %w; a storm there needs -remote, and the consent of whoever runs it", t.addr, ErrRemote)
	}
	t.network, t.address = "tcp", t.addr.String()
	return t, nil
}
