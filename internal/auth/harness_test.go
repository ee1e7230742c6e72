package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/metrics"
)

const secret = "0123456789abcdef0123456789abcdef"

// write puts a file into a folder of the test's.
func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// rsaKey is made once: it takes long.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func ecKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func edKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func publicPEM(t testing.TB, private crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func privatePEM(t testing.TB, private crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func keySigner(t testing.TB, private crypto.Signer) *Signer {
	t.Helper()
	s, err := KeySigner(write(t, "private.pem", privatePEM(t, private)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func verifier(t testing.TB, c Config) *Verifier {
	t.Helper()
	v, err := NewVerifier(c)
	if err != nil {
		t.Fatal(err)
	}
	v.Start()
	t.Cleanup(v.Close)
	return v
}

// secretVerifier trusts secret and counts into set.
func secretVerifier(t testing.TB) (v *Verifier, set *metrics.Set) {
	t.Helper()
	set = metrics.NewSet("test", nil)
	return verifier(t, Config{SecretFiles: []string{write(t, "secret", secret)}, Leeway: 5 * time.Second, Metrics: set}), set
}

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// raw signs any header and claims with HS256, also those that no library makes.
func raw(header, claims string) string { return rawWith(secret, header, claims) }

func rawWith(secret, header, claims string) string {
	signed := encode(header) + "." + encode(claims)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

const hs256 = `{"alg":"HS256","typ":"JWT"}`

// good are claims that verify, with more behind them, which begins with a comma.
func good(more string) string {
	return fmt.Sprintf(`{"sub":"ada","exp":%d%s}`, time.Now().Add(time.Hour).Unix(), more)
}

func sign(t testing.TB, s *Signer, c Claims) string {
	t.Helper()
	token, err := s.Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func hour() Claims { return Claims{Subject: "ada", Expires: time.Now().Add(time.Hour)} }

// wantRefused fails unless the token does not verify, for that reason.
func wantRefused(t testing.TB, v *Verifier, token string, want metrics.TokenRefusal) {
	t.Helper()
	id, err := v.Verify(token)
	if err == nil {
		t.Errorf("verified: %+v; want it refused as %v", id, want)
		return
	}
	if got, ok := RefusalOf(err); !ok || got != want {
		t.Errorf("refused as %v (%v), want %v", got, err, want)
	}
	if err.Error() != "the token does not verify" {
		t.Errorf("the client is told %q", err)
	}
}
