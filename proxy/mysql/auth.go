package mysql

import (
	"errors"
	"fmt"
	"strings"

	"weir/pool"
	"weir/proxy/mysql/wire"
)

// mostSteps bounds a login: the longest is a switch of the plugin, then the full
// authentication of caching_sha2_password with the server's key.
const mostSteps = 8

// prove makes the first proof for plugin, or for the one that everybody knows
// where the server greets with another: it then says which it wants.
func (l *login) prove(plugin *string) ([]byte, error) {
	switch *plugin {
	case wire.PluginNative, wire.PluginSHA2:
	default:
		*plugin = wire.PluginNative
	}
	return l.proof(*plugin)
}

// proof answers the nonce.
func (l *login) proof(plugin string) ([]byte, error) {
	s := &l.user.secret
	if s.none {
		return nil, nil
	}
	switch plugin {
	case wire.PluginNative:
		key := s.key.Load()
		if key == nil {
			return nil, l.forUser(errNoSecret)
		}
		return key.Proof(l.nonce), nil
	case wire.PluginSHA2:
		if s.known {
			return wire.NewSHA2Key(s.clear).Proof(l.nonce), nil
		}
	case wire.PluginEd25519:
		if s.known {
			return wire.SignEd25519(s.clear, l.nonce)
		}
	case wire.PluginClear:
		if s.known && l.tls {
			return wire.AppendClearPassword(nil, s.clear), nil
		}
		return nil, l.forUser(errors.New("the server wants the password in clear text, which weir sends inside TLS only: see backends[].tls"))
	default:
		return nil, l.forUser(fmt.Errorf("the server wants the login plugin %q, weir knows %s, %s and %s",
			plugin, wire.PluginNative, wire.PluginSHA2, wire.PluginEd25519))
	}
	return nil, l.notEnough(plugin)
}

func (l *login) notEnough(plugin string) error {
	return l.forUser(fmt.Errorf("the server wants the login plugin %s, for which the native_hash is not enough: "+
		"give the password by password_env or password_file", plugin))
}

// decline answers with no proof where weir has none, and has the server refuse
// it. To a server, a client that goes away in the middle of its login is one
// that failed to connect, and a host with max_connect_errors of those in a row
// is shut out; one that it has refused is not.
func (l *login) decline() {
	if l.write(nil) != nil {
		return
	}
	p, err := l.read()
	l.over = err == nil && wire.IsERR(p)
}

func (l *login) forUser(err error) error {
	return &pool.KeyError{Err: fmt.Errorf("user %q: %w", l.target.user, err)}
}

// authenticate goes on after the first proof until the server has let us in.
func (l *login) authenticate(plugin string) error {
	for range mostSteps {
		p, err := l.read()
		if err != nil {
			return err
		}
		if len(p) == 0 {
			return fmt.Errorf("an empty packet during the login: is backends[%s].endpoints a MySQL port?", l.opt.Name)
		}
		switch wire.AuthStepOf(p) {
		case wire.AuthDone:
			l.seq = 0
			return nil
		case wire.AuthFailed:
			return l.refused(p)
		case wire.AuthOther:
			sw, err := wire.ParseAuthSwitch(p)
			if err != nil {
				return err
			}
			plugin, l.nonce = string(sw.Plugin), append(l.nonce[:0], sw.Data...)
			proof, err := l.proof(plugin)
			if err != nil {
				l.decline()
				return err
			}
			if err := l.write(proof); err != nil {
				return err
			}
		case wire.AuthData:
			if err := l.full(plugin, p); err != nil {
				return err
			}
		default:
			return fmt.Errorf("a packet that starts with 0x%02x during the login: is backends[%s].endpoints a MySQL port?", p[0], l.opt.Name)
		}
	}
	return fmt.Errorf("the login took more than %d steps", mostSteps)
}

// full answers what caching_sha2_password says after the proof: it knew the
// password, or it wants to see it.
func (l *login) full(plugin string, p []byte) error {
	data, err := wire.ParseAuthMore(p)
	if err != nil {
		return err
	}
	s := &l.user.secret
	switch {
	case plugin != wire.PluginSHA2:
		return l.forUser(fmt.Errorf("the login plugin %q asked for more, which is not understood", plugin))
	case len(data) == 1 && data[0] == wire.SHA2FastOK:
		return nil
	case len(data) != 1 || data[0] != wire.SHA2FullAuth:
		return l.forUser(errors.New("caching_sha2_password asked for what is not understood"))
	case !s.known:
		l.decline()
		return l.notEnough(plugin)
	case l.tls || strings.HasPrefix(l.opt.Address, "unix:"):
		return l.write(wire.AppendClearPassword(nil, s.clear))
	}
	if err := l.write([]byte{wire.SHA2RequestKey}); err != nil {
		return err
	}
	if p, err = l.read(); err != nil {
		return err
	}
	if wire.IsERR(p) {
		return l.refused(p)
	}
	if data, err = wire.ParseAuthMore(p); err != nil {
		return err
	}
	key, err := wire.ParsePublicKey(data)
	if err != nil {
		return err
	}
	secret, err := wire.EncryptPassword(key, s.clear, l.nonce)
	if err != nil {
		return l.forUser(err)
	}
	return l.write(secret)
}
