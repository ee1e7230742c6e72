package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

func TestRevocationsThatRedisLostAreGivenBack(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	knows, fresh := newRig(t, Config{URL: s.url()}), newRig(t, Config{URL: s.url()})
	until := time.Now().Add(time.Hour)
	for i := range 20 {
		if err := knows.Revoke(t.Context(), broker.Revocation{TokenID: fmt.Sprint(i), Until: until}); err != nil {
			t.Fatal(err)
		}
	}
	count := func(r *rig) int {
		t.Helper()
		got, err := r.Revocations(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(got)
	}
	if n := count(knows); n != 20 {
		t.Fatalf("%d are known", n)
	}
	s.do("flushall")
	if n := count(knows); n != 20 {
		t.Errorf("%d hold after the loss", n)
	}
	if n := count(fresh); n != 20 {
		t.Errorf("%d were given back", n)
	}
	for i := range 3 {
		if n := count(knows); n != 20 {
			t.Errorf("reading %d: %d", i, n)
		}
	}
}

// What was revoked a moment ago and is lost before anybody has read it is given back
// too.
func TestARevocationThatNobodyHasReadIsGivenBack(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	knows, fresh := newRig(t, Config{URL: s.url()}), newRig(t, Config{URL: s.url()})
	if _, err := knows.Revocations(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := knows.Revoke(t.Context(), broker.Revocation{User: "ada", Before: time.Now(), Until: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	s.do("flushall")
	for i, r := range []*rig{knows, fresh, knows} {
		if got, err := r.Revocations(t.Context()); err != nil || len(got) != 1 || got[0].User != "ada" {
			t.Errorf("reading %d: %v, %v", i, got, err)
		}
	}
}

func TestRevocationsThatAreTheSameAreNotSent(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := newRig(t, Config{URL: s.url()})
	for i := range 500 {
		if err := r.Revoke(t.Context(), broker.Revocation{TokenID: fmt.Sprint(i), Until: time.Now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
	}
	read := func() {
		t.Helper()
		if got, err := r.Revocations(t.Context()); err != nil || len(got) != 500 {
			t.Fatalf("%d, %v", len(got), err)
		}
	}
	read()
	s.do("config", "resetstat")
	for range 5 {
		read()
	}
	stats := s.conn.Info(context.Background(), "commandstats").Val()
	if strings.Contains(stats, "cmdstat_hgetall") || !strings.Contains(stats, "cmdstat_get:calls=5") {
		t.Errorf("five readings cost:\n%s", stats)
	}
}

func TestRevocationsPastTheBoundAreRefused(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := newRig(t, Config{URL: s.url()})
	args := []any{"hset", "fanfare:revoked"}
	for i := range broker.MostRevocations {
		args = append(args, fmt.Sprint("t:", i), fmt.Sprint(time.Now().Add(time.Hour).UnixMilli(), " 0"))
	}
	s.do(args...)
	until := time.Now().Add(2 * time.Hour)
	if err := r.Revoke(t.Context(), broker.Revocation{TokenID: "new", Until: until}); !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("one more: %v", err)
	}
	if err := r.Revoke(t.Context(), broker.Revocation{TokenID: "7", Until: until}); err != nil {
		t.Errorf("one again: %v", err)
	}
}
