package wire

import (
	"crypto/sha256"
	"crypto/subtle"
)

// What a server says in an AuthMoreData of caching_sha2_password, and what a
// client says for a public key.
const (
	SHA2FastOK     byte = 3 // the proof was good; an OK follows
	SHA2FullAuth   byte = 4 // the password itself is wanted: in TLS, or encrypted
	SHA2RequestKey byte = 2 // client: what is the public key?
)

// SHA2Hash is SHA256(SHA256(password)): what a server keeps in memory after a
// full authentication, to check proofs. As with NativeHash, with one good proof
// it is as good as SHA256(password).
type SHA2Hash [sha256.Size]byte

// SHA2Key is SHA256(password). It makes proofs, which a server accepts that has
// seen the password before; others want the password.
type SHA2Key [sha256.Size]byte

// NewSHA2Key returns the key of a password. An account without a password has
// none: its proof is empty.
func NewSHA2Key(password string) SHA2Key { return sha256.Sum256([]byte(password)) }

// Hash returns what a server keeps for k.
func (k SHA2Key) Hash() SHA2Hash { return sha256.Sum256(k[:]) }

// Proof answers a nonce: SHA256(password) XOR SHA256(SHA256(SHA256(password)) +
// nonce). Of a nonce NonceLen bytes count.
func (k SHA2Key) Proof(nonce []byte) []byte {
	h := k.Hash()
	mask := sha2Mask(nonce, &h)
	p := make([]byte, sha256.Size)
	subtle.XORBytes(p, k[:], mask[:])
	return p
}

// VerifySHA2 says whether proof answers nonce for the password of h, and then
// returns the key, as VerifyNative does.
func VerifySHA2(proof, nonce []byte, h SHA2Hash) (k SHA2Key, ok bool) {
	if len(proof) != sha256.Size {
		return k, false
	}
	mask := sha2Mask(nonce, &h)
	subtle.XORBytes(k[:], proof, mask[:])
	got := k.Hash()
	if subtle.ConstantTimeCompare(got[:], h[:]) != 1 {
		return SHA2Key{}, false
	}
	return k, true
}

func sha2Mask(nonce []byte, h *SHA2Hash) [sha256.Size]byte {
	var b [sha256.Size + NonceLen]byte
	copy(b[:], h[:])
	n := copy(b[sha256.Size:], nonce)
	return sha256.Sum256(b[:sha256.Size+n])
}

// VerifyPassword says whether a password that a client sent is the one of h:
// the full authentication. password is without its NUL (ClearPassword).
func VerifyPassword(password []byte, h SHA2Hash) bool {
	k := sha256.Sum256(password)
	got := SHA2Key(k).Hash()
	return subtle.ConstantTimeCompare(got[:], h[:]) == 1
}

// AppendClearPassword appends a password as it is sent in clear text, which is
// for TLS and unix sockets only: with a NUL behind it.
func AppendClearPassword(dst []byte, password string) []byte { return appendNUL(dst, password) }

// ClearPassword returns the password out of such a packet. The NUL has to be
// there, once and at the end: a shorter password must not pass for a longer.
func ClearPassword(payload []byte) (password []byte, err error) {
	f := fields{b: payload, packet: "password"}
	password = f.nul(maxProof, false, "password")
	if f.rest() > 0 {
		f.fail("password", "%d bytes stand behind the NUL", f.rest())
	}
	if f.err != nil {
		return nil, f.err
	}
	return password, nil
}
