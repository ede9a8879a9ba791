package configs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// withUser is mysqlBase with another user, given by the keys of its secret.
func withUser(secret string) string {
	return strings.Replace(mysqlBase, "no_password: true", secret, 1)
}

func writeFile(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestASecretComesFromWhereTheUserSays(t *testing.T) {
	t.Setenv("WEIR_TEST_SECRET", " from the environment ")
	most := strings.Repeat("x", maxSecret)
	for _, tc := range []struct{ written, password, hash string }{
		{"password_env: WEIR_TEST_SECRET", " from the environment ", ""},
		{"password_file: " + writeFile(t, "from a file"), "from a file", ""},
		{"password_file: " + writeFile(t, "from a file\n"), "from a file", ""},
		{"password_file: " + writeFile(t, " caf\u00e9\t\r\n"), " caf\u00e9\t", ""},
		{"password_file: " + writeFile(t, "\xff\x01"), "\xff\x01", ""},
		{"password_file: " + writeFile(t, most+"\r\n"), most, ""},
		{`password: "in # the, file"`, "in # the, file", ""},
		{"password: 0123", "0123", ""},
		{"password: yes", "yes", ""},
		{`native_hash: "*94bdcebe19083ce2a1f959fd02f964c7af4cfc29"`, "", "*94bdcebe19083ce2a1f959fd02f964c7af4cfc29"},
		{"no_password: true", "", ""},
	} {
		u := mustParse(t, withUser(tc.written)).Backends[0].Users[0]
		if password, hash, err := u.Secret(); password != tc.password || hash != tc.hash || err != nil {
			t.Errorf("%.60s: got %.60q, %q, %v", tc.written, password, hash, err)
		}
	}
}

func TestASecretThatCannotBeReadIsAnErrorAtItsKey(t *testing.T) {
	t.Setenv("WEIR_TEST_EMPTY", "")
	t.Setenv("WEIR_TEST_LINES", "two\nlines")
	t.Setenv("WEIR_TEST_LONG", strings.Repeat("x", maxSecret+1))
	for _, tc := range []struct{ key, value, text string }{
		{"password_env", "WEIR_TEST_NOT_SET", "no environment variable of this name is set, and weir needs it when it starts; the name is not said again, as it may be a password by mistake"},
		{"password_env", "WEIR_TEST_EMPTY", "the environment variable WEIR_TEST_EMPTY is empty; write no_password: true for an account without a password"},
		{"password_env", "WEIR_TEST_LINES", "the password in the environment variable WEIR_TEST_LINES must not hold a line break"},
		{"password_env", "WEIR_TEST_LONG", "the password in the environment variable WEIR_TEST_LONG has more than 4096 bytes, the most a password holds"},
		{"password_file", writeFile(t, ""), "the file is empty; write no_password: true for an account without a password"},
		{"password_file", writeFile(t, "\n"), "the file is empty; write no_password: true for an account without a password"},
		{"password_file", writeFile(t, "a\n\n"), "the password in the file must not hold a line break"},
		{"password_file", writeFile(t, "a\x00"), "the password in the file must not hold a zero byte"},
		{"password_file", writeFile(t, strings.Repeat("x", maxSecret+1)), "the password in the file has more than 4096 bytes, the most a password holds"},
		{"password_file", writeFile(t, strings.Repeat("x", 1<<20)), "the password in the file has more than 4096 bytes, the most a password holds"},
		{"password_file", t.TempDir() + "/none", "cannot open the file: no such file or directory"},
	} {
		es := errorsOf(t, withUser(tc.key+": "+tc.value))
		if e := es.List[0]; len(es.List) != 1 || e.Path != "backends[0].users[0]."+tc.key || e.Text != tc.text || e.Line != 9 || e.Col != 27+len(tc.key) {
			t.Errorf("%.40s: got %v", tc.value, es)
		}
	}
}

func TestASecretStaysWhatItWasWhenTheConfigurationWasLoaded(t *testing.T) {
	path := writeFile(t, "first")
	c := mustParse(t, withUser("password_file: "+path))
	if err := os.WriteFile(path, []byte("second"), 0o600); err != nil {
		t.Fatal(err)
	}
	u := c.Backends[0].Users[0]
	if p, _, err := u.Secret(); p != "first" || err != nil {
		t.Errorf("the loaded user has %q, %v", p, err)
	}
	u = User{Name: "app", PasswordFile: path}
	if p, _, err := u.Secret(); p != "second" || err != nil {
		t.Errorf("a user that was not loaded has %q, %v", p, err)
	}
}

const marker = "Hunter2-marker"

// markedUsers are users of every kind that has a secret, which is the marker.
func markedUsers(t testing.TB) map[string]string {
	t.Setenv("WEIR_TEST_MARKED", marker)
	return map[string]string{
		"env":    "password_env: WEIR_TEST_MARKED",
		"file":   "password_file: " + writeFile(t, marker),
		"inline": "password: " + marker,
	}
}

func TestASecretIsShownByNothing(t *testing.T) {
	for name, written := range markedUsers(t) {
		c := mustParse(t, withUser(written))
		var effective, text, js bytes.Buffer
		if err := Effective(c, &effective); err != nil {
			t.Fatal(err)
		}
		slog.New(slog.NewTextHandler(&text, nil)).Info("test", "config", c, "users", c.Backends[0].Users, "password", c.Backends[0].Users[0].Password)
		slog.New(slog.NewJSONHandler(&js, nil)).Info("test", "config", c, "users", c.Backends[0].Users, "password", c.Backends[0].Users[0].Password)
		encoded, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		shown := []string{effective.String(), text.String(), js.String(), string(encoded)}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%10.3s"} {
			shown = append(shown, fmt.Sprintf(verb, *c), fmt.Sprintf(verb, c.Backends[0].Users), fmt.Sprintf(verb, c.Backends[0].Users[0].Password))
		}
		for _, s := range shown {
			if strings.Contains(s, marker) || strings.Contains(s, fmt.Sprintf("%x", marker)) || strings.Contains(s, fmt.Sprint([]byte(marker))) {
				t.Errorf("%s: the secret is in %s", name, s)
			}
		}
	}
}

// What goes wrong in writing a secret must not bring it into a terminal or log.
func TestNoErrorHoldsASecret(t *testing.T) {
	long := marker + strings.Repeat("x", maxSecret)
	t.Setenv("WEIR_TEST_LONG", long)
	for _, written := range []string{
		"password: *" + marker, "password: !" + marker, "password: [" + marker + "]", "password: {" + marker + ": 1}",
		"password: a, " + marker, "password: a, " + marker + ": b", "password: a, " + marker + ", " + marker,
		"password: '" + marker, "password: \"" + marker + "\\q\"", "password: @" + marker, "password: %" + marker, "password: `" + marker,
		"password: " + marker + ": b: c", "password: &a *" + marker, "password: ? " + marker, "password: \"\\n" + marker + "\"",
		"password: {\"\\n" + marker + "\": 1}", "password: " + long,
		"native_hash: " + marker, "native_hash: *" + marker, "native_hash: \"*" + marker + "\"", "native_hash: [" + marker + "]",
		"password_env: " + marker, "password_env: WEIR_TEST_LONG", "password_file: " + writeFile(t, marker+"\nb\n"), "password_file: " + writeFile(t, long),
		"password: " + marker + ", password: " + marker, "password: " + marker + ", native_hash: " + marker,
	} {
		if es := errorsOf(t, withUser(written)); strings.Contains(es.Error(), marker) {
			t.Errorf("%.60s: %v", written, es)
		}
	}
}
