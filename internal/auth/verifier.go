package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
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
	JWKS           []JWKS   // the same, fetched

	Issuers       []string      // iss must be one of them; empty: not looked at
	Audiences     []string      // aud must have one of them; empty: not looked at
	Leeway        time.Duration // how far clocks may differ, for exp, nbf and iat
	AllowNoExpiry bool          // take tokens without exp

	JWKSInterval time.Duration // between two fetches of a set, give or take a fifth; 10 minutes: issuers announce keys for longer
	JWKSPause    time.Duration // at least, also where unknown keys come in; 5 s: bounds what hostile tokens make us ask
	Previous     *Verifier     // whose fetched keys count until the first fetch, of the same sets

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
	fetchers  []*fetcher

	stop context.CancelFunc // nil: not started
	done sync.WaitGroup     // of fetchers
}

// NewVerifier reads the files. Sets of keys are fetched once it is started.
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
	if len(static) == 0 && len(c.JWKS) == 0 {
		return nil, errors.New("no key to verify tokens with")
	}
	options := []jwt.ParserOption{jwt.WithLeeway(c.Leeway), jwt.WithIssuedAt()}
	if !c.AllowNoExpiry {
		options = append(options, jwt.WithExpirationRequired())
	}
	v := &Verifier{static: static, validator: jwt.NewValidator(options...), config: c}
	for _, from := range c.JWKS {
		f, err := newFetcher(from, &v.config)
		if err != nil {
			return nil, err
		}
		v.fetchers = append(v.fetchers, f)
	}
	v.config.Previous = nil // what it fetched has been taken over
	return v, nil
}

// Start has the sets of keys fetched, in the background until Close. It does not
// wait for them.
func (v *Verifier) Start() {
	if len(v.fetchers) == 0 {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	v.stop = stop
	for _, f := range v.fetchers {
		v.done.Go(func() { f.run(ctx) })
	}
}

// Close ends the fetching of keys and waits for it. What was fetched still
// verifies, so that who holds the Verifier may finish. It may be called again.
func (v *Verifier) Close() {
	if v.stop != nil {
		v.stop()
		v.done.Wait()
	}
}

// Await waits until the first fetch of each set has ended, however it did, after
// Start. It is for commands that ask once; a gateway does not wait.
func (v *Verifier) Await(ctx context.Context) {
	for _, f := range v.fetchers {
		select {
		case <-f.tried:
		case <-ctx.Done():
		}
	}
}

// Leeway is how long after its Expires an identity still counts.
func (v *Verifier) Leeway() time.Duration { return v.config.Leeway }

// Summary says for a log what is trusted: the number of keys of each algorithm
// and where they are from, no key and no secret.
func (v *Verifier) Summary() string {
	known, parts := v.known(), []string(nil)
	for _, algorithm := range v.Algorithms() {
		n := 0
		for i := range known {
			if known[i].method.Alg() == algorithm {
				n++
			}
		}
		parts = append(parts, fmt.Sprintf("%s: %d", algorithm, n))
	}
	for _, f := range v.fetchers {
		parts = append(parts, "JWKS of "+hostOf(f.from.URL))
	}
	return strings.Join(parts, ", ")
}

// known is every key there is now.
func (v *Verifier) known() keySet {
	all := slices.Clone(v.static)
	for _, f := range v.fetchers {
		all = append(all, f.known()...)
	}
	return all
}

// Algorithms are those of the keys that are known now, sorted.
func (v *Verifier) Algorithms() []string {
	var names []string
	for _, k := range v.known() {
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
	refusal := refused(metrics.TokenSignature)
	for _, k := range keys {
		if k.method.Verify(p.signed, signature, k.material) != nil {
			continue
		}
		id, err := v.identity(p.claims, k)
		if err == nil {
			return id, nil
		}
		refusal = err // of the last: another issuer may have the same key
	}
	if refusal == refused(metrics.TokenSignature) && len(v.fetchers) > 1 {
		v.ask() // perhaps an issuer has a new key, of a name that another's has
	}
	return nil, refusal
}

// candidates are the keys that may have signed a token: those of its algorithm
// and, where it names a key, of that name or of none. Several issuers may have
// given the same name to keys of theirs.
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
	for _, f := range v.fetchers {
		pick(f.known())
	}
	if len(found) > 0 {
		return found, nil
	}
	fetchable := len(v.fetchers) > 0 && slices.Contains(algorithms, h.Algorithm) && h.Algorithm != algorithmHS256
	if fetchable {
		v.ask() // perhaps an issuer has a new key
	}
	if algorithm || fetchable {
		return nil, refused(metrics.TokenUnknownKey)
	}
	return nil, refused(metrics.TokenAlgorithm)
}

// ask has the sets fetched soon. The token that made it is refused all the same:
// nothing here waits for what a stranger sends.
func (v *Verifier) ask() {
	for _, f := range v.fetchers {
		select {
		case f.wake <- struct{}{}:
		default:
		}
	}
}
