package redis

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

func TestLeasesRunOut(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := newRig(t, Config{URL: s.url()})
	members := func() []string {
		got, err := r.Members(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, m := range got {
			ids = append(ids, m.ID)
		}
		return ids
	}
	ctx := t.Context()
	for i, lease := range []time.Duration{time.Minute, 100 * time.Millisecond, time.Minute} {
		m := broker.Member{ID: fmt.Sprint("g", i), Version: "v1", Connections: 10 * i, Rooms: i, Draining: i == 2}
		if _, err := r.Announce(ctx, m, lease); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "g1 is gone", func() bool { return len(members()) == 2 })
	s.do("hset", "fanfare:fleet:members", "g9", "junk")
	s.do("zadd", "fanfare:fleet:leases", "inf", "g9")
	got, err := r.Members(ctx)
	if err != nil || len(got) != 2 || r.cfg.Metrics.Junk.Value() == 0 {
		t.Errorf("with junk: %+v, %v", got, err)
	}
	for _, m := range got {
		if m.ID == "g2" && (m.Connections != 20 || m.Rooms != 2 || !m.Draining || m.Version != "v1") {
			t.Errorf("member %+v", m)
		}
	}
	if err := r.Withdraw(ctx, "g0"); err != nil {
		t.Fatal(err)
	}
	if ids := members(); len(ids) != 1 || ids[0] != "g2" {
		t.Errorf("after withdrawal %v", ids)
	}
}

func TestForeignWritesToTheFleetsKeysDoNotStopOrSkewIt(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := newRig(t, Config{URL: s.url()})
	for _, junk := range [][]any{
		{"set", "fanfare:fleet:leases", "junk"},
		{"set", "fanfare:fleet:members", "junk"},
		{"rpush", "fanfare:fleet:members", "junk"},
		{"hset", "fanfare:fleet:members", "x", `{"id":"x","connections":-100000}`, "y", `{"id":"y","rooms":-1}`},
	} {
		s.do("flushall")
		s.do(junk...)
		if junk[0] == "hset" {
			s.do("zadd", "fanfare:fleet:leases", "inf", "x", "inf", "y")
		}
		if _, err := r.Announce(t.Context(), broker.Member{ID: "g", Connections: 7}, time.Minute); err != nil {
			t.Errorf("%v: %v", junk, err)
		}
		got, err := r.Members(t.Context())
		if err != nil || len(got) != 1 || got[0].ID != "g" || got[0].Connections != 7 {
			t.Errorf("%v: %+v, %v", junk, got, err)
		}
	}
}

func TestControlMessagesReachEveryGateway(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	rigs := []*rig{newRig(t, Config{URL: s.url()}), newRig(t, Config{URL: s.url()})}
	for _, r := range rigs {
		r.ready()
	}
	for i, r := range rigs {
		if err := r.Tell(t.Context(), fmt.Append(nil, "message ", i)); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range rigs {
		eventually(t, "both messages", func() bool {
			r.ear.mu.Lock()
			defer r.ear.mu.Unlock()
			return len(r.ear.told) == 2 && r.ear.told[0] == "message 0" && r.ear.told[1] == "message 1"
		})
	}
}

func TestCallsEndWithTheirContext(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.kill()
	r := newRig(t, Config{URL: s.url(), ReadTimeout: 300 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range map[string]func(context.Context) error{
		"range": func(ctx context.Context) error { _, err := r.Range(ctx, broker.Query{Room: "a"}); return err },
		"tails": func(ctx context.Context) error { _, err := r.Tails(ctx, []string{"a"}); return err },
		"renew": func(ctx context.Context) error { return r.Renew(ctx, "a", "e") },
		"announce": func(ctx context.Context) error {
			_, err := r.Announce(ctx, broker.Member{ID: "g"}, time.Second)
			return err
		},
		"tell": func(ctx context.Context) error { return r.Tell(ctx, nil) },
	} {
		begun := time.Now()
		if err := call(ctx); err == nil {
			t.Errorf("%s with an ended context", name)
		}
		if err := call(t.Context()); err == nil {
			t.Errorf("%s without a server", name)
		}
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("%s took %v", name, took)
		}
	}
}
