package configs

import (
	"fmt"
	"path"
	"slices"
)

// users holds the rules between the users of a MySQL backend, and reads their
// secrets, so that a check finds what a start would.
func (ch *checker) users(b *Backend, at string) {
	first := map[string]string{}
	for i := range b.Users {
		u, p := &b.Users[i], fmt.Sprintf("%s.users[%d]", at, i)
		if u.Name != "" && ch.good(p+".name") {
			if other, twice := first[u.Name]; twice {
				ch.reject(p+".name", "the user %q is %s on line %d already", clip(u.Name), other, ch.at(other).line)
			} else {
				first[u.Name] = p
			}
		}
		ch.secret(b, u, p)
		if min := at + ".pool.min_idle"; i == 0 && u.MaxOpen > 0 && ch.good(min, p+".max_open") && b.Pool.MinIdle > u.MaxOpen {
			ch.reject(min, "must be at most users[0].max_open, which is %d, is %d: the connections are opened for the first user", u.MaxOpen, b.Pool.MinIdle)
		}
		if min := at + ".pool.min_idle"; i == 0 && u.NativeHash != "" && b.Pool.MinIdle > 0 && ch.good(min) {
			ch.reject(min, "needs the password of users[0], as whom the connections are opened; a native_hash logs in only after a client has; write password_file or password_env, or leave min_idle out")
		}
		if u.MaxOpen > b.Pool.MaxOpen {
			ch.warn(p+".max_open", "has no effect: it is more than pool.max_open, which is %d", b.Pool.MaxOpen)
		}
		if len(u.Allow) > 0 && ch.onlyUnixClients(b.Name) {
			ch.warn(p+".allow", "has no effect: clients of a unix socket have no address; the socket's permissions decide who may connect")
		}
	}
}

// reserved refuses to be without the connections that a MySQL backend needs
// beyond max_open.
func (ch *checker) reserved(b *Backend, path string) {
	reserved, timeout := path+".pool.reserved", path+".mysql.query_timeout"
	version, idle := path+".mysql.server_version", path+".pool.min_idle"
	if b.Protocol != ProtocolMySQL || b.Pool.Reserved > 0 || !ch.good(reserved) {
		return
	}
	switch {
	case b.MySQL.QueryTimeout > 0 && ch.good(timeout):
		ch.reject(reserved, "must be at least 1 with mysql.query_timeout, is 0: a KILL QUERY needs a connection beyond max_open; write 1 or more, or leave query_timeout out")
	case b.MySQL.ServerVersion == "" && b.Pool.MinIdle == 0 && ch.good(version, idle):
		ch.reject(reserved, "must be at least 1, is 0: the server's version is learned on a connection beyond max_open; write 1 or more, or mysql.server_version, or pool.min_idle")
	}
}

func (ch *checker) secret(b *Backend, u *User, p string) {
	source := p + ".password_env"
	if u.PasswordFile != "" {
		source = p + ".password_file"
	}
	if ch.good(p, source) {
		if err := u.load(); err != nil {
			ch.reject(source, "%s", err)
		}
	}
	if u.Password != "" {
		ch.warn(p+".password", "stands in the configuration, and whoever reads that has it; password_file or password_env keeps it out")
	}
	if no := p + ".no_password"; ch.set[no] && !u.NoPassword && ch.good(no) {
		ch.reject(no, "must be true; leave it out for an account with a password, and write where that is")
	}
	if u.NativeHash != "" && b.MySQL.Auth == "sha2" {
		ch.reject(p+".native_hash", "is not enough for mysql.auth sha2, which needs the password; write password_file or password_env, or mysql: {auth: native}")
	}
}

// onlyUnixClients says whether every listener of the backend is on unix sockets
// alone.
func (ch *checker) onlyUnixClients(backend string) bool {
	used := false
	for _, l := range ch.c.Listeners {
		if l.Backend != backend {
			continue
		}
		if used = true; slices.ContainsFunc(l.Address, func(a Address) bool { return a.Network() != "unix" }) {
			return false
		}
	}
	return used
}

// backendTLS refuses keys that the mode does not use: whoever writes a CA
// believes that it is looked at.
func (ch *checker) backendTLS(b *Backend, at string) {
	t := b.TLS
	mode := at + ".mode"
	if !ch.good(mode) {
		return
	}
	for _, k := range []struct{ key, value string }{{"ca", t.CA}, {"server_name", t.ServerName}, {"cert", t.Cert}, {"key", t.Key}} {
		switch p := join(at, k.key); {
		case k.value == "":
		case t.Mode == "disabled" && ch.set[mode]:
			ch.warn(p, "has no effect: tls.mode is disabled")
		case t.Mode == "disabled":
			ch.reject(p, "has no effect without tls.mode, which is disabled by default; write mode: verify_identity")
		case t.Mode == "required" && k.key == "ca":
			ch.reject(p, "has no effect: tls.mode required verifies nothing; write mode: verify_identity or verify_ca")
		}
	}
	cert, key := at+".cert", at+".key"
	switch {
	case !ch.good(cert, key):
	case t.Cert != "" && t.Key == "":
		ch.reject(cert, "needs key, the file of its private key")
	case t.Cert == "" && t.Key != "":
		ch.reject(key, "needs cert, the file of the certificate that it belongs to")
	}
	if t.Mode != "disabled" {
		if ch.good(at + ".ca") {
			if _, err := t.Roots(); err != nil {
				ch.reject(at+".ca", "%s", err)
			}
		}
		ch.keyPair(t.Cert, t.Key, at)
	}
	if t.Mode == "verify_identity" && t.ServerName == "" && ch.good(at+".server_name") {
		if i := slices.IndexFunc(b.Endpoints, func(e Endpoint) bool { return e.Address.Network() == "unix" }); i >= 0 {
			ch.reject(mode, "verify_identity needs server_name: the endpoint %s has no host", b.Endpoints[i].Address)
		}
	}
}

// keyPair reads a certificate and its key, so that a check finds what a start
// would.
func (ch *checker) keyPair(cert, key, at string) {
	if cert == "" || key == "" || !ch.good(at+".cert", at+".key") {
		return
	}
	if _, err := LoadKeyPair(cert, key); err != nil {
		ch.reject(at+".cert", "%s", err)
	}
}

// slowQueryLog keeps the two logs apart: each opens its file anew by itself, and
// cuts its lines into writes of its own.
func (ch *checker) slowQueryLog() {
	const key = "log.slow_query"
	slow := ch.c.Log.SlowQuery
	switch {
	case !ch.good(key, "log.access", "log") || slow == AccessNone:
	case slow == AccessStderr || slow == AccessStdout:
	case path.Clean(slow) == path.Clean(ch.c.Log.Access):
		ch.reject(key, "%q is the file of log.access; name another one", clip(slow))
	}
	if slow != AccessNone && !slices.ContainsFunc(ch.c.Backends, func(b Backend) bool { return b.Protocol == ProtocolMySQL }) {
		ch.warn(key, "has no effect: no backend is of protocol mysql")
	}
}
