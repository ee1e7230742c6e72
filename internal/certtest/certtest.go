// Package certtest makes certificates for tests. Nothing that is built into the
// gateway imports it, and it reads and keeps nothing but what it is asked to write.
package certtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Authority signs certificates of 127.0.0.1, ::1 and localhost.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority returns an authority that nobody knows.
func NewAuthority() *Authority {
	a := new(Authority)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "tests"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.cert, a.key = sign(template, template, nil)
	return a
}

// Client is the configuration of a client that trusts the authority.
func (a *Authority) Client() *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	return &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
}

// Sign returns a new certificate with its key, of this serial number, valid until
// then.
func (a *Authority) Sign(serial int64, until time.Time) *tls.Certificate {
	leaf, key := sign(&x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, a.cert, a.key)
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

// sign makes a key and its certificate; without a parent's key it signs itself.
func sign(template, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if by == nil {
		by = key
	}
	var der []byte
	if err == nil {
		der, err = x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	}
	var cert *x509.Certificate
	if err == nil {
		cert, err = x509.ParseCertificate(der)
	}
	if err != nil {
		panic("certtest: " + err.Error())
	}
	return cert, key
}

// WriteCA writes the authority's own certificate to a file in dir, and returns its
// path.
func (a *Authority) WriteCA(dir string) (file string, err error) {
	file = filepath.Join(dir, "ca.pem")
	return file, write(file, "CERTIFICATE", a.cert.Raw)
}

// WritePair writes a certificate and its key to cert.pem and key.pem in dir, over
// what was there, and returns their paths.
func WritePair(dir string, pair *tls.Certificate) (cert, key string, err error) {
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err == nil {
		err = write(cert, "CERTIFICATE", pair.Certificate[0])
	}
	if err == nil {
		err = write(key, "PRIVATE KEY", der)
	}
	return cert, key, err
}

func write(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
