package admin

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/internal/oplog"
)

const secretToken = "f3b2c1d0e9a8f7e6-token"

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{cert, key, x509.NewCertPool()}
	a.pool.AddCert(cert)
	return a
}

// sign gives a certificate for a server or for a client.
func (a *authority) sign(t *testing.T, usage x509.ExtKeyUsage) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// overHTTPS is the client tcp with TLS, with a certificate of its own unless it
// is nil: it is sent whoever the server says it trusts.
func overHTTPS(t *testing.T, tcp *http.Client, roots *x509.CertPool, own *tls.Certificate) *http.Client {
	t.Helper()
	conf := &tls.Config{RootCAs: roots, ServerName: "localhost"}
	if own != nil {
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own, nil }
	}
	tr := &http.Transport{DialContext: tcp.Transport.(*http.Transport).DialContext, TLSClientConfig: conf}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Timeout: 10 * time.Second, Transport: tr}
}

func TestWithATokenThePagesAreForThoseWhoHaveIt(t *testing.T) {
	_, tcp, unix, base := start(t, Options{
		Access: Access{Token: NewToken(secretToken)},
		Status: func() any { return 1 },
		Ready:  func() []string { return []string{"backend payroll is cold"} },
		Live:   &Live{Past: func() any { return 1 }, Now: func() any { return 1 }},
		Pprof:  true,
	})
	basic := func(password string) string {
		r := http.Request{Header: http.Header{}}
		r.SetBasicAuth("anybody", password)
		return r.Header.Get("Authorization")
	}
	for _, path := range []string{"/", "/metrics", "/api/status", "/api/stream", "/debug/pprof/", "/dashboard/app.js", "/nothing", "/api/actions/drain"} {
		for name, field := range map[string]string{
			"none": "", "wrong": "Bearer " + secretToken + "x", "short": "Bearer " + secretToken[:8], "empty": "Bearer ",
			"wrong password": basic("x"), "empty password": basic(""), "bare": secretToken, "nonsense": "Basic %%",
		} {
			status, body, h := ask(t, tcp, "GET", base+path, "Authorization", field)
			if status != 401 || !strings.HasPrefix(h.Get("WWW-Authenticate"), `Basic realm="weir"`) || len(h.Values("WWW-Authenticate")) != 2 {
				t.Errorf("%s with %s token: %d %v", path, name, status, h)
			}
			if !strings.Contains(body, "token") || strings.Contains(body, secretToken) {
				t.Errorf("%s with %s token: %q", path, name, body)
			}
		}
	}
	for name, field := range map[string]string{"bearer": "Bearer " + secretToken, "browser": basic(secretToken)} {
		if status, body, _ := ask(t, tcp, "GET", base+"/api/status", "Authorization", field); status != 200 {
			t.Errorf("%s: %d %q", name, status, body)
		}
		if status, body, _ := ask(t, tcp, "POST", base+actionPath+"drain", "Authorization", field); status != 403 {
			t.Errorf("%s: an action over TCP: %d %q", name, status, body)
		}
		// The token is no way around what stands in front of it.
		if status, _, _ := ask(t, tcp, "GET", base+"/api/status", "Authorization", field, "Sec-Fetch-Site", "cross-site"); status != 403 {
			t.Errorf("%s from another site: %d", name, status)
		}
		if _, body, _ := ask(t, tcp, "GET", base+"/readyz", "Authorization", field); !strings.Contains(body, "payroll") {
			t.Errorf("%s: /readyz does not say why: %q", name, body)
		}
	}
	// A browser would ask its user for a page that is open, at each of its tries.
	if status, _, h := ask(t, tcp, "GET", base+"/api/stream", "Accept", "text/event-stream"); status != 401 || len(h.Values("WWW-Authenticate")) != 1 || h.Get("WWW-Authenticate") != `Bearer realm="weir"` {
		t.Errorf("a page's stream: %d %v", status, h)
	}
	// Probes have no token.
	if status, _, _ := ask(t, tcp, "GET", base+"/healthz"); status != 200 {
		t.Errorf("/healthz: %d", status)
	}
	if status, body, _ := ask(t, tcp, "GET", base+"/readyz"); status != 503 || strings.Contains(body, "payroll") {
		t.Errorf("/readyz: %d %q", status, body)
	}
	if status, _, _ := ask(t, unix, "GET", base+"/api/status"); status != 200 {
		t.Errorf("over the unix socket: %d", status)
	}
}

func TestWithAClientCAOnlyItsClientsGetThePages(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	_, tcp, _, _ := start(t, Options{
		Access: Access{Certificate: ours.sign(t, x509.ExtKeyUsageServerAuth), Clients: ours.pool},
		Status: func() any { return 1 },
	})
	const base = "https://localhost"
	good := ours.sign(t, x509.ExtKeyUsageClientAuth)
	if status, body, _ := ask(t, overHTTPS(t, tcp, ours.pool, good), "GET", base+"/api/status"); status != 200 {
		t.Errorf("our client: %d %q", status, body)
	}
	none := overHTTPS(t, tcp, ours.pool, nil)
	if status, body, _ := ask(t, none, "GET", base+"/api/status"); status != 403 || !strings.Contains(body, "certificate") {
		t.Errorf("without a certificate: %d %q", status, body)
	}
	if status, _, _ := ask(t, none, "GET", base+"/healthz"); status != 200 {
		t.Errorf("a probe: %d", status)
	}
	for name, cert := range map[string]*tls.Certificate{
		"another CA's": theirs.sign(t, x509.ExtKeyUsageClientAuth),
		"a server's":   ours.sign(t, x509.ExtKeyUsageServerAuth),
	} {
		if resp, err := overHTTPS(t, tcp, ours.pool, cert).Get(base + "/healthz"); err == nil {
			resp.Body.Close()
			t.Errorf("%s certificate was let in: %d", name, resp.StatusCode)
		}
	}
	if resp, err := tcp.Get("http://localhost/healthz"); err == nil {
		resp.Body.Close()
		t.Error("plain HTTP was answered where there is TLS")
	}
	old := overHTTPS(t, tcp, ours.pool, good)
	old.Transport.(*http.Transport).TLSClientConfig.MaxVersion = tls.VersionTLS11
	if resp, err := old.Get(base + "/healthz"); err == nil {
		resp.Body.Close()
		t.Error("TLS 1.1 was spoken")
	}
}

func TestWithBothAClientNeedsBoth(t *testing.T) {
	ca := newAuthority(t)
	_, tcp, _, _ := start(t, Options{Access: Access{Token: NewToken(secretToken), Certificate: ca.sign(t, x509.ExtKeyUsageServerAuth), Clients: ca.pool}})
	with, without := overHTTPS(t, tcp, ca.pool, ca.sign(t, x509.ExtKeyUsageClientAuth)), overHTTPS(t, tcp, ca.pool, nil)
	for _, r := range []struct {
		c     *http.Client
		token string
		want  int
	}{{with, secretToken, 200}, {with, "x", 401}, {without, secretToken, 403}, {without, "x", 403}} {
		if status, body, _ := ask(t, r.c, "GET", "https://localhost/metrics", "Authorization", "Bearer "+r.token); status != r.want {
			t.Errorf("certificate %v, token %.1s: %d %q, want %d", r.c == with, r.token, status, body, r.want)
		}
	}
}

func TestANewTokenEndsTheOldOneAndItsConnections(t *testing.T) {
	s, tcp, unix, base := start(t, Options{
		Access: Access{Token: NewToken(secretToken)},
		Live:   &Live{Past: func() any { return 1 }, Now: func() any { return 1 }},
	})
	conn, err := tcp.Transport.(*http.Transport).DialContext(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Write([]byte("GET /api/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + secretToken + "\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 15)); n != 15 || err != nil {
		t.Fatal(n, err)
	}
	if _, _, _ = ask(t, unix, "GET", base+"/healthz"); s.SetAccess(Access{Token: NewToken("another")}) != nil {
		t.Error("a new token was refused")
	}
	for b := make([]byte, 4096); ; { // the stream ends, and not by the deadline
		if _, err := conn.Read(b); err != nil {
			if e, ok := err.(net.Error); ok && e.Timeout() {
				t.Error("a stream of the old token goes on")
			}
			break
		}
	}
	tcp.CloseIdleConnections()
	for token, want := range map[string]int{secretToken: 401, "another": 200} {
		if status, _, _ := ask(t, tcp, "GET", base+"/metrics", "Authorization", "Bearer "+token); status != want {
			t.Errorf("%s: %d, want %d", token, status, want)
		}
	}
	if s.SetAccess(Access{}) == nil {
		t.Error("the pages were opened to everyone while they are open")
	}
	if s.SetAccess(Access{Token: NewToken("another"), Certificate: new(tls.Certificate)}) == nil {
		t.Error("TLS was turned on under an open listener")
	}
}

func TestGuessingFillsNoLogAndPutsNothingIntoIt(t *testing.T) {
	var log lockedBuffer
	l := oplog.New(&log, slog.LevelInfo, false)
	_, tcp, _, base := start(t, Options{Access: Access{Token: NewToken(secretToken)}, Log: l.Logger})
	ask(t, tcp, "GET", base+"/metrics")
	if s := log.String(); s != "" {
		t.Errorf("a request without a token, with which browsers begin, is logged: %s", s)
	}
	for range 50 {
		ask(t, tcp, "GET", base+"/"+strings.Repeat("x", 1000), "Authorization", "Bearer guessed-"+secretToken)
	}
	first := log.String()
	l.Close()
	if n := strings.Count(first, "refused a login"); n != 1 || !strings.Contains(first, "127.0.0.1") || len(first) > 1000 {
		t.Errorf("%d lines for 50 guesses:\n%s", n, first)
	}
	if all := log.String(); strings.Contains(all, "guessed") || strings.Contains(all, secretToken) || !strings.Contains(all, "49") {
		t.Errorf("the log of 50 guesses:\n%s", all)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// An address that other machines reach is bound only for clients that log in.
func TestAnotherAddressNeedsALogin(t *testing.T) {
	for name, tc := range map[string]struct {
		access Access
		bound  bool
	}{
		"open":      {Access{}, false},
		"TLS alone": {Access{Certificate: new(tls.Certificate)}, false},
		"token":     {Access{Token: NewToken(secretToken)}, true},
		"CA":        {Access{Certificate: new(tls.Certificate), Clients: x509.NewCertPool()}, true},
	} {
		s := New(Options{Log: quiet(), Access: tc.access})
		_, err := s.Listen("0.0.0.0:0")
		if (err == nil) != tc.bound {
			t.Errorf("%s: %v", name, err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
