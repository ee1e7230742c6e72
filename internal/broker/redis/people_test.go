package redis

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

// come says that users have one connection each in a room by a gateway.
func (r *rig) come(gateway, room string, users ...string) error {
	all := make([]broker.UserConnections, len(users))
	for i, user := range users {
		all[i] = broker.UserConnections{User: user, Connections: 1}
	}
	return r.SetPresence(r.t.Context(), gateway, []broker.RoomUsers{{Room: room, Users: all}})
}

// stands announces a gateway.
func (r *rig) stands(gateway string, lease time.Duration) bool {
	r.t.Helper()
	stands, err := r.Announce(r.t.Context(), broker.Member{ID: gateway}, lease)
	if err != nil {
		r.t.Fatal(err)
	}
	return stands
}

// reapAll reaps until nothing is left.
func (r *rig) reapAll() {
	r.t.Helper()
	for more := true; more; {
		var err error
		if more, err = r.Reap(r.t.Context()); err != nil {
			r.t.Fatal(err)
		}
	}
}

// online is the users of a room, as USER:CONNECTIONS.
func (r *rig) online(room string) []string {
	r.t.Helper()
	page, err := r.Online(r.t.Context(), room, "", 1000)
	if err != nil {
		r.t.Fatal(err)
	}
	var users []string
	for _, u := range page.Users {
		users = append(users, fmt.Sprint(u.User, ":", u.Connections))
	}
	return users
}

func TestForeignWritesToThePeoplesKeysDoNotStopThem(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := newRig(t, Config{URL: s.url(), Events: 100})
	keys := []string{
		"fleet:leases", "fleet:records", "fleet:members", "active", "events", "o:a", "t:a", "u:3:g/0:a", "u:4:g/-1:a",
		"r:g/0", "k:g/0", "k:g/-1", "n:g/0", "names", "names:released", "revoked", "revoked:ends", "revoked:version",
	}
	for _, key := range keys {
		for _, junk := range [][]any{{"set", "junk"}, {"rpush", "junk"}, {"hset", "ada", "junk"}, {"zadd", "1", "junk"}} {
			s.do("flushall")
			s.do(append([]any{junk[0], "fanfare:" + key}, junk[1:]...)...)
			name := fmt.Sprint(junk[0], " ", key)
			r.forgetStandings()
			if err := r.come("g", "a", "ada"); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if got := r.online("a"); !slices.Contains(got, "ada:1") {
				t.Errorf("%s: online %q", name, got)
			}
			rightsOfPeople(t, r)
			if events, _, err := r.Events(t.Context(), "", 100); err != nil || len(events) == 0 {
				t.Errorf("%s: events %+v, %v", name, events, err)
			}
			if got, err := r.Revocations(t.Context()); err != nil || len(got) != 1 {
				t.Errorf("%s: revocations %+v, %v", name, got, err)
			}
			if _, err := r.Announce(t.Context(), broker.Member{ID: "g"}, time.Minute); err != nil {
				t.Errorf("%s: announce: %v", name, err)
			}
			if err := r.Withdraw(t.Context(), "g"); err != nil {
				t.Errorf("%s: withdraw: %v", name, err)
			}
		}
	}
}

// forgetStandings makes the broker one that has said nothing.
func (r *rig) forgetStandings() {
	r.standingMu.Lock()
	defer r.standingMu.Unlock()
	clear(r.standing)
}

func TestPeoplesKeysExpire(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := newRig(t, Config{URL: s.url(), Events: 10})
	r.stands("g", time.Minute)
	if err := r.come("g", "a", "ada"); err != nil {
		t.Fatal(err)
	}
	if err := r.Connections(t.Context(), "g", []broker.ConnectionChange{{Connection: "c"}}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ada", "bob"} {
		c := broker.NameClaim{Name: name, Connection: "c", Gateway: "g"}
		if ok, err := r.ClaimName(t.Context(), c); !ok || err != nil {
			t.Fatal(ok, err)
		}
		if name == "bob" {
			if err := r.ReleaseName(t.Context(), c, time.Second); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := r.Revoke(t.Context(), broker.Revocation{TokenID: "x", Until: time.Now().Add(48 * time.Hour)}); err != nil {
		t.Fatal(err)
	}
	keys := s.conn.Keys(context.Background(), "*").Val()
	if len(keys) != 16 {
		t.Errorf("%d keys: %q", len(keys), keys)
	}
	lives := func(key string) time.Duration { return s.conn.PTTL(context.Background(), key).Val() }
	for _, key := range keys {
		most := 24 * time.Hour
		if strings.HasPrefix(key, "fanfare:revoked") {
			most = 49 * time.Hour
		}
		if d := lives(key); d <= 0 || d > most {
			t.Errorf("%s lives for %v", key, d)
		}
		s.do("pexpire", key, 1000*1000)
	}
	r.stands("g", time.Minute)
	if err := r.extendPresence([]string{"a"}); err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if strings.HasPrefix(key, "fanfare:revoked") {
			continue
		}
		if d := lives(key); d < 23*time.Hour {
			t.Errorf("%s lives for %v though its gateway does", key, d)
		}
	}
}

func TestJunkAmongEventsAndRoomsIsSkipped(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := newRig(t, Config{URL: s.url(), Events: 100})
	for _, user := range []string{"ada", "bob"} {
		if err := r.come("g", "a", user); err != nil {
			t.Fatal(err)
		}
		s.do("xadd", "fanfare:events", "*", "type", "junk")
		s.do("xadd", "fanfare:events", "*", "user", "\xff", "type", "joined")
	}
	junk := r.cfg.Metrics.Junk.Value()
	var got []string
	for cursor, more := "", true; more; {
		events, next, err := r.Events(t.Context(), cursor, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			got = append(got, e.Type+" "+e.User)
		}
		more, cursor = next != cursor, next
	}
	if !slices.Equal(got, []string{"room_occupied ", "joined ada", "joined bob"}) || r.cfg.Metrics.Junk.Value() == junk {
		t.Errorf("events %q", got)
	}
	s.do("publish", "fanfare:c:a", "P")
	s.do("xadd", "fanfare:events", "18446744073709551615-18446744073709551615", "type", "joined")
	if err := r.come("g", "a", "cleo"); err != nil {
		t.Fatalf("behind an id that none can follow: %v", err)
	}
}

// A room of 100,000 users on two gateways: what a page, a count and a change cost
// does not grow with them. It is counted by what Redis computes, not by the time
// that passes, in which others compute as well.
func TestARoomOfManyUsersStaysUsable(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	s := startServer(t)
	r := newRig(t, Config{URL: s.url()})
	const users, page = 100_000, 100
	all := make([]broker.UserConnections, users)
	for i := range all {
		all[i] = broker.UserConnections{User: fmt.Sprintf("user%06d", i), Connections: 1}
	}
	// Some ten commands for each user that comes or goes, and at most 256 of those in a
	// script, during which Redis does nothing else.
	const most = 16 * 256
	said := s.work()
	for gateway, part := range map[string][]broker.UserConnections{"g1": all[:users*3/4], "g2": all[users/4:]} {
		r.stands(gateway, time.Hour) // however slow the machine is
		if err := r.SetPresence(t.Context(), gateway, []broker.RoomUsers{{Room: "a", Users: part}}); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.work().since(said).commands(); n > most {
		t.Errorf("a script that says users runs %d commands", n)
	}
	within := func(what string, most time.Duration, f func(i int)) {
		t.Helper()
		const times = 100
		begun := s.work()
		for i := range times {
			f(i)
		}
		did := s.work().since(begun)
		t.Logf("%s: %v of Redis, %d commands", what, did.processor/times, did.commands())
		if did.processor > times*most {
			t.Errorf("%s takes Redis %v", what, did.processor/times)
		}
	}
	within("a page", 10*time.Millisecond, func(i int) {
		got, err := r.Online(t.Context(), "a", all[i*997].User, page)
		if err != nil || got.Count != users || len(got.Users) != page || !got.More || got.Users[0].User != all[i*997+1].User {
			t.Fatalf("%+v, %v", got, err)
		}
	})
	within("a count", 10*time.Millisecond, func(int) {
		if got, err := r.OnlineCounts(t.Context(), []string{"a"}); err != nil || got[0] != users {
			t.Fatal(got, err)
		}
	})
	within("a change", 10*time.Millisecond, func(i int) {
		change := []broker.UserConnections{{User: all[i].User}, {User: fmt.Sprint("new", i), Connections: 1}}
		if err := r.SetPresence(t.Context(), "g1", []broker.RoomUsers{{Room: "a", Users: change}}); err != nil {
			t.Fatal(err)
		}
	})
	s.do("zadd", "fanfare:fleet:leases", 1, "g1/0")
	r.forgetStandings()
	reaped := s.work()
	r.reapAll()
	if got, err := r.OnlineCounts(t.Context(), []string{"a"}); err != nil || got[0] != users*3/4 {
		t.Errorf("%v, %v", got, err)
	}
	if n := s.work().since(reaped).commands(); n > most {
		t.Errorf("a script that reaps runs %d commands", n)
	}
}

// work is what a server has done.
type work struct {
	processor    time.Duration
	scripts, all int // scripts, and all commands, those of scripts too
}

func (s *server) work() (w work) {
	s.t.Helper()
	info := s.conn.Info(s.t.Context(), "cpu", "commandstats").Val()
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_cpu_user" || name == "used_cpu_sys" {
			seconds, err := strconv.ParseFloat(value, 64)
			if err != nil {
				s.t.Fatal(err)
			}
			w.processor += time.Duration(seconds * float64(time.Second))
		}
		if command, ok := strings.CutPrefix(name, "cmdstat_"); ok {
			digits, _, _ := strings.Cut(strings.TrimPrefix(value, "calls="), ",")
			n, err := strconv.Atoi(digits)
			if err != nil {
				s.t.Fatal(err)
			}
			w.all += n
			if strings.HasPrefix(command, "eval") {
				w.scripts += n
			}
		}
	}
	return w
}

func (w work) since(before work) work {
	return work{w.processor - before.processor, w.scripts - before.scripts, w.all - before.all}
}

// commands is how many a script has run, of all of them.
func (w work) commands() int { return w.all / max(1, w.scripts) }
