package auth

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

const algorithmHS256 = "HS256"

// algorithms are all there are. Which of them counts is what keys there are.
var algorithms = []string{algorithmHS256, "RS256", "ES256", "EdDSA"}

const (
	minSecret  = 32   // bytes: as long as the hash (RFC 7518 section 3.2)
	minRSABits = 2048 // RFC 7518 section 3.3
	maxKeyFile = 1 << 20
)

// key verifies the signatures of one algorithm.
type key struct {
	id       string // kid; empty: any
	issuer   string // iss of the tokens that it verifies; empty: any
	method   jwt.SigningMethod
	material any // []byte, *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

type keySet []key

// loadKeys reads all files.
func loadKeys(c *Config) (keySet, error) {
	var keys keySet
	for _, name := range c.SecretFiles {
		secret, err := LoadSecret(name)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key{method: jwt.SigningMethodHS256, material: secret})
	}
	for _, name := range c.PublicKeyFiles {
		found, err := loadPublicKeys(name)
		if err != nil {
			return nil, err
		}
		keys = append(keys, found...)
	}
	if c.JWKSFile == "" {
		return keys, nil
	}
	text, err := readKeyFile(c.JWKSFile)
	if err != nil {
		return nil, err
	}
	found, broken, err := parseJWKS(text)
	if err = cmp.Or(err, broken); err != nil { // whoever wrote the file can mend it
		return nil, fmt.Errorf("%s: %w", c.JWKSFile, err)
	}
	return append(keys, found...), nil
}

// readKeyFile reads a file that has no reason to be large.
func readKeyFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxKeyFile {
		return nil, fmt.Errorf("%s: longer than %d bytes, which no file of keys is", name, maxKeyFile)
	}
	return text, nil
}

// LoadSecret reads a secret for HS256: the bytes of a file, less one newline at
// its end.
func LoadSecret(name string) ([]byte, error) {
	text, err := readKeyFile(name)
	if err != nil {
		return nil, err
	}
	secret := bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	if len(secret) < minSecret {
		return nil, fmt.Errorf("%s: a secret of %d bytes; HS256 needs %d or more, such as of: openssl rand -base64 48", name, len(secret), minSecret)
	}
	if bytes.HasPrefix(secret, []byte("-----BEGIN ")) {
		return nil, fmt.Errorf("%s: a PEM file and no secret; public keys belong into auth.public_key_files", name)
	}
	return secret, nil
}

// loadPublicKeys reads all keys of a PEM file.
func loadPublicKeys(name string) (keySet, error) {
	text, err := readKeyFile(name)
	if err != nil {
		return nil, err
	}
	var keys keySet
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		k, err := parsePublicBlock(block)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s: no public key in PEM (-----BEGIN PUBLIC KEY-----)", name)
	}
	return keys, nil
}

func parsePublicBlock(block *pem.Block) (key, error) {
	var public crypto.PublicKey
	var err error
	switch {
	case block.Type == "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case block.Type == "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case block.Type == "CERTIFICATE":
		var certificate *x509.Certificate
		if certificate, err = x509.ParseCertificate(block.Bytes); err == nil {
			public = certificate.PublicKey
		}
	case strings.HasSuffix(block.Type, "PRIVATE KEY"):
		err = errors.New("a private key; a gateway needs the public one, of: openssl pkey -pubout")
	default:
		err = fmt.Errorf("a PEM block %q; want PUBLIC KEY", block.Type)
	}
	if err != nil {
		return key{}, err
	}
	return publicKey("", public)
}

// publicKey is a key that verifies what the private one to public signs. The
// algorithm follows from what it is and nothing else.
func publicKey(id string, public crypto.PublicKey) (key, error) {
	k := key{id: id, material: public}
	switch p := public.(type) {
	case *rsa.PublicKey:
		if p.N.BitLen() < minRSABits {
			return key{}, fmt.Errorf("an RSA key of %d bits; want %d or more", p.N.BitLen(), minRSABits)
		}
		k.method = jwt.SigningMethodRS256
	case *ecdsa.PublicKey:
		if p.Curve != elliptic.P256() {
			return key{}, fmt.Errorf("a key on the curve %s; ES256 is P-256", p.Curve.Params().Name)
		}
		k.method = jwt.SigningMethodES256
	case ed25519.PublicKey:
		k.method = jwt.SigningMethodEdDSA
	default:
		return key{}, fmt.Errorf("a %T; want an RSA, P-256 or Ed25519 key", public)
	}
	return k, nil
}
