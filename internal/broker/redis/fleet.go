package redis

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/metrics"
)

var (
	_ broker.Fleet  = (*Broker)(nil)
	_ broker.Remote = (*Broker)(nil)
)

func (b *Broker) fleetKeys() []string {
	n := b.shards[0].names
	return []string{n.leases(), n.members()}
}

// Announce implements broker.Fleet. Leases run by Redis's clock.
func (b *Broker) Announce(ctx context.Context, m broker.Member, lease time.Duration) (bool, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return false, fmt.Errorf("announce %q: %w", m.ID, err)
	}
	if _, err := b.run(ctx, scriptAnnounce, b.fleetKeys(), m.ID, text, milliseconds(lease)); err != nil {
		return false, fmt.Errorf("announce %q: %w", m.ID, err)
	}
	return true, nil
}

// Members implements broker.Fleet. What is not a member in our form is skipped.
func (b *Broker) Members(ctx context.Context) ([]broker.Member, error) {
	got, err := b.run(ctx, scriptMembers, b.fleetKeys())
	if err != nil {
		return nil, fmt.Errorf("members: %w", err)
	}
	texts, _ := got.([]any)
	members := make([]broker.Member, 0, len(texts))
	for _, v := range texts {
		var m broker.Member
		text, _ := v.(string)
		if err := json.Unmarshal([]byte(text), &m); err != nil || m.ID == "" || m.Connections < 0 || m.Rooms < 0 {
			b.cfg.Metrics.Junk.Inc()
			continue
		}
		members = append(members, m)
	}
	return members, nil
}

// Withdraw implements broker.Fleet.
func (b *Broker) Withdraw(ctx context.Context, id string) error {
	if _, err := b.run(ctx, scriptAnnounce, b.fleetKeys(), id, "", -1); err != nil {
		return fmt.Errorf("withdraw %q: %w", id, err)
	}
	return nil
}

// Tell implements broker.Fleet. A message reaches the gateways that are subscribed
// at this moment; nothing keeps it for those that are not.
func (b *Broker) Tell(ctx context.Context, message []byte) error {
	n := b.shards[0].names
	if _, err := b.run(ctx, scriptTell, []string{n.probeKey("control")}, n.control(), message, b.publish); err != nil {
		return fmt.Errorf("tell: %w", err)
	}
	return nil
}

// scriptTell publishes as probes do: a replica refuses it.
var scriptTell = newScript("probe", metrics.RedisControl)

// Listen implements broker.Fleet.
func (b *Broker) Listen(listener func(message []byte)) { b.listener = listener }
