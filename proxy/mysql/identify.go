package mysql

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"sync"

	"weir/proxy/fault"
	"weir/proxy/mysql/wire"
)

// identify finds out whether the client is who it says: the user, or nil. seq is
// that of the next packet. Not ok means that the session has ended.
//
// Somebody who does not exist, may not come from there, or has the wrong
// password takes the same steps and gets the same answer.
func (s *session) identify(l *wire.Login, seq uint8) (_ *User, next uint8, ok bool) {
	user := s.be.Server.User(l.User)
	real := user
	if user == nil || !user.allows(s.peer) {
		user, real = nobody, nil
	}
	nonce := s.nonce
	proof, plugin := l.Proof, string(l.Plugin)
	if !l.Caps.Has(wire.CapPluginAuth) {
		plugin = wire.PluginNative
	}
	if s.be.Plugin != wire.PluginNative || plugin != wire.PluginNative {
		l.User = append([]byte(nil), l.User...) // what is read now takes its place
	}
	if want := s.be.Plugin; plugin != want && (plugin != wire.PluginNative || want == wire.PluginSHA2 && len(l.Plugin) > 0) {
		nonce = wire.NewNonce()
		if proof, ok = s.switchTo(want, nonce, &seq); !ok {
			return nil, seq, false
		}
		plugin = want
		l.Proof = proof
	}
	if plugin == wire.PluginNative {
		if !user.secret.verifyNative(proof, nonce[:]) {
			real = nil
		}
		return real, seq, true
	}
	good, seq, ok := s.identifySHA2(user, proof, nonce[:], seq)
	if !good {
		real = nil
	}
	return real, seq, ok
}

// switchTo asks for the proof of another plugin.
func (s *session) switchTo(plugin string, nonce [wire.NonceLen]byte, seq *uint8) (proof []byte, ok bool) {
	var at int
	s.out, at = wire.BeginPacket(s.out[:0])
	s.out = wire.AppendAuthSwitch(s.out, plugin, nonce[:])
	s.out, *seq = wire.EndPacket(s.out, at, *seq)
	return s.askClient(seq)
}

// askClient sends what is in out and reads the client's answer.
func (s *session) askClient(seq *uint8) (answer []byte, ok bool) {
	if !s.write(s.out) {
		return nil, s.lostLogin(errWrite)
	}
	p, ok := s.payload(*seq)
	if !ok {
		return nil, false
	}
	*seq++
	return append([]byte(nil), p...), true
}

// identifySHA2 is the server's side of caching_sha2_password. The fast way needs
// the hash of a password that was seen; without it, and after a wrong proof, the
// client sends the password itself, in TLS or encrypted with our key. So an
// account that is not there takes the same steps as a wrong password.
func (s *session) identifySHA2(user *User, proof, nonce []byte, seq uint8) (good bool, next uint8, ok bool) {
	sec := &user.secret
	if len(proof) == 0 {
		return sec.none, seq, true
	}
	hash := sec.sha2.Load()
	if hash != nil && !sec.none {
		_, good = wire.VerifySHA2(proof, nonce, *hash)
	}
	if good {
		// Not awaited: the OK follows in the next packet.
		var at int
		s.out, at = wire.BeginPacket(s.out[:0])
		s.out = wire.AppendAuthMore(s.out, wire.SHA2FastOK)
		s.out, seq = wire.EndPacket(s.out, at, seq)
		s.write(s.out)
		return true, seq, true
	}
	var at int
	s.out, at = wire.BeginPacket(s.out[:0])
	s.out = wire.AppendAuthMore(s.out, wire.SHA2FullAuth)
	s.out, seq = wire.EndPacket(s.out, at, seq)
	answer, ok := s.askClient(&seq)
	if !ok {
		return false, seq, false
	}
	if s.tls || !s.peer.IsValid() { // a unix socket is as good as TLS
		password, err := wire.ClearPassword(answer)
		return err == nil && sec.verifyClear(password), seq, true
	}
	if len(answer) == 1 && answer[0] == wire.SHA2RequestKey {
		s.out, at = wire.BeginPacket(s.out[:0])
		key, err := wire.AppendPublicKey(wire.AppendAuthMore(s.out), &rsaKey().PublicKey)
		if err != nil {
			return false, seq, s.refuseLogin(seq, fault.Internal, err.Error())
		}
		s.out, seq = wire.EndPacket(key, at, seq)
		if answer, ok = s.askClient(&seq); !ok {
			return false, seq, false
		}
	}
	password, err := wire.DecryptPassword(rsaKey(), answer, nonce)
	return err == nil && sec.verifyClear(password), seq, true
}

// rsaKey is made when the first client needs it, anew in each process: a client
// that trusts a key in a file has to be told.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, rsaBits)
	if err != nil {
		panic("BUG: making an RSA key: " + err.Error()) // fails for lengths that are too small only
	}
	return key
})

const rsaBits = 2048

// errWrite stands for a client that cannot be written to.
var errWrite = errors.New("the client takes nothing")
