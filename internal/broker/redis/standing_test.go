package redis

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

func TestWhatAnEmptiedRedisLostIsToldAndSaidAgain(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := newRig(t, Config{URL: s.url()})
	r.stands("g", time.Minute)
	if err := r.come("g", "a", "ada"); err != nil {
		t.Fatal(err)
	}
	s.do("flushall")
	if err := r.come("g", "a", "bob"); !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("half of what there is was taken: %v", err)
	}
	if _, err := r.ClaimName(t.Context(), broker.NameClaim{Name: "ada", Connection: "c", Gateway: "g"}); !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("a name was given: %v", err)
	}
	if r.stands("g", time.Minute) {
		t.Fatal("what was said is said to stand")
	}
	if err := r.come("g", "a", "ada", "bob"); err != nil {
		t.Fatal(err)
	}
	if got := r.online("a"); !slices.Equal(got, []string{"ada:1", "bob:1"}) {
		t.Errorf("online %q", got)
	}
	if !r.stands("g", time.Minute) {
		t.Error("the loss is told twice")
	}
}

func TestWhatARewoundRedisLostIsTold(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := newRig(t, Config{URL: s.url()})
	r.stands("g", time.Minute)
	if err := r.come("g", "a", "ada", "bob"); err != nil {
		t.Fatal(err)
	}
	// A replica that is promoted may lack the newest.
	dump := make(map[string]any)
	for _, key := range s.conn.Keys(context.Background(), "fanfare:*").Val() {
		dump[key] = s.do("dump", key)
	}
	err := r.SetPresence(t.Context(), "g", []broker.RoomUsers{{Room: "a", Users: []broker.UserConnections{{User: "ada"}}}})
	if err != nil {
		t.Fatal(err)
	}
	s.do("flushall")
	for key, value := range dump {
		s.do("restore", key, 0, value)
	}
	if got := r.online("a"); len(got) != 2 {
		t.Fatalf("online %q", got)
	}
	if r.stands("g", time.Minute) {
		t.Fatal("what was said is said to stand")
	}
	if err := r.come("g", "a", "bob"); err != nil {
		t.Fatal(err)
	}
	if got := r.online("a"); !slices.Equal(got, []string{"ada:1", "bob:1"}) {
		t.Errorf("online %q before the old holder's lease runs out", got)
	}
	s.do("zadd", "fanfare:fleet:leases", 1, "g/0")
	r.reapAll()
	if got := r.online("a"); !slices.Equal(got, []string{"bob:1"}) {
		t.Errorf("online %q", got)
	}
}

func TestACallThatComesLateIsNotTaken(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := newRig(t, Config{URL: s.url()})
	late := r.standings("g").of[0].speak()
	if err := r.come("g", "a", "ada"); err != nil {
		t.Fatal(err)
	}
	n := r.shards[0].names
	keys := append([]string{n.leases(), n.records()}, crowdKeys(n, late.holder, "a")...)
	args := append(late.args(), r.crowdArgs(n, "g", "a")...)
	got, err := r.run(t.Context(), scriptPresence, append(keys, n.usersOf(late.before, "a")), append(args, "ada", 0)...)
	if err != nil || got != int64(0) || len(r.online("a")) != 1 {
		t.Errorf("%v, %v: online %q", got, err, r.online("a"))
	}
}

func TestAnOutageOfRedisIsNobodysDeath(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	one, two := newRig(t, Config{URL: s.url()}), newRig(t, Config{URL: s.url()})
	for gateway, r := range map[string]*rig{"one": one, "two": two} {
		r.stands(gateway, 10*time.Second)
		if err := r.come(gateway, "a", gateway); err != nil {
			t.Fatal(err)
		}
	}
	one.stands("dead", 10*time.Second)
	if err := one.come("dead", "a", "dead"); err != nil {
		t.Fatal(err)
	}
	one.forgetStandings()
	one.standings("one").of[0].speak()
	// As if Redis had been away for a minute: two's lease was good when it went, and
	// that of the dead one had run out before.
	now := time.Now().UnixMilli()
	s.do("hset", "fanfare:fleet:records", "@", now-60_000)
	s.do("zadd", "fanfare:fleet:leases", now-55_000, "one/0", now-55_000, "two/0", now-61_000, "dead/0")
	one.reapAll()
	if got := one.online("a"); !slices.Equal(got, []string{"one:1", "two:1"}) {
		t.Errorf("online %q", got)
	}
	if !two.stands("two", 10*time.Second) {
		t.Error("two has to say all again")
	}
	// It has some seconds, and no more.
	left := s.conn.ZScore(t.Context(), "fanfare:fleet:leases", "one/0").Val() - float64(time.Now().UnixMilli())
	if left < 500 || left > 4000 {
		t.Errorf("a lease that was good when redis went has %v ms left", left)
	}
}

// Who asks for a name may be the first that Redis hears when it is back.
func TestAnOutageOfRedisTakesNobodysName(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := newRig(t, Config{URL: s.url()})
	claim := func(gateway, name string) bool {
		t.Helper()
		ok, err := r.ClaimName(t.Context(), broker.NameClaim{Name: name, Connection: gateway, Gateway: gateway})
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	for _, gateway := range []string{"one", "two", "dead"} {
		r.stands(gateway, 10*time.Second)
		if !claim(gateway, gateway) {
			t.Fatal("a free name is not given")
		}
	}
	now := time.Now().UnixMilli()
	s.do("hset", "fanfare:fleet:records", "@", now-60_000)
	s.do("zadd", "fanfare:fleet:leases", now-55_000, "one/0", now-55_000, "two/0", now-61_000, "dead/0")
	if claim("one", "two") {
		t.Error("a name is taken from a gateway that had no time to come back")
	}
	if !claim("one", "dead") {
		t.Error("the name of a gateway that had died before is not free")
	}
	if !r.stands("two", 10*time.Second) || claim("one", "two") {
		t.Error("what a gateway said that is back does not stand")
	}
}

func TestWhatAGatewaySaysIsNotTakenBackWhileItLives(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := newRig(t, Config{URL: s.url()})
	r.stands("g", time.Minute)
	if err := r.come("g", "a", "ada"); err != nil {
		t.Fatal(err)
	}
	// One that found the lease run out, before it was renewed.
	if more, err := r.reap(t.Context(), 0, "g/0"); more || err != nil {
		t.Errorf("reaped: %v, %v", more, err)
	}
	n := r.shards[0].names
	args := append([]any{"g/0"}, r.crowdArgs(n, "g", "a")...)
	got, err := r.run(t.Context(), scriptLeave, append([]string{n.leases()}, crowdKeys(n, "g/0", "a")...), append(args, 10)...)
	if got != int64(0) || err != nil || len(r.online("a")) != 1 {
		t.Errorf("%v, %v: online %q", got, err, r.online("a"))
	}
}

func TestANameIsFreeWhenItsGatewaysLeaseRunsOut(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := newRig(t, Config{URL: s.url()})
	r.stands("dead", time.Minute)
	claim := func(gateway string) bool {
		t.Helper()
		ok, err := r.ClaimName(t.Context(), broker.NameClaim{Name: "ada", Connection: gateway, Gateway: gateway})
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !claim("dead") || claim("g") {
		t.Fatal("a free name is not given, or one that is held")
	}
	s.do("zadd", "fanfare:fleet:leases", time.Now().Add(-time.Millisecond).UnixMilli(), "dead/0")
	if !claim("g") { // though nobody has reaped
		t.Error("it is not free")
	}
}

func TestWhatOnePartitionLostIsSaidAgainInAll(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	t.Parallel()
	r, rooms := clusterRig(t, startCluster(t, 3, 0))
	r.stands("g", time.Minute)
	for _, room := range rooms {
		if err := r.come("g", room, "ada"); err != nil {
			t.Fatal(err)
		}
	}
	if !r.stands("g", time.Minute) {
		t.Fatal("something was lost")
	}
	r.standings("g").of[r.partition(rooms[0])].lose()
	if r.stands("g", time.Minute) {
		t.Fatal("what was said is said to stand")
	}
	for _, room := range rooms {
		if holder := r.standings("g").of[r.partition(room)].holder(); holder != "g/1" {
			t.Errorf("in the partition of %s the gateway is %s", room, holder)
		}
	}
	if !r.stands("g", time.Minute) {
		t.Error("the loss is told twice")
	}
}
