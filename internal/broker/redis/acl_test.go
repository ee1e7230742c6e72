package redis

import (
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"slices"
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

const (
	templates = "../../../deploy/redis/"
	password  = "pass word" // of every user of a test
)

// rules are those of a user in one of the templates of deploy/redis, made as
// operators make them.
func rules(t testing.TB, template, user string) []string {
	t.Helper()
	cmd := exec.Command("sh", templates+"users.sh", templates+template)
	cmd.Env = append(os.Environ(), "REDIS_PASSWORD_FANFARE="+password, "REDIS_PASSWORD_SENTINEL="+password, "REDIS_PASSWORD_REPLICA="+password)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if words := strings.Fields(line); words[0] == "user" && words[1] == user {
			return words[2:]
		}
	}
	t.Fatalf("no user %s in %s", user, template)
	return nil
}

// restrict gives servers the user fanfare, with the rights that gateways have in
// production, and returns a URL with its name and password. A test that was refused
// a command fails.
func restrict(t testing.TB, servers ...*server) string {
	t.Helper()
	for _, s := range servers {
		s.user("users.template", "fanfare")
		t.Cleanup(func() {
			if s.cmd != nil {
				s.refused("fanfare")
			}
		})
	}
	return "redis://fanfare:" + url.PathEscape(password) + "@" + servers[0].addr()
}

// user gives a server a user of a template.
func (s *server) user(template, name string) {
	s.t.Helper()
	args := []any{"acl", "setuser", name}
	for _, rule := range rules(s.t, template, name) {
		args = append(args, rule)
	}
	s.do(args...)
}

// refused fails the test where a user was refused a command, a key or a channel. The
// settings of Redis are not a gateway's business; one that may see them warns.
func (s *server) refused(user string) {
	s.t.Helper()
	for _, entry := range s.do("acl", "log", 128).([]any) {
		said := make(map[string]any)
		for pair := range slices.Chunk(entry.([]any), 2) {
			said[pair[0].(string)] = pair[1]
		}
		if said["username"] == user && said["object"] != "config|get" {
			s.t.Errorf("%s refused the user %s the %s %q, in %q", s.addr(), user, said["reason"], said["object"], said["context"])
		}
	}
}

// unused are the commands among a user's rules that no server has ever run.
func unused(t testing.TB, rules []string, servers ...*server) []string {
	t.Helper()
	return slices.DeleteFunc(slices.Clone(rules), func(rule string) bool {
		command, isCommand := strings.CutPrefix(rule, "+")
		return !isCommand || slices.ContainsFunc(servers, func(s *server) bool {
			return strings.Contains(s.do("info", "commandstats").(string), "cmdstat_"+command+":calls=")
		})
	})
}

// ofClusters are the rights that gateways need in a Cluster alone.
var ofClusters = []string{"+spublish", "+ssubscribe", "+sunsubscribe", "+cluster|slots", "+asking", "+command"}

// Everything that a gateway does is allowed, and nothing that it does not do.
func TestWorksWithTheLeastOfRights(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	address := restrict(t, s)
	var log pages
	r := newRig(t, Config{
		URL: address + "/1", Events: 10, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
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
	s.do("script", "flush")
	r.say("a", `2`)
	r.Unsubscribe("a")
	var left []string
	eventually(t, "all rights but those of clusters are used", func() bool {
		left = unused(t, rules(t, "users.template", "fanfare"), s)
		return slices.Equal(left, ofClusters)
	})
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
