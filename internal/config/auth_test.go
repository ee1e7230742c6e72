package config

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestAuthIsConfigured(t *testing.T) {
	c := mustLoad(t, `
auth:
  required: true
  hs256_secret_file: [old, new]
  public_key_files: a.pem
  jwks_file: jwks.json
  issuer: "https://login.example.com"
  require_exp: false
api: {keys_file: keys.yaml}
`, []string{"FANFARE_AUTH_AUDIENCE=chat, news"}, "--auth-jwks-url=https://login.example.com/jwks", "--auth-jwks-url", "https://b.example.com  https://b.example.com/keys", "--auth-leeway=30s")
	want := Auth{Required: true, Anonymous: true, HS256SecretFiles: []string{"old", "new"}, PublicKeyFiles: []string{"a.pem"}, JWKSFile: "jwks.json",
		JWKSURLs: []string{"https://login.example.com/jwks", "https://b.example.com https://b.example.com/keys"}, Issuers: []string{"https://login.example.com"}, Audiences: []string{"chat", "news"}, Leeway: 30 * time.Second}
	if !reflect.DeepEqual(c.Auth, want) || c.API.KeysFile != "keys.yaml" {
		t.Errorf("%+v %+v", c.Auth, c.API)
	}
	if d := Default().Auth; d.TokenNeeded() || d.HasKeys() || !d.RequireExp || d.Leeway != 5*time.Second {
		t.Errorf("nothing configured: %+v", d)
	}
}

func TestATokenIsNeededByEitherKey(t *testing.T) {
	for flags, want := range map[string]bool{
		"": false, "--auth-required": true, "--auth-anonymous=false": true, "--auth-required --auth-anonymous=false": true,
		"--auth-required=false --auth-anonymous": false,
	} {
		c := mustLoad(t, "", nil, append(strings.Fields(flags), "--auth-jwks-file=f")...)
		if got := c.Auth.TokenNeeded(); got != want {
			t.Errorf("%s: a token is needed: %v", flags, got)
		}
	}
}

func TestAuthThatCannotBe(t *testing.T) {
	const needs = ": no token could verify: it needs auth.hs256_secret_file, auth.public_key_files, auth.jwks_file or auth.jwks_url"
	for args, want := range map[string]string{
		"--auth-required":                               "--auth-required: auth.required is true (--auth-required)" + needs,
		"--auth-anonymous=false":                        "--auth-anonymous: auth.anonymous is false (--auth-anonymous)" + needs,
		"--auth-leeway=31s":                             `--auth-leeway: auth.leeway cannot be "31s": it takes a duration from 0s to 30s`,
		"--auth-leeway=-1s":                             `--auth-leeway: auth.leeway cannot be "-1s": it takes a duration from 0s to 30s`,
		`--rooms=[{match: a, join: member}]`:            `--rooms: rooms cannot be "[{match: a, join: member}]": rooms[0].join cannot be "member": it takes anyone or claim or server`,
		`--rooms=[{match: a, publish: all}]`:            `--rooms: rooms cannot be "[{match: a, publish: all}]": rooms[0].publish cannot be "all": it takes anyone or member or claim or server`,
		"--rooms=[{match: a, history: {access: none}}]": `--rooms: rooms cannot be "[{match: a, history: {access: none}}]": rooms[0].history.access cannot be "none": it takes anyone or member or claim or server`,
	} {
		wantProblems(t, "", nil, []string{args}, []string{want})
	}
}

func TestClassesSayWhoMayDoWhat(t *testing.T) {
	c := mustLoad(t, `
rooms:
  - match: "news:*"
    join: claim
    publish: server
    history: {access: member, messages: 5}
    members: claim
    presence: false
`, nil)
	news := c.Rooms[0]
	if news.Access != (Access{Join: "claim", Publish: "server", History: "member", Members: "claim"}) || news.Presence || news.History.Messages != 5 {
		t.Errorf("%+v", news)
	}
	rest := c.Rooms[1]
	if rest.Access != (Access{Join: "anyone", Publish: "anyone", History: "anyone", Members: "anyone"}) || !rest.Presence {
		t.Errorf("%+v", rest)
	}
}

// Whoever has a token in the environment for publish and tail may run a gateway.
func TestAClientsTokenIsNoKey(t *testing.T) {
	mustLoad(t, "", []string{"FANFARE_TOKEN=a.b.c"})
}
