package client

import (
	"context"
	"time"
)

// backoff is exponential with full jitter: a random time up to
// min(cap, base·2^attempt). It belongs to one goroutine.
type backoff struct {
	base, cap time.Duration
	jitter    func(ceiling time.Duration) time.Duration
	attempt   int
}

func newBackoff(c *Config) *backoff {
	return &backoff{base: c.BackoffBase, cap: c.BackoffCap, jitter: c.Jitter}
}

func (b *backoff) next() time.Duration {
	ceiling := b.cap
	// Doubling stops at the cap, long before it could overflow.
	if d := b.base << min(b.attempt, 62); d>>min(b.attempt, 62) == b.base && d < ceiling {
		ceiling = d
	}
	b.attempt++
	return b.jitter(ceiling)
}

func (b *backoff) reset() { b.attempt = 0 }

// sleep waits; it reports why the context ended if that was first.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
