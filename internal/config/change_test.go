package config

import (
	"slices"
	"strings"
	"testing"
)

func TestChangesAreToldByWhetherTheyNeedARestart(t *testing.T) {
	from := mustLoad(t, "listen: \":1\"\nlimits: {rooms_per_connection: 5}\nrooms: [{match: a}]\n", nil)
	if live, restart := Changes(from, mustLoad(t, "# the same\nlisten: ':1'\nlimits.rooms_per_connection: 5\nrooms: [{match: a}, {match: '*'}]\n", nil)); live != nil || restart != nil {
		t.Errorf("of the same values %q and %q", live, restart)
	}
	to := mustLoad(t, `
listen: ":2"
log.level: debug
limits: {rooms_per_connection: 6}
rooms: [{match: a, history: {age: 1m}}]
redis: {url: "redis://h", prefix: other}
accept_rate: 3
auth: {hs256_secret_file: f, issuer: i}
`, nil)
	live, restart := Changes(from, to)
	if want := strings.Fields("log.level auth.hs256_secret_file auth.issuer accept_rate limits.rooms_per_connection rooms"); !slices.Equal(live, want) {
		t.Errorf("live %q, want %q", live, want)
	}
	if want := strings.Fields("listen redis.url redis.prefix"); !slices.Equal(restart, want) {
		t.Errorf("by a restart %q, want %q", restart, want)
	}
}

func TestFilesAreThoseThatAReloadReads(t *testing.T) {
	c := mustLoad(t, "auth: {hs256_secret_file: [a, b], jwks_file: c}\napi.keys_file: d\nredis: {url: rediss://h, ca_file: e}\n", nil)
	if got, want := c.Files(), []string{"f.yaml", "a", "b", "c", "d"}; !slices.Equal(got, want) {
		t.Errorf("files %q, want %q", got, want)
	}
	if got := Default().Files(); got != nil {
		t.Errorf("by default %q", got)
	}
}
