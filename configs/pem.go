package configs

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
)

// maxPEM bounds a file of certificates or of a key. All that a browser trusts are
// about 250 KiB.
const maxPEM = 4 << 20

// LoadKeyPair reads a certificate with its chain, and its key, as the keys cert and
// key name them. Unlike tls.LoadX509KeyPair it refuses what is not a regular file:
// a pipe would hold a check, and a reload, for as long as nobody writes to it.
func LoadKeyPair(cert, key string) (tls.Certificate, error) {
	c, err := readPEM(cert)
	if err != nil {
		return tls.Certificate{}, err
	}
	k, err := readPEM(key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(c, k)
}

// readCerts reads a file of certificates that are trusted.
func readCerts(path string) (*x509.CertPool, error) {
	pem, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", path)
	}
	return pool, nil
}

// readPEM's errors name the file, as a key may be about two.
func readPEM(path string) ([]byte, error) {
	data, err := readRegular(path, maxPEM)
	if err == nil && len(data) > maxPEM {
		err = fmt.Errorf("has more than 4MiB (%d bytes), the most weir reads of certificates and keys", maxPEM)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return data, nil
}
