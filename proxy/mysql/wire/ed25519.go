package wire

import (
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/base64"
	"fmt"

	"filippo.io/edwards25519"
)

// Ed25519NonceLen is the length of the nonce that client_ed25519 signs.
const Ed25519NonceLen = 32

// SignEd25519 answers the nonce of MariaDB's client_ed25519. It is Ed25519 (RFC
// 8032) but for the secret: that is the password, of any length, where the
// standard has a seed of 32 random bytes, so crypto/ed25519 cannot sign.
func SignEd25519(password string, nonce []byte) ([]byte, error) {
	if len(nonce) != Ed25519NonceLen {
		return nil, fmt.Errorf("client_ed25519: nonce has %d bytes, want %d", len(nonce), Ed25519NonceLen)
	}
	s, prefix, err := ed25519Secret(password)
	if err != nil {
		return nil, err
	}
	public := new(edwards25519.Point).ScalarBaseMult(s).Bytes()
	r, err := ed25519Scalar(prefix, nonce)
	if err != nil {
		return nil, err
	}
	sig := new(edwards25519.Point).ScalarBaseMult(r).Bytes()
	k, err := ed25519Scalar(sig, public, nonce)
	if err != nil {
		return nil, err
	}
	return append(sig, k.MultiplyAdd(k, s, r).Bytes()...), nil
}

// Ed25519Public returns the public key of a password: what the server stores.
func Ed25519Public(password string) (ed25519.PublicKey, error) {
	s, _, err := ed25519Secret(password)
	if err != nil {
		return nil, err
	}
	return new(edwards25519.Point).ScalarBaseMult(s).Bytes(), nil
}

// ParseEd25519Public reads a public key in the form that MariaDB shows: 43
// characters of base64.
func ParseEd25519Public(s string) (ed25519.PublicKey, error) {
	b, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("ed25519 public key: %w; want 43 characters of base64 as mysql.global_priv shows them", err)
	}
	if len(b) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("ed25519 public key: %d bytes, want %d", len(b), ed25519.PublicKeySize)
	}
	return b, nil
}

// VerifyEd25519 says whether sig answers nonce for the password of public. It
// cannot be turned into a login elsewhere: with this plugin the backend needs
// the password itself.
func VerifyEd25519(sig, nonce []byte, public ed25519.PublicKey) bool {
	return len(public) == ed25519.PublicKeySize && len(nonce) == Ed25519NonceLen && ed25519.Verify(public, nonce, sig)
}

// ed25519Secret expands a password: the scalar, and the prefix that makes the
// signature's own nonce.
func ed25519Secret(password string) (s *edwards25519.Scalar, prefix []byte, err error) {
	h := sha512.Sum512([]byte(password))
	s, err = edwards25519.NewScalar().SetBytesWithClamping(h[:32])
	if err != nil {
		return nil, nil, fmt.Errorf("client_ed25519: %w", err)
	}
	return s, h[32:], nil
}

// ed25519Scalar is SHA512 of the parts, modulo the group's order.
func ed25519Scalar(parts ...[]byte) (*edwards25519.Scalar, error) {
	h := sha512.New()
	for _, p := range parts {
		h.Write(p)
	}
	s, err := edwards25519.NewScalar().SetUniformBytes(h.Sum(nil))
	if err != nil {
		return nil, fmt.Errorf("client_ed25519: %w", err)
	}
	return s, nil
}
