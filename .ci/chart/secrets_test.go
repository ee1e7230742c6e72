package charttest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"path"
	"strings"
	"testing"
	"time"
)

// secretFile is a good file for a path of the volume of secrets.
func secretFile(t *testing.T, name string) string {
	t.Helper()
	switch {
	case name == "api-keys.yaml":
		return "- { name: shop, key: a-key-of-no-use-to-anyone-else-here, allow: [publish] }\n"
	case strings.HasPrefix(name, "hs256-"):
		return strings.Repeat("0123456789abcdef", 3) + "\n"
	case name == "jwks.json":
		return keySet(t)
	case path.Ext(name) == ".pem", name == "tls.crt":
		cert, _ := certificate(t)
		return cert
	case name == "tls.key":
		_, key := certificate(t)
		return key
	}
	t.Fatalf("no secret for %s", name)
	return ""
}

// certificate is one that signs itself, and its key, PEM.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour), IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, bytes []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}))
	}
	return encode("CERTIFICATE", der), encode("PRIVATE KEY", pkcs8)
}

// keySet is a JSON Web Key Set of one public key.
func keySet(t *testing.T) string {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := private.PublicKey.Bytes() // 4, X, Y
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	set, err := json.Marshal(map[string]any{"keys": []any{map[string]string{
		"kty": "EC", "crv": "P-256", "kid": "one", "x": encode(point[1:33]), "y": encode(point[33:]),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return string(set)
}
