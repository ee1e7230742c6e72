package team

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fanfare-ws/fanfare/loadtest/internal/account"
	"github.com/fanfare-ws/fanfare/loadtest/internal/plan"
	"github.com/fanfare-ws/fanfare/loadtest/internal/result"
)

// Phase is where a run stands.
type Phase string

const (
	Connecting Phase = "connecting"
	WarmingUp  Phase = "warming up"
	Measuring  Phase = "measuring"
	Settling   Phase = "settling"
)

// Lead is a run: what is played, by whom, and who is told of it.
type Lead struct {
	Plan    *plan.Plan
	Run     string
	Players []Player
	Tokens  []string
	CA      []byte // certificates to trust, in PEM; nil: the system's
	// Offsets are what each player's clock lacks to this process's; nil: nothing.
	Offsets []time.Duration

	// OnPhase is told when a phase begins, or will; it must not wait.
	OnPhase func(p Phase, at time.Time)
}

// headStart is from telling everyone when to begin to beginning.
const headStart = 300 * time.Millisecond

// Play leads the players through the run and merges what they found. The players
// are closed by who made them.
func (l *Lead) Play(ctx context.Context) (*result.Part, error) {
	n := len(l.Players)
	l.OnPhase(Connecting, time.Now())
	err := l.all(func(i int, p Player) error {
		job := Job{Plan: l.Plan, Run: l.Run, Agent: i, Agents: n, Tokens: l.Tokens, CA: l.CA}
		if l.Offsets != nil {
			job.Offset = l.Offsets[i]
		}
		return p.Prepare(ctx, job)
	})
	if err != nil {
		return nil, err
	}
	begin := time.Now().Add(headStart)
	l.OnPhase(WarmingUp, begin)
	l.OnPhase(Measuring, begin.Add(l.Plan.Warmup))
	tops := make([]account.Tops, n)
	err = l.all(func(i int, p Player) (err error) {
		tops[i], err = p.Measure(ctx, begin)
		return err
	})
	if err != nil {
		return nil, err
	}
	l.OnPhase(Settling, time.Now())
	all := account.Tops{}
	for _, t := range tops {
		all.Merge(t)
	}
	parts := make([]*result.Part, n)
	err = l.all(func(i int, p Player) (err error) {
		parts[i], err = p.Settle(ctx, all)
		return err
	})
	if err != nil {
		return nil, err
	}
	sum := &result.Part{}
	for _, p := range parts {
		sum.Merge(p)
	}
	return sum, nil
}

// all has every player do something at the same time.
func (l *Lead) all(do func(i int, p Player) error) error {
	errs := make([]error, len(l.Players))
	var working sync.WaitGroup
	for i, p := range l.Players {
		working.Go(func() {
			if errs[i] = do(i, p); errs[i] != nil && len(l.Players) > 1 {
				errs[i] = fmt.Errorf("agent %d: %w", i, errs[i])
			}
		})
	}
	working.Wait()
	return errors.Join(errs...)
}
