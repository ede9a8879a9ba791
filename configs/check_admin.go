package configs

import "os"

// admin holds the rules of who may ask the admin pages, and reads what their
// keys name, so that a check finds what a start would.
func (ch *checker) admin() {
	a := &ch.c.Admin
	ch.adminToken(a)
	ch.adminTLS(&a.TLS)
	if !ch.good("admin", "admin.address", "admin.token_file", "admin.tls", "admin.tls.client_ca") {
		return
	}
	switch {
	case a.Address.Network() == "unix" && a.TokenFile != "":
		ch.warn("admin.token_file", "has no effect: admin.address is a unix socket, and its file mode says who may ask")
	case a.Address.Network() == "unix" && a.TLS.Cert != "":
		ch.warn("admin.tls", "has no effect: admin.address is a unix socket, and its file mode says who may ask")
	case a.Exposed() && !a.AsksWho():
		_, port := a.Address.HostPort()
		ch.reject("admin.address", "%q is open to other machines; write admin.token_file or admin.tls with client_ca too, or 127.0.0.1:%d or unix:/path", a.Address, port)
	case a.Exposed() && a.TLS.Cert == "":
		ch.warn("admin.token_file", "is sent without encryption to %s, and who listens on the way has it; write admin.tls too", a.Address)
	}
}

func (ch *checker) adminToken(a *Admin) {
	const key = "admin.token_file"
	if a.TokenFile == "" || !ch.good("admin", key) {
		return
	}
	token, err := ReadToken(a.TokenFile)
	if err != nil {
		ch.reject(key, "%s", err)
		return
	}
	a.token = func() string { return token }
	const others = 0o007
	if info, err := os.Stat(a.TokenFile); err == nil && info.Mode().Perm()&others != 0 {
		ch.warn(key, "everyone on this machine may read %s (mode %04o); take that away with: chmod o= %[1]s", a.TokenFile, info.Mode().Perm())
	}
}

func (ch *checker) adminTLS(t *AdminTLS) {
	ch.keyPair(t.Cert, t.Key, "admin.tls")
	if key := "admin.tls.client_ca"; t.ClientCA != "" && ch.good(key) {
		if _, err := readCerts(t.ClientCA); err != nil {
			ch.reject(key, "%s", err)
		}
	}
}
