package wire

import "crypto/rand"

// NewNonce returns a nonce for a greeting or an AuthSwitchRequest. It is made of
// the 126 bytes of 7 bits that are neither 0, which would end it for some
// clients, nor '$', which stands between the fields of a stored sha2 hash. It
// does not fail: without random numbers the program ends.
func NewNonce() (n [NonceLen]byte) {
	fillNonce(n[:])
	return n
}

// fillNonce draws again what does not fit, so that all 126 are equally likely.
func fillNonce(n []byte) {
	var buf [2 * NonceLen]byte
	for i := 0; i < len(n); {
		rand.Read(buf[:])
		for _, c := range buf {
			if c &= 0x7f; i < len(n) && c != 0 && c != '$' {
				n[i] = c
				i++
			}
		}
	}
}
