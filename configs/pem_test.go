package configs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
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
		{base("cert: /nowhere.crt, key: "+key, ""), "listeners[0].tls.cert: open /nowhere.crt: no such file"},
		{base("cert: "+other+", key: "+key, ""), "listeners[0].tls.cert: tls: private key does not match"},
		{base("", "ca: /nowhere.pem"), "backends[0].tls.ca: open /nowhere.pem: no such file"},
		{base("", "ca: "+empty), "backends[0].tls.ca: " + empty + " holds no certificate in PEM form"},
		{base("", "cert: "+cert+", key: "+empty), "backends[0].tls.cert: tls: failed to find any PEM data"},
	} {
		_, _, err := Parse("weir.yaml", []byte(tc.text))
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("got %v, want %q in:\n%s", err, tc.want, tc.text)
		}
	}
}
