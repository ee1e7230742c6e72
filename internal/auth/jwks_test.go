package auth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/metrics"
)

// issuer serves a set of keys and tells of each time that it was asked.
type issuer struct {
	*httptest.Server
	asked chan struct{}

	mu     sync.Mutex
	answer http.HandlerFunc
}

func newIssuer(t *testing.T, keys ...string) *issuer {
	i := &issuer{asked: make(chan struct{}, 1000)}
	i.set(keys...)
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		answer := i.answer
		i.mu.Unlock()
		answer(w, r)
		i.asked <- struct{}{}
	}))
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) set(keys ...string) {
	i.serve(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, `{"keys":[%s]}`, strings.Join(keys, ",")) })
}

func (i *issuer) serve(answer http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer = answer
}

// await waits until the issuer has been asked so many times more.
func (i *issuer) await(t *testing.T, times int) {
	t.Helper()
	for range times {
		select {
		case <-i.asked:
		case <-time.After(20 * time.Second):
			t.Fatal("the issuer was not asked")
		}
	}
}

// eventually waits until ok, asking every millisecond.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("never: %s", what)
		}
	}
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func jwkOf(id string, public any) string {
	switch p := public.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf(`{"kty":"RSA","kid":%q,"use":"sig","alg":"RS256","n":%q,"e":%q}`, id, b64(p.N.Bytes()), b64(big.NewInt(int64(p.E)).Bytes()))
	case *ecdsa.PublicKey:
		point, err := p.Bytes()
		if err != nil {
			panic(err)
		}
		return fmt.Sprintf(`{"kty":"EC","kid":%q,"crv":"P-256","x":%q,"y":%q}`, id, b64(point[1:33]), b64(point[33:]))
	case ed25519.PublicKey:
		return fmt.Sprintf(`{"kty":"OKP","kid":%q,"crv":"Ed25519","key_ops":["verify"],"x":%q}`, id, b64(p))
	}
	panic(fmt.Sprintf("%T", public))
}

func signerOf(t *testing.T, id string, s *Signer) *Signer {
	t.Helper()
	s.KeyID = id
	return s
}

func TestASetOfKeysVerifiesByNameAndAlgorithm(t *testing.T) {
	ec, ed, other := ecKey(t, elliptic.P256()), edKey(t), ecKey(t, elliptic.P256())
	v := verifier(t, Config{JWKSFile: write(t, "jwks.json", fmt.Sprintf(`{"keys":[%s,%s,%s,%s,
		{"kty":"oct","kid":"s","alg":"HS256","k":"%s"}, {"kty":"RSA","use":"enc","n":"","e":""}, {"kty":"EC","crv":"P-521"}, {"kty":"new"}]}`,
		jwkOf("r", rsaKey().Public()), jwkOf("e", ec.Public()), jwkOf("o", other.Public()), jwkOf("d", ed.Public()), b64([]byte(secret))))})
	for id, s := range map[string]*Signer{"r": keySigner(t, rsaKey()), "e": keySigner(t, ec), "o": keySigner(t, other), "d": keySigner(t, ed)} {
		for _, named := range []string{id, ""} {
			if _, err := v.Verify(sign(t, signerOf(t, named, s), hour())); err != nil {
				t.Errorf("the key %s, named %q: %v", id, named, err)
			}
		}
	}
	// The right key under the name of another, and under none that there is.
	wantRefused(t, v, sign(t, signerOf(t, "o", keySigner(t, ec)), hour()), metrics.TokenSignature)
	wantRefused(t, v, sign(t, signerOf(t, "r", keySigner(t, ec)), hour()), metrics.TokenUnknownKey)
	wantRefused(t, v, sign(t, signerOf(t, "../e", keySigner(t, ec)), hour()), metrics.TokenUnknownKey)
	wantRefused(t, v, raw(`{"alg":"HS256","kid":"s"}`, good("")), metrics.TokenAlgorithm)
}

func TestKeysAreFetchedAndRotated(t *testing.T) {
	first, second := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256())
	i := newIssuer(t, jwkOf("1", first.Public()))
	set := metrics.NewSet("test", nil)
	v := verifier(t, Config{JWKS: []JWKS{{URL: i.URL}}, JWKSInterval: time.Hour, JWKSPause: time.Millisecond, Metrics: set})
	old, next := sign(t, signerOf(t, "1", keySigner(t, first)), hour()), sign(t, signerOf(t, "2", keySigner(t, second)), hour())
	verifies := func(token string) bool { _, err := v.Verify(token); return err == nil }
	eventually(t, "the first key verifies", func() bool { return verifies(old) })
	if got := v.Summary(); got != "ES256: 1, JWKS of "+strings.TrimPrefix(i.URL, "http://") {
		t.Errorf("summary %q", got)
	}
	i.set(jwkOf("1", first.Public()), jwkOf("2", second.Public()))
	// The interval is an hour: it is the unknown key that makes it ask.
	wantRefused(t, v, next, metrics.TokenUnknownKey)
	eventually(t, "the second key verifies", func() bool { return verifies(next) })
	if !verifies(old) {
		t.Error("the first key went though it is in the set")
	}
	i.set(jwkOf("2", second.Public()))
	v.fetchers[0].wake <- struct{}{}
	eventually(t, "the first key is gone", func() bool { return !verifies(old) })
	if page := scrape(t, set); !strings.Contains(page, "\nfanfare_jwks_refreshes_total{result=\"failed\"} 0\n") || strings.Contains(page, "{result=\"ok\"} 0\n") {
		t.Error("refreshes are not counted")
	}
}

func TestKeysAreRefreshedByTheClock(t *testing.T) {
	i := newIssuer(t, jwkOf("1", ecKey(t, elliptic.P256()).Public()))
	verifier(t, Config{JWKS: []JWKS{{URL: i.URL}}, JWKSInterval: 5 * time.Millisecond, JWKSPause: time.Millisecond})
	i.await(t, 3)
}

// However many tokens name keys that nobody has, the issuer is not asked more
// often than the pause allows, and Verify does not wait for it.
func TestUnknownKeysDoNotFloodTheIssuer(t *testing.T) {
	stranger := sign(t, signerOf(t, "x", keySigner(t, ecKey(t, elliptic.P256()))), hour())
	i := newIssuer(t, jwkOf("1", ecKey(t, elliptic.P256()).Public()))
	v := verifier(t, Config{JWKS: []JWKS{{URL: i.URL}}, JWKSInterval: time.Hour, JWKSPause: time.Hour})
	i.await(t, 1)
	for range 1000 {
		wantRefused(t, v, stranger, metrics.TokenUnknownKey)
	}
	v.Close()
	if n := len(i.asked); n != 0 {
		t.Errorf("the issuer was asked %d times more", n)
	}
}

// An issuer that fails in any way changes nothing, and is asked again.
func TestTheLastGoodSetIsKept(t *testing.T) {
	private := ecKey(t, elliptic.P256())
	known, other := jwkOf("1", private.Public()), jwkOf("2", ecKey(t, elliptic.P256()).Public())
	i := newIssuer(t, known)
	var logged lockedBuffer
	set := metrics.NewSet("test", nil)
	v := verifier(t, Config{JWKS: []JWKS{{URL: i.URL + "/?secret=hunter2"}}, JWKSInterval: 4 * time.Millisecond, JWKSPause: time.Millisecond, Metrics: set,
		Log: slog.New(slog.NewTextHandler(&logged, nil))})
	token := sign(t, signerOf(t, "1", keySigner(t, private)), hour())
	verifies := func() bool { _, err := v.Verify(token); return err == nil }
	eventually(t, "it verifies", verifies)
	for what, answer := range map[string]http.HandlerFunc{
		// Each would be good but for one thing.
		"an error": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			fmt.Fprintf(w, `{"keys":[%s]}`, other)
		},
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/elsewhere" {
				http.Redirect(w, r, "/elsewhere", http.StatusFound)
				return
			}
			fmt.Fprintf(w, `{"keys":[%s]}`, other)
		},
		"no JSON": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"no keys": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"keys":[]}`) },
		"a broken key": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"keys":[{"kty":"RSA","n":"AAAA","e":"AQAB"}]}`)
		},
		"too many bytes": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"keys":[%s]}%s`, other, strings.Repeat(" ", maxJWKS))
		},
		"too many keys": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"keys":[%s]}`, strings.Repeat(other+",", maxJWKSKeys)+other)
		},
		"a cut connection":         func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"a key twice in an object": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, `{"keys":[],"keys":[%s]}`, other) },
	} {
		failed := refreshes(t, set, "failed")
		i.serve(answer)
		eventually(t, what, func() bool { return refreshes(t, set, "failed") >= failed+2 })
		if !verifies() {
			t.Errorf("%s: the key went", what)
		}
	}
	good := refreshes(t, set, "ok")
	i.set(known)
	eventually(t, "it is asked again", func() bool { return refreshes(t, set, "ok") > good })
	if text := logged.String(); !strings.Contains(text, "keys not refreshed") || strings.Contains(text, "hunter2") {
		t.Errorf("logged: %s", text)
	}
}

// One key that is broken takes none of the others away (RFC 7517 section 5), and is
// told of. In a file it is refused: see TestKeysThatCannotBeAreRefusedAtTheStart.
func TestABrokenKeyOfASetIsLeftOut(t *testing.T) {
	private := ecKey(t, elliptic.P256())
	i := newIssuer(t, `{"kty":"RSA","kid":"broken"}`, `{"kty":"RSA","n":"AAAA","e":"AQAB"}`, `{"kty":"RSA","n":7,"e":65537}`, `7`, jwkOf("1", private.Public()))
	var logged lockedBuffer
	v := verifier(t, Config{JWKS: []JWKS{{URL: i.URL}}, Log: slog.New(slog.NewTextHandler(&logged, nil))})
	v.Await(t.Context())
	if _, err := v.Verify(sign(t, signerOf(t, "1", keySigner(t, private)), hour())); err != nil {
		t.Error(err)
	}
	wantRefused(t, v, sign(t, signerOf(t, "broken", keySigner(t, private)), hour()), metrics.TokenUnknownKey)
	if text := logged.String(); strings.Count(text, "keys left out") != 1 || !strings.Contains(text, "keys[0]") || !strings.Contains(text, "keys[3]") {
		t.Errorf("logged: %s", text)
	}
}

// Two issuers may give the same name to keys of theirs, and neither signs for the
// other.
func TestTheKeysOfAnIssuerAreForItsTokensAlone(t *testing.T) {
	first, second, shared := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256()), edKey(t)
	a := newIssuer(t, jwkOf("1", first.Public()), jwkOf("s", shared.Public()))
	b := newIssuer(t, jwkOf("1", second.Public()), jwkOf("s", shared.Public()))
	v := verifier(t, Config{JWKS: []JWKS{{URL: a.URL, Issuer: "a"}, {URL: b.URL, Issuer: "b"}}, JWKSInterval: time.Hour, JWKSPause: time.Millisecond,
		SecretFiles: []string{write(t, "secret", secret)}})
	v.Await(t.Context())
	of := func(s *Signer, kid, issuer string) string {
		c := hour()
		c.Issuer = issuer
		return sign(t, signerOf(t, kid, s), c)
	}
	for _, kid := range []string{"1", ""} {
		for token, want := range map[string]bool{
			of(keySigner(t, first), kid, "a"): true, of(keySigner(t, second), kid, "b"): true,
			of(keySigner(t, first), kid, "b"): false, of(keySigner(t, second), kid, "a"): false,
			of(keySigner(t, first), kid, ""): false, of(keySigner(t, first), kid, "c"): false,
		} {
			if want {
				if _, err := v.Verify(token); err != nil {
					t.Errorf("kid %q: %v", kid, err)
				}
				continue
			}
			wantRefused(t, v, token, metrics.TokenIssuer)
		}
	}
	for issuer, want := range map[string]bool{"a": true, "b": true, "c": false} {
		if _, err := v.Verify(of(keySigner(t, shared), "s", issuer)); (err == nil) != want {
			t.Errorf("a key that both have, for %q: %v", issuer, err)
		}
	}
	if _, err := v.Verify(raw(hs256, good(`,"iss":"a"`))); err != nil {
		t.Errorf("a key that is nobody's: %v", err)
	}
	// The second one has a new key, of a name that the first one has.
	next := ecKey(t, elliptic.P256())
	b.set(jwkOf("1", next.Public()))
	token := of(keySigner(t, next), "1", "b")
	wantRefused(t, v, token, metrics.TokenSignature)
	eventually(t, "the new key verifies", func() bool { _, err := v.Verify(token); return err == nil })
}

func TestNothingIsFetchedBeforeTheStart(t *testing.T) {
	i := newIssuer(t, jwkOf("1", ecKey(t, elliptic.P256()).Public()))
	v, err := NewVerifier(Config{JWKS: []JWKS{{URL: i.URL}}})
	if err != nil {
		t.Fatal(err)
	}
	wantRefused(t, v, sign(t, signerOf(t, "2", keySigner(t, ecKey(t, elliptic.P256()))), hour()), metrics.TokenUnknownKey)
	v.Close()
	i.Server.Close() // waits for who is asking
	if len(i.asked) != 0 {
		t.Error("the issuer was asked")
	}
}

// A new Verifier of the same URL, as after a reload, knows the keys at once.
func TestAReloadKeepsWhatWasFetched(t *testing.T) {
	private := ecKey(t, elliptic.P256())
	i := newIssuer(t, jwkOf("1", private.Public()))
	c := Config{JWKS: []JWKS{{URL: i.URL}}}
	token := sign(t, signerOf(t, "1", keySigner(t, private)), hour())
	before := verifier(t, c)
	eventually(t, "it verifies", func() bool { _, err := before.Verify(token); return err == nil })
	i.serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	c.Previous = before
	after := verifier(t, c)
	before.Close()
	for _, v := range []*Verifier{before, after} {
		if _, err := v.Verify(token); err != nil {
			t.Errorf("after the reload: %v", err)
		}
	}
	c.JWKS = []JWKS{{URL: i.URL + "/other"}}
	wantRefused(t, verifier(t, c), token, metrics.TokenUnknownKey)
}

func TestAnIssuerThatHangsHoldsNothingUp(t *testing.T) {
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(hanging.Close)
	v := verifier(t, Config{JWKS: []JWKS{{URL: hanging.URL}}, SecretFiles: []string{write(t, "secret", secret)}})
	if _, err := v.Verify(raw(hs256, good(""))); err != nil {
		t.Error(err)
	}
	v.Close() // ends though the issuer has not answered
	v.Close()
}

func TestACommandMayAwaitTheKeys(t *testing.T) {
	private := ecKey(t, elliptic.P256())
	i := newIssuer(t, jwkOf("1", private.Public()))
	v := verifier(t, Config{JWKS: []JWKS{{URL: i.URL}}})
	v.Await(t.Context())
	if _, err := v.Verify(sign(t, signerOf(t, "1", keySigner(t, private)), hour())); err != nil {
		t.Error(err)
	}
	i.serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	verifier(t, Config{JWKS: []JWKS{{URL: i.URL}}}).Await(t.Context())
	static, _ := secretVerifier(t)
	static.Await(t.Context())
}

func TestJitterIsAFifth(t *testing.T) {
	var all []time.Duration
	for range 1000 {
		all = append(all, jittered(10*time.Second))
	}
	if low, high := slices.Min(all), slices.Max(all); low < 8*time.Second || high > 12*time.Second || high-low < 3*time.Second {
		t.Errorf("from %v to %v", low, high)
	}
}

// refreshes is how many are counted with a result.
func refreshes(t *testing.T, set *metrics.Set, result string) (n int) {
	t.Helper()
	_, after, ok := strings.Cut(scrape(t, set), fmt.Sprintf("fanfare_jwks_refreshes_total{result=%q} ", result))
	if _, err := fmt.Sscan(after, &n); !ok || err != nil {
		t.Fatalf("no count of refreshes: %v", err)
	}
	return n
}

type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
