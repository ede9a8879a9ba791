package configs

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

const testToken = marker + "-0123456789"

func TestAnAddressThatOtherMachinesReachAsksWho(t *testing.T) {
	cert, key := writePEM(t)
	token := "token_file: " + writeFile(t, testToken+"\n")
	tls := "tls: {cert: " + cert + ", key: " + key
	for _, tc := range []struct{ admin, err, warning string }{
		{"address: 0.0.0.0:9900", `admin.address: "0.0.0.0:9900" is open to other machines; write admin.token_file or admin.tls with client_ca too, or 127.0.0.1:9900 or unix:/path`, ""},
		{"address: 192.0.2.1:9900, " + tls + "}", `"192.0.2.1:9900" is open to other machines`, ""},
		{"address: 192.0.2.1:9900, " + token, "", "admin.token_file: is sent without encryption to 192.0.2.1:9900"},
		{"address: 192.0.2.1:9900, " + token + ", " + tls + "}", "", ""},
		{"address: 192.0.2.1:9900, " + tls + ", client_ca: " + cert + "}", "", ""},
		{"address: \"[::1]:9900\"", "", ""},
		{token, "", ""},
		{tls + "}", "", ""},
		{"address: unix:/run/a, " + token, "", "admin.token_file: has no effect"},
		{"address: unix:/run/a, " + tls + "}", "", "admin.tls: has no effect"},
	} {
		_, warns, err := Parse("weir.yaml", []byte(base+"admin: {"+tc.admin+"}\n"))
		if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
			t.Errorf("%.60s: got %v, want %q", tc.admin, err, tc.err)
		}
		if (tc.warning != "") != (len(warns) == 1) || tc.warning != "" && !strings.Contains(warns[0].String(), tc.warning) {
			t.Errorf("%.60s: warnings %v, want %q", tc.admin, warns, tc.warning)
		}
	}
}

func TestAnAdminFileThatIsNoGoodIsAnErrorAtItsKey(t *testing.T) {
	cert, key := writePEM(t)
	for _, tc := range []struct{ admin, want string }{
		{"token_file: /nowhere", "admin.token_file: cannot open the file: no such file or directory"},
		{"token_file: " + t.TempDir(), "admin.token_file: is a directory"},
		{"token_file: " + writeFile(t, "\n"), "admin.token_file: the file is empty; make one with: openssl rand -hex 32"},
		{"token_file: " + writeFile(t, marker), "admin.token_file: the token in the file has 14 characters, which can be guessed; it needs 16 or more"},
		{"token_file: " + writeFile(t, testToken+" "), "admin.token_file: the token in the file must be one line of letters, digits"},
		{"token_file: " + writeFile(t, testToken+"\n"+testToken), "admin.token_file: the token in the file must be one line of letters, digits"},
		{"token_file: " + writeFile(t, strings.Repeat(marker, 1000)), "admin.token_file: the token in the file has more than 1024 characters"},
		{"tls: {cert: " + cert + "}", "admin.tls.key: is missing"},
		{"tls: {cert: " + key + ", key: " + key + "}", "admin.tls.cert: tls: failed to find"},
		{"tls: {cert: " + cert + ", key: " + key + ", client_ca: " + key + "}", "admin.tls.client_ca: " + key + " holds no certificate"},
	} {
		es := errorsOf(t, base+"admin: {"+tc.admin+"}\n")
		if len(es.List) != 1 || !strings.Contains(es.Error(), tc.want) || strings.Contains(es.Error(), marker) || es.List[0].Line != 9 {
			t.Errorf("%.60s: got %v", tc.admin, es)
		}
	}
}

func TestATokenIsReadOnceShownNowhereAndItsChangeIsAChange(t *testing.T) {
	path := writeFile(t, testToken)
	text := base + "admin: {token_file: " + path + "}\n"
	old := mustParse(t, text)
	var b bytes.Buffer
	if err := Effective(old, &b); err != nil {
		t.Fatal(err)
	}
	if old.Admin.Token() != testToken || strings.Contains(b.String(), marker) || !strings.Contains(b.String(), path) {
		t.Errorf("token %q, effective:\n%s", old.Admin.Token(), b.String())
	}
	if err := os.WriteFile(path, []byte(testToken+"2"), 0o600); err != nil {
		t.Fatal(err)
	}
	next := mustParse(t, text)
	d := Diff(old, next)
	if len(d) != 1 || d[0].Restart || d[0].String() != "admin.token_file: (a value) -> (another value)" {
		t.Errorf("another token: %v", d)
	}
	if d := Diff(next, mustParse(t, base)); len(d) != 1 || !d[0].Restart || d[0].Path != "admin.token_file" {
		t.Errorf("no token any more: %v", d)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	_, warns, err := Parse("weir.yaml", []byte(text))
	if err != nil || len(warns) != 1 || !strings.Contains(warns[0].String(), "everyone on this machine may read "+path+" (mode 0644)") {
		t.Errorf("a file that all may read: %v %v", warns, err)
	}
}
