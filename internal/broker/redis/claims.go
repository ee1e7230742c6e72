package redis

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

const (
	// owedAfter is how long a release that is owed waits: what it is to undo may lie in
	// a socket's buffer still, and a gateway that goes on asking for the name may hold
	// it from before.
	owedAfter = 10 * time.Second
	// owedMost bounds those that wait; owedPart those of one Reap.
	owedMost, owedPart = 10000, 64
)

// ClaimName implements broker.Names. Names lie in the first partition, with the
// fleet's leases.
func (b *Broker) ClaimName(ctx context.Context, c broker.NameClaim) (bool, error) {
	n, s := b.shards[0].names, &b.standings(c.Gateway).of[0]
	for {
		said := s.speak()
		keys := []string{n.leases(), n.records(), n.claims(), n.released(), n.namesOf(said.holder)}
		got, err := b.run(ctx, scriptClaim, keys, append(said.args(), c.Name, c.Key, c.Connection)...)
		if err != nil {
			b.owed.add(c, 0)
			return false, fmt.Errorf("claim a name: %w", err)
		}
		switch {
		case !s.heard(said, got != int64(-1)):
			continue // the gateway is another holder since, and this one's names go
		case got == int64(-1):
			return false, fmt.Errorf("claim a name: %w", unavailable(errLost))
		case got == int64(1):
			b.owed.forget(c)
			return true, nil
		}
		return false, nil
	}
}

// ReleaseName implements broker.Names.
func (b *Broker) ReleaseName(ctx context.Context, c broker.NameClaim, grace time.Duration) error {
	if err := b.release(ctx, c, grace); err != nil {
		b.owed.add(c, grace)
		return fmt.Errorf("release a name: %w", err)
	}
	return nil
}

func (b *Broker) release(ctx context.Context, c broker.NameClaim, grace time.Duration) error {
	n, s := b.shards[0].names, &b.standings(c.Gateway).of[0]
	keys := []string{n.claims(), n.released(), n.namesOf(s.holder())}
	_, err := b.run(ctx, scriptRelease, keys, c.Name, c.Connection, milliseconds(grace))
	return err
}

// owed is the releases that are to be done: of claims and releases that may or may
// not have been done.
type owed struct {
	mu  sync.Mutex
	all map[hold]debt
}

type hold struct{ name, connection string }

type debt struct {
	claim broker.NameClaim
	grace time.Duration
	since time.Time
}

func (o *owed) add(c broker.NameClaim, grace time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all == nil {
		o.all = make(map[hold]debt)
	}
	if len(o.all) < owedMost {
		o.all[hold{c.Name, c.Connection}] = debt{c, grace, time.Now()}
	}
}

func (o *owed) forget(c broker.NameClaim) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.all, hold{c.Name, c.Connection})
}

// due returns some that have waited long enough.
func (o *owed) due(now time.Time) []debt {
	o.mu.Lock()
	defer o.mu.Unlock()
	var due []debt
	for _, d := range o.all {
		if now.Sub(d.since) >= owedAfter && len(due) < owedPart {
			due = append(due, d)
		}
	}
	return due
}

// payOwed does the releases that are owed. A claim that came since is the gateway's
// word: what is owed by then is done no more.
func (b *Broker) payOwed(ctx context.Context) error {
	for _, d := range b.owed.due(time.Now()) {
		if err := b.release(ctx, d.claim, d.grace); err != nil {
			return fmt.Errorf("release a name: %w", err)
		}
		b.owed.forget(d.claim)
	}
	return nil
}
