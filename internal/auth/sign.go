package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// Signer makes tokens, for trying a gateway out and for its tests: a service
// that lets people in signs with its own library.
type Signer struct {
	KeyID string // kid; empty: none

	method jwt.SigningMethod
	key    any
}

// SecretSigner signs with HS256 by the secret in a file, as LoadSecret reads it.
func SecretSigner(file string) (*Signer, error) {
	secret, err := LoadSecret(file)
	if err != nil {
		return nil, err
	}
	return &Signer{method: jwt.SigningMethodHS256, key: secret}, nil
}

// KeySigner signs by the private key in a PEM file, with the algorithm that its
// kind asks for.
func KeySigner(file string) (*Signer, error) {
	text, err := readKeyFile(file)
	if err != nil {
		return nil, err
	}
	private, err := parsePrivateKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	k, err := publicKey("", private.Public())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return &Signer{method: k.method, key: private}, nil
}

func parsePrivateKey(text []byte) (crypto.Signer, error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		var parsed any
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			parsed, err = x509.ParseECPrivateKey(block.Bytes)
		default:
			continue // parameters of a curve, certificates
		}
		if err != nil {
			return nil, err
		}
		switch private := parsed.(type) {
		case *rsa.PrivateKey:
			return private, nil
		case *ecdsa.PrivateKey:
			return private, nil
		case ed25519.PrivateKey:
			return private, nil
		}
	}
	return nil, errors.New("no RSA, P-256 or Ed25519 private key in PEM")
}

// Algorithm is the alg of the tokens.
func (s *Signer) Algorithm() string { return s.method.Alg() }

// Claims are those of a token. What is zero is left out.
type Claims struct {
	Subject, Issuer, TokenID   string
	Audience                   []string
	Issued, NotBefore, Expires time.Time
	Rooms                      map[string][]string // nil: no rooms claim
}

// Sign makes a token.
func (s *Signer) Sign(c Claims) (string, error) {
	if _, ok := protocol.NormalizeUser(c.Subject); !ok {
		return "", fmt.Errorf("sub: want 1 to %d characters: letters, digits and _ - . @", protocol.MaxUser)
	}
	if len(c.TokenID) > maxTokenID {
		return "", fmt.Errorf("jti: want at most %d bytes", maxTokenID)
	}
	m := jwt.MapClaims{}
	for name, text := range map[string]string{"sub": c.Subject, "iss": c.Issuer, "jti": c.TokenID} {
		if text != "" {
			m[name] = text
		}
	}
	for name, at := range map[string]time.Time{"iat": c.Issued, "nbf": c.NotBefore, "exp": c.Expires} {
		if !at.IsZero() {
			m[name] = at.Unix()
		}
	}
	switch len(c.Audience) {
	case 0:
	case 1:
		m["aud"] = c.Audience[0]
	default:
		m["aud"] = c.Audience
	}
	if c.Rooms != nil {
		m["rooms"] = c.Rooms
	}
	t := jwt.NewWithClaims(s.method, m)
	if s.KeyID != "" {
		t.Header["kid"] = s.KeyID
	}
	token, err := t.SignedString(s.key)
	if err == nil && len(token) > MaxToken {
		return "", fmt.Errorf("the token has %d bytes; at most %d are taken", len(token), MaxToken)
	}
	return token, err
}
