package team

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/loadtest/internal/account"
	"github.com/fanfare-ws/fanfare/loadtest/internal/faulty"
	"github.com/fanfare-ws/fanfare/loadtest/internal/result"
)

// agents starts agents with a key and returns them as players.
func agents(t *testing.T, n int, key string) []Player {
	var players []Player
	for range n {
		a := NewAgent(key)
		server := httptest.NewServer(a)
		t.Cleanup(func() {
			server.Close()
			a.Close()
		})
		players = append(players, NewRemote(strings.TrimPrefix(server.URL, "http://"), key))
	}
	return players
}

func TestAgentsResultsAreMerged(t *testing.T) {
	for _, tt := range []struct {
		fault faulty.Fault
		check func(c *account.Counts, v *result.Verdict) bool
	}{
		{faulty.None, func(c *account.Counts, v *result.Verdict) bool { return v.OK && c.Delivered == c.Published*members }},
		// Only the agent with the publisher knows how far the room's log goes: the
		// others' members lack messages that nobody near them has seen.
		{faulty.Silence, func(c *account.Counts, v *result.Verdict) bool {
			return v.ExitCode() == 3 && c.Unexplained > 0 && c.Delivered+c.Unexplained == c.Published*members
		}},
	} {
		t.Run(string(tt.fault), func(t *testing.T) {
			g, err := faulty.Start(tt.fault, 20)
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			r := play(t, brief(g.URL()).Plan(), agents(t, 3, "secret")...)
			if !tt.check(&r.Counts, &r.Verdict) {
				t.Errorf("counts %+v, verdict %+v", r.Counts, r.Verdict)
			}
			if r.Agents != 3 || r.Connections.Opened != members+1 || r.Counts.Published < 40 {
				t.Errorf("%d agents, %+v, published %d", r.Agents, r.Connections, r.Counts.Published)
			}
			// 40 messages were to be sent while it was measured, whenever they came; one may
			// be due at its very end.
			if n := r.Delivery.Count() - 40*members; tt.fault == faulty.None && (n < -members || n > members) {
				t.Errorf("latencies of %d deliveries", r.Delivery.Count())
			}
			if r.Window.Delivered == 0 || r.Window.Delivered > r.Counts.Delivered {
				t.Errorf("%d deliveries were made meanwhile, of %d", r.Window.Delivered, r.Counts.Delivered)
			}
			var sampled uint64
			for _, s := range r.Samples {
				sampled += s.Delivered
			}
			if sampled == 0 || sampled > r.Counts.Delivered {
				t.Errorf("samples tell of %d deliveries, of %d", sampled, r.Counts.Delivered)
			}
		})
	}
}

func TestAnAgentAsksForTheKeyAndPlaysOneRunAtATime(t *testing.T) {
	g, err := faulty.Start(faulty.None, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	known := agents(t, 1, "secret")[0].(*Remote)
	stranger := NewRemote(strings.TrimPrefix(known.base, "http://"), "guess")
	job := Job{Plan: brief(g.URL()).Plan(), Run: "r", Agents: 1}
	for _, step := range []struct {
		name string
		call func() error
		want string // in the error; empty: there is none
	}{
		{"a stranger", func() error { return stranger.Prepare(ctx, job) }, "the key is missing or wrong"},
		{"measuring nothing", func() error { _, err := known.Measure(ctx, time.Now()); return err }, "it plays no run"},
		{"a job without a plan", func() error { return known.Prepare(ctx, Job{Agents: 1}) }, "no plan"},
		{"a plan that cannot be", func() error { p := *job.Plan; p.Duration = 0; return known.Prepare(ctx, Job{Plan: &p, Agents: 1}) }, "duration: want more than 0"},
		{"a run", func() error { return known.Prepare(ctx, job) }, ""},
		{"another meanwhile", func() error { return known.Prepare(ctx, job) }, "it plays another run"},
		{"its end", func() error { return known.call(ctx, http.MethodPost, "/v1/close", nil, &struct{}{}) }, ""},
		{"another after it", func() error { return known.Prepare(ctx, job) }, ""},
		{"closing it", known.Close, ""},
	} {
		err := step.call()
		if step.want == "" && err != nil || step.want != "" && (err == nil || !strings.Contains(err.Error(), step.want)) {
			t.Errorf("%s: got %v, want %q", step.name, err, step.want)
		}
	}
	_ = stranger.Close()
}

func TestAnAgentsRunEndsWithItsLeader(t *testing.T) {
	g, err := faulty.Start(faulty.None, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	a := NewAgent("")
	server := httptest.NewServer(a)
	defer server.Close()
	r := NewRemote(strings.TrimPrefix(server.URL, "http://"), "")
	defer r.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	f := brief(g.URL())
	f.Duration = time.Hour
	if err := r.Prepare(ctx, Job{Plan: f.Plan(), Run: "r", Agents: 1}); err != nil {
		t.Fatal(err)
	}
	player, err := a.playing()
	if err != nil {
		t.Fatal(err)
	}
	go cancel() // the leader goes away while it is measured
	if _, err := r.Measure(ctx, time.Now()); err == nil {
		t.Fatal("measuring for an hour is over")
	}
	select {
	case <-player.over:
	case <-time.After(patience):
		t.Fatal("the run goes on")
	}
}

func TestClocksAreCompared(t *testing.T) {
	r := agents(t, 1, "")[0].(*Remote)
	defer r.Close()
	offset, within, err := r.Offset(context.Background())
	if err != nil || offset.Abs() > within || within > time.Second {
		t.Errorf("offset %v within %v, %v: it is the same clock", offset, within, err)
	}
}

func TestConnectionsThatCannotBeMadeAreTold(t *testing.T) {
	f := brief("ws://127.0.0.1:1")
	f.ConnectTimeout = 300 * time.Millisecond
	l := NewLocal()
	defer l.Close()
	err := l.Prepare(context.Background(), Job{Plan: f.Plan(), Run: "r", Agents: 1})
	if err == nil || !strings.Contains(err.Error(), "4 connections are not in their rooms: connect: connection refused") {
		t.Errorf("got %v", err)
	}
}
