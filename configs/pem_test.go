package configs

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// writePEM writes a certificate that signs itself, and its key.
func writePEM(t testing.TB) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert = writeFile(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	return cert, writeFile(t, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

func TestCertificatesAreReadByACheck(t *testing.T) {
	cert, key := writePEM(t)
	other, _ := writePEM(t)
	empty := writeFile(t, "")
	base := func(listener, backend string) string {
		text := mysqlBase
		if listener != "" {
			text = strings.Replace(text, "backend: orders", "backend: orders\n    tls: {"+listener+"}", 1)
		}
		if backend != "" {
			text += "    tls: {mode: verify_identity, server_name: db, " + backend + "}\n"
		}
		return text
	}
	for _, tc := range []struct{ text, want string }{
		{base("cert: "+cert+", key: "+key, "ca: "+cert+", cert: "+cert+", key: "+key), ""},
		{base("cert: /nowhere.crt, key: "+key, ""), "listeners[0].tls.cert: /nowhere.crt: cannot open the file: no such file"},
		{base("cert: "+other+", key: "+key, ""), "listeners[0].tls.cert: tls: private key does not match"},
		{base("", "ca: /nowhere.pem"), "backends[0].tls.ca: /nowhere.pem: cannot open the file: no such file"},
		{base("", "ca: "+empty), "backends[0].tls.ca: " + empty + " holds no certificate in PEM form"},
		{base("", "cert: "+cert+", key: "+empty), "backends[0].tls.cert: tls: failed to find any PEM data"},
	} {
		_, _, err := Parse("weir.yaml", []byte(tc.text))
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("got %v, want %q in:\n%s", err, tc.want, tc.text)
		}
	}
}

// A pipe that nobody writes to would hold a check, and weir in a reload, for ever.
func TestAPipeIsRefusedAtOnceByEveryKeyOfAFile(t *testing.T) {
	cert, key := writePEM(t)
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	onListener := func(tls string) string {
		return strings.Replace(mysqlBase, "backend: orders", "backend: orders\n    tls: {"+tls+"}", 1)
	}
	onBackend := mysqlBase + "    tls: {mode: verify_identity, server_name: db, "
	for at, text := range map[string]string{
		"listeners[0].tls.cert": onListener("cert: " + pipe + ", key: " + key),
		"listeners[0].tls.key":  onListener("cert: " + cert + ", key: " + pipe),
		"backends[0].tls.ca":    onBackend + "ca: " + pipe + "}\n",
		"backends[0].tls.cert":  onBackend + "cert: " + pipe + ", key: " + key + "}\n",
		"backends[0].tls.key":   onBackend + "cert: " + cert + ", key: " + pipe + "}\n",
		"overload.file":         base + "    overload: {file: " + pipe + "}\n",
		"admin.token_file":      base + "admin: {token_file: " + pipe + "}\n",
		"admin.tls.cert":        base + "admin: {tls: {cert: " + pipe + ", key: " + key + "}}\n",
		"admin.tls.key":         base + "admin: {tls: {cert: " + cert + ", key: " + pipe + "}}\n",
		"admin.tls.client_ca":   base + "admin: {tls: {cert: " + cert + ", key: " + key + ", client_ca: " + pipe + "}}\n",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		var err error
		go func() {
			defer cancel()
			_, _, err = Parse("weir.yaml", []byte(text))
		}()
		<-ctx.Done()
		if ctx.Err() == context.DeadlineExceeded {
			t.Fatalf("%s: a pipe is waited for", at)
		} else if err == nil || !strings.Contains(err.Error(), "is a pipe; weir reads a regular file") || !strings.Contains(err.Error(), at[:strings.LastIndexByte(at, '.')]) {
			t.Errorf("%s: %v", at, err)
		}
	}
}

func TestAFileThatIsTooLongOrASocketIsNoCertificate(t *testing.T) {
	if _, err := readPEM(writeFile(t, strings.Repeat("x", maxPEM+1))); err == nil || !strings.Contains(err.Error(), "has more than 4MiB") {
		t.Error(err)
	}
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if _, err := readPEM(path); err == nil || !strings.Contains(err.Error(), "is a socket; weir reads a regular file") {
		t.Error(err)
	}
}
