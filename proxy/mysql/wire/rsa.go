package wire

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// minRSABits is what crypto/rsa takes.
const minRSABits = 1024

// EncryptPassword encrypts a password for the full authentication without TLS:
// RSA-OAEP with SHA-1 of the password and a NUL, XORed with the nonce. It
// protects from who listens, not from who answers in the server's place: a
// public key that came over the same connection is anybody's.
func EncryptPassword(key *rsa.PublicKey, password string, nonce []byte) ([]byte, error) {
	plain := AppendClearPassword(nil, password)
	if err := xorNonce(plain, nonce); err != nil {
		return nil, err
	}
	b, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, key, plain, nil)
	if err != nil {
		return nil, fmt.Errorf("encrypting a password of %d bytes with a key of %d bits: %w", len(password), key.N.BitLen(), err)
	}
	return b, nil
}

// DecryptPassword is the server's side of EncryptPassword. Which step failed is
// not told: that would help who tries keys.
func DecryptPassword(key *rsa.PrivateKey, payload, nonce []byte) (password []byte, err error) {
	plain, err := rsa.DecryptOAEP(sha1.New(), nil, key, payload, nil)
	if err == nil {
		err = xorNonce(plain, nonce)
	}
	if err == nil {
		password, err = ClearPassword(plain)
	}
	if err != nil {
		return nil, errors.New("encrypted password of a client: cannot be decrypted with our key")
	}
	return password, nil
}

// xorNonce XORs b with the nonce, over and over.
func xorNonce(b, nonce []byte) error {
	if len(nonce) < NonceLen {
		return fmt.Errorf("nonce has %d bytes, want %d", len(nonce), NonceLen)
	}
	for i := range b {
		b[i] ^= nonce[i%NonceLen]
	}
	return nil
}

// ParsePublicKey reads the PEM block that a server answers SHA2RequestKey with.
func ParsePublicKey(data []byte) (*rsa.PublicKey, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("public key of the server: %d bytes without a PEM block", len(data))
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("public key of the server: %w", err)
	}
	key, ok := parsed.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("public key of the server: %T, want RSA", parsed)
	}
	if n := key.N.BitLen(); n < minRSABits {
		return nil, fmt.Errorf("public key of the server: %d bits, want at least %d", n, minRSABits)
	}
	return key, nil
}

// AppendPublicKey appends the PEM block for clients that ask. It fails only for
// a key that is not valid.
func AppendPublicKey(dst []byte, key *rsa.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return dst, fmt.Errorf("public key for clients: %w", err)
	}
	return append(dst, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})...), nil
}
