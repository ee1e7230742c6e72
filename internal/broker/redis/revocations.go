package redis

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

// againMost bounds the revocations that one call gives back to a Redis that lost
// them.
const againMost = 256

var errRevocations = errors.New("as many revocations are kept as may be")

// revoked is what is known of the revocations.
type revoked struct {
	mu      sync.Mutex
	version string
	read    bool
	table   map[string]broker.Revocation // by what is revoked
}

// Revoke implements broker.Revoker. Times are kept to the millisecond. Redis may lose
// it before it is read, and is given it back then.
func (b *Broker) Revoke(ctx context.Context, r broker.Revocation) error {
	what := whatOf(&r)
	if err := b.revoke(ctx, what, &r); err != nil {
		return err
	}
	v := &b.revoked
	v.mu.Lock()
	defer v.mu.Unlock()
	v.read = false // what was read has another version, or none where all of it is lost
	if _, known := v.table[what]; !known && len(v.table) < broker.MostRevocations {
		if v.table == nil {
			v.table = make(map[string]broker.Revocation)
		}
		v.table[what] = r
	}
	return nil
}

// whatOf is under what Redis keeps a revocation.
func whatOf(r *broker.Revocation) string {
	if r.TokenID != "" {
		return "t:" + r.TokenID
	}
	return "u:" + r.User
}

func (b *Broker) revoke(ctx context.Context, what string, r *broker.Revocation) error {
	before := int64(0)
	if !r.Before.IsZero() {
		before = r.Before.Add(time.Millisecond - 1).UnixMilli()
	}
	got, err := b.run(ctx, scriptRevoke, b.shards[0].names.revoked(), what, r.Until.Add(time.Millisecond-1).UnixMilli(), before,
		stampText(rand.Uint64()), broker.MostRevocations)
	if err == nil && got != int64(1) {
		err = unavailable(errRevocations)
	}
	if err != nil {
		return fmt.Errorf("revoke: %w", err)
	}
	return nil
}

// Revocations implements broker.Revoker. Redis sends them only where they are
// others than were read last. Those that this broker knows and Redis has lost, by
// a failover or by being emptied, hold and are given back.
func (b *Broker) Revocations(ctx context.Context) ([]broker.Revocation, error) {
	v := &b.revoked
	v.mu.Lock()
	defer v.mu.Unlock()
	known := "-"
	if v.read {
		known = v.version
	}
	got, err := b.run(ctx, scriptRevocations, b.shards[0].names.revoked(), known)
	if err != nil {
		return nil, fmt.Errorf("revocations: %w", err)
	}
	now := time.Now()
	maps.DeleteFunc(v.table, func(_ string, r broker.Revocation) bool { return !r.Until.After(now) })
	if fields, ok := got.([]any); ok && len(fields) == 2 {
		version, _ := fields[0].(string)
		words, _ := fields[1].([]any)
		b.learn(ctx, v, words)
		v.version, v.read = version, true
	}
	return slices.Collect(maps.Values(v.table)), nil
}

// learn takes a table that was read, and gives back what it lacks.
func (b *Broker) learn(ctx context.Context, v *revoked, words []any) {
	table, now := make(map[string]broker.Revocation, len(words)/2), time.Now()
	for i := 0; i+1 < len(words); i += 2 {
		what, _ := words[i].(string)
		value, _ := words[i+1].(string)
		r, ok := parseRevocation(what, value)
		if !ok {
			b.cfg.Metrics.Junk.Inc()
			continue
		}
		if r.Until.After(now) {
			table[what] = r
		}
	}
	again := againMost
	for what, r := range v.table {
		if was, ok := table[what]; ok && !was.Until.Before(r.Until) && !was.Before.Before(r.Before) {
			continue
		}
		table[what] = r
		if again > 0 {
			again--
			if err := b.revoke(ctx, what, &r); err != nil {
				b.cfg.Log.Warn("a revocation that redis lost is not given back", "error", err)
				again = 0
			}
		}
	}
	v.table = table
}

// parseRevocation reads what is revoked, and "UNTIL BEFORE".
func parseRevocation(what, value string) (r broker.Revocation, ok bool) {
	digits1, digits2, _ := strings.Cut(value, " ")
	until, ok1 := number(digits1)
	before, ok2 := number(digits2)
	kind, name, _ := strings.Cut(what, ":")
	if !ok1 || !ok2 || name == "" {
		return r, false
	}
	r.Until = time.UnixMilli(int64(until))
	if before > 0 {
		r.Before = time.UnixMilli(int64(before))
	}
	switch kind {
	case "t":
		r.TokenID = name
	case "u":
		r.User = name
	default:
		return r, false
	}
	return r, true
}
