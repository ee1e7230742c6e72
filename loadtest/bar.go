package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fanfare-ws/fanfare/loadtest/internal/bar"
	"github.com/fanfare-ws/fanfare/loadtest/internal/floor"
	"github.com/fanfare-ws/fanfare/loadtest/internal/plan"
	"github.com/fanfare-ws/fanfare/loadtest/internal/result"
	"github.com/fanfare-ws/fanfare/loadtest/internal/server"
	"github.com/fanfare-ws/fanfare/loadtest/internal/team"
)

// judgement measures a gateway against the whole bar.
type judgement struct {
	gateway, redis string // binaries
	out            string // folder; empty: nowhere
	page           string // file between whose marks the table stands; empty: none
	small          bool
	tell           func(format string, args ...any)
	report         bar.Report
}

func barCommand() *cobra.Command {
	var j judgement
	cmd := &cobra.Command{
		Use:   "bar",
		Short: "Measure all that a gateway is held to",
		Long: `Measures what a gateway is held to, some four minutes long, and prints a table: what was measured, what it
may be at most or must be at least, and whether it is. What stands there as a ratio is one to the floor (see
loadtest floor) in the same rounds; the rest is told in units.

It wants a quiet machine of at least two processors, 20,000 descriptors and a redis-server. --out keeps the table,
the numbers of all rounds as JSON, and a picture.`,
		Example: "  loadtest bar --start bin/fanfare --out loadtest/results",
		GroupID: "tools",
		Args:    usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case j.gateway == "":
				return usageError(errors.New("--start: want the gateway's binary: go build -o bin/fanfare ./cmd/fanfare"))
			case runtime.NumCPU() < 2:
				return usageError(errors.New("it needs two processors: one for the server, one for the clients"))
			}
			j.tell = func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
			err := j.run(cmd.Context())
			if j.report.Floor == nil {
				return err
			}
			return errors.Join(err, j.keep(cmd.OutOrStdout()))
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&j.gateway, "start", "", "the gateway's binary (required)")
	fs.StringVar(&j.redis, "redis-server", "redis-server", "the binary of a redis-server")
	fs.StringVar(&j.out, "out", "", "folder to write bar.txt, bar.json and bar.svg to")
	fs.StringVar(&j.page, "page", "", "file to write the table into, between the marks that stand in README.md")
	fs.BoolVar(&j.small, "small", false, "a tenth of everything, to see whether it works")
	return cmd
}

// size is n, or a tenth of it where all is to be small.
func (j *judgement) size(n int) int {
	if j.small {
		return n / 10
	}
	return n
}

func (j *judgement) lasts(d time.Duration) time.Duration {
	if j.small {
		return max(d/10, 500*time.Millisecond)
	}
	return d
}

// run measures everything. What cannot be measured is told, and left out.
func (j *judgement) run(ctx context.Context) (failed error) {
	j.report.Started, j.report.Machine = time.Now(), machine()
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		j.report.Load = strings.Join(strings.Fields(string(text))[:3], " ")
	}
	for _, step := range []func(context.Context) ([]bar.Line, error){
		j.compared, j.published, j.churned, j.stormed, j.idle, j.idleRooms,
	} {
		lines, err := step(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		failed = errors.Join(failed, err)
		j.report.Add(lines)
	}
	j.report.Lasted = time.Since(j.report.Started)
	return failed
}

// keep prints the table, and writes what --page and --out want.
func (j *judgement) keep(w io.Writer) error {
	if err := j.report.Write(w); err != nil {
		return err
	}
	if j.page != "" {
		if err := j.insert(); err != nil {
			return err
		}
	}
	if j.out == "" {
		return nil
	}
	return errors.Join(
		writeFile(filepath.Join(j.out, "bar.txt"), j.report.Write),
		writeFile(filepath.Join(j.out, "bar.svg"), j.report.Draw),
		writeFile(filepath.Join(j.out, "bar.json"), func(w io.Writer) error {
			e := json.NewEncoder(w)
			e.SetIndent("", " ")
			return e.Encode(&j.report)
		}))
}

// What the table stands between in a page.
const (
	markBegin = "<!-- bar: make bench writes this -->\n"
	markEnd   = "<!-- /bar -->\n"
)

// insert puts the table into the page.
func (j *judgement) insert() error {
	page, err := os.ReadFile(j.page)
	if err != nil {
		return err
	}
	before, rest, begins := strings.Cut(string(page), markBegin)
	_, after, ends := strings.Cut(rest, markEnd)
	if !begins || !ends {
		return fmt.Errorf("%s: no %s and %s to write between", j.page, strings.TrimSpace(markBegin), strings.TrimSpace(markEnd))
	}
	var b strings.Builder
	b.WriteString(before + markBegin + "```\n")
	if err := j.report.Write(&b); err != nil {
		return err
	}
	b.WriteString("```\n" + markEnd + after)
	return os.WriteFile(j.page, []byte(b.String()), 0o644)
}

// compared holds the gateway against the floor.
func (j *judgement) compared(ctx context.Context) ([]bar.Line, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	table, err := floor.Compare(ctx, floor.Options{
		Gateway: server.Launch{Name: "gateway", Binary: j.gateway, Loud: os.Stderr}, Floor: []string{self, "floor", "serve"},
		Redis: j.redis, Payload: 128,
		Members: j.size(5000), Rooms: j.size(1000), Each: 5, Fleet: j.size(2500), FleetRate: 20_000,
		Rounds: 5, Lasts: j.lasts(2 * time.Second), Rate: 40_000, UnderWay: 16,
		Tell: func(line string) { j.tell("%s", line) },
	})
	if err != nil {
		return nil, err
	}
	j.report.Floor = table
	return bar.Compared(table), nil
}

// trial is one scenario after another with the same gateways.
type trial struct {
	runner
	j *judgement
}

// start starts gateways, each on a processor of its own where they are pinned.
func (j *judgement) start(ctx context.Context, count int, pin bool, args ...string) (*trial, error) {
	t := &trial{j: j, runner: runner{quiet: true}}
	t.crew.processes = 1
	t.subjects = subjects{binary: j.gateway, count: count, pin: pin, args: args}
	targets, err := t.subjects.start(ctx)
	if err != nil {
		t.subjects.stop()
		return nil, err
	}
	common := plan.Defaults(0)
	common.Targets = targets
	t.common = &common
	return t, nil
}

// measure plays a plan. Whatever is wrong with what was delivered ends it.
func (t *trial) measure(ctx context.Context, p *plan.Plan) (*result.Result, error) {
	t.j.tell("%s: %s", p.Scenario, p.Description)
	if err := p.Check(); err != nil {
		return nil, err
	}
	r, err := t.play(ctx, p, new(team.Lead))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Scenario, err)
	}
	r.Judge(result.Limits{Gapped: -1, Errors: -1})
	if !r.Verdict.OK {
		return nil, fmt.Errorf("%s: %+v", p.Scenario, r.Verdict)
	}
	return r, nil
}

// settings are those of a scenario that is measured so long.
func (t *trial) settings(lasts time.Duration) plan.Common {
	c := *t.common
	c.Duration = t.j.lasts(lasts)
	return c
}

// warm lets the gateway have its first clients, so that what every gateway has
// after those is not taken for the next ones'.
func (t *trial) warm(ctx context.Context) error {
	c := t.settings(time.Second)
	c.Warmup = 0
	_, err := t.measure(ctx, (&plan.Idle{Common: c, Connections: 100, Rooms: 1}).Plan())
	return err
}

// redisArguments are a gateway's that has this Redis. It need not be told that
// nothing is kept.
func redisArguments(r *server.Redis) []string {
	return []string{"--redis-url", r.URL, "--log-level", "error"}
}

// published measures Redis' part of publications to a room with history.
func (j *judgement) published(ctx context.Context) ([]bar.Line, error) {
	redis, err := server.StartRedis(ctx, j.redis, 0)
	if err != nil {
		return nil, err
	}
	defer redis.Stop()
	t, err := j.start(ctx, 1, true, redisArguments(redis)...)
	if err != nil {
		return nil, err
	}
	defer t.subjects.stop()
	t.subjects.pids = []int{redis.PID}
	c := t.settings(3 * time.Second)
	c.Acks, c.IDs, c.Spin = false, false, true
	r, err := t.measure(ctx, (&plan.Fanout{Common: c, Members: 1, Publishers: 4, UnderWay: 1024}).Plan())
	if err != nil {
		return nil, err
	}
	s := &r.Servers[len(r.Servers)-1]
	return bar.Publish(s.Until.CPU()-s.From.CPU(), r.Window.Published), nil
}

func (j *judgement) churned(ctx context.Context) ([]bar.Line, error) {
	t, err := j.start(ctx, 1, true)
	if err != nil {
		return nil, err
	}
	defer t.subjects.stop()
	c := t.settings(6 * time.Second)
	c.Spin = true
	p := (&plan.Churn{Common: c, Connects: float64(j.size(12_500)), Stay: 200 * time.Millisecond, Rooms: 20}).Plan()
	p.Groups[0].Connections = min(p.Groups[0].Connections, 18_000) // what descriptors there are for
	r, err := t.measure(ctx, p)
	if err != nil {
		return nil, err
	}
	return bar.Churn(r), nil
}

// stormed cuts the connections of two gateways with a Redis.
func (j *judgement) stormed(ctx context.Context) ([]bar.Line, error) {
	const rooms, gateways = 50, 2
	redis, err := server.StartRedis(ctx, j.redis, -1)
	if err != nil {
		return nil, err
	}
	defer redis.Stop()
	t, err := j.start(ctx, gateways, false, redisArguments(redis)...)
	if err != nil {
		return nil, err
	}
	defer t.subjects.stop()
	r, err := t.measure(ctx, (&plan.Storm{Common: t.settings(14 * time.Second), Connections: j.size(10_000), Rooms: rooms, Rate: 50, After: time.Second / 4}).Plan())
	if err != nil {
		return nil, err
	}
	reads := 0.0
	for i := range r.Servers {
		reads += r.Servers[i].Metrics["fanfare_redis_command_seconds_count{command=range}"]
	}
	return bar.Storm(r, rooms, gateways, int(reads)), nil
}

func (j *judgement) idle(ctx context.Context) ([]bar.Line, error) {
	t, err := j.start(ctx, 1, true)
	if err != nil {
		return nil, err
	}
	defer t.subjects.stop()
	if err := t.warm(ctx); err != nil {
		return nil, err
	}
	r, err := t.measure(ctx, (&plan.Idle{Common: t.settings(25 * time.Second), Connections: j.size(15_000), Rooms: 1}).Plan())
	if err != nil {
		return nil, err
	}
	return bar.Idle(r), nil
}

// comesBack is how long memory may take to be given back.
const comesBack = 40 * time.Second

func (j *judgement) idleRooms(ctx context.Context) ([]bar.Line, error) {
	const each = 100
	t, err := j.start(ctx, 1, true)
	if err != nil {
		return nil, err
	}
	defer t.subjects.stop()
	if err := t.warm(ctx); err != nil {
		return nil, err
	}
	connections := j.size(1000)
	rooms := connections * each
	p := (&plan.Idle{Common: t.settings(12 * time.Second), Connections: connections, Rooms: rooms}).Plan()
	p.Groups[0].Each = each
	p.Description = fmt.Sprintf("%d rooms in which nothing happens", rooms)
	r, err := t.measure(ctx, p)
	if err != nil {
		return nil, err
	}
	s := &r.Servers[0]
	j.tell("all have left: waiting until the memory is given back, %v at most", comesBack)
	left, err := least(ctx, s.PID, j.lasts(comesBack), s.Before.Memory)
	if err != nil {
		return nil, err
	}
	return bar.IdleRooms(rooms, s.Before.Memory, s.Until.Memory, left), nil
}

// least is the least memory that a process has within a time, or the first that is
// no more than enough.
func least(ctx context.Context, pid int, within time.Duration, enough int64) (int64, error) {
	ticks := time.NewTicker(time.Second / 4)
	defer ticks.Stop()
	best := int64(-1)
	for end := time.Now().Add(within); ; {
		u, err := server.Process(pid)
		if err != nil {
			return 0, err
		}
		if best < 0 || u.Memory < best {
			best = u.Memory
		}
		if best <= enough || time.Now().After(end) {
			return best, nil
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}
