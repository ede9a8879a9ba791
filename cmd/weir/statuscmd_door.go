package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"weir/configs"
)

// statusDoor is where a running weir is asked for /api/status.
type statusDoor struct {
	at     string // as the user names it
	url    string
	token  string
	client *http.Client
}

// statusTimeout is for one answer. weir gives it in milliseconds, also under load:
// no request of a client is in its way.
const statusTimeout = 5 * time.Second

// maxStatus bounds what is read: a thousand backends are about a megabyte.
const maxStatus = 16 << 20

// unreachable is an error of a weir that does not answer. It may do so again: it
// is started anew, or reads other certificates.
type unreachable struct{ error }

// doorOf finds the door of a configuration. The socket comes first: its file's
// mode is the login.
func doorOf(a *configs.Admin) (*statusDoor, error) {
	if a.Socket != "" {
		return newDoor("admin.socket "+string(a.Socket), a.Socket, "", nil)
	}
	if a.Address == "" {
		return nil, errors.New("the configuration has neither admin.address nor admin.socket, so nobody can be asked; write one and restart weir")
	}
	var conf *tls.Config
	if a.TLS.Cert != "" && a.Address.Network() == "tcp" {
		if a.TLS.ClientCA != "" {
			return nil, errors.New("admin.tls.client_ca wants a certificate of who asks, and this command has none; set admin.socket and restart weir, or use curl --cert")
		}
		cert, _, err := a.TLS.Load()
		if err != nil {
			return nil, fmt.Errorf("admin.tls: %w", err)
		}
		conf = pinned(cert)
	}
	return newDoor("admin.address "+string(a.Address), a.Address, a.Token(), conf)
}

// pinned trusts the certificate that weir's own configuration names, and no other:
// it is made for a name, and here weir is asked by address.
func pinned(cert tls.Certificate) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // VerifyConnection does it
		VerifyConnection: func(cs tls.ConnectionState) error {
			if !bytes.Equal(cs.PeerCertificates[0].Raw, cert.Certificate[0]) {
				return errors.New("the certificate is not the one in admin.tls.cert; if that file is new, have weir reload it with SIGHUP")
			}
			return nil
		},
	}
}

// doorAt finds the door at an address that the user gave.
func doorAt(address, tokenFile string) (*statusDoor, error) {
	token := ""
	if tokenFile != "" {
		var err error
		if token, err = configs.ReadToken(tokenFile); err != nil {
			return nil, fmt.Errorf("-token-file %s: %w", tokenFile, err)
		}
	}
	var conf *tls.Config
	plain := strings.TrimSuffix(strings.TrimPrefix(address, "http://"), "/")
	if rest, ok := strings.CutPrefix(plain, "https://"); ok {
		plain, conf = rest, &tls.Config{MinVersion: tls.VersionTLS12}
	}
	a, err := configs.ParseAddress(plain)
	if err != nil {
		return nil, fmt.Errorf("-admin: %w", err)
	}
	return newDoor(address, a, token, conf)
}

func newDoor(at string, a configs.Address, token string, conf *tls.Config) (*statusDoor, error) {
	network, target, host := a.Network(), a.Target(), "weir"
	if network == "tcp" {
		target = reachable(target)
		host = target
	}
	scheme := "http"
	if conf != nil {
		scheme = "https"
	}
	return &statusDoor{
		at: at, url: scheme + "://" + host + "/api/status", token: token,
		client: &http.Client{
			Timeout: statusTimeout,
			// weir sends nobody elsewhere, and nobody else gets the token.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: &http.Transport{ // and no proxy of the environment
				TLSClientConfig: conf,
				DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, network, target)
				},
			},
		},
	}, nil
}

// reachable is where to dial for a listener's address: one that listens everywhere
// is on this machine.
func reachable(target string) string {
	host, port, err := net.SplitHostPort(target)
	ip, _ := netip.ParseAddr(host)
	if err != nil || host != "" && !ip.IsUnspecified() {
		return target
	}
	if ip.Is6() {
		return net.JoinHostPort("::1", port)
	}
	return net.JoinHostPort("127.0.0.1", port)
}

func (d *statusDoor) close() { d.client.CloseIdleConnections() }

// read gets /api/status, as it is and decoded.
func (d *statusDoor) read(ctx context.Context) ([]byte, *statusPage, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url, nil)
	if err != nil {
		return nil, nil, err
	}
	if d.token != "" {
		req.Header.Set("Authorization", "Bearer "+d.token)
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return nil, nil, d.explain(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxStatus+1))
	switch {
	case err != nil:
		return nil, nil, d.explain(err)
	case resp.StatusCode != http.StatusOK:
		return nil, nil, d.refused(resp.StatusCode, body)
	case len(body) > maxStatus:
		return nil, nil, fmt.Errorf("%s: the answer has more than %d bytes; is this weir?", d.at, maxStatus)
	}
	p := new(statusPage)
	if err := json.Unmarshal(body, p); err != nil || p.Version == "" {
		return nil, nil, fmt.Errorf("%s: what answers there is not weir, or a weir that is much older or newer than this command (%s)", d.at, versionText())
	}
	return body, p, nil
}

// explain says what an error of the connection means.
func (d *statusDoor) explain(err error) error {
	if u := errors.Unwrap(err); u != nil {
		err = u // the URL is in at
	}
	why, advice := err.Error(), "is weir running, and is this where it listens?"
	switch {
	case errors.Is(err, fs.ErrNotExist):
		why, advice = "there is no such socket", "is weir running, and is this its admin.socket?"
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: permission denied: the socket is for the user that weir runs as; ask as that user, with sudo -u", d.at)
	case errors.Is(err, syscall.ECONNREFUSED):
		why = "nobody answers"
	case errors.Is(err, context.DeadlineExceeded):
		why, advice = fmt.Sprintf("no answer in %v", statusTimeout), "is this weir, and has it a processor to run on?"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		why, advice = "it closes the connection without an answer", "if admin.tls is configured, ask with -config, or -admin https://HOST:PORT"
	case strings.Contains(why, "HTTP response to HTTPS"):
		why, advice = "it speaks plain HTTP", "ask without https://, or restart weir if admin.tls is new"
	case strings.Contains(why, "certificate"):
		advice = "ask with -config, which knows weir's own certificate"
	}
	return unreachable{fmt.Errorf("%s: %s; %s", d.at, clean(why), advice)} // a certificate's names are in some
}

func (d *statusDoor) refused(status int, body []byte) error {
	said := clean(strings.TrimPrefix(strings.TrimSpace(string(body[:min(len(body), 400)])), "weir: "))
	switch {
	case status == http.StatusUnauthorized && d.token == "":
		return fmt.Errorf("%s wants a token; give its file with -token-file, or ask with -config", d.at)
	case status == http.StatusUnauthorized:
		return fmt.Errorf("%s: %s", d.at, said)
	case status == http.StatusNotFound:
		return fmt.Errorf("%s: there is no /api/status; is this weir, and its admin.address?", d.at)
	}
	return fmt.Errorf("%s answers %d: %s", d.at, status, said)
}
