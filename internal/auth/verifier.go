package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/fanfare-ws/fanfare/internal/metrics"
)

// Config is whom a Verifier trusts, and how far. At least one source of keys is
// required.
type Config struct {
	SecretFiles    []string // HS256: a file each, of 32 bytes or more, less one newline at the end
	PublicKeyFiles []string // PEM: RSA for RS256, P-256 for ES256, Ed25519 for EdDSA; also certificates
	JWKSFile       string   // a JSON Web Key Set
	JWKSURL        string   // the same, fetched: https, or http of this machine

	Issuers       []string      // iss must be one of them; empty: not looked at
	Audiences     []string      // aud must have one of them; empty: not looked at
	Leeway        time.Duration // how far clocks may differ, for exp, nbf and iat
	AllowNoExpiry bool          // take tokens without exp

	JWKSInterval time.Duration // between two fetches, give or take a fifth; 10 minutes: issuers announce keys for longer
	JWKSPause    time.Duration // at least, also where unknown keys come in; 5 s: bounds what hostile tokens make us ask
	Previous     *Verifier     // whose fetched keys count until the first fetch, where it is of the same URL

	Client  *http.Client // nil: one that follows no redirect
	Metrics *metrics.Set // nil: nothing is counted
	Log     *slog.Logger // nil: none
}

// MaxToken is the longest token, in bytes.
const MaxToken = 8 << 10

// Verifier makes identities of tokens. It is safe for concurrent use.
type Verifier struct {
	config    Config
	static    keySet // of files
	validator *jwt.Validator

	fetched atomic.Pointer[keySet] // of the JWKS URL, the last that was good; nil: none yet
	wake    chan struct{}          // a token named a key that is not known
	tried   chan struct{}          // closed once the first fetch has ended
	stop    context.CancelFunc
	ended   chan struct{} // closed by the fetching goroutine; nil: there is none
}

// NewVerifier reads the files. It does not wait for the JWKS URL, whose keys
// are fetched in the background until Close.
func NewVerifier(c Config) (*Verifier, error) {
	if c.JWKSInterval <= 0 {
		c.JWKSInterval = 10 * time.Minute
	}
	if c.JWKSPause <= 0 {
		c.JWKSPause = 5 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	static, err := loadKeys(&c)
	if err != nil {
		return nil, err
	}
	if len(static) == 0 && c.JWKSURL == "" {
		return nil, errors.New("no key to verify tokens with")
	}
	options := []jwt.ParserOption{jwt.WithLeeway(c.Leeway), jwt.WithIssuedAt()}
	if !c.AllowNoExpiry {
		options = append(options, jwt.WithExpirationRequired())
	}
	v := &Verifier{static: static, validator: jwt.NewValidator(options...), wake: make(chan struct{}, 1)}
	previous := c.Previous
	c.Previous = nil
	v.config = c
	if c.JWKSURL == "" {
		return v, nil
	}
	if previous != nil && previous.config.JWKSURL == c.JWKSURL {
		v.fetched.Store(previous.fetched.Load())
	}
	f, err := newFetcher(v)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	v.stop, v.tried, v.ended = stop, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(v.ended)
		f.run(ctx)
	}()
	return v, nil
}

// Close ends the fetching of keys and waits for it. What was fetched still
// verifies, so that who holds the Verifier may finish. It may be called again.
func (v *Verifier) Close() {
	if v.stop != nil {
		v.stop()
		<-v.ended
	}
}

// Await waits until the first fetch of the JWKS URL has ended, however it did. It
// is for commands that ask once; a gateway does not wait.
func (v *Verifier) Await(ctx context.Context) {
	if v.tried == nil {
		return
	}
	select {
	case <-v.tried:
	case <-ctx.Done():
	}
}

// Leeway is how long after its Expires an identity still counts.
func (v *Verifier) Leeway() time.Duration { return v.config.Leeway }

// Summary says for a log what is trusted: the number of keys of each algorithm
// and where they are from, no key and no secret.
func (v *Verifier) Summary() string {
	var parts []string
	for _, algorithm := range v.Algorithms() {
		n := 0
		for _, k := range v.static {
			if k.method.Alg() == algorithm {
				n++
			}
		}
		if f := v.fetched.Load(); f != nil {
			for _, k := range *f {
				if k.method.Alg() == algorithm {
					n++
				}
			}
		}
		parts = append(parts, fmt.Sprintf("%s: %d", algorithm, n))
	}
	if v.config.JWKSURL != "" {
		parts = append(parts, "JWKS of "+hostOf(v.config.JWKSURL))
	}
	return strings.Join(parts, ", ")
}

// Algorithms are those of the keys that are known now, sorted.
func (v *Verifier) Algorithms() []string {
	known := v.static
	if f := v.fetched.Load(); f != nil {
		known = append(slices.Clone(known), *f...)
	}
	var names []string
	for _, k := range known {
		names = append(names, k.method.Alg())
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// ErrToken is what is wrong with every token that does not verify, as far as
// its sender is told.
var ErrToken = errors.New("the token does not verify")

// tokenError is one refusal; there is one of each, made once, so that a refusal
// costs no allocation.
type tokenError metrics.TokenRefusal

func (e *tokenError) Error() string        { return ErrToken.Error() }
func (e *tokenError) Is(target error) bool { return target == ErrToken }

var tokenErrors = func() (errs [metrics.TokenRevoked + 1]tokenError) {
	for r := range errs {
		errs[r] = tokenError(r)
	}
	return errs
}()

// Refused is the error of a token that does not verify, for whom a check of its
// own decides so.
func Refused(r metrics.TokenRefusal) error { return refused(r) }

func refused(r metrics.TokenRefusal) *tokenError { return &tokenErrors[r] }

// RefusalOf tells the operator why: the reason behind an error of Verify.
func RefusalOf(err error) (r metrics.TokenRefusal, ok bool) {
	var e *tokenError
	if !errors.As(err, &e) {
		return 0, false
	}
	return metrics.TokenRefusal(*e), true
}

// Verify returns whom a token is of. Its errors are ErrToken, whose reason has
// been counted and is that of RefusalOf. It never waits.
func (v *Verifier) Verify(token string) (*Identity, error) {
	id, err := v.verify(token)
	if err != nil {
		if v.config.Metrics != nil {
			v.config.Metrics.TokenRefused(metrics.TokenRefusal(*err))
		}
		return nil, err
	}
	return id, nil
}

func (v *Verifier) verify(token string) (*Identity, *tokenError) {
	p, err := split(token)
	if err != nil {
		return nil, err
	}
	h, err := readHeader(p.header)
	if err != nil {
		return nil, err
	}
	keys, err := v.candidates(h)
	if err != nil {
		return nil, err
	}
	signature, ok := decodeSegment(p.signature)
	if !ok {
		return nil, refused(metrics.TokenMalformed)
	}
	if !slices.ContainsFunc(keys, func(k *key) bool { return k.method.Verify(p.signed, signature, k.material) == nil }) {
		return nil, refused(metrics.TokenSignature)
	}
	return v.identity(p.claims)
}

// candidates are the keys that may have signed a token: those of its algorithm
// and, where it names a key, of that name or of none.
func (v *Verifier) candidates(h header) ([]*key, *tokenError) {
	var found []*key
	algorithm := false
	pick := func(keys keySet) {
		for i := range keys {
			if keys[i].method.Alg() != h.Algorithm {
				continue
			}
			algorithm = true
			if h.KeyID == "" || keys[i].id == "" || keys[i].id == h.KeyID {
				found = append(found, &keys[i])
			}
		}
	}
	pick(v.static)
	if f := v.fetched.Load(); f != nil {
		pick(*f)
	}
	if len(found) > 0 {
		return found, nil
	}
	known := slices.Contains(algorithms, h.Algorithm)
	if known && v.config.JWKSURL != "" && h.Algorithm != algorithmHS256 {
		// Perhaps the issuer has a new key. This token is refused all the same:
		// nothing here waits for what a stranger sends.
		select {
		case v.wake <- struct{}{}:
		default:
		}
	}
	if algorithm || known && v.config.JWKSURL != "" && h.Algorithm != algorithmHS256 {
		return nil, refused(metrics.TokenUnknownKey)
	}
	return nil, refused(metrics.TokenAlgorithm)
}
