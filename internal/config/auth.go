package config

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
)

// Auth says who clients are. With no source of keys no token verifies.
type Auth struct {
	Required         bool
	Anonymous        bool
	HS256SecretFiles []string
	PublicKeyFiles   []string // PEM
	JWKSFile         string
	JWKSURLs         []string // URL, or ISSUER URL
	Issuers          []string // empty: not looked at
	Audiences        []string // empty: not looked at
	Leeway           time.Duration
	RequireExp       bool
}

// TokenNeeded says whether a connection without a token is refused.
func (a *Auth) TokenNeeded() bool { return a.Required || !a.Anonymous }

// HasKeys says whether there is anything to verify a token with.
func (a *Auth) HasKeys() bool {
	return len(a.HS256SecretFiles) > 0 || len(a.PublicKeyFiles) > 0 || a.JWKSFile != "" || len(a.JWKSURLs) > 0
}

// maxLeeway is more than clocks differ that anybody looks after.
const maxLeeway = 30 * time.Second

// authOptions are the keys of who somebody is.
func (c *Config) authOptions() []option {
	a := &c.Auth
	return []option{
		{key: "auth.required", def: "false", value: boolean(&a.Required),
			what: "refuse a connection without a token, with 401. A token is needed where auth.required is true or auth.anonymous is false",
			why:  "a gateway that was just installed can be tried"},
		{key: "auth.anonymous", def: "true", value: boolean(&a.Anonymous),
			what: "let connections without a token in, as guests, as far as auth.required does. A token that does not verify is refused in any case",
			why:  "what guests may do is a matter of each class of rooms"},
		{key: "auth.hs256_secret_file", def: "", file: true, value: list(&a.HS256SecretFiles, parsePath, "paths of files"),
			what: "files with a secret each for HS256, of 32 bytes or more; a newline at the end is not part of it. Several count at once," +
				" so that a secret can be changed",
			why: "no secret is a good default"},
		{key: "auth.public_key_files", def: "", file: true, value: list(&a.PublicKeyFiles, parsePath, "paths of files"),
			what: "files with public keys or certificates, PEM: RSA of 2048 bits or more for RS256, P-256 for ES256, Ed25519 for EdDSA; all count at once",
			why:  "nobody is trusted who was not named"},
		{key: "auth.jwks_file", def: "", file: true, value: text(&a.JWKSFile, "a file's path"),
			what: "file with a JSON Web Key Set; its symmetric keys are left out",
			why:  "nobody is trusted who was not named"},
		{key: "auth.jwks_url", def: "", value: list(&a.JWKSURLs, parseJWKSURL, "URLs such as https://HOST/PATH, or http of this machine, alone or behind an issuer and a space"),
			what: "URLs of JSON Web Key Sets, https or http of this machine, fetched in the background every 10 minutes and where a token names" +
				" an unknown key; the last good set counts while one cannot be fetched. As ISSUER URL its keys verify only tokens whose iss is ISSUER",
			why: "nobody is trusted who was not named"},
		{key: "auth.issuer", def: "", value: list(&a.Issuers, parseClaim, "names of issuers"),
			what: "issuers, of which a token's iss must be one; none is any. Each is trusted with every key but those of another in auth.jwks_url",
			why:  "who has a key that is configured here is trusted already"},
		{key: "auth.audience", def: "", value: list(&a.Audiences, parseClaim, "names of audiences"),
			what: "audiences, of which a token's aud must have one; none is any. Set it where the keys sign for other services too",
			why:  "a secret of one's own signs for nobody else"},
		{key: "auth.leeway", def: "5s", value: leeway(&a.Leeway),
			what: "how far clocks may differ for exp, nbf and iat, up to 30s",
			why:  "more than clocks that are kept in time ever do"},
		{key: "auth.require_exp", def: "true", value: boolean(&a.RequireExp),
			what: "refuse tokens without exp",
			why:  "a token that never runs out is a password that was leaked once and for all"},
	}
}

// authProblems tells of tokens that are asked for and can never verify.
func (c *Config) authProblems() Error {
	if c.Auth.HasKeys() || !c.Auth.TokenNeeded() {
		return nil
	}
	key := "auth.required"
	if !c.Auth.Required {
		key = "auth.anonymous"
	}
	return Error{c.conflict("no token could verify: it needs auth.hs256_secret_file, auth.public_key_files, auth.jwks_file or auth.jwks_url", key)}
}

func parsePath(s string) (string, error) {
	if strings.ContainsFunc(s, unicode.IsControl) {
		return "", errors.New("no path")
	}
	return s, nil
}

func parseClaim(s string) (string, error) {
	if strings.ContainsFunc(s, unicode.IsControl) {
		return "", errors.New("no name")
	}
	return s, nil
}

// parseJWKSURL takes what auth.jwks_url may have. What is behind the URL nobody knows
// before it is fetched.
func parseJWKSURL(s string) (string, error) {
	words := strings.Fields(s)
	if len(words) == 0 || len(words) > 2 {
		return "", errors.New("neither URL nor ISSUER URL")
	}
	return strings.Join(words, " "), nil
}

func leeway(field *time.Duration) setting {
	return &scalar[time.Duration]{field: field, of: kindDuration, format: formatDuration,
		takes: fmt.Sprintf("a duration from 0s to %s", formatDuration(maxLeeway)),
		parse: func(s string) (time.Duration, bool) {
			v, err := time.ParseDuration(s)
			return v, err == nil && v >= 0 && v <= maxLeeway
		}}
}
