package configs

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of MySQL: an account name has 80 characters on MariaDB and 32 on
// MySQL, in up to 4 bytes each, a database 64.
const (
	maxUserName = 128
	maxDatabase = 64
	maxVersion  = 200
)

func usernameForm(s string) error {
	switch {
	case s == "":
		return errors.New("must not be empty; anonymous accounts are not served")
	case len(s) > maxUserName:
		return fmt.Errorf("has %d bytes; a user's name holds %d", len(s), maxUserName)
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fmt.Errorf("%q must hold only printable characters", clip(s))
	}
	return nil
}

// variableForm does not show what it refuses: a password is written there by
// mistake.
func variableForm(s string) error {
	digitFirst := s != "" && s[0] >= '0' && s[0] <= '9'
	if s == "" || len(s) > 255 || digitFirst || !onlyBytes(s, func(c byte) bool { return isAlnum(c) || c == '_' }) {
		return errors.New("must be the name of an environment variable, not the password: letters, digits and _, no digit first")
	}
	return nil
}

// passwordForm takes what a login can carry: a password ends with a zero byte
// there. Line breaks are refused because they are never meant. It does not show
// what it refuses, nor does nativeHashForm.
func passwordForm(s string) error {
	switch {
	case s == "":
		return errors.New("must not be empty; write no_password: true for an account without a password")
	case len(s) > maxSecret:
		return fmt.Errorf("has more than %d bytes, the most a password holds", maxSecret)
	case strings.ContainsAny(s, "\r\n"):
		return errors.New("must not hold a line break")
	case strings.Contains(s, "\x00"):
		return errors.New("must not hold a zero byte")
	}
	return nil
}

func nativeHashForm(s string) error {
	digits, star := strings.CutPrefix(s, "*")
	isHex := func(c byte) bool { return isAlnum(c) && (c <= '9' || c|0x20 <= 'f') }
	switch {
	case !star && len(s) == 40 && onlyBytes(s, isHex):
		return errors.New("has no star in front; write the hash as the server shows it, in quotes")
	case !star || len(digits) != 40 || !onlyBytes(digits, isHex):
		return fmt.Errorf("must be a star and 40 hexadecimal digits, in quotes, as SELECT PASSWORD() shows it; has %d characters", utf8.RuneCountInString(s))
	}
	return nil
}

func versionForm(s string) error {
	switch {
	case len(s) > maxVersion:
		return fmt.Errorf("has %d bytes; a server version holds %d", len(s), maxVersion)
	case !onlyBytes(s, func(c byte) bool { return c >= 0x20 && c < 0x7f }):
		return fmt.Errorf("%q must hold only printable ASCII characters", clip(s))
	}
	return nil
}

func databaseForm(s string) error {
	switch n := utf8.RuneCountInString(s); {
	case n > maxDatabase:
		return fmt.Errorf("has %d characters; a database's name holds %d", n, maxDatabase)
	case hasControl(s):
		return fmt.Errorf("%q must not hold control characters", clip(s))
	}
	return nil
}

// serverNameForm takes what stands in a certificate: a name or an IP address.
func serverNameForm(s string) error {
	if ip, err := netip.ParseAddr(s); err == nil && ip.Zone() == "" {
		return nil
	}
	return checkName(s)
}
