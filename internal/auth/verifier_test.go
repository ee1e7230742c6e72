package auth

import (
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/metrics"
)

func scrape(t *testing.T, set *metrics.Set) string {
	t.Helper()
	w := httptest.NewRecorder()
	set.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

func TestAnIdentityIsWhatTheClaimsSay(t *testing.T) {
	v, _ := secretVerifier(t)
	id, err := v.Verify(raw(hs256, `{"sub":"Zoe\u0308","jti":"t1","iat":1700000000.5,"exp":253402300799,"rooms":{"news:*":["join"]},"aud":"unasked","name":{"x":[1]}}`))
	if err != nil {
		t.Fatal(err)
	}
	if id.User != "Zo\u00eb" || id.TokenID != "t1" || !id.Issued.Equal(time.UnixMilli(1700000000500)) || id.Expires.Unix() != 253402300799 {
		t.Errorf("%+v", id)
	}
	if got, ok := id.Grants.Of("news:x"); !ok || got != VerbsOf(Join) {
		t.Errorf("grants %v", id.Grants)
	}
	id, err = v.Verify(raw(hs256, good("")))
	if err != nil || id.Grants != nil || !id.Issued.IsZero() || id.TokenID != "" {
		t.Errorf("of the least claims: %+v, %v", id, err)
	}
	id, err = v.Verify(raw(hs256, good(`,"rooms":{}`)))
	if err != nil || id.Grants == nil {
		t.Errorf("of an empty rooms claim: %+v, %v", id, err)
	}
}

func TestEachAlgorithmVerifiesByItsKey(t *testing.T) {
	ec, ed := ecKey(t, elliptic.P256()), edKey(t)
	secretFile := write(t, "secret", secret+"\n")
	hs, err := SecretSigner(secretFile)
	if err != nil {
		t.Fatal(err)
	}
	certificate := certificateOf(t, rsaKey())
	signers := map[string]*Signer{"HS256": hs, "RS256": keySigner(t, rsaKey()), "ES256": keySigner(t, ec), "EdDSA": keySigner(t, ed)}
	all := Config{SecretFiles: []string{secretFile}, PublicKeyFiles: []string{
		write(t, "rsa.pem", publicPEM(t, rsaKey())), write(t, "two.pem", "comment\n"+publicPEM(t, ec)+publicPEM(t, ed)),
	}}
	v := verifier(t, all)
	if got, want := v.Algorithms(), []string{"ES256", "EdDSA", "HS256", "RS256"}; !slices.Equal(got, want) {
		t.Errorf("algorithms %v, want %v", got, want)
	}
	if got := v.Summary(); got != "ES256: 1, EdDSA: 1, HS256: 1, RS256: 1" {
		t.Errorf("summary %q", got)
	}
	for algorithm, s := range signers {
		if s.Algorithm() != algorithm {
			t.Errorf("%s signs with %s", algorithm, s.Algorithm())
		}
		if _, err := v.Verify(sign(t, s, hour())); err != nil {
			t.Errorf("%s: %v", algorithm, err)
		}
	}
	alone := verifier(t, Config{PublicKeyFiles: []string{write(t, "cert.pem", certificate)}})
	if _, err := alone.Verify(sign(t, signers["RS256"], hour())); err != nil {
		t.Errorf("by a certificate: %v", err)
	}
	for _, algorithm := range []string{"HS256", "ES256", "EdDSA"} {
		wantRefused(t, alone, sign(t, signers[algorithm], hour()), metrics.TokenAlgorithm)
	}
}

func certificateOf(t *testing.T, private crypto.Signer) string {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// The attack: the public key, which everybody has, used as the secret of HS256,
// in every form in which a verifier may hold it.
func TestAPublicKeyIsNoSecret(t *testing.T) {
	public := publicPEM(t, rsaKey())
	block, _ := pem.Decode([]byte(public))
	v := verifier(t, Config{PublicKeyFiles: []string{write(t, "rsa.pem", public)}})
	both := verifier(t, Config{PublicKeyFiles: []string{write(t, "rsa.pem", public)}, SecretFiles: []string{write(t, "secret", secret)}})
	for _, used := range []string{public, strings.TrimSpace(public), string(block.Bytes), string(rsaKey().N.Bytes()), ""} {
		token := rawWith(used, hs256, good(""))
		wantRefused(t, v, token, metrics.TokenAlgorithm)
		wantRefused(t, both, token, metrics.TokenSignature)
	}
	// And the other way: what the secret signed does not verify as RS256.
	wantRefused(t, both, raw(`{"alg":"RS256"}`, good("")), metrics.TokenSignature)
}

func TestKeysAreRotatedByHavingSeveral(t *testing.T) {
	old, next := strings.Repeat("o", 32), strings.Repeat("n", 40)
	files := []string{write(t, "old", old), write(t, "next", next)}
	both := verifier(t, Config{SecretFiles: files})
	for _, s := range []string{old, next} {
		if _, err := both.Verify(rawWith(s, hs256, good(""))); err != nil {
			t.Errorf("while both count: %v", err)
		}
	}
	// A secret in a file has no name: a kid does not matter.
	if _, err := both.Verify(rawWith(next, `{"alg":"HS256","kid":"2026"}`, good(""))); err != nil {
		t.Errorf("with a kid: %v", err)
	}
	wantRefused(t, verifier(t, Config{SecretFiles: files[1:]}), rawWith(old, hs256, good("")), metrics.TokenSignature)
}

func TestIssuerAndAudience(t *testing.T) {
	secretFile := write(t, "secret", secret)
	one := verifier(t, Config{SecretFiles: []string{secretFile}, Issuers: []string{"https://a", "https://b"}, Audiences: []string{"chat", "news"}})
	for more, want := range map[string]metrics.TokenRefusal{
		`,"aud":"chat"`:                          metrics.TokenIssuer,
		`,"iss":"","aud":"chat"`:                 metrics.TokenIssuer,
		`,"iss":"https://a/","aud":"chat"`:       metrics.TokenIssuer,
		`,"iss":"https://evil","aud":"chat"`:     metrics.TokenIssuer,
		`,"iss":"https://a"`:                     metrics.TokenAudience,
		`,"iss":"https://a","aud":""`:            metrics.TokenAudience,
		`,"iss":"https://a","aud":[]`:            metrics.TokenAudience,
		`,"iss":"https://a","aud":"Chat"`:        metrics.TokenAudience,
		`,"iss":"https://a","aud":["x","y"]`:     metrics.TokenAudience,
		`,"iss":"https://a","aud":"chat news"`:   metrics.TokenAudience,
		`,"iss":"https://a","aud":["chat",null]`: metrics.TokenRevoked + 1, // verifies
		`,"iss":"https://a","aud":"chat"`:        metrics.TokenRevoked + 1,
		`,"iss":"https://b","aud":["x","news"]`:  metrics.TokenRevoked + 1,
	} {
		token := raw(hs256, good(more))
		if want > metrics.TokenRevoked {
			if _, err := one.Verify(token); err != nil {
				t.Errorf("%s: %v", more, err)
			}
			continue
		}
		t.Run(more, func(t *testing.T) { wantRefused(t, one, token, want) })
	}
}

func TestClocksMayDifferByTheLeeway(t *testing.T) {
	v := verifier(t, Config{SecretFiles: []string{write(t, "secret", secret)}, Leeway: 30 * time.Second})
	hs := &Signer{method: v.static[0].method, key: []byte(secret)}
	now := time.Now()
	for name, c := range map[string]Claims{
		"ran out just now": {Subject: "ada", Expires: now.Add(-20 * time.Second)},
		"begins soon":      {Subject: "ada", Expires: now.Add(time.Hour), NotBefore: now.Add(20 * time.Second), Issued: now.Add(20 * time.Second)},
	} {
		if _, err := v.Verify(sign(t, hs, c)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	wantRefused(t, v, sign(t, hs, Claims{Subject: "ada", Expires: now.Add(-40 * time.Second)}), metrics.TokenExpired)
	wantRefused(t, v, sign(t, hs, Claims{Subject: "ada", Expires: now.Add(time.Hour), NotBefore: now.Add(40 * time.Second)}), metrics.TokenNotYet)
}

func TestTokensWithoutExpiryAreAChoice(t *testing.T) {
	c := Config{SecretFiles: []string{write(t, "secret", secret)}, AllowNoExpiry: true}
	id, err := verifier(t, c).Verify(raw(hs256, `{"sub":"ada"}`))
	if err != nil || !id.Expires.IsZero() {
		t.Errorf("%+v, %v", id, err)
	}
	wantRefused(t, verifier(t, c), raw(hs256, `{"sub":"ada","exp":1}`), metrics.TokenExpired)
	wantRefused(t, verifier(t, c), raw(hs256, `{"sub":"ada","exp":null}`), metrics.TokenClaims)
}

func TestKeysThatCannotBeAreRefusedAtTheStart(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]Config{
		"no key to verify tokens with": {},
		"secret: a secret of 31 bytes; HS256 needs 32 or more, such as of: openssl rand -base64 48": {SecretFiles: []string{write(t, "secret", secret[1:]+"\n")}},
		"a secret of 0 bytes":                 {SecretFiles: []string{write(t, "secret", "\n")}},
		"a PEM file and no secret":            {SecretFiles: []string{write(t, "secret", publicPEM(t, rsaKey()))}},
		"no such file":                        {SecretFiles: []string{"/nowhere/secret"}},
		"longer than 1048576 bytes":           {SecretFiles: []string{write(t, "secret", strings.Repeat("x", 1<<20+1))}},
		"no public key in PEM":                {PublicKeyFiles: []string{write(t, "k.pem", secret)}},
		"k.pem: a private key; a gateway":     {PublicKeyFiles: []string{write(t, "k.pem", privatePEM(t, rsaKey()))}},
		"a key on the curve P-384":            {PublicKeyFiles: []string{write(t, "k.pem", publicPEM(t, ecKey(t, elliptic.P384())))}},
		"an RSA key of 1024 bits; want 2048":  {PublicKeyFiles: []string{write(t, "k.pem", publicPEM(t, small))}},
		"jwks.json: not a JSON Web Key Set":   {JWKSFile: write(t, "jwks.json", "{")},
		"no key for RS256, ES256 or EdDSA":    {JWKSFile: write(t, "jwks.json", `{"keys":[{"kty":"oct","k":"AAAA"}]}`)},
		"keys[0]: no P-256 key":               {JWKSFile: write(t, "jwks.json", `{"keys":[{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}]}`)},
		"want https: over http, others could": {JWKS: []JWKS{{URL: "http://example.com/jwks"}}},
		"none of auth.issuer":                 {Issuers: []string{"a"}, JWKS: []JWKS{{URL: "https://b/jwks", Issuer: "b"}}},
		"want no user and password":           {JWKS: []JWKS{{URL: "https://user:pass@example.com/jwks"}}},
		"want https://HOST/PATH":              {JWKS: []JWKS{{URL: "file:///etc/passwd"}}},
	} {
		v, err := NewVerifier(c)
		if err == nil {
			v.Close()
			t.Errorf("taken; want %s", want)
			continue
		}
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret[1:]) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestEveryRefusalIsErrToken(t *testing.T) {
	for r := range metrics.TokenRevoked + 1 {
		err := Refused(r)
		if got, ok := RefusalOf(err); !errors.Is(err, ErrToken) || !ok || got != r || r.String() == "" {
			t.Errorf("%v: %v", r, err)
		}
	}
	if _, ok := RefusalOf(errors.New("another")); ok {
		t.Error("another error has a reason")
	}
}

func BenchmarkVerify(b *testing.B) {
	for name, private := range map[string]crypto.Signer{"RS256": rsaKey(), "ES256": ecKey(b, elliptic.P256()), "EdDSA": edKey(b)} {
		v := verifier(b, Config{PublicKeyFiles: []string{write(b, "k.pem", publicPEM(b, private))}})
		token := sign(b, keySigner(b, private), hour())
		b.Run(name, func(b *testing.B) { verify(b, v, token) })
	}
	v, _ := secretVerifier(b)
	b.Run("HS256", func(b *testing.B) { verify(b, v, raw(hs256, good(`,"rooms":{"news:*":["join"]}`))) })
}

func verify(b *testing.B, v *Verifier, token string) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(token); err != nil {
			b.Fatal(err)
		}
	}
}
