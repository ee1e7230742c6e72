package redis

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

// pages is a writer that any goroutine may read.
type pages struct {
	mu   sync.Mutex
	text strings.Builder
}

func (p *pages) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *pages) has(s string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Contains(p.text.String(), s)
}

// The least that a user needs, on a standalone server.
const least = "+get +set +del +type +time +ping +hello +select +client|setname +eval +evalsha +script|load " +
	"+publish +subscribe +unsubscribe +xadd +xtrim +xrange +xrevrange +pexpire +pttl " +
	"+zadd +zrem +zrange +zrangebyscore +zscore +zcard +hset +hget +hdel +hgetall +hlen +hrandfield " +
	"+sadd +srem +spop +srandmember +exists"

func TestWorksWithTheLeastOfRights(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	args := []any{"acl", "setuser", "fan", "on", ">pass word", "~fanfare:*", "resetchannels", "&fanfare:*"}
	for _, right := range strings.Fields(least) {
		args = append(args, right)
	}
	s.do(args...)
	var log pages
	r := newRig(t, Config{
		URL: "redis://fan:pass%20word@" + s.addr(), Events: 10, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	r.subscribe("a")
	r.ready()
	r.say("a", `1`)
	r.try(broker.Publication{Room: "a", ID: "x", Data: []byte(`1`)})
	r.tail("a")
	r.read("a")
	if err := r.Renew(t.Context(), "a", r.tail("a").Epoch); err != nil {
		t.Error(err)
	}
	if _, err := r.Announce(t.Context(), broker.Member{ID: "g"}, 1e9); err != nil {
		t.Error(err)
	}
	if got, err := r.Members(t.Context()); err != nil || len(got) != 1 {
		t.Error(got, err)
	}
	rightsOfPeople(t, r)
	if err := r.Withdraw(t.Context(), "g"); err != nil {
		t.Error(err)
	}
	eventually(t, "settings not looked at", func() bool { return log.has("redis settings not looked at") })
	if log.has("breaks a promise") || log.has("pass word") || log.has("pass%20word") {
		t.Errorf("logged:\n%s", log.text.String())
	}
}

// rightsOfPeople does all that there is to do with people.
func rightsOfPeople(t *testing.T, r *rig) {
	t.Helper()
	ctx := t.Context()
	users := []broker.RoomUsers{{Room: "a", Users: []broker.UserConnections{{User: "ada", Connections: 1}}}}
	claim := broker.NameClaim{Name: "ada", Connection: "c", Gateway: "g"}
	revocation := broker.Revocation{TokenID: "x", Until: time.Now().Add(time.Hour)}
	errs := map[string]error{
		"presence":    r.SetPresence(ctx, "g", users),
		"connections": r.Connections(ctx, "g", []broker.ConnectionChange{{Connection: "c"}, {Connection: "d", Ended: true}}),
		"revoke":      r.Revoke(ctx, revocation),
		"extend":      r.extendPresence([]string{"a"}),
	}
	_, errs["online"] = r.Online(ctx, "a", "", 1)
	_, errs["counts"] = r.OnlineCounts(ctx, []string{"a"})
	_, _, errs["rooms"] = r.ActiveRooms(ctx, "", 1)
	_, errs["claim"] = r.ClaimName(ctx, claim)
	errs["release"] = r.ReleaseName(ctx, claim, time.Second)
	_, errs["revocations"] = r.Revocations(ctx)
	_, _, errs["events"] = r.Events(ctx, "", 1)
	_, _, errs["events from now on"] = r.Events(ctx, "$", 1)
	_, errs["reap"] = r.Reap(ctx)
	for name, err := range errs {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSettingsAreLookedAtOnce(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--maxmemory", "1gb", "--maxmemory-policy", "allkeys-lru")
	var log pages
	r := newRig(t, Config{URL: s.url(), Log: slog.New(slog.NewTextHandler(&log, nil))})
	r.ready()
	for _, want := range []string{"maxmemory-policy allkeys-lru", "appendonly no, save empty", "client-output-buffer-limit pubsub"} {
		eventually(t, "a warning of "+want, func() bool { return log.has(want) })
	}
	s.do("client", "kill", "type", "pubsub")
	eventually(t, "made anew", func() bool { return log.has("subscriber ended") })
	r.ready()
	log.mu.Lock()
	defer log.mu.Unlock()
	if n := strings.Count(log.text.String(), "allkeys-lru"); n != 1 {
		t.Errorf("warned %d times", n)
	}
}
