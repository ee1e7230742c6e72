package team

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fanfare-ws/fanfare/loadtest/internal/account"
	"github.com/fanfare-ws/fanfare/loadtest/internal/result"
	"github.com/fanfare-ws/fanfare/loadtest/internal/swarm"
)

// Local is the swarm of this process.
type Local struct {
	job      Job
	swarm    *swarm.Swarm
	tasks    chan *task
	over     chan struct{} // closed when the loop has ended
	stop     atomic.Bool
	failed   error // the loop's; read it once over is closed
	ending   sync.Once
	progress atomic.Pointer[swarm.Progress]
}

// task is something for the loop to do, and to wait for.
type task struct {
	do    func(*swarm.Swarm)
	until func(*swarm.Swarm) bool
	done  chan struct{}
}

var errClosed = errors.New("the run was ended")

const (
	longestTurn  = 50 * time.Millisecond
	looks        = 10 * time.Millisecond // how often what is waited for is looked at: it costs a walk over all clients
	tells        = 200 * time.Millisecond
	afterTheLast = 5 * time.Second // for the answers to the last publications
)

// NewLocal makes a player of this process.
func NewLocal() *Local { return &Local{} }

// Prepare is as Player says.
func (l *Local) Prepare(ctx context.Context, job Job) error {
	part := job.Plan.Part(job.Agent, job.Agents)
	s, err := swarm.New(swarm.Config{
		Plan: part, Run: job.Run, Agent: job.Agent, Agents: job.Agents, Offset: job.Offset, Tokens: job.Tokens, CA: job.CA,
	})
	if err != nil {
		return err
	}
	l.job, l.swarm = job, s
	l.tasks, l.over = make(chan *task, 1), make(chan struct{})
	l.progress.Store(new(swarm.Progress))
	go l.loop()
	connecting, cancel := context.WithTimeout(ctx, part.ConnectTimeout)
	defer cancel()
	err = l.wait(connecting, &task{until: (*swarm.Swarm).Ready})
	late := errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil
	if err != nil && !late {
		return err
	}
	var p swarm.Progress
	if err := l.wait(ctx, &task{do: func(s *swarm.Swarm) { p = s.Progress() }}); err != nil {
		return err
	}
	switch {
	case late:
		return fmt.Errorf("after %v %d connections are not in their rooms: %s", part.ConnectTimeout, p.Away, p.Trouble)
	case p.Connections == 0 && p.GaveUp > 0:
		return fmt.Errorf("all %d were sent away for good: %s", p.GaveUp, p.Trouble)
	}
	return nil
}

// Measure is as Player says.
func (l *Local) Measure(ctx context.Context, at time.Time) (account.Tops, error) {
	if err := l.wait(ctx, &task{do: func(s *swarm.Swarm) { s.Begin(at) }, until: (*swarm.Swarm).Over}); err != nil {
		return nil, err
	}
	if err := l.waitAtMost(ctx, afterTheLast, &task{until: (*swarm.Swarm).Answered}); err != nil {
		return nil, err
	}
	var tops account.Tops
	err := l.wait(ctx, &task{do: func(s *swarm.Swarm) { tops = s.Tops() }})
	return tops, err
}

// Settle is as Player says.
func (l *Local) Settle(ctx context.Context, tops account.Tops) (*result.Part, error) {
	learn := &task{do: func(s *swarm.Swarm) { s.Learn(tops) }, until: (*swarm.Swarm).CaughtUp}
	if err := l.waitAtMost(ctx, l.job.Plan.Drain, learn); err != nil {
		return nil, err
	}
	var part *result.Part
	err := l.wait(ctx, &task{do: func(s *swarm.Swarm) { part = s.Finish() }})
	return part, err
}

// Progress is as Player says.
func (l *Local) Progress() swarm.Progress {
	if p := l.progress.Load(); p != nil {
		return *p
	}
	return swarm.Progress{}
}

// Close ends the connections and the loop.
func (l *Local) Close() error {
	if l.swarm == nil {
		return nil
	}
	l.ending.Do(func() {
		l.stop.Store(true)
		l.swarm.Wake()
		<-l.over
		l.swarm.Close()
	})
	return nil
}

// wait hands the loop a task and waits until it is done.
func (l *Local) wait(ctx context.Context, t *task) error {
	t.done = make(chan struct{})
	select {
	case l.tasks <- t:
		l.swarm.Wake()
	case <-l.over:
		return l.failed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-t.done:
		return nil
	case <-l.over:
		return l.failed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// waitAtMost goes on after the time also where the task is not done.
func (l *Local) waitAtMost(ctx context.Context, atMost time.Duration, t *task) error {
	limited, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	if err := l.wait(limited, t); err != nil && limited.Err() == nil || ctx.Err() != nil {
		return errors.Join(err, ctx.Err())
	}
	return nil
}

// loop owns the swarm until Close.
func (l *Local) loop() {
	defer close(l.over)
	var at *task // the newest: who waited for the one before it has gone on
	var looked, told time.Time
	l.failed = errClosed
	for !l.stop.Load() {
		select {
		case at = <-l.tasks:
			if at.do != nil {
				at.do(l.swarm)
			}
			looked = time.Time{}
		default:
		}
		if err := l.swarm.Turn(longestTurn); err != nil {
			l.failed = err
			return
		}
		now := time.Now()
		if at != nil && now.Sub(looked) >= looks {
			looked = now
			if at.until == nil || at.until(l.swarm) {
				close(at.done)
				at = nil
			}
		}
		if now.Sub(told) >= tells {
			told = now
			p := l.swarm.Progress()
			l.progress.Store(&p)
		}
	}
}
