package main

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net"

	"weir/configs"
	"weir/limiter"
	"weir/pool"
	"weir/proxy/mysql"
	"weir/proxy/mysql/wire"
)

// database is what a MySQL backend has beyond a pool.
type database struct {
	server *mysql.Server
	seen   *mysql.Seen
	opt    *mysql.ServerOptions // of the configuration that runs
	next   *mysql.ServerOptions // of the one that is being applied
	stamp  string               // of next: what a connection depends on besides its address
	stop   context.CancelFunc   // of the goroutine that gets to know the server
}

// mysqlBackend finds the running backend of that name, or makes one.
func (g *graph) mysqlBackend(bc configs.Backend, old *backend) (*backend, error) {
	if old != nil {
		_, err := g.databaseOf(bc, old.database)
		return old, err
	}
	d, err := g.databaseOf(bc, nil)
	if err != nil {
		return nil, err
	}
	p, err := pool.New(g.poolOptions(bc, d))
	if err != nil {
		return nil, err
	}
	return &backend{cfg: bc, pool: p, database: d, governor: newGovernor(bc.Name, p, g.log)}, nil
}

// databaseOf readies what bc says of the accounts and TLS. Nothing runs with it
// yet.
func (g *graph) databaseOf(bc configs.Backend, old *database) (*database, error) {
	opt := &mysql.ServerOptions{
		Name: bc.Name, Address: string(bc.Endpoints[0].Address), Source: bc.SourceAddr(), Version: bc.MySQL.ServerVersion, Users: map[string]*mysql.User{}, Track: sharing(&bc),
	}
	for i := range bc.Users {
		u, err := userOf(&bc.Users[i])
		if err != nil {
			return nil, fmt.Errorf("backends[%s].users[%s]: %w", bc.Name, bc.Users[i].Name, err)
		}
		opt.Users[u.Name] = u
	}
	var err error
	if opt.TLS, err = backendTLS(&bc); err != nil {
		return nil, fmt.Errorf("backends[%s].tls: %w", bc.Name, err)
	}
	if old == nil {
		return &database{server: mysql.NewServer(opt), seen: new(mysql.Seen), opt: opt, next: opt, stamp: stampOf(&bc)}, nil
	}
	keepLearned(old.opt, opt)
	old.next, old.stamp = opt, stampOf(&bc)
	return old, nil
}

// sharing says whether connections go from client to client between transactions.
func sharing(bc *configs.Backend) bool { return bc.MySQL.Mode == "transaction" }

// stampKey keeps the passwords out of the stamp.
var stampKey = func() []byte { b := make([]byte, sha256.Size); rand.Read(b); return b }()

// stampOf says by its change that connections are not to be used any more which
// were made before.
func stampOf(bc *configs.Backend) string {
	h := hmac.New(sha256.New, stampKey)
	fmt.Fprintf(h, "%q", []string{bc.Source, bc.MySQL.Mode, bc.TLS.Mode, bc.TLS.CA, bc.TLS.Cert, bc.TLS.Key, bc.TLS.ServerName})
	for i := range bc.Users {
		password, hash, _ := bc.Users[i].Secret() // userOf has reported the error
		fmt.Fprintf(h, "%q", []string{bc.Users[i].Name, password, hash})
	}
	return hex.EncodeToString(h.Sum(nil))
}

// keepLearned saves what logins have taught, where the secret is the same: of an
// account with a native_hash alone it is all that weir can log in with.
func keepLearned(old, next *mysql.ServerOptions) {
	for name, u := range next.Users {
		if was := old.Users[name]; was != nil {
			u.Inherit(was)
		}
	}
}

func userOf(c *configs.User) (*mysql.User, error) {
	u := &mysql.User{Name: c.Name, MaxOpen: c.MaxOpen, Class: limiter.Class(c.Priority), Allow: c.Allow}
	password, hash, err := c.Secret()
	if err != nil {
		return nil, err
	}
	if hash == "" {
		u.SetPassword(password)
		return u, nil
	}
	h, err := wire.ParseNativeHash(hash)
	if err != nil {
		return nil, err
	}
	u.SetNativeHash(h)
	return u, nil
}

// backendTLS returns nil where there is to be none.
func backendTLS(bc *configs.Backend) (*tls.Config, error) {
	c := bc.TLS
	if c.Mode == "disabled" || c.Mode == "" {
		return nil, nil
	}
	host := bc.Endpoints[0].Address.Target()
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	out := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(sessionsKept)}
	if c.ServerName != "" {
		out.ServerName = c.ServerName
	}
	var err error
	if out.RootCAs, err = c.Roots(); err != nil {
		return nil, fmt.Errorf("ca: %w", err)
	}
	if c.Cert != "" {
		cert, err := configs.LoadKeyPair(c.Cert, c.Key)
		if err != nil {
			return nil, fmt.Errorf("cert: %w", err)
		}
		out.Certificates = []tls.Certificate{cert}
	}
	switch c.Mode {
	case "required":
		out.InsecureSkipVerify = true
	case "verify_ca":
		// Whose name stands in it does not matter, so the library's check of
		// both cannot be used.
		out.InsecureSkipVerify = true
		out.VerifyConnection = func(s tls.ConnectionState) error { return verifyChain(s, out.RootCAs) }
	}
	return out, nil
}

// sessionsKept is how many TLS sessions are kept for new connections: they all
// go to one server.
const sessionsKept = 8

func verifyChain(s tls.ConnectionState, roots *x509.CertPool) error {
	between := x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
	if err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: err}
	}
	return nil
}

func listenerTLS(lc *configs.Listener) (*tls.Config, error) {
	if lc.TLS.Cert == "" {
		return nil, nil
	}
	cert, err := configs.LoadKeyPair(lc.TLS.Cert, lc.TLS.Key)
	if err != nil {
		return nil, fmt.Errorf("listeners[%s].tls: %w", lc.Name, err)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, nil
}

// mysqlOptions completes a pool's options for a MySQL backend.
func (g *graph) mysqlOptions(o *pool.Options, bc *configs.Backend, d *database) {
	o.Stamp = d.stamp
	o.Connect, o.Quit = d.server.Connect, d.server.Quit
	o.WarmKey = mysql.WarmKey(bc.Users[0].Name, bc.MySQL.Database)
	most := map[string]int{}
	for i := range bc.Users {
		if n := bc.Users[i].MaxOpen; n > 0 {
			most[bc.Users[i].Name] = n
		}
	}
	if len(most) > 0 {
		o.Group = func(key string) (string, int) { user := mysql.Group(key); return user, most[user] }
	}
}

func (g *graph) mysqlSettings(lc *configs.Listener, bc *configs.Backend, b *backend, gates *gates) (*mysql.Settings, error) {
	cert, err := listenerTLS(lc)
	if err != nil {
		return nil, err
	}
	plugin := wire.PluginNative
	if bc.MySQL.Auth == "sha2" {
		plugin = wire.PluginSHA2
	}
	limit, err := gates.limit("listeners["+lc.Name+"]", &lc.Limits, true)
	if err != nil {
		return nil, err
	}
	beLimit, err := gates.limit("backends["+bc.Name+"]", &bc.Limits, false)
	if err != nil {
		return nil, err
	}
	connections, err := gates.connections(lc)
	if err != nil {
		return nil, err
	}
	be := &mysql.Backend{
		Limit: beLimit, Guard: b.Guard,
		Name: bc.Name, Pool: b.pool, Server: b.server, Seen: b.seen, Plugin: plugin,
		Proven: bc.MySQL.Reset == "proven", Sharing: sharing(bc), QueryTimeout: bc.MySQL.QueryTimeout, IdleAttached: bc.MySQL.IdleAttachedTimeout,
	}
	if g.slow != nil {
		be.Slow, be.OnSlow = bc.MySQL.Slow, slowLines(lc.Name, g.slow)
	}
	return &mysql.Settings{
		Backend: be, Allow: lc.Allow, Class: limiter.Class(lc.Priority), Limit: limit, Connections: connections, Trusted: lc.TrustedProxies, ProxyProtocol: lc.ProxyProtocol, LoginTimeout: lc.Timeouts.Login, SendTimeout: lc.Timeouts.Send, IdleTimeout: lc.Timeouts.Idle,
		MaxLogins: lc.MaxLogins, Graceful: lc.Close == "graceful", TLS: cert, RequireTLS: lc.TLS.Required,
	}, nil
}

// learn gets to know a MySQL backend, so that clients can be greeted.
func (g *graph) learn(b *backend) {
	ctx, cancel := context.WithCancel(context.Background())
	b.stop = cancel
	key := mysql.WarmKey(b.cfg.Users[0].Name, b.cfg.MySQL.Database)
	g.warm.Go(func() { b.server.Learn(ctx, b.pool, key, g.log) })
}

// end ends what learn has begun.
func (d *database) end() {
	if d != nil && d.stop != nil {
		d.stop()
	}
}
