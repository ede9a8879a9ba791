package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/admin"
	"weir/configs"
	"weir/internal/testnet"
)

// The token, and the certificate that is made for another name, come from the
// configuration; another certificate is not believed.
func TestStatusGetsInWithWhatTheConfigurationHas(t *testing.T) {
	mine, other := testnet.NewTLSFiles(t), testnet.NewTLSFiles(t)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("0123456789abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := configOf(t, `
listeners: [{name: web, protocol: http, address: "127.0.0.1:0", backend: api}]
backends: [{name: api, endpoints: ["127.0.0.1:1"]}]
admin: {token_file: `+token+`, tls: {cert: `+mine.Cert+`, key: `+mine.Key+`}}
`)
	access, err := adminAccess(&cfg.Admin)
	if err != nil {
		t.Fatal(err)
	}
	s := admin.New(admin.Options{Access: access, Status: func() any { return busyPage(1, 1) }})
	defer s.Close(context.Background())
	addr, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Admin.Address = configs.Address(addr.String())
	read := func() (string, error) {
		d, err := doorOf(&cfg.Admin)
		if err != nil {
			return "", err
		}
		defer d.close()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		body, _, err := d.read(ctx)
		return string(body), err
	}
	if body, err := read(); err != nil || !strings.Contains(body, "v1.2.3") {
		t.Errorf("%v: %s", err, body)
	}
	cfg.Admin.TLS = configs.AdminTLS{Cert: other.Cert, Key: other.Key}
	if _, err := read(); err == nil || !strings.Contains(err.Error(), "is not the one in admin.tls.cert") {
		t.Errorf("with another certificate: %v", err)
	}
	cfg.Admin.TLS.ClientCA = other.CA
	if _, err := read(); err == nil || !strings.Contains(err.Error(), "set admin.socket") {
		t.Errorf("where clients need a certificate: %v", err)
	}
	var out, errs bytes.Buffer
	if code := runStatus([]string{"-admin", addr.String(), "-token-file", token}, &out, &errs); code != exitFailed || !strings.Contains(errs.String(), "https://") {
		t.Errorf("plain HTTP: %d %s", code, &errs)
	}
}

// A directory or socket that one may not enter is another thing than none.
func TestStatusTellsAClosedDoorFromNone(t *testing.T) {
	if os.Getuid() == 0 {
		// Root may enter everything; what the kernel would say is told to explain.
		d := &statusDoor{at: "admin.socket unix:/s"}
		if err := d.explain(&os.PathError{Op: "dial", Err: os.ErrPermission}); !strings.Contains(err.Error(), "for the user that weir runs as") {
			t.Error(err)
		}
		return
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o700)
	var out, errs bytes.Buffer
	if code := runStatus([]string{"-admin", "unix:" + dir + "/s"}, &out, &errs); code != exitFailed || !strings.Contains(errs.String(), "for the user that weir runs as") {
		t.Errorf("%d %s", code, &errs)
	}
}

// Whoever answers in weir's place chooses the names in its certificate.
func TestACertificateSaysNothingToTheTerminal(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"\x1b]0;owned\a\x1b[2J"}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.StartTLS()
	defer s.Close()
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	code := runStatus([]string{"-admin", "https://localhost:" + port}, &out, &errs)
	if code != exitFailed || strings.ContainsAny(errs.String(), "\x1b\a") || !strings.Contains(errs.String(), "owned") {
		t.Errorf("%d %q", code, errs.String())
	}
}

func TestWhoInterruptsStatusIsToldNothing(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP} {
		s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if err := syscall.Kill(os.Getpid(), sig); err != nil {
				t.Error(err)
			}
			<-r.Context().Done()
		}))
		var out, errs bytes.Buffer
		if code := runStatus([]string{"-admin", s.Listener.Addr().String()}, &out, &errs); code != exitFailed || out.Len()+errs.Len() > 0 {
			t.Errorf("%v: %d %s%s", sig, code, &out, &errs)
		}
		s.Close()
	}
}
