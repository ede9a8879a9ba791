package configs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAdminIsReadOfAFileWhoseRestIsWrong(t *testing.T) {
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const rest = `
listeners: [{name: web, protocol: htp, adress: here}]
backends:
  - {name: api, queue: {maxx: 6}, overload: {file: not/here}, users: [{name: app, password_env: WEIR_NOT_SET}]}
`
	for _, tc := range []struct {
		yaml, socket, address, token, says string
	}{
		{yaml: rest, address: "127.0.0.1:9900"},
		{yaml: "admin: {socket: unix:/run/s}\n" + rest, socket: "unix:/run/s", address: "127.0.0.1:9900"},
		{yaml: rest + "admin: {address: 127.0.0.1:1, token_file: " + token + "}\n", address: "127.0.0.1:1", token: "0123456789abcdef"},
		{yaml: "admin: {pproff: yes, addres: 1, token_file: not/here, socket: unix:/run/s}", socket: "unix:/run/s", address: "127.0.0.1:9900"},
		{yaml: "admin: {pprof: perhaps}", address: "127.0.0.1:9900"},
		{yaml: "admin: {sokcet: unix:/run/s}", says: ":1:9: admin.sokcet: unknown key; did you mean socket?"},
		{yaml: "admin: {socket: 127.0.0.1:1}", says: "admin.socket: \"127.0.0.1:1\" is not a unix socket"},
		{yaml: "admin: {address: here}", says: "admin.address: "},
		{yaml: "admin: {token_file: " + dir + "/none}", says: "admin.token_file: cannot open the file"},
		{yaml: "admin: {tls: {cert: c.pem}}", says: "admin.tls.key: is missing"},
		{yaml: "admin:\n" + rest, says: "admin: has no value"},
		{yaml: "admin: {socket: unix:/run/s}\nadmin: {socket: unix:/run/t}", says: ":2:1: admin: appears twice; first on line 1"},
		{yaml: "", says: "the file is empty"},
		{yaml: "# nothing", says: "the file is empty"},
		{yaml: "admin", says: "must be a mapping"},
		{yaml: "admin: {socket: unix:/run/s", says: "not valid YAML"},
	} {
		path := filepath.Join(dir, "weir.yaml")
		if err := os.WriteFile(path, []byte(tc.yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		a, err := LoadAdmin(path)
		switch {
		case tc.says != "":
			if err == nil || a != nil || !strings.HasPrefix(err.Error(), path+":") || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%q: %v, want %q", tc.yaml, err, tc.says)
			}
		case err != nil:
			t.Errorf("%q: %v", tc.yaml, err)
		case string(a.Socket) != tc.socket || string(a.Address) != tc.address || a.Token() != tc.token:
			t.Errorf("%q: socket %q, address %q, token %q", tc.yaml, a.Socket, a.Address, a.Token())
		}
	}
	if _, err := LoadAdmin(dir + "/none"); err == nil || !strings.Contains(err.Error(), "cannot open the file") {
		t.Error(err)
	}
}
