package main

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/fanfare-ws/fanfare/internal/auth"
	"github.com/fanfare-ws/fanfare/internal/config"
	"github.com/fanfare-ws/fanfare/internal/metrics"
)

// newVerifier makes what verifies tokens, which fetches no keys before it is started;
// nil where nothing is configured that could. Where there was one before, it keeps
// counting until the caller ends it.
func newVerifier(c *config.Config, before *auth.Verifier, set *metrics.Set, log *slog.Logger) (*auth.Verifier, error) {
	a := &c.Auth
	if !a.HasKeys() {
		return nil, nil
	}
	v, err := auth.NewVerifier(auth.Config{
		SecretFiles: a.HS256SecretFiles, PublicKeyFiles: a.PublicKeyFiles, JWKSFile: a.JWKSFile, JWKS: jwksOf(a.JWKSURLs),
		Issuers: a.Issuers, Audiences: a.Audiences, Leeway: a.Leeway, AllowNoExpiry: !a.RequireExp,
		Previous: before, Metrics: set, Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	return v, nil
}

// jwksOf reads URL and ISSUER URL.
func jwksOf(texts []string) (sets []auth.JWKS) {
	for _, text := range texts {
		issuer, url, named := strings.Cut(text, " ")
		if !named {
			issuer, url = "", text
		}
		sets = append(sets, auth.JWKS{URL: url, Issuer: issuer})
	}
	return sets
}

// newKeys reads the API keys; nil where there is no file of them.
func newKeys(c *config.Config) (*auth.Keys, error) {
	if c.API.KeysFile == "" {
		return nil, nil
	}
	keys, err := auth.LoadKeys(c.API.KeysFile)
	if err != nil {
		return nil, fmt.Errorf("api.keys_file: %w", err)
	}
	return keys, nil
}

// roomRules are who may do what in the rooms of a class.
func roomRules(c *config.RoomClass) auth.Rules {
	return auth.Rules{
		Join: access(c.Access.Join), Publish: access(c.Access.Publish),
		History: access(c.Access.History), Members: access(c.Access.Members),
	}
}

// access reads a word that Validate has passed. Any other shuts everybody out.
func access(word string) auth.Access {
	a, err := auth.ParseAccess(word)
	if err != nil {
		return auth.Server
	}
	return a
}
