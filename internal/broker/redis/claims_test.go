package redis

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

func TestANameWhoseFateIsNotKnownIsGivenBack(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := newRig(t, Config{URL: s.url(), ReadTimeout: 200 * time.Millisecond})
	c := broker.NameClaim{Name: "ada", Key: "k", Connection: "c", Gateway: "g"}
	r.stands("g", time.Minute)
	if _, err := r.ClaimName(t.Context(), broker.NameClaim{Name: "known", Gateway: "g"}); err != nil { // redis knows the script now
		t.Fatal(err)
	}
	s.signal(syscall.SIGSTOP)
	_, err := r.ClaimName(t.Context(), c)
	s.signal(syscall.SIGCONT)
	if !errors.Is(err, broker.ErrUnavailable) {
		t.Fatal(err)
	}
	eventually(t, "redis did what was given up", func() bool {
		return s.conn.HExists(context.Background(), "fanfare:names", "ada").Val()
	})
	r.owed.mu.Lock()
	for c, d := range r.owed.all {
		d.since = d.since.Add(-owedAfter)
		r.owed.all[c] = d
	}
	r.owed.mu.Unlock()
	other := broker.NameClaim{Name: "ada", Key: "x", Connection: "d", Gateway: "g"}
	eventually(t, "it is free", func() bool {
		r.stands("g", time.Minute)
		r.reapAll()
		ok, err := r.ClaimName(t.Context(), other)
		return ok && err == nil
	})
	if len(r.owed.all) != 0 {
		t.Errorf("still owed: %+v", r.owed.all)
	}
}
