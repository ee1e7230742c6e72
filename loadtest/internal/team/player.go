package team

import (
	"context"
	"time"

	"github.com/fanfare-ws/fanfare/loadtest/internal/account"
	"github.com/fanfare-ws/fanfare/loadtest/internal/plan"
	"github.com/fanfare-ws/fanfare/loadtest/internal/result"
	"github.com/fanfare-ws/fanfare/loadtest/internal/swarm"
)

// Player is one process's part of a run. Its methods are called in this order,
// each once, and Progress at any time between Prepare and Close.
type Player interface {
	// Prepare connects and joins; it returns when all are in.
	Prepare(ctx context.Context, job Job) error
	// Measure publishes from a moment on, and returns how far each room's log goes
	// when all is published and answered.
	Measure(ctx context.Context, at time.Time) (account.Tops, error)
	// Settle lets everyone have what is known of any room, and returns what was
	// found.
	Settle(ctx context.Context, tops account.Tops) (*result.Part, error)
	Progress() swarm.Progress
	Close() error
}

// Job is what a player is to do.
type Job struct {
	Plan   *plan.Plan    `json:"plan"` // the whole one: it takes its part
	Run    string        `json:"run"`
	Agent  int           `json:"agent"`
	Agents int           `json:"agents"`
	Offset time.Duration `json:"offset_ns"` // what its clock lacks to the leader's
	Tokens []string      `json:"tokens,omitempty"`
	CA     []byte        `json:"ca,omitempty"` // in PEM
}
