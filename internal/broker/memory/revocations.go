package memory

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

// revocations are those that have not run out.
type revocations struct {
	mu   sync.Mutex
	kept map[revocation]broker.Revocation
}

// revocation is what is revoked.
type revocation struct{ token, user string }

// Revoke implements broker.Revoker.
func (b *Broker) Revoke(ctx context.Context, r broker.Revocation) error {
	if err := b.usable(ctx); err != nil {
		return fmt.Errorf("revoke: %w", err)
	}
	v := &b.revocations
	v.mu.Lock()
	defer v.mu.Unlock()
	v.sweep(b.cfg.Now())
	key := revocation{r.TokenID, r.User}
	was, ok := v.kept[key]
	if !ok && len(v.kept) >= broker.MostRevocations {
		return fmt.Errorf("revoke: %d revocations are kept already: %w", len(v.kept), broker.ErrUnavailable)
	}
	if was.Before.After(r.Before) {
		r.Before = was.Before
	}
	if was.Until.After(r.Until) {
		r.Until = was.Until
	}
	v.kept[key] = r
	return nil
}

// Revocations implements broker.Revoker.
func (b *Broker) Revocations(ctx context.Context) ([]broker.Revocation, error) {
	if err := b.usable(ctx); err != nil {
		return nil, fmt.Errorf("revocations: %w", err)
	}
	v := &b.revocations
	v.mu.Lock()
	defer v.mu.Unlock()
	v.sweep(b.cfg.Now())
	all := make([]broker.Revocation, 0, len(v.kept))
	for _, r := range v.kept {
		all = append(all, r)
	}
	return all, nil
}

func (v *revocations) sweep(now time.Time) {
	for key, r := range v.kept {
		if !r.Until.After(now) {
			delete(v.kept, key)
		}
	}
}
