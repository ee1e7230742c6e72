package memory

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

// lifecycle is the newest events, numbered from 1. An event's ID and a cursor are a
// number.
type lifecycle struct {
	most int // events kept; 0: none are written
	now  func() time.Time

	mu    sync.Mutex
	ring  []broker.Event // the array grows to most
	next  int            // place of the next one, once it is as long
	total uint64         // events there have been
}

// write numbers events and keeps them.
func (l *lifecycle) write(events ...broker.Event) {
	if l.most <= 0 {
		return
	}
	at := l.now().UnixMilli()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range events {
		l.total++
		e.ID, e.Time = strconv.FormatUint(l.total, 10), at
		if len(l.ring) < l.most {
			l.ring = append(l.ring, e)
			continue
		}
		l.ring[l.next] = e
		l.next = (l.next + 1) % l.most
	}
}

// presence writes what a change of a room's users is for backends.
func (l *lifecycle) presence(gateway string, p broker.PresenceEvent, before int) {
	if l.most <= 0 {
		return
	}
	events := make([]broker.Event, 0, len(p.Joined)+len(p.Left)+1)
	add := func(kind, user string) {
		events = append(events, broker.Event{Type: kind, Gateway: gateway, Room: p.Room, User: user})
	}
	if before == 0 && p.Count > 0 {
		add(broker.EventOccupied, "")
	}
	for _, user := range p.Joined {
		add(broker.EventJoined, user)
	}
	for _, user := range p.Left {
		add(broker.EventLeft, user)
	}
	if before > 0 && p.Count == 0 {
		add(broker.EventVacated, "")
	}
	l.write(events...)
}

// Connections implements broker.Lifecycle.
func (b *Broker) Connections(ctx context.Context, gateway string, changes []broker.ConnectionChange) error {
	if err := b.usable(ctx); err != nil {
		return fmt.Errorf("connections: %w", err)
	}
	for _, c := range changes {
		kind := broker.EventConnected
		if c.Ended {
			kind = broker.EventDisconnected
		}
		b.lifecycle.write(broker.Event{Type: kind, Gateway: gateway, Connection: c.Connection, User: c.User, Reason: c.Reason})
	}
	return nil
}

// Events implements broker.Lifecycle.
func (b *Broker) Events(ctx context.Context, cursor string, limit int) (events []broker.Event, next string, err error) {
	if err := b.usable(ctx); err != nil {
		return nil, "", fmt.Errorf("events: %w", err)
	}
	l := &b.lifecycle
	l.mu.Lock()
	defer l.mu.Unlock()
	oldest := l.total - uint64(len(l.ring)) // the number before that of the oldest kept
	from := oldest
	switch cursor {
	case "":
	case "$":
		from = l.total
	default:
		after, err := strconv.ParseUint(cursor, 10, 64)
		if err != nil {
			return nil, "", fmt.Errorf("events: %w", broker.ErrCursor)
		}
		from = min(max(after, oldest), l.total)
	}
	for ; from < l.total && len(events) < limit; from++ {
		events = append(events, l.ring[(l.next+int(from-oldest))%len(l.ring)])
	}
	return events, strconv.FormatUint(from, 10), nil
}
