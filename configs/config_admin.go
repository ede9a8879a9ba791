package configs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
)

// Admin is the operator's side. A change needs a restart, but for what the files
// of token_file and tls hold.
type Admin struct {
	// Where the pages, /metrics and /healthz are served: host:port or unix:/path. An address that other machines reach needs token_file or tls.client_ca.
	Address Address `key:"address" form:"page"`
	// Unix socket that takes drain and reload, as unix:/path.
	Socket Address `key:"socket" form:"socket" absent:"no write actions"`
	// File with the token that the pages of address ask for, one line of 16 to 1024 characters. It is read again by each reload.
	TokenFile string `key:"token_file" form:"file" absent:"no token is asked for"`
	// TLS of address.
	TLS AdminTLS `key:"tls" absent:"plain HTTP"`
	// Serve /debug/pprof/.
	Pprof bool `key:"pprof"`

	// token is what token_file held when the configuration was loaded, nil
	// without one. It is a function so that printing an Admin does not show it.
	token func() string
}

// AdminTLS is what the admin pages have for TLS. The files are named here, read
// once by a check, and again by those who use them.
type AdminTLS struct {
	// File of the certificate and its chain, PEM. It is read again by each reload.
	Cert string `key:"cert" need:"yes" form:"file"`
	// File of the certificate's private key, PEM. It is read again by each reload.
	Key string `key:"key" need:"yes" form:"file"`
	// File of the certificates that are trusted to sign those of clients, PEM. With it a client needs one. It is read again by each reload.
	ClientCA string `key:"client_ca" form:"file" absent:"clients need no certificate"`
}

// Token is what token_file held when the configuration was loaded, "" without
// one. Whoever has it is let in: it belongs in no log.
func (a *Admin) Token() string {
	if a.token == nil {
		return ""
	}
	return a.token()
}

// AsksWho says whether those who come to address have to show who they are.
func (a *Admin) AsksWho() bool { return a.TokenFile != "" || a.TLS.ClientCA != "" }

// Exposed says whether other machines reach address.
func (a *Admin) Exposed() bool { return a.Address.Network() == "tcp" && !a.Address.loopback() }

// Load reads the files: the certificate, and those who may sign the clients',
// nil where clients need none.
func (t *AdminTLS) Load() (cert tls.Certificate, clients *x509.CertPool, err error) {
	if cert, err = LoadKeyPair(t.Cert, t.Key); err != nil || t.ClientCA == "" {
		return cert, nil, err
	}
	clients, err = readCerts(t.ClientCA)
	return cert, clients, err
}

// Bounds of the token. One of 16 characters cannot be guessed over a network, and
// the longest fits a request's head twice over.
const (
	minToken = 16
	maxToken = 1024
)

// ReadToken reads the file of a token, as admin.token_file names one. No error holds
// what is in it.
func ReadToken(path string) (string, error) {
	data, err := readRegular(path, maxToken+2) // with a line end
	if err != nil {
		return "", err
	}
	const make = "make one with: openssl rand -hex 32"
	token := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	switch {
	case token == "":
		return "", errors.New("the file is empty; " + make)
	case len(token) < minToken:
		return "", fmt.Errorf("the token in the file has %d characters, which can be guessed; it needs %d or more, %s", len(token), minToken, make)
	case len(token) > maxToken:
		return "", fmt.Errorf("the token in the file has more than %d characters, the most a token holds; %s", maxToken, make)
	case !onlyBytes(token, isBearerByte):
		return "", errors.New("the token in the file must be one line of letters, digits or -._~+/= (RFC 6750, section 2.1); " + make)
	}
	return token, nil
}

func isBearerByte(c byte) bool { return isAlnum(c) || strings.IndexByte("-._~+/=", c) >= 0 }
