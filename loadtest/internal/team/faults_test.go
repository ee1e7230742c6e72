package team

import (
	"context"
	"testing"
	"time"

	"github.com/fanfare-ws/fanfare/loadtest/internal/account"
	"github.com/fanfare-ws/fanfare/loadtest/internal/faulty"
	"github.com/fanfare-ws/fanfare/loadtest/internal/plan"
	"github.com/fanfare-ws/fanfare/loadtest/internal/result"
)

const patience = 60 * time.Second

// brief is a fanout that lasts half a second.
func brief(url string) *plan.Fanout {
	f := &plan.Fanout{Common: plan.Defaults(400 * time.Millisecond), Members: members, Publishers: 1, Rate: 100}
	f.Targets = []string{url}
	f.Warmup, f.Drain = 100*time.Millisecond, 2*time.Second
	return f
}

const members = 3

// play plays a plan with players of this process and judges it without limits
// but that on gaps.
func play(t *testing.T, p *plan.Plan, players ...Player) *result.Result {
	t.Helper()
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, player := range players {
		defer player.Close()
	}
	lead := &Lead{Plan: p, Run: "testrun", Players: players, OnPhase: func(Phase, time.Time) {}}
	part, err := lead.Play(ctx)
	if err != nil {
		t.Fatal(err)
	}
	r := &result.Result{Plan: p, Part: *part}
	r.Judge(result.Limits{Errors: -1})
	return r
}

// Each fault that a gateway can have is planted, and must be found: in its own
// column, and in the exit code.
func TestPlantedFaultsAreFound(t *testing.T) {
	const all = 50 // messages: half a second at 100 a second
	for _, tt := range []struct {
		fault faulty.Fault
		code  int
		check func(c *account.Counts, r *result.Result) bool
	}{
		{faulty.None, 0, func(c *account.Counts, _ *result.Result) bool {
			return c.Broken() == 0 && c.Delivered == c.Published*members
		}},
		{faulty.Drop, 3, func(c *account.Counts, _ *result.Result) bool {
			return c.Unexplained == members && c.Broken() == members
		}},
		{faulty.Silence, 3, func(c *account.Counts, _ *result.Result) bool {
			return c.Delivered == members*(all/2-1) && c.Delivered+c.Unexplained == c.Published*members
		}},
		{faulty.Duplicate, 3, func(c *account.Counts, _ *result.Result) bool { return c.Duplicate == members && c.Broken() == members }},
		{faulty.Reorder, 3, func(c *account.Counts, _ *result.Result) bool {
			return c.OutOfOrder == members && c.Broken() == members && c.Delivered == c.Published*members
		}},
		{faulty.Gap, 4, func(c *account.Counts, _ *result.Result) bool {
			return c.Gapped == members && c.Gaps == members && c.Broken() == 0
		}},
		{faulty.Alter, 3, func(c *account.Counts, _ *result.Result) bool { return c.Altered > 0 && c.Broken() == c.Altered }},
		{faulty.Stray, 3, func(c *account.Counts, _ *result.Result) bool { return c.Stray == members && c.Broken() == members }},
		{faulty.StoreTwice, 3, func(c *account.Counts, _ *result.Result) bool { return c.StoredTwice == 1 && c.Broken() == 1 }},
		{faulty.NoAck, 3, func(c *account.Counts, _ *result.Result) bool { return c.Unanswered == 1 && c.Broken() == 1 }},
		{faulty.WrongAck, 3, func(c *account.Counts, _ *result.Result) bool { return c.Misplaced == 1 && c.Broken() == 1 }},
		{faulty.Cut, 0, func(c *account.Counts, r *result.Result) bool {
			return r.Connections.Back == members && r.Connections.Lost == members && c.Delivered == c.Published*members
		}},
		{faulty.Close, 0, func(c *account.Counts, r *result.Result) bool {
			return r.Connections.Back == members && r.Closes["close 1012"] == members && c.Delivered == c.Published*members &&
				r.Back.Count() == members && r.CaughtUp.Count() == members
		}},
		{faulty.Forget, 3, func(c *account.Counts, _ *result.Result) bool {
			return c.Unexplained == members && c.Broken() == members
		}},
		{faulty.Reset, 0, func(c *account.Counts, _ *result.Result) bool {
			return c.Resets == members && c.Delivered == c.Published*members
		}},
		{faulty.Unsaid, 3, func(c *account.Counts, _ *result.Result) bool { return c.Stray == members }},
		{faulty.NotFor, 3, func(c *account.Counts, r *result.Result) bool {
			return r.Connections.GaveUp == members && c.Unexplained > 0
		}},
		{faulty.Refuse, 0, func(c *account.Counts, _ *result.Result) bool {
			return c.Refused == 1 && c.Acknowledged == c.Published-1
		}},
		{faulty.Postpone, 0, func(c *account.Counts, _ *result.Result) bool {
			return c.Resent == 1 && c.Acknowledged == c.Published && c.Delivered == c.Published*members
		}},
	} {
		t.Run(string(tt.fault), func(t *testing.T) {
			t.Parallel()
			g, err := faulty.Start(tt.fault, all/2)
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			r := play(t, brief(g.URL()).Plan(), NewLocal())
			c := &r.Counts
			if c.Published != all && c.Published != all-1 {
				t.Errorf("published %d, want %d", c.Published, all)
			}
			if !tt.check(c, r) {
				t.Errorf("counts %+v\nconnections %+v, closes %v, errors %v", *c, r.Connections, r.Closes, r.Errors)
			}
			if got := r.Verdict.ExitCode(); got != tt.code {
				t.Errorf("exit code %d, want %d: %+v", got, tt.code, r.Verdict)
			}
		})
	}
}
