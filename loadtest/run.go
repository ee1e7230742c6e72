package main

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/fanfare-ws/fanfare/loadtest/internal/plan"
	"github.com/fanfare-ws/fanfare/loadtest/internal/report"
	"github.com/fanfare-ws/fanfare/loadtest/internal/result"
	"github.com/fanfare-ws/fanfare/loadtest/internal/team"
)

// runner is what the common flags say, and runs a plan by it.
type runner struct {
	common    *plan.Common
	url       string
	gateways  []string
	tokenFile string
	caFile    string
	subjects  subjects
	crew      crew
	limits    result.Limits
	out, page string
	quiet     bool
	stdout    io.Writer
}

// flags adds the common flags.
func (r *runner) flags(fs *pflag.FlagSet, c *plan.Common) {
	r.common = c
	fs.StringVar(&r.url, "url", "ws://localhost:8080", "the gateway, or what stands before several")
	fs.StringSliceVar(&r.gateways, "gateways", nil, "several gateways, each with its share of the connections (instead of --url)")
	fs.StringVar(&r.tokenFile, "token-file", "", "file with tokens, one a line, that clients take in turn; none: anonymous")
	fs.StringVar(&r.caFile, "ca-file", "", "certificates that sign those of wss:// gateways, PEM (default the system's)")
	fs.DurationVar(&c.Duration, "duration", c.Duration, "how long it is measured")
	fs.DurationVar(&c.Warmup, "warmup", c.Warmup, "how long messages are published before it counts")
	fs.DurationVar(&c.Drain, "drain", c.Drain, "how long at most to wait in the end until everyone has everything")
	fs.Float64Var(&c.ConnectRate, "connect-rate", 0, "first connections a second; 0: as fast as the gateway answers")
	fs.DurationVar(&c.ConnectTimeout, "connect-timeout", c.ConnectTimeout, "how long all may take to connect and join")
	fs.IntVar(&c.Payload, "payload", c.Payload, "bytes of data in a message")
	fs.BoolVar(&c.Acks, "acks", c.Acks, "ask for an acknowledgement of each message")
	fs.BoolVar(&c.IDs, "ids", c.IDs, "give messages ids, so that they can be sent again after a lost connection")
	fs.BoolVar(&c.Spin, "spin", false, "never sleep while it is measured: for comparing servers, which a sleeping client makes dearer")
	fs.StringSliceVar(&c.Sources, "source", nil, "addresses to connect from, in turn (unset: the system's choice; eight of 127.0.0.0/8 towards this machine)")
	r.subjects.flags(fs)
	r.crew.flags(fs)
	r.limitFlags(fs)
	fs.StringVar(&r.out, "out", "", "write the result to this file, as JSON")
	fs.StringVar(&r.page, "report", "", "write the result to this file, as an HTML page with plots")
	fs.BoolVar(&r.quiet, "quiet", false, "no progress, only the result")
}

func (r *runner) limitFlags(fs *pflag.FlagSet) {
	l := &r.limits
	fs.DurationVar(&l.P50, "max-p50", 0, "fail where half of the deliveries take longer")
	fs.DurationVar(&l.P99, "max-p99", 0, "fail where 1 in 100 deliveries takes longer")
	fs.DurationVar(&l.P999, "max-p999", 0, "fail where 1 in 1000 deliveries takes longer")
	fs.DurationVar(&l.AckP99, "max-ack-p99", 0, "fail where 1 in 100 acknowledgements takes longer")
	fs.DurationVar(&l.ConnectP99, "max-connect-p99", 0, "fail where 1 in 100 connections takes longer")
	fs.DurationVar(&l.CaughtUp, "max-caught-up", 0, "fail where the last client that lost its connection is back and caught up later")
	fs.DurationVar(&l.CaughtUpP99, "max-caught-up-p99", 0, "fail where 1 in 100 of them is")
	fs.IntVar(&l.Gapped, "max-gapped", -1, "fail where gaps name more messages (-1: none is too many where members stop reading, else 0)")
	fs.IntVar(&l.Errors, "max-errors", -1, "fail where more goes wrong that passes: refused handshakes, refused publications; -1: any number")
}

// run plays the plan that make returns, and tells what it found.
func (r *runner) run(ctx context.Context, make func() (*plan.Plan, error)) error {
	lead := new(team.Lead)
	var err error
	if lead.Tokens, err = r.tokens(); err != nil {
		return err
	}
	if lead.CA, err = r.authorities(); err != nil {
		return err
	}
	defer r.subjects.stop()
	if r.common.Targets, err = r.targets(ctx); err != nil {
		return err
	}
	p, err := make()
	if err != nil {
		return err
	}
	if err := p.Check(); err != nil {
		return err
	}
	if r.limits.Gapped < 0 && !stalls(p) {
		r.limits.Gapped = 0
	}
	found, err := r.play(ctx, p, lead)
	if err != nil {
		return err
	}
	found.Judge(r.limits)
	return r.tell(found)
}

// stalls reports whether members stop reading, and so are meant to have gaps.
func stalls(p *plan.Plan) bool {
	for _, g := range p.Groups {
		if g.Stalled > 0 {
			return true
		}
	}
	return false
}

// targets are the gateways to connect to, those that are started for the run
// included.
func (r *runner) targets(ctx context.Context) ([]string, error) {
	switch {
	case r.subjects.binary != "":
		return r.subjects.start(ctx)
	case len(r.gateways) > 0:
		return r.gateways, nil
	}
	return []string{r.url}, nil
}

func closedLoop(p *plan.Plan) bool {
	return slices.ContainsFunc(p.Streams, func(s plan.Stream) bool { return s.UnderWay > 0 })
}

func (r *runner) tokens() ([]string, error) {
	if r.tokenFile == "" {
		return nil, nil
	}
	text, err := os.ReadFile(r.tokenFile)
	if err != nil {
		return nil, usageError(fmt.Errorf("--token-file: %w", err))
	}
	tokens := strings.Fields(string(text))
	if len(tokens) == 0 {
		return nil, usageError(errors.New("--token-file: no token in it"))
	}
	return tokens, nil
}

// authorities are the certificates to trust, in PEM; nil: the system's.
func (r *runner) authorities() ([]byte, error) {
	if r.caFile == "" {
		return nil, nil
	}
	text, err := os.ReadFile(r.caFile)
	if err != nil {
		return nil, usageError(fmt.Errorf("--ca-file: %w", err))
	}
	if !x509.NewCertPool().AppendCertsFromPEM(text) {
		return nil, usageError(fmt.Errorf("--ca-file: no certificates in %s: it takes PEM", r.caFile))
	}
	return text, nil
}

// play plays the plan; the lead knows what its clients know.
func (r *runner) play(ctx context.Context, p *plan.Plan, lead *team.Lead) (*result.Result, error) {
	found := &result.Result{Format: result.Format, Run: newRun(), Machine: machine(), Plan: p}
	defer r.crew.close()
	if err := r.crew.gather(ctx); err != nil {
		return nil, err
	}
	if n := len(r.crew.players); n > 1 && closedLoop(p) {
		return nil, usageError(errors.New("--under-way needs a single process: who sends must see who has received"))
	}
	found.ClockError = r.crew.within
	lead.Plan, lead.Run, lead.Players, lead.Offsets = p, found.Run, r.crew.players, r.crew.offsets
	watch, err := r.subjects.watch(ctx)
	if err != nil {
		return nil, err
	}
	var show progress
	if !r.quiet {
		show.start(os.Stderr, lead)
		defer show.end()
	}
	lead.OnPhase = func(phase team.Phase, at time.Time) {
		if phase == team.Measuring {
			found.Started = at
			watch.Measure(at, p.Duration)
		}
		show.phase(phase, at)
	}
	part, err := lead.Play(ctx)
	servers, unseen := watch.Stop()
	if err != nil {
		return nil, err
	}
	if unseen != nil {
		fmt.Fprintln(os.Stderr, "loadtest: some of what the gateway used was not seen:", unseen)
	}
	found.Part, found.Servers = *part, servers
	return found, nil
}

// newRun names a run.
func newRun() string {
	var b [4]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// tell writes what was found to where it is wanted.
func (r *runner) tell(found *result.Result) error {
	summary(r.stdout, found)
	if r.out != "" {
		if err := writeFile(r.out, func(w io.Writer) error { return writeJSON(w, found) }); err != nil {
			return err
		}
	}
	if r.page != "" {
		if err := writeFile(r.page, func(w io.Writer) error { return report.Page(w, found) }); err != nil {
			return err
		}
	}
	if code := found.Verdict.ExitCode(); code != 0 {
		return &exitError{code, errors.New("")}
	}
	return nil
}

func writeJSON(w io.Writer, found *result.Result) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(found)
}

func writeFile(name string, write func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}
