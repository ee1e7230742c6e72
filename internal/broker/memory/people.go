package memory

import (
	"container/heap"
	"context"
	"fmt"
	"iter"
	"maps"
	"sync"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

var _ broker.People = (*Broker)(nil)

// people is who is in the rooms. There is one gateway, so that what it says is all
// there is, and no lease to run out.
type people struct {
	// telling is held while presence changes, and while it is told, which keeps its
	// order. mu is never held while a watcher is called.
	telling sync.Mutex
	watch   func(broker.PresenceEvent) // guarded by telling; nil: nobody watches

	mu    sync.RWMutex
	rooms map[string]*users // none of them empty
	peak  int               // rooms that the map has had
}

// usable says why nothing can be asked for.
func (b *Broker) usable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return broker.ErrClosed
	}
	return nil
}

// Parts implements broker.Presence: there is one.
func (b *Broker) Parts() int { return 1 }

// Part implements broker.Presence.
func (b *Broker) Part(string) int { return 0 }

// SetPresence implements broker.Presence.
func (b *Broker) SetPresence(ctx context.Context, gateway string, rooms []broker.RoomUsers) error {
	if err := b.usable(ctx); err != nil {
		return fmt.Errorf("set presence: %w", err)
	}
	b.people.telling.Lock()
	defer b.people.telling.Unlock()
	for _, r := range rooms {
		event, before := b.people.set(r)
		if len(event.Joined)+len(event.Left) == 0 {
			continue
		}
		b.lifecycle.presence(gateway, event, before)
		if b.people.watch != nil {
			b.people.watch(event)
		}
	}
	return nil
}

// set returns what it changed, and how many users there were.
func (p *people) set(r broker.RoomUsers) (event broker.PresenceEvent, before int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	in := p.rooms[r.Room]
	if in == nil {
		in = new(users)
		p.rooms[r.Room] = in
		p.peak = max(p.peak, len(p.rooms))
	}
	before = in.count()
	event.Room = r.Room
	for _, u := range r.Users {
		switch there := in.set(u.User, int32(max(u.Connections, 0))); {
		case u.Connections <= 0 && there:
			event.Left = append(event.Left, u.User)
		case u.Connections > 0 && !there:
			event.Joined = append(event.Joined, u.User)
		}
	}
	event.Count = in.count()
	if event.Count == 0 {
		p.forget(r.Room)
	}
	return event, before
}

// forget lets go of a room without users.
func (p *people) forget(room string) {
	delete(p.rooms, room)
	if p.peak > 256 && len(p.rooms) < p.peak/4 {
		rooms := make(map[string]*users, len(p.rooms)) // a map never shrinks
		maps.Copy(rooms, p.rooms)
		p.rooms, p.peak = rooms, len(rooms)
	}
}

// WatchPresence implements broker.Presence. The watcher hears of every room.
func (b *Broker) WatchPresence(watch func(broker.PresenceEvent)) {
	b.people.telling.Lock()
	defer b.people.telling.Unlock()
	b.people.watch = watch
}

// Online implements broker.Presence. It looks at every user of the room: some
// milliseconds for 100,000.
func (b *Broker) Online(ctx context.Context, room, after string, limit int) (broker.Online, error) {
	if err := b.usable(ctx); err != nil {
		return broker.Online{}, fmt.Errorf("online %q: %w", room, err)
	}
	b.people.mu.RLock()
	defer b.people.mu.RUnlock()
	in := b.people.rooms[room]
	names, more := firstBehind(in.all(), after, limit)
	page := broker.Online{Count: in.count(), More: more, Users: make([]broker.UserConnections, len(names))}
	for i, name := range names {
		page.Users[i] = broker.UserConnections{User: name, Connections: int(in.connections(name))}
	}
	return page, nil
}

// OnlineCounts implements broker.Presence.
func (b *Broker) OnlineCounts(ctx context.Context, rooms []string) ([]int, error) {
	if err := b.usable(ctx); err != nil {
		return nil, fmt.Errorf("online in %d rooms: %w", len(rooms), err)
	}
	b.people.mu.RLock()
	defer b.people.mu.RUnlock()
	counts := make([]int, len(rooms))
	for i, room := range rooms {
		counts[i] = b.people.rooms[room].count()
	}
	return counts, nil
}

// ActiveRooms implements broker.Presence: in the order of their names. The cursor
// is the last one's.
func (b *Broker) ActiveRooms(ctx context.Context, cursor string, limit int) (rooms []broker.ActiveRoom, next string, err error) {
	if err := b.usable(ctx); err != nil {
		return nil, "", fmt.Errorf("active rooms: %w", err)
	}
	b.people.mu.RLock()
	names, more := firstBehind(maps.Keys(b.people.rooms), cursor, limit)
	for _, name := range names {
		rooms = append(rooms, broker.ActiveRoom{Room: name, Users: b.people.rooms[name].count()})
	}
	b.people.mu.RUnlock()
	for i := range rooms {
		rooms[i].Position = b.tail(rooms[i].Room)
	}
	if more {
		next = rooms[len(rooms)-1].Room
	}
	return rooms, next, nil
}

// tail is where a room's log ends.
func (b *Broker) tail(room string) broker.Position {
	s, in := b.shardOf(room)
	s.mu.Lock()
	if r := s.rooms[room]; r != nil {
		defer s.mu.Unlock()
		return broker.Position{Epoch: r.epoch, Seq: r.last}
	}
	generation := s.generations[in.slot]
	s.mu.Unlock()
	return broker.Position{Epoch: b.epoch(room, generation)}
}

// Reap implements broker.People: no gateway but this one is there to be missed.
func (b *Broker) Reap(ctx context.Context) (bool, error) { return false, b.usable(ctx) }

// firstBehind returns the first keys behind after, ascending, at most so many, and
// whether others follow. It holds no more of them than that.
func firstBehind(all iter.Seq[string], after string, limit int) (keys []string, more bool) {
	var first largest
	for key := range all {
		switch {
		case key <= after:
		case len(first) < limit:
			heap.Push(&first, key)
		default:
			more = true
			if limit > 0 && key < first[0] {
				first[0] = key
				heap.Fix(&first, 0)
			}
		}
	}
	keys = make([]string, len(first))
	for i := len(keys) - 1; i >= 0; i-- {
		keys[i] = heap.Pop(&first).(string)
	}
	return keys, more && limit > 0
}

// largest is a heap with the last key on top.
type largest []string

func (h largest) Len() int           { return len(h) }
func (h largest) Less(i, j int) bool { return h[i] > h[j] }
func (h largest) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *largest) Push(key any)      { *h = append(*h, key.(string)) }
func (h *largest) Pop() any {
	old := *h
	key := old[len(old)-1]
	*h = old[:len(old)-1]
	return key
}
