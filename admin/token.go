package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"
)

// Token is what those who ask over TCP must show. It holds a hash of it: what is
// compared has one length, and a dump of memory does not have the token from
// here. The zero value is no token.
type Token struct {
	sum [sha256.Size]byte
	set bool
}

// NewToken returns the Token of a text, and no token for "".
func NewToken(text string) Token {
	if text == "" {
		return Token{}
	}
	return Token{sum: sha256.Sum256([]byte(text)), set: true}
}

// is compares in a time that says nothing about the token: neither where a wrong
// one differs, nor how long the right one is.
func (t Token) is(text string) bool {
	sum := sha256.Sum256([]byte(text))
	return t.set && subtle.ConstantTimeCompare(sum[:], t.sum[:]) == 1
}

// shown takes the token out of the value of an Authorization field: that of
// Bearer (RFC 6750, section 2.1), or the password of Basic (RFC 7617), which is
// what a browser has a person type. ok is false where it is neither.
func shown(authorization string) (token string, ok bool) {
	scheme, value, _ := strings.Cut(authorization, " ")
	value = strings.TrimLeft(value, " ") // RFC 9110, section 11.4: one or more
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		return value, value != ""
	case strings.EqualFold(scheme, "Basic"):
		b, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			return "", false
		}
		_, password, ok := strings.Cut(string(b), ":")
		return password, ok
	}
	return "", false
}
