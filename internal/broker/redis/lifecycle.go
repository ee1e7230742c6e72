package redis

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

const (
	// chunkConnections bounds the connections of one script.
	chunkConnections = 256
	// eventsMost bounds what is read of one partition at a time.
	eventsMost = 1000
	// eventsSlack is how far, in ms, the clocks of a Cluster's nodes may be apart, and
	// a call of a gateway late: behind an event's ID the other partitions are read from
	// so much earlier.
	eventsSlack = 5000
)

// Connections implements broker.Lifecycle. They are kept in one partition for each
// gateway, so that a survivor can tell of their end.
func (b *Broker) Connections(ctx context.Context, gateway string, changes []broker.ConnectionChange) error {
	if b.cfg.Events <= 0 {
		return b.usable(ctx)
	}
	at := b.partition(gateway)
	n, s := b.partitions()[at].names, &b.standings(gateway).of[at]
	s.order.Lock()
	defer s.order.Unlock()
	for chunk := range slices.Chunk(changes, chunkConnections) {
		said := s.speak()
		args := append(said.args(), gateway, b.cfg.Events)
		for _, c := range chunk {
			ended := "0"
			if c.Ended {
				ended = "1"
			}
			args = append(args, c.Connection, c.User, ended, c.Reason)
		}
		keys := []string{n.leases(), n.records(), n.connectionsOf(said.holder), n.connectionsOf(said.before), n.events()}
		got, err := b.run(ctx, scriptConnections, keys, args...)
		if err == nil {
			if s.heard(said, got == int64(1)); got != int64(1) {
				err = unavailable(errLost)
			}
		}
		if err != nil {
			return fmt.Errorf("connections: %w", err)
		}
	}
	return nil
}

// entryID is where an event lies: milliseconds and a number.
type entryID struct{ time, number uint64 }

func (p entryID) String() string {
	return strconv.FormatUint(p.time, 10) + "-" + strconv.FormatUint(p.number, 10)
}

func parseEntryID(s string) (entryID, bool) {
	time, seq, _ := strings.Cut(s, "-")
	a, ok1 := number(time)
	b, ok2 := number(seq)
	return entryID{a, b}, ok1 && ok2
}

// found is an event and where it lies.
type found struct {
	broker.Event
	entryID
	partition int
}

// Events implements broker.Lifecycle. The streams of the partitions are merged by
// their times. A cursor is the place in each of them.
func (b *Broker) Events(ctx context.Context, cursor string, limit int) ([]broker.Event, string, error) {
	places, err := b.parseCursor(cursor)
	if err != nil {
		return nil, "", fmt.Errorf("events: %w", err)
	}
	calls := make([]*call, len(b.partitions()))
	for i, p := range b.partitions() {
		from := places[i].String()
		if cursor == "$" {
			from = "$"
		}
		calls[i] = &call{
			partition: i, script: scriptEvents, keys: []string{p.names.events()},
			args: []any{from, max(1, min(limit, eventsMost))},
		}
	}
	if err := b.runAll(ctx, calls); err != nil {
		return nil, "", fmt.Errorf("events: %w", err)
	}
	var all []found
	for i, c := range calls {
		all = append(all, b.parseEvents(i, c.got)...)
	}
	slices.SortStableFunc(all, func(x, y found) int {
		return cmp.Or(cmp.Compare(x.time, y.time), cmp.Compare(x.number, y.number), cmp.Compare(x.partition, y.partition))
	})
	var events []broker.Event
	for _, f := range all {
		if cursor != "$" {
			if len(events) >= limit {
				break
			}
			if f.Type != "" {
				events = append(events, f.Event)
			}
		}
		places[f.partition] = f.entryID
	}
	return events, joinPlaces(places), nil
}

// parseCursor returns the place in each partition behind which to read.
func (b *Broker) parseCursor(cursor string) ([]entryID, error) {
	places := make([]entryID, len(b.partitions()))
	if cursor == "" || cursor == "$" {
		return places, nil
	}
	words := strings.Split(cursor, ",")
	if len(words) == len(places) {
		for i, word := range words {
			var ok bool
			if places[i], ok = parseEntryID(word); !ok {
				return nil, broker.ErrCursor
			}
		}
		return places, nil
	}
	// An event's ID, in a Cluster.
	i := strings.LastIndexByte(cursor, '-')
	at, ok1 := number(cursor[i+1:])
	p, ok2 := parseEntryID(cursor[:max(0, i)])
	if !ok1 || !ok2 || at >= uint64(len(places)) {
		return nil, broker.ErrCursor
	}
	for i := range places {
		places[i].time = p.time - min(p.time, eventsSlack)
	}
	places[at] = p
	return places, nil
}

func joinPlaces(places []entryID) string {
	words := make([]string, len(places))
	for i, p := range places {
		words[i] = p.String()
	}
	return strings.Join(words, ",")
}

// parseEvents reads what the script answered. What is not ours has no type.
func (b *Broker) parseEvents(partition int, got any) []found {
	values, _ := got.([]any)
	var all []found
	for i := 0; i+1 < len(values); i += 2 {
		id, _ := values[i].(string)
		words, _ := values[i+1].([]any)
		p, ok := parseEntryID(id)
		if !ok {
			b.cfg.Metrics.Junk.Inc()
			continue
		}
		f := found{entryID: p, partition: partition, Event: parseEvent(words)}
		if f.Type == "" {
			b.cfg.Metrics.Junk.Inc()
		} else {
			f.Time, f.ID = int64(p.time), id
			if b.sharded {
				f.ID += "-" + strconv.Itoa(partition)
			}
		}
		all = append(all, f)
	}
	return all
}

// parseEvent reads the words of an entry; an event without a type is none.
func parseEvent(words []any) (e broker.Event) {
	for i := 0; i+1 < len(words); i += 2 {
		key, _ := words[i].(string)
		value, _ := words[i+1].(string)
		if len(value) > maxUser || !utf8.ValidString(value) {
			return broker.Event{}
		}
		switch key {
		case "type":
			e.Type = value
		case "gateway":
			e.Gateway = value
		case "connection":
			e.Connection = value
		case "user":
			e.User = value
		case "room":
			e.Room = value
		case "reason":
			e.Reason = value
		}
	}
	switch e.Type {
	case broker.EventConnected, broker.EventDisconnected, broker.EventJoined, broker.EventLeft,
		broker.EventOccupied, broker.EventVacated:
		return e
	}
	return broker.Event{}
}
