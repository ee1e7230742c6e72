package auth

import (
	"encoding/base64"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/golang-jwt/jwt/v5"

	"github.com/fanfare-ws/fanfare/internal/metrics"
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// segments are the three parts of a token, as they stand in it.
type segments struct {
	header, claims, signature string
	signed                    string // header.claims
}

// split takes a token apart and allocates nothing, so that what is no token
// costs nothing. An empty part is none.
func split(token string) (segments, *tokenError) {
	if len(token) > MaxToken {
		return segments{}, refused(metrics.TokenTooLong)
	}
	first := strings.IndexByte(token, '.')
	last := strings.LastIndexByte(token, '.')
	if first <= 0 || last-first < 2 || last == len(token)-1 {
		return segments{}, refused(metrics.TokenMalformed)
	}
	s := segments{header: token[:first], claims: token[first+1 : last], signature: token[last+1:], signed: token[:last]}
	if !base64URL(s.header) || !base64URL(s.claims) || !base64URL(s.signature) {
		return segments{}, refused(metrics.TokenMalformed)
	}
	return s, nil
}

// base64URL tells whether s may be base64url without padding (RFC 7515 section
// 2). The decoder would skip line ends.
func base64URL(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return len(s)%4 != 1
}

// strict takes no bits left over behind the last byte: one text for each value.
var strict = base64.RawURLEncoding.Strict()

func decodeSegment(s string) ([]byte, bool) {
	b, err := strict.DecodeString(s)
	return b, err == nil
}

// header is what of a token's header is looked at before its signature: only to
// choose among the configured keys.
type header struct {
	Algorithm string         `json:"alg"`
	KeyID     string         `json:"kid"`
	Critical  jsontext.Value `json:"crit"`
}

func readHeader(segment string) (header, *tokenError) {
	var h header
	text, ok := decodeSegment(segment)
	if !ok || json.Unmarshal(text, &h) != nil || text[0] != '{' {
		return h, refused(metrics.TokenMalformed)
	}
	if h.Critical != nil {
		// An extension that must be understood (RFC 7515 section 4.1.11).
		return h, refused(metrics.TokenMalformed)
	}
	return h, nil
}

// Inspect returns a token's header and claims as they stand in it, JSON objects
// both, without verifying anything: anybody may have written them.
func Inspect(token string) (header, claims jsontext.Value, err error) {
	s, refusal := split(token)
	if refusal != nil {
		return nil, nil, refusal
	}
	for _, part := range []struct {
		text string
		into *jsontext.Value
	}{{s.header, &header}, {s.claims, &claims}} {
		text, ok := decodeSegment(part.text)
		if *part.into = text; !ok || !part.into.IsValid() || part.into.Kind() != '{' {
			return nil, nil, refused(metrics.TokenMalformed)
		}
	}
	return header, claims, nil
}

// maxTokenID bounds what an identity keeps of a jti, in bytes.
const maxTokenID = 256

// claims are those that are looked at (RFC 7519 section 4.1). Names that stand
// twice are refused by the decoder, at any depth.
type claims struct {
	Subject   string         `json:"sub"`
	Issuer    string         `json:"iss"`
	Audience  audience       `json:"aud"`
	Expires   numericDate    `json:"exp"`
	NotBefore numericDate    `json:"nbf"`
	Issued    numericDate    `json:"iat"`
	TokenID   string         `json:"jti"`
	Rooms     jsontext.Value `json:"rooms"`
}

// identity reads the claims of a token whose signature has verified by k.
func (v *Verifier) identity(segment string, k *key) (*Identity, *tokenError) {
	var c claims
	text, ok := decodeSegment(segment)
	if !ok {
		return nil, refused(metrics.TokenMalformed)
	}
	if json.Unmarshal(text, &c) != nil || text[0] != '{' {
		return nil, refused(metrics.TokenClaims)
	}
	if err := v.check(&c); err != nil {
		return nil, err
	}
	if k.issuer != "" && k.issuer != c.Issuer {
		return nil, refused(metrics.TokenIssuer)
	}
	user, ok := protocol.NormalizeUser(c.Subject)
	if !ok || len(c.TokenID) > maxTokenID {
		return nil, refused(metrics.TokenClaims)
	}
	id := &Identity{User: user, TokenID: c.TokenID, Issued: c.Issued.Time, Expires: c.Expires.Time}
	if c.Rooms != nil {
		grants, err := ParseGrants(c.Rooms)
		if err != nil {
			return nil, refused(metrics.TokenClaims)
		}
		id.Grants = grants
	}
	return id, nil
}

// check holds the registered claims against the configuration.
func (v *Verifier) check(c *claims) *tokenError {
	err := v.validator.Validate(c)
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return refused(metrics.TokenExpired)
	case errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return refused(metrics.TokenNotYet)
	case err != nil:
		return refused(metrics.TokenClaims)
	}
	// Any of several will do, which the validator knows of audiences alone.
	if issuers := v.config.Issuers; len(issuers) > 0 && !slices.Contains(issuers, c.Issuer) {
		return refused(metrics.TokenIssuer)
	}
	meant := func(a string) bool { return slices.Contains(v.config.Audiences, a) }
	if len(v.config.Audiences) > 0 && !slices.ContainsFunc(c.Audience, meant) {
		return refused(metrics.TokenAudience)
	}
	return nil
}

// numericDate is seconds since 1970 (RFC 7519 section 2), also with a fraction.
// Zero: the claim is not there.
type numericDate struct{ time.Time }

// lastSecond is the end of the year 9999.
const lastSecond = 253402300799

var errDate = errors.New("want seconds since 1970")

// UnmarshalJSONFrom takes a number from 0 to the end of the year 9999. A null
// is none: whoever writes it meant something.
func (d *numericDate) UnmarshalJSONFrom(in *jsontext.Decoder) error {
	if in.PeekKind() != '0' {
		return errDate
	}
	var seconds float64
	if err := json.UnmarshalDecode(in, &seconds); err != nil || seconds < 0 || seconds > lastSecond {
		return errDate
	}
	whole, fraction := math.Modf(seconds)
	d.Time = time.Unix(int64(whole), int64(fraction*1e9))
	return nil
}

// audience is one name or a list of them (RFC 7519 section 4.1.3).
type audience []string

// UnmarshalJSONFrom takes a string or a list of strings.
func (a *audience) UnmarshalJSONFrom(in *jsontext.Decoder) error {
	if in.PeekKind() != '"' {
		return json.UnmarshalDecode(in, (*[]string)(a))
	}
	var one string
	err := json.UnmarshalDecode(in, &one)
	*a = audience{one}
	return err
}

// The registered claims, as the validator asks for them.

func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) { return c.Expires.registered(), nil }
func (c *claims) GetNotBefore() (*jwt.NumericDate, error)      { return c.NotBefore.registered(), nil }
func (c *claims) GetIssuedAt() (*jwt.NumericDate, error)       { return c.Issued.registered(), nil }
func (c *claims) GetIssuer() (string, error)                   { return c.Issuer, nil }
func (c *claims) GetSubject() (string, error)                  { return c.Subject, nil }
func (c *claims) GetAudience() (jwt.ClaimStrings, error)       { return jwt.ClaimStrings(c.Audience), nil }

func (d numericDate) registered() *jwt.NumericDate {
	if d.IsZero() {
		return nil
	}
	return &jwt.NumericDate{Time: d.Time}
}
