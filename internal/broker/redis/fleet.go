package redis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
	"github.com/fanfare-ws/fanfare/internal/metrics"
)

var (
	_ broker.Fleet  = (*Broker)(nil)
	_ broker.Remote = (*Broker)(nil)
	_ broker.People = (*Broker)(nil)
)

func (b *Broker) fleetKeys(partition int) []string {
	n := b.partitions()[partition].names
	return []string{n.leases(), n.records(), n.members()}
}

// Announce implements broker.Fleet. Leases run by Redis's clock: one for the fleet,
// and in a Cluster one in each partition in which the gateway said anything.
func (b *Broker) Announce(ctx context.Context, m broker.Member, lease time.Duration) (bool, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return false, fmt.Errorf("announce %q: %w", m.ID, err)
	}
	all := b.standings(m.ID)
	anew, err := b.announceAll(ctx, all, string(text), lease)
	if slices.Contains(anew, true) {
		// What is lost in one partition is said again in all, and so in all of them goes
		// what is not said again.
		all.untold.Store(true)
		for i := range all.of {
			if !anew[i] {
				all.of[i].lose()
			}
		}
		_, again := b.announceAll(ctx, all, string(text), lease)
		err = errors.Join(err, again)
	}
	if err != nil {
		return false, fmt.Errorf("announce %q: %w", m.ID, err)
	}
	return !all.untold.Swap(false), nil
}

// announceAll renews a gateway's leases, and tells in which partitions it has to
// begin anew.
func (b *Broker) announceAll(ctx context.Context, all *standings, text string, lease time.Duration) ([]bool, error) {
	anew, errs := make([]bool, len(all.of)), make([]error, len(all.of))
	var calls sync.WaitGroup
	for i := range all.of {
		s, member := &all.of[i], ""
		if i == 0 {
			member = text
		}
		s.grant(lease)
		if i == 0 || s.spoken() {
			calls.Go(func() { anew[i], errs[i] = b.announce(ctx, i, s, member) })
		}
	}
	calls.Wait()
	return anew, errors.Join(errs...)
}

// Members implements broker.Fleet. What is not a member in our form is skipped.
func (b *Broker) Members(ctx context.Context) ([]broker.Member, error) {
	got, err := b.run(ctx, scriptMembers, b.fleetKeys(0))
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

// Withdraw implements broker.Fleet. What the gateway said is taken back as far as
// ctx allows; a survivor does the rest.
func (b *Broker) Withdraw(ctx context.Context, id string) error {
	all := b.standings(id)
	b.standingMu.Lock()
	delete(b.standing, id)
	b.standingMu.Unlock()
	for i := range all.of {
		if i > 0 && !all.of[i].spoken() {
			continue
		}
		holder := all.of[i].holder()
		if _, err := b.run(ctx, scriptWithdraw, b.fleetKeys(i), holder); err != nil {
			return fmt.Errorf("withdraw %q: %w", id, err)
		}
		for more := true; more; {
			var err error
			if more, err = b.reap(ctx, i, holder); err != nil {
				return fmt.Errorf("withdraw %q: %w", id, err)
			}
		}
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
