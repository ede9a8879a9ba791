package wire

import (
	"crypto/sha1"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"strings"
)

// Names of the plugins whose proofs are made and checked here.
const (
	PluginNative  = "mysql_native_password"
	PluginSHA2    = "caching_sha2_password"
	PluginEd25519 = "client_ed25519" // MariaDB
	PluginClear   = "mysql_clear_password"
)

// NativeHash is what a server stores for mysql_native_password:
// SHA1(SHA1(password)). It is enough to check a proof, and with one good proof
// enough to log in elsewhere with the same password (VerifyNative): keep it
// as secret as the password.
type NativeHash [sha1.Size]byte

// NativeKey is SHA1(password): what a login needs.
type NativeKey [sha1.Size]byte

// ParseNativeHash reads the form that servers show: * and 40 hexadecimal
// digits. The error does not repeat the hash.
func ParseNativeHash(s string) (h NativeHash, err error) {
	digits, star := strings.CutPrefix(s, "*")
	if !star || len(digits) != 2*len(h) {
		return h, fmt.Errorf("native password hash has %d characters, want * and 40 hexadecimal digits as SELECT PASSWORD('...') shows them", len(s))
	}
	if _, err := hex.Decode(h[:], []byte(digits)); err != nil {
		return NativeHash{}, fmt.Errorf("native password hash: %w; want * and 40 hexadecimal digits as SELECT PASSWORD('...') shows them", err)
	}
	return h, nil
}

// NewNativeKey returns the key of a password. An account without a password has
// none: its proof is empty, and nothing is to be checked.
func NewNativeKey(password string) NativeKey { return sha1.Sum([]byte(password)) }

// Hash returns what the server stores for k.
func (k NativeKey) Hash() NativeHash { return sha1.Sum(k[:]) }

// Proof answers a nonce: SHA1(password) XOR SHA1(nonce + SHA1(SHA1(password))).
// Of a nonce NonceLen bytes count.
func (k NativeKey) Proof(nonce []byte) []byte {
	h := k.Hash()
	mask := nativeMask(nonce, &h)
	p := make([]byte, sha1.Size)
	subtle.XORBytes(p, k[:], mask[:])
	return p
}

// VerifyNative says whether proof answers nonce for the password of h. With ok
// it also returns the key: the proof is the key under a mask that who has the
// hash can compute, so the hash and a good proof are as good as SHA1(password).
// It takes the same time for every wrong proof of the right length.
func VerifyNative(proof, nonce []byte, h NativeHash) (k NativeKey, ok bool) {
	if len(proof) != sha1.Size {
		return k, false
	}
	mask := nativeMask(nonce, &h)
	subtle.XORBytes(k[:], proof, mask[:])
	got := k.Hash()
	if subtle.ConstantTimeCompare(got[:], h[:]) != 1 {
		return NativeKey{}, false
	}
	return k, true
}

func nativeMask(nonce []byte, h *NativeHash) [sha1.Size]byte {
	var b [NonceLen + sha1.Size]byte
	n := copy(b[:NonceLen], nonce)
	copy(b[n:], h[:])
	return sha1.Sum(b[:n+len(h)])
}
