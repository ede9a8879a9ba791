package mysql

import (
	"crypto/rand"
	"crypto/subtle"
	"net/netip"
	"sync/atomic"

	"weir/limiter"
	"weir/proxy/mysql/wire"
)

// User is one who may log in, and the account that weir uses at the backend for
// it: same name, same password. It is not changed once it is in use, but for
// what is learned.
type User struct {
	Name    string
	MaxOpen int            // most backend connections; 0: as many as the pool has
	Class   limiter.Class  // 0: the listener's
	Allow   []netip.Prefix // where clients may come from; nil: from everywhere

	secret secret
}

// secret is what is known of a password.
type secret struct {
	none   bool // the account has no password
	clear  string
	known  bool // clear is the password
	native wire.NativeHash
	sha2   atomic.Pointer[wire.SHA2Hash] // nil until the password was seen
	// key is SHA1(password), which is enough to log in with the native plugin. Of
	// an account of which only the hash is known, a client's first login tells it.
	key atomic.Pointer[wire.NativeKey]
}

// SetPassword gives the user a password; an empty one is none.
func (u *User) SetPassword(password string) {
	s := &u.secret
	s.clear, s.known, s.none = password, true, password == ""
	key := wire.NewNativeKey(password)
	s.native = key.Hash()
	s.key.Store(&key)
	sha2 := wire.NewSHA2Key(password).Hash()
	s.sha2.Store(&sha2)
}

// SetNativeHash gives the user the hash of a password: clients can prove that
// they know it, and the first that does lets weir log in to the backend.
func (u *User) SetNativeHash(h wire.NativeHash) { u.secret.native = h }

// usable says whether a login can be made with what is known.
func (s *secret) usable() bool { return s.none || s.key.Load() != nil }

// learn keeps what a client's proof has shown.
func (s *secret) learn(key wire.NativeKey) {
	if s.key.Load() == nil {
		s.key.Store(&key)
	}
}

// verifyNative checks a proof of mysql_native_password.
func (s *secret) verifyNative(proof, nonce []byte) bool {
	if s.none || len(proof) == 0 {
		return s.none && len(proof) == 0
	}
	key, ok := wire.VerifyNative(proof, nonce, s.native)
	if ok {
		s.learn(key)
	}
	return ok
}

// verifyClear checks a password that came in clear.
func (s *secret) verifyClear(password []byte) bool {
	key := wire.NewNativeKey(string(password))
	got := key.Hash()
	if s.none || subtle.ConstantTimeCompare(got[:], s.native[:]) != 1 {
		return false
	}
	s.learn(key)
	hash := wire.NewSHA2Key(string(password)).Hash()
	s.sha2.CompareAndSwap(nil, &hash)
	return true
}

// nobody stands in for a user that does not exist, so that it takes as long to
// refuse one as to refuse a wrong password.
var nobody = func() *User {
	u := new(User)
	var h wire.NativeHash
	rand.Read(h[:])
	u.SetNativeHash(h)
	var sha2 wire.SHA2Hash
	rand.Read(sha2[:])
	u.secret.sha2.Store(&sha2)
	return u
}()

// allows says whether u may come from a. A client on a unix socket has no
// address and is on this machine, which every list means to let in.
func (u *User) allows(a netip.Addr) bool { return allows(u.Allow, a) }

func allows(list []netip.Prefix, a netip.Addr) bool {
	if len(list) == 0 || !a.IsValid() {
		return true
	}
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// Inherit takes over what was learned of the same account before a reload, if
// its secret is the same.
func (u *User) Inherit(old *User) {
	if u.secret.known || u.secret.native != old.secret.native {
		return
	}
	u.secret.key.Store(old.secret.key.Load())
	u.secret.sha2.Store(old.secret.sha2.Load())
}
