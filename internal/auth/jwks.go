package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/fanfare-ws/fanfare/internal/metrics"
)

const (
	maxJWKS     = 256 << 10 // bytes
	maxJWKSKeys = 64        // that are used: a token without kid is tried with all of its algorithm
	fetchTime   = 10 * time.Second
)

// jwk is a JSON Web Key (RFC 7517 section 4, RFC 7518 section 6, RFC 8037).
type jwk struct {
	Type       string   `json:"kty"`
	ID         string   `json:"kid"`
	Use        string   `json:"use"`
	Operations []string `json:"key_ops"`
	Algorithm  string   `json:"alg"`
	Curve      string   `json:"crv"`
	N          string   `json:"n"`
	E          string   `json:"e"`
	X          string   `json:"x"`
	Y          string   `json:"y"`
}

// parseJWKS returns the keys of a set that verify tokens. Others are left out
// as RFC 7517 section 5 asks: of other algorithms or uses, symmetric ones, which
// are no secret once they stand in a set, and those that are broken, which it tells
// of. A set without a key for us is an error.
func parseJWKS(text []byte) (keys keySet, broken error, err error) {
	var set struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, nil, errors.New("not a JSON Web Key Set")
	}
	for i, text := range set.Keys {
		var j jwk
		if json.Unmarshal(text, &j) != nil {
			broken = errors.Join(broken, fmt.Errorf("keys[%d]: no JSON Web Key", i))
			continue
		}
		switch k, used, err := j.key(); {
		case err != nil:
			broken = errors.Join(broken, fmt.Errorf("keys[%d]: %w", i, err))
		case used:
			keys = append(keys, k)
		}
	}
	switch {
	case len(keys) == 0 && broken != nil:
		return nil, nil, broken
	case len(keys) == 0:
		return nil, nil, errors.New("no key for RS256, ES256 or EdDSA")
	case len(keys) > maxJWKSKeys:
		return nil, nil, fmt.Errorf("%d keys; at most %d are taken", len(keys), maxJWKSKeys)
	}
	return keys, broken, nil
}

// key returns the key and whether it is one for tokens.
func (j *jwk) key() (k key, used bool, err error) {
	if j.Use != "" && j.Use != "sig" || len(j.Operations) > 0 && !slices.Contains(j.Operations, "verify") {
		return key{}, false, nil
	}
	switch {
	case j.Type == "RSA" && (j.Algorithm == "" || j.Algorithm == "RS256"):
		k, err = j.rsa()
	case j.Type == "EC" && j.Curve == "P-256" && (j.Algorithm == "" || j.Algorithm == "ES256"):
		k, err = j.p256()
	case j.Type == "OKP" && j.Curve == "Ed25519" && (j.Algorithm == "" || j.Algorithm == "EdDSA" || j.Algorithm == "Ed25519"):
		k, err = j.ed25519()
	default:
		return key{}, false, nil
	}
	return k, true, err
}

func (j *jwk) rsa() (key, error) {
	n, okN := decodeSegment(j.N)
	e, okE := decodeSegment(j.E)
	exponent := new(big.Int).SetBytes(e)
	if !okN || !okE || len(n) > 2048 || exponent.BitLen() < 2 || exponent.BitLen() > 31 {
		return key{}, errors.New("no RSA key")
	}
	return publicKey(j.ID, &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent.Int64())})
}

func (j *jwk) p256() (key, error) {
	x, okX := decodeSegment(j.X)
	y, okY := decodeSegment(j.Y)
	if !okX || !okY || len(x) != 32 || len(y) != 32 {
		return key{}, errors.New("no P-256 key")
	}
	// Refuses what is not on the curve.
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
	if err != nil {
		return key{}, errors.New("no P-256 key")
	}
	return publicKey(j.ID, public)
}

func (j *jwk) ed25519() (key, error) {
	x, ok := decodeSegment(j.X)
	if !ok || len(x) != ed25519.PublicKeySize {
		return key{}, errors.New("no Ed25519 key")
	}
	return publicKey(j.ID, ed25519.PublicKey(x))
}

// JWKS is where a set of keys is fetched from.
type JWKS struct {
	URL    string // https, or http of this machine
	Issuer string // whose keys they are: they verify no token of another iss; empty: not said
}

// fetcher keeps a set of fetched keys fresh, on a goroutine of its own.
type fetcher struct {
	// Immutable.
	from   JWKS
	config *Config
	client *http.Client
	log    *slog.Logger

	fetched atomic.Pointer[keySet] // the last that was good; nil: none yet
	wake    chan struct{}          // a token named a key that is not known
	tried   chan struct{}          // closed once the first fetch has ended
}

func newFetcher(from JWKS, c *Config) (*fetcher, error) {
	if err := CheckJWKSURL(from.URL); err != nil {
		return nil, err
	}
	if from.Issuer != "" && len(c.Issuers) > 0 && !slices.Contains(c.Issuers, from.Issuer) {
		return nil, fmt.Errorf("the JWKS of the issuer %q, which is none of auth.issuer", from.Issuer)
	}
	f := &fetcher{
		from: from, config: c, client: c.Client, log: c.Log.With("jwks", hostOf(from.URL)),
		wake: make(chan struct{}, 1), tried: make(chan struct{}),
	}
	if f.client == nil {
		f.client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	if c.Previous != nil {
		f.inherit(c.Previous)
	}
	return f, nil
}

// inherit takes over what was fetched of the same set.
func (f *fetcher) inherit(before *Verifier) {
	for _, other := range before.fetchers {
		if other.from == f.from {
			f.fetched.Store(other.fetched.Load())
		}
	}
}

// known is the set as far as it is known.
func (f *fetcher) known() keySet {
	if keys := f.fetched.Load(); keys != nil {
		return *keys
	}
	return nil
}

// CheckJWKSURL says what is wrong with the URL of a set, which decides who
// anybody is: it must be fetched over TLS, or from this machine.
func CheckJWKSURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return errors.New("want https://HOST/PATH")
	case u.User != nil:
		return errors.New("want no user and password: a set of public keys is public")
	case u.Scheme == "http" && u.Hostname() != "localhost" && !net.ParseIP(u.Hostname()).IsLoopback():
		return errors.New("want https: over http, others could say which keys are trusted (only this machine's may be fetched so)")
	}
	return nil
}

// hostOf is what of a JWKS URL may be logged.
func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Host
}

// run fetches at once, then at each interval, and where a token names a key
// that is not known; after a failure sooner, with back-off. Between two fetches
// there is always the pause.
func (f *fetcher) run(ctx context.Context) {
	defer f.client.CloseIdleConnections()
	c := f.config
	failures := 0
	tried := sync.OnceFunc(func() { close(f.tried) })
	for {
		err := f.fetch(ctx)
		tried()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			failures++
			f.count(metrics.JWKSFailed)
			f.log.Warn("keys not refreshed", "error", err, "failures", failures, "kept", f.fetched.Load() != nil)
		default:
			failures = 0
			f.count(metrics.JWKSRefreshed)
		}
		wait := c.JWKSInterval
		if failures > 0 {
			wait = min(wait, c.JWKSPause<<min(failures, 10))
		}
		if !f.wait(ctx, jittered(wait)) {
			return
		}
	}
}

// wait returns after d, or sooner where a key is asked for but not before the
// pause is over; false: at the end of ctx.
func (f *fetcher) wait(ctx context.Context, d time.Duration) bool {
	pause := time.NewTimer(f.config.JWKSPause)
	defer pause.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-pause.C:
	}
	rest := time.NewTimer(d - f.config.JWKSPause)
	defer rest.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-f.wake:
	case <-rest.C:
	}
	return true
}

// jittered is d give or take a fifth, so that a fleet that was started at once
// does not ask at once.
func jittered(d time.Duration) time.Duration {
	return d - d/5 + rand.N(2*d/5+1)
}

func (f *fetcher) count(r metrics.JWKSRefresh) {
	if f.config.Metrics != nil {
		f.config.Metrics.JWKSRefresh(r)
	}
}

func (f *fetcher) fetch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.from.URL, nil)
	if err != nil {
		return errors.New("no URL to fetch")
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	answer, err := f.client.Do(request)
	if err != nil {
		var failed *url.Error
		if errors.As(err, &failed) {
			err = failed.Err // without the URL, whose query is nobody's
		}
		return fmt.Errorf("fetch keys: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("fetch keys: answered with %d", answer.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxJWKS+1))
	if err != nil {
		return fmt.Errorf("fetch keys: %w", err)
	}
	if len(text) > maxJWKS {
		return fmt.Errorf("fetch keys: longer than %d bytes", maxJWKS)
	}
	keys, broken, err := parseJWKS(text)
	if err != nil {
		return fmt.Errorf("fetch keys: %w", err)
	}
	if broken != nil {
		f.log.Warn("keys left out", "error", broken)
	}
	for i := range keys {
		keys[i].issuer = f.from.Issuer
	}
	f.fetched.Store(&keys)
	return nil
}
