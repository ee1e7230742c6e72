package memory

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

// claims is who holds which name.
type claims struct {
	mu       sync.Mutex
	held     map[string]holding
	released []release // in the order of their release
}

type holding struct {
	key, connection string
	until           time.Time // when it is free; zero: it is held
}

type release struct {
	name  string
	until time.Time
}

// ClaimName implements broker.Names.
func (b *Broker) ClaimName(ctx context.Context, c broker.NameClaim) (bool, error) {
	if err := b.usable(ctx); err != nil {
		return false, fmt.Errorf("claim a name: %w", err)
	}
	n := &b.claims
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sweep(b.cfg.Now())
	if was, ok := n.held[c.Name]; ok && was.connection != c.Connection && (c.Key == "" || was.key != c.Key) {
		return false, nil
	}
	n.held[c.Name] = holding{key: c.Key, connection: c.Connection}
	return true, nil
}

// ReleaseName implements broker.Names.
func (b *Broker) ReleaseName(ctx context.Context, c broker.NameClaim, grace time.Duration) error {
	if err := b.usable(ctx); err != nil {
		return fmt.Errorf("release a name: %w", err)
	}
	n := &b.claims
	n.mu.Lock()
	defer n.mu.Unlock()
	now := b.cfg.Now()
	n.sweep(now)
	was, ok := n.held[c.Name]
	switch {
	case !ok || was.connection != c.Connection || !was.until.IsZero():
	case grace <= 0:
		delete(n.held, c.Name)
	default:
		was.until = now.Add(grace)
		n.held[c.Name] = was
		n.released = append(n.released, release{c.Name, was.until})
	}
	return nil
}

// sweep forgets the names whose grace is over. One that was taken again meanwhile
// is not what was released.
func (n *claims) sweep(now time.Time) {
	gone := 0
	for gone < len(n.released) && !n.released[gone].until.After(now) {
		r := n.released[gone]
		if n.held[r.name].until.Equal(r.until) {
			delete(n.held, r.name)
		}
		gone++
	}
	n.released = n.released[gone:]
}
