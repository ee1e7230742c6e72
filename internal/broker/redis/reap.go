package redis

import (
	"context"
	"errors"
	"fmt"
)

const (
	// reapPart bounds the connections, names or users that one script takes back.
	reapPart = 256
	// reapScripts bounds the scripts about rooms in one round trip.
	reapScripts = 32
)

// Reap implements broker.People. Each step is a script that looks at the lease
// itself, so that gateways which reap beside each other share the work, and one
// that comes back has nothing taken that it said since. What is in partitions that
// are away is left, and an error; the rest is done.
func (b *Broker) Reap(ctx context.Context) (more bool, err error) {
	calls := make([]*call, len(b.partitions()))
	for i := range calls {
		calls[i] = &call{partition: i, script: scriptLapsed, keys: b.fleetKeys(i)[:2]}
	}
	errs := []error{b.runAll(ctx, calls)}
	for i, c := range calls {
		holders, _ := c.got.([]any)
		if c.err != nil {
			continue
		}
		for _, v := range holders {
			holder, _ := v.(string)
			if b.speaksFor(i, holder) {
				continue // it is here, and will announce itself
			}
			part, err := b.reap(ctx, i, holder)
			errs, more = append(errs, err), more || part && err == nil
		}
	}
	errs = append(errs, b.payOwed(ctx))
	if err := errors.Join(errs...); err != nil {
		return more, fmt.Errorf("reap: %w", err)
	}
	return more, nil
}

// reap takes back a part of what a holder said whose lease has run out, and tells
// whether there is more.
func (b *Broker) reap(ctx context.Context, partition int, holder string) (more bool, err error) {
	n, gateway := b.partitions()[partition].names, gatewayOf(holder)
	keys := append(b.fleetKeys(partition), n.roomsOf(holder), n.connectionsOf(holder), n.namesOf(holder), n.claims(), n.events())
	got, err := b.run(ctx, scriptReap, keys, holder, gateway, max(0, b.cfg.Events), reapPart)
	if err != nil {
		return false, err
	}
	answer, _ := got.([]any)
	if len(answer) == 0 || answer[0] != int64(1) {
		return false, nil
	}
	rooms := answer[1:]
	var calls []*call
	for range reapScripts / max(1, len(rooms)) {
		for _, v := range rooms {
			room, _ := v.(string)
			args := append([]any{holder}, b.crowdArgs(n, gateway, room)...)
			calls = append(calls, &call{
				partition: partition, script: scriptLeave,
				keys: append([]string{n.leases()}, crowdKeys(n, holder, room)...), args: append(args, reapPart),
			})
		}
	}
	return true, b.runAll(ctx, calls)
}
