package auth

import (
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestWhatIsSignedIsWhatVerifies(t *testing.T) {
	hs, err := SecretSigner(write(t, "secret", secret+"\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(time.Now().Unix(), 0)
	v := verifier(t, Config{SecretFiles: []string{write(t, "secret", secret)}, Issuers: []string{"i"}, Audiences: []string{"b"}})
	id, err := v.Verify(sign(t, hs, Claims{
		Subject: "ada", Issuer: "i", TokenID: "t1", Audience: []string{"a", "b"}, Issued: now, NotBefore: now, Expires: now.Add(time.Hour),
		Rooms: map[string][]string{"news:*": {"join", "publish"}, "x": {}},
	}))
	want := &Identity{User: "ada", TokenID: "t1", Issued: now, Expires: now.Add(time.Hour), Grants: Grants{
		{Pattern: "news:*", Verbs: VerbsOf(Join, Publish)}, {Pattern: "x"},
	}}
	if err != nil || !reflect.DeepEqual(id, want) {
		t.Errorf("%+v, %v, want %+v", id, err, want)
	}
}

func TestPrivateKeysAreReadInTheirForms(t *testing.T) {
	ec := ecKey(t, elliptic.P256())
	sec1, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	// openssl ecparam -genkey writes the curve's parameters before the key.
	ecPEM := string(pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 0}})) +
		string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}))
	rsaPEM := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey())}))
	for text, want := range map[string]string{ecPEM: "ES256", rsaPEM: "RS256", privatePEM(t, edKey(t)): "EdDSA"} {
		if s, err := KeySigner(write(t, "k.pem", text)); err != nil || s.Algorithm() != want {
			t.Errorf("%s: %v", want, err)
		}
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for want, text := range map[string]string{
		"k.pem: no RSA, P-256 or Ed25519 private key": publicPEM(t, ec),
		"a key on the curve P-521":                    privatePEM(t, ecKey(t, elliptic.P521())),
		"an RSA key of 1024 bits":                     privatePEM(t, small),
		"asn1":                                        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
	} {
		if _, err := KeySigner(write(t, "k.pem", text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestNothingIsSignedThatNobodyTakes(t *testing.T) {
	s := keySigner(t, edKey(t))
	many := make(map[string][]string)
	for i := range 1000 {
		many[strings.Repeat("x", i%100)+string(rune('a'+i/100))] = []string{"join"}
	}
	for want, c := range map[string]Claims{
		"sub: want 1 to 64 characters": {},
		"sub: want":                    {Subject: "a b"},
		"jti: want at most 256 bytes":  {Subject: "ada", TokenID: strings.Repeat("x", 257)},
		"at most 8192 are taken":       {Subject: "ada", Rooms: many},
	} {
		if token, err := s.Sign(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s, %v, want %s", token, err, want)
		}
	}
}

func TestInspectShowsWhatNobodyVerified(t *testing.T) {
	header, claims, err := Inspect(rawWith("whatever", `{"alg":"none"}`, `{"sub":"root","exp":1}`))
	if err != nil || string(header) != `{"alg":"none"}` || string(claims) != `{"sub":"root","exp":1}` {
		t.Errorf("%s %s %v", header, claims, err)
	}
	for _, token := range []string{"", "a.b.c", raw("[]", "{}"), raw("{}", "7"), raw("{}", `{"a":1,"a":2}`), raw("{}", "{"), raw("{}", "{}{}"), strings.Repeat("a", MaxToken+1)} {
		if header, claims, err := Inspect(token); err == nil {
			t.Errorf("%s %s", header, claims)
		}
	}
}

func TestVerbsAreReadAsTheyAreWritten(t *testing.T) {
	for v := range verbs {
		if got, err := ParseVerb(v.String()); got != v || err != nil {
			t.Errorf("%v: %v, %v", v, got, err)
		}
	}
	if _, err := ParseVerb("fly"); err == nil || !strings.Contains(err.Error(), "join, publish, history, members") {
		t.Errorf("%v", err)
	}
}
