package admin

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"slices"

	"github.com/valyala/fasthttp"
)

// Access says who may ask over TCP. Over a unix socket the file's mode says it,
// and none of this holds. The zero value lets everyone ask who can connect, which
// Listen allows on loopback alone.
type Access struct {
	Token Token
	// Certificate is for TLS, nil for plain HTTP.
	Certificate *tls.Certificate
	// Clients are trusted to sign the certificates of clients; nil asks for
	// none. With Token, a client needs both.
	Clients *x509.CertPool
}

// asks says whether a client has to show who it is.
func (a *Access) asks() bool { return a.Token.set || a.Clients != nil }

func (a *Access) equal(b *Access) bool {
	certs := func(a *Access) [][]byte {
		if a.Certificate == nil {
			return nil
		}
		return a.Certificate.Certificate
	}
	return a.Token == b.Token && a.Clients.Equal(b.Clients) && slices.EqualFunc(certs(a), certs(b), slices.Equal)
}

// SetAccess replaces Options.Access for requests from now on. Where something
// changed it closes the connections over TCP, so that nobody goes on with what
// was taken away. Whether there is TLS cannot change.
func (s *Server) SetAccess(a Access) error {
	old := s.access.Load()
	switch {
	case (old.Certificate == nil) != (a.Certificate == nil):
		return errors.New("admin: TLS cannot be turned on or off for an address that is open; restart")
	case old.asks() && !a.asks():
		return errors.New("admin: an address cannot be opened to everyone while it is open; restart")
	case old.equal(&a):
		return nil
	}
	s.access.Store(&a)
	s.mu.Lock()
	doors := slices.Clone(s.doors) // one that is added now has the new access
	s.mu.Unlock()
	for _, d := range doors {
		if d.ln.Addr().Network() != "unix" {
			d.open.drop()
		}
	}
	return nil
}

// overTLS is ln with TLS on its connections, if there is to be any. The
// handshake has the HTTP server's read timeout.
func (s *Server) overTLS(ln net.Listener) net.Listener {
	if ln.Addr().Network() == "unix" || s.access.Load().Certificate == nil {
		return ln
	}
	return tlsListener{tls.NewListener(ln, &tls.Config{
		MinVersion: tls.VersionTLS12,
		// Called for each connection, and so as SetAccess has left it.
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			a := s.access.Load()
			c := &tls.Config{
				MinVersion:   tls.VersionTLS12,
				Certificates: []tls.Certificate{*a.Certificate},
				NextProtos:   []string{"http/1.1"},
				// A ticket is of a time when others may have been trusted.
				SessionTicketsDisabled: true,
			}
			if a.Clients != nil {
				// A probe has none, and is served; admit asks for it.
				c.ClientAuth, c.ClientCAs = tls.VerifyClientCertIfGiven, a.Clients
			}
			return c, nil
		},
	})}
}

type tlsListener struct{ net.Listener }

func (l tlsListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return shaken{c.(*tls.Conn)}, nil
}

// shaken is not written to before its handshake, which a write would begin. The
// HTTP server answers 503 to one connection too many from the goroutine that
// accepts, with no deadline: a client that says nothing would hold it for ever.
type shaken struct{ *tls.Conn }

func (c shaken) Write(b []byte) (int, error) {
	if !c.ConnectionState().HandshakeComplete {
		return 0, errors.New("admin: nothing is written before the TLS handshake")
	}
	return c.Conn.Write(b)
}

// Why a client is not let in. One without a token that it could have sent is told
// 401, and may ask its user; others 403.
const (
	noCertificate = "these pages are for clients with a certificate, and this one sent none"
	noToken       = "these pages are for those who have the token, which is the line in the file that admin.token_file names. " +
		"In a browser load the page again and give the token as the password, with any name; a program sends it as Authorization: Bearer TOKEN"
	wrongToken = "the token is wrong; it is the line in the file that admin.token_file names, as it was when weir last loaded its configuration"
)

// admit returns why a client is not let in, or "".
func (g *guard) admit(ctx *fasthttp.RequestCtx) string {
	if g.unix {
		return ""
	}
	a := g.access.Load()
	if a.Clients != nil {
		if state := ctx.TLSConnectionState(); state == nil || len(state.VerifiedChains) == 0 {
			return noCertificate
		}
	}
	if !a.Token.set {
		return ""
	}
	field := ctx.Request.Header.Peek("Authorization")
	if len(field) == 0 {
		return noToken
	}
	if token, ok := shown(string(field)); !ok || !a.Token.is(token) {
		return wrongToken
	}
	return ""
}

// refuseLogin answers who was not admitted. Probes have no login and get the
// least: that weir lives, and whether it takes traffic.
func (s *Server) refuseLogin(ctx *fasthttp.RequestCtx, why string) {
	if ctx.IsGet() || ctx.IsHead() {
		switch string(ctx.Path()) {
		case "/healthz":
			serveHealth(ctx)
			return
		case "/readyz":
			if s.serveReady(ctx); ctx.Response.StatusCode() != fasthttp.StatusOK {
				text(ctx, ctx.Response.StatusCode(), "not ready; those who log in are told why")
			}
			return
		}
	}
	status := fasthttp.StatusForbidden
	if why != noCertificate {
		status = fasthttp.StatusUnauthorized
		// A browser takes the first that it knows, and asks its user. For a
		// stream it would ask out of nowhere, and at each try: the page says it.
		if string(ctx.Request.Header.Peek("Accept")) != "text/event-stream" {
			ctx.Response.Header.Add("WWW-Authenticate", `Basic realm="weir", charset="UTF-8"`)
		}
		ctx.Response.Header.Add("WWW-Authenticate", `Bearer realm="weir"`)
	}
	if why != noToken { // with which every browser begins
		s.opt.Log.Warn("admin refused a login", "fold", "admin login", "client", ctx.RemoteIP().String(), "path", clip(ctx.Path()), "reason", why)
	}
	text(ctx, status, why)
}

// clip bounds what a stranger gets into the log.
func clip(b []byte) string { return string(b[:min(len(b), 80)]) }
