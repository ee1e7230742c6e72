package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

const (
	// chunkUsers bounds the users of one script, during which Redis does nothing else:
	// some 2 ms where each of them comes and has an event.
	chunkUsers = 256
	// flightScripts bounds the scripts of one round trip.
	flightScripts = 64
	// countRooms bounds the rooms that one script counts.
	countRooms = 256
	// extendKeys bounds the keys that one script extends.
	extendKeys = 512
)

// crowdKeys are those of a change of a room's users, as the scripts have them.
func crowdKeys(n names, holder, room string) []string {
	return []string{n.active(), n.events(), n.roomsOf(holder), n.online(room), n.totals(room), n.usersOf(holder, room)}
}

// crowdArgs are what the scripts are told of such a change.
func (b *Broker) crowdArgs(n names, gateway, room string) []any {
	return []any{gateway, room, n.channel(room), b.publish, max(0, b.cfg.Events)}
}

// Parts implements broker.Presence.
func (b *Broker) Parts() int { return len(b.partitions()) }

// Part implements broker.Presence.
func (b *Broker) Part(room string) int { return b.partition(room) }

// SetPresence implements broker.Presence: one script for each room, or for each part
// of its users, in as few round trips as may be. Partitions are told beside each
// other, so that one that is away holds up no other.
func (b *Broker) SetPresence(ctx context.Context, gateway string, rooms []broker.RoomUsers) error {
	parts := make(map[int][]broker.RoomUsers)
	for _, r := range rooms {
		at := b.partition(r.Room)
		for users := range slices.Chunk(r.Users, chunkUsers) {
			parts[at] = append(parts[at], broker.RoomUsers{Room: r.Room, Users: users})
		}
	}
	if len(parts) == 0 {
		return b.usable(ctx)
	}
	all := b.standings(gateway)
	errs := make([]error, len(all.of))
	var calls sync.WaitGroup
	for at, part := range parts {
		calls.Go(func() { errs[at] = b.setPresence(ctx, at, &all.of[at], part) })
	}
	calls.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("set presence in %d rooms: %w", len(rooms), err)
	}
	return nil
}

// setPresence tells one partition.
func (b *Broker) setPresence(ctx context.Context, partition int, s *standing, rooms []broker.RoomUsers) error {
	s.order.Lock()
	defer s.order.Unlock()
	for flight := range slices.Chunk(rooms, flightScripts) {
		calls, said := make([]*call, len(flight)), make([]say, len(flight))
		for i := range flight {
			calls[i] = &call{partition: partition, script: scriptPresence}
			calls[i].renumber = func() {
				said[i] = s.speak()
				b.tellPresence(calls[i], s.gateway, &said[i], &flight[i])
			}
			calls[i].renumber()
		}
		if err := b.runAll(ctx, calls); err != nil {
			return err
		}
		for i, c := range calls {
			if s.heard(said[i], c.got == int64(1)); c.got != int64(1) {
				return unavailable(errLost)
			}
		}
	}
	return nil
}

// tellPresence makes the call that says of a room what said is of. No two of a
// flight are about one user in one room, so that their order does not matter.
func (b *Broker) tellPresence(c *call, gateway string, said *say, r *broker.RoomUsers) {
	n := b.partitions()[c.partition].names
	keys := append([]string{n.leases(), n.records()}, crowdKeys(n, said.holder, r.Room)...)
	c.keys = append(keys, n.usersOf(said.before, r.Room))
	c.args = append(said.args(), b.crowdArgs(n, gateway, r.Room)...)
	for _, u := range r.Users {
		c.args = append(c.args, u.User, max(0, u.Connections))
	}
}

// WatchPresence implements broker.Presence.
func (b *Broker) WatchPresence(watch func(broker.PresenceEvent)) { b.watch = watch }

// Online implements broker.Presence.
func (b *Broker) Online(ctx context.Context, room, after string, limit int) (broker.Online, error) {
	n := b.partitions()[b.partition(room)].names
	limit = max(0, limit)
	got, err := b.run(ctx, scriptOnline, []string{n.online(room), n.totals(room)}, after, limit+1)
	if err != nil {
		return broker.Online{}, fmt.Errorf("online %q: %w", room, err)
	}
	fields, _ := got.([]any)
	if len(fields) != 3 {
		return broker.Online{}, fmt.Errorf("online %q: %w", room, unavailable(errJunk))
	}
	count, _ := fields[0].(int64)
	users, _ := fields[1].([]any)
	connections, _ := fields[2].([]any)
	page := broker.Online{Count: int(count), More: len(users) > limit}
	for i := range min(limit, len(users), len(connections)) {
		user, _ := users[i].(string)
		held, _ := connections[i].(int64)
		page.Users = append(page.Users, broker.UserConnections{User: user, Connections: int(held)})
	}
	return page, nil
}

// OnlineCounts implements broker.Presence.
func (b *Broker) OnlineCounts(ctx context.Context, rooms []string) ([]int, error) {
	parts := make(map[int][]int)
	for i, room := range rooms {
		at := b.partition(room)
		parts[at] = append(parts[at], i)
	}
	var calls []*call
	var chunks [][]int
	for at, part := range parts {
		n := b.partitions()[at].names
		for chunk := range slices.Chunk(part, countRooms) {
			keys := make([]string, len(chunk))
			for k, i := range chunk {
				keys[k] = n.online(rooms[i])
			}
			calls, chunks = append(calls, &call{partition: at, script: scriptCounts, keys: keys}), append(chunks, chunk)
		}
	}
	if len(calls) == 0 {
		return nil, b.usable(ctx)
	}
	if err := b.runAll(ctx, calls); err != nil {
		return nil, fmt.Errorf("online in %d rooms: %w", len(rooms), err)
	}
	counts := make([]int, len(rooms))
	for k, c := range calls {
		got, _ := c.got.([]any)
		if len(got) != len(chunks[k]) {
			return nil, fmt.Errorf("online in %d rooms: %w", len(rooms), unavailable(errJunk))
		}
		for j, i := range chunks[k] {
			count, _ := got[j].(int64)
			counts[i] = int(count)
		}
	}
	return counts, nil
}

// ActiveRooms implements broker.Presence: one partition after the other, and within
// each in the order of their names. A cursor is PARTITION:ROOM.
func (b *Broker) ActiveRooms(ctx context.Context, cursor string, limit int) (rooms []broker.ActiveRoom, next string, err error) {
	at, after := 0, ""
	if cursor != "" {
		digits, room, _ := strings.Cut(cursor, ":")
		from, ok := number(digits)
		if !ok || from >= uint64(len(b.partitions())) {
			return nil, "", fmt.Errorf("active rooms: %w", broker.ErrCursor)
		}
		at, after = int(from), room
	}
	var found []string
	for ; at < len(b.partitions()); at, after = at+1, "" {
		part, err := b.active(ctx, at, after, limit+1-len(found))
		if err != nil {
			return nil, "", fmt.Errorf("active rooms: %w", err)
		}
		found = append(found, part...)
		if len(found) > limit {
			found = found[:max(0, limit)]
			break
		}
	}
	if rooms, err = b.look(ctx, found); err != nil {
		return nil, "", fmt.Errorf("active rooms: %w", err)
	}
	if len(found) > 0 && at < len(b.partitions()) {
		last := found[len(found)-1]
		next = strconv.Itoa(b.partition(last)) + ":" + last
	}
	return rooms, next, nil
}

// active reads a page of one partition's rooms that have users.
func (b *Broker) active(ctx context.Context, partition int, after string, limit int) ([]string, error) {
	n := b.partitions()[partition].names
	got, err := b.run(ctx, scriptActive, []string{n.active()}, after, limit)
	if err != nil {
		return nil, err
	}
	values, _ := got.([]any)
	rooms := make([]string, 0, len(values))
	for _, v := range values {
		// What another put there is of no partition, or of another one.
		if room, ok := v.(string); ok && room != "" && b.partition(room) == partition {
			rooms = append(rooms, room)
		}
	}
	return rooms, nil
}

// look reads how many users rooms have, and where their logs end.
func (b *Broker) look(ctx context.Context, names []string) ([]broker.ActiveRoom, error) {
	counts, err := b.OnlineCounts(ctx, names)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	tails, err := b.Tails(ctx, names)
	if err != nil {
		return nil, err
	}
	rooms := make([]broker.ActiveRoom, len(names))
	for i, name := range names {
		rooms[i] = broker.ActiveRoom{Room: name, Users: counts[i], Position: tails[i].Position}
	}
	return rooms, nil
}

// extendPresence lets what is kept of the users of rooms live on, for those who are
// in them for more than a day.
func (b *Broker) extendPresence(rooms []string) error {
	b.standingMu.Lock()
	all := make([]*standings, 0, len(b.standing))
	for _, s := range b.standing {
		all = append(all, s)
	}
	b.standingMu.Unlock()
	keys := make(map[int][]string)
	for _, room := range rooms {
		at := b.partition(room)
		n := b.partitions()[at].names
		keys[at] = append(keys[at], n.online(room), n.totals(room))
		for _, s := range all {
			keys[at] = append(keys[at], n.usersOf(s.of[at].holder(), room))
		}
	}
	var calls []*call
	for at, part := range keys {
		for chunk := range slices.Chunk(part, extendKeys) {
			calls = append(calls, &call{partition: at, script: scriptExtend, keys: chunk})
		}
	}
	for flight := range slices.Chunk(calls, flightScripts) {
		if err := b.runAll(b.ctx, flight); err != nil {
			return fmt.Errorf("extend presence: %w", err)
		}
	}
	return nil
}
