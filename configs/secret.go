package configs

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
)

// Hidden is a text that is shown nowhere: whatever prints or encodes it gets a
// placeholder. string(h) is the text itself.
type Hidden string

const hiddenText = "(hidden)"

func (Hidden) String() string { return hiddenText }

// Format stands in for every verb: some of them go past String.
func (Hidden) Format(f fmt.State, _ rune) { io.WriteString(f, hiddenText) }

// MarshalText keeps the text out of JSON and its like.
func (Hidden) MarshalText() ([]byte, error) { return []byte(hiddenText), nil }

// LogValue keeps the text out of logs.
func (Hidden) LogValue() slog.Value { return slog.StringValue(hiddenText) }

// maxSecret bounds a password, and with it a file that is not one.
const maxSecret = 4 << 10

// Secret returns the user's password, or the native hash where the
// configuration has that alone. Both are empty for an account without a
// password. What the environment or a file said when the configuration was
// loaded stays; a User that Parse has not made reads them now. No error holds
// the secret.
func (u *User) Secret() (password, hash string, err error) {
	switch {
	case u.read != nil:
		password = u.read()
	case u.PasswordEnv != "":
		password, err = passwordFromEnv(u.PasswordEnv)
	case u.PasswordFile != "":
		password, err = passwordFromFile(u.PasswordFile)
	default:
		password, hash = string(u.Password), string(u.NativeHash)
	}
	return password, hash, err
}

// load reads the secret and keeps it, so that a configuration is applied with
// what it was checked with.
func (u *User) load() error {
	password, _, err := u.Secret()
	if err == nil && (u.PasswordEnv != "" || u.PasswordFile != "") {
		u.read = func() string { return password }
	}
	return err
}

func passwordFromEnv(name string) (string, error) {
	p, ok := os.LookupEnv(name)
	switch {
	case !ok:
		return "", errors.New("no environment variable of this name is set, and weir needs it when it starts; the name is not said again, as it may be a password by mistake")
	case p == "":
		return "", fmt.Errorf("the environment variable %s is empty; write no_password: true for an account without a password", name)
	}
	if err := passwordForm(p); err != nil {
		return "", fmt.Errorf("the password in the environment variable %s %w", name, err)
	}
	return p, nil
}

func passwordFromFile(path string) (string, error) {
	data, err := readRegular(path, maxSecret+2) // with a line end
	if err != nil {
		return "", err
	}
	p := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if p == "" {
		return "", errors.New("the file is empty; write no_password: true for an account without a password")
	}
	if err := passwordForm(p); err != nil {
		return "", fmt.Errorf("the password in the file %w", err)
	}
	return p, nil
}
