package redis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

const (
	pageEntries = 128 // read in one round trip
	tailRooms   = 128 // asked about in one script
)

// Range implements broker.Broker. It reads in pages; what is trimmed or begins anew
// meanwhile makes it begin again or cut, so that the page is one that there was.
//
// A log that contradicts what this gateway knows of it is renewed first.
func (b *Broker) Range(ctx context.Context, q broker.Query) (broker.Page, error) {
	f, renewed := &b.shards[b.of(q.Room)].fence, false
	for {
		belief := f.belief(q.Room)
		page, whole, err := b.rangeOnce(ctx, q)
		if err != nil {
			return broker.Page{}, fmt.Errorf("range %q: %w", q.Room, err)
		}
		if !whole {
			continue
		}
		if renewed || !belief.rewoundAt(&page) {
			f.read(q.Room, &page)
			return page, nil
		}
		if err := b.Renew(ctx, q.Room, page.Epoch); err != nil {
			return broker.Page{}, err
		}
		renewed = true
	}
}

// rangeOnce returns whole false if the log began anew meanwhile.
func (b *Broker) rangeOnce(ctx context.Context, q broker.Query) (page broker.Page, whole bool, err error) {
	r := reading{q: q, from: q.After + 1, to: maxSeq}
	if q.After >= maxSeq {
		r.from = maxSeq + 1
	}
	if q.Before > 0 {
		r.to = min(q.Before-1, maxSeq)
	}
	var messages []broker.Message
	for first := true; !r.full; first = false {
		part, entries, err := b.readPart(ctx, &r)
		if err != nil {
			return page, false, err
		}
		switch {
		case first:
			page = part
		case part.Epoch != page.Epoch:
			return page, false, nil
		default:
			page.First = part.First
			if !q.Newest {
				page.Last = part.Last
			}
		}
		messages = r.add(messages, part.Messages)
		if entries < r.count() || r.from > r.to {
			break
		}
	}
	// What was let go while later parts were read is no longer kept.
	if q.Newest {
		slices.Reverse(messages)
	}
	page.Messages = slices.DeleteFunc(messages, func(m broker.Message) bool { return m.Seq < page.First })
	return page, true, nil
}

// reading is the progress of a Range.
type reading struct {
	q        broker.Query
	from, to uint64 // what is left, both included
	n        int
	bytes    int64
	full     bool
}

func (r *reading) count() int {
	if r.q.Limit > 0 {
		return min(pageEntries, r.q.Limit)
	}
	return pageEntries
}

// add takes of part what the query's bounds have room for.
func (r *reading) add(messages, part []broker.Message) []broker.Message {
	for _, m := range part {
		r.bytes += int64(len(m.Data))
		if r.q.Limit > 0 && r.n == r.q.Limit || r.q.Bytes > 0 && r.bytes > r.q.Bytes && r.n > 0 {
			r.full = true
			break
		}
		messages = append(messages, m)
		r.n++
	}
	r.full = r.full || r.q.Limit > 0 && r.n == r.q.Limit
	return messages
}

// readPart reads one part, in the order of reading, and moves r past it.
func (b *Broker) readPart(ctx context.Context, r *reading) (page broker.Page, entries int, err error) {
	room, newest := r.q.Room, "0"
	if r.q.Newest {
		newest = "1"
	}
	bounds := b.cfg.Bounds(room)
	n := b.shards[b.of(room)].names
	got, err := b.run(ctx, scriptRange, []string{n.state(room), n.stream(room)}, b.newEpoch(),
		max(0, bounds.Messages), max(0, bounds.Bytes), milliseconds(bounds.Age), r.from, r.to, r.count(), newest,
		milliseconds(strangerLife))
	if err != nil {
		return page, 0, err
	}
	fields, _ := got.([]any)
	if len(fields) != 5 {
		return page, 0, unavailable(errJunk)
	}
	page.Epoch, _ = fields[0].(string)
	var ok1, ok2 bool
	page.Last, ok1 = numberOf(fields[1])
	page.First, ok2 = numberOf(fields[2])
	values, _ := fields[3].([]any)
	seqs, _ := fields[4].([]any)
	if !validEpoch(page.Epoch) || !ok1 || !ok2 || page.First == 0 || page.First > page.Last+1 || len(values) != len(seqs) {
		return page, 0, unavailable(errJunk)
	}
	for i := range values {
		seq, ok := numberOf(seqs[i])
		value, _ := values[i].(string)
		if !ok {
			return page, 0, unavailable(errJunk)
		}
		if r.q.Newest {
			r.to = min(r.to, seq-1)
		} else {
			r.from = max(r.from, seq+1)
		}
		m, err := decodeEntry(room, broker.Position{Epoch: page.Epoch, Seq: seq}, value)
		if err != nil {
			b.cfg.Metrics.Junk.Inc()
			continue
		}
		page.Messages = append(page.Messages, m)
	}
	return page, len(values), nil
}

func numberOf(v any) (uint64, bool) {
	s, _ := v.(string)
	return number(s)
}

// newEpoch draws the name of an epoch.
func (b *Broker) newEpoch() string { return b.master.prefix() + newStamp() }

func newStamp() string { return stampText(rand.Uint64()) }

// Tails tells where the logs of rooms end, in their order, and extends their lives.
// A log that contradicts what this gateway knows of it is renewed afterwards.
func (b *Broker) Tails(ctx context.Context, rooms []string) ([]broker.Tail, error) {
	tails := make([]broker.Tail, len(rooms))
	beliefs := make([]known, len(rooms))
	parts := make([][]int, len(b.shards))
	for i, room := range rooms {
		at := b.of(room)
		beliefs[i] = b.shards[at].fence.belief(room)
		if !b.sharded {
			at = 0 // all keys are on one server
		}
		parts[at] = append(parts[at], i)
	}
	for at, part := range parts {
		for chunk := range slices.Chunk(part, tailRooms) {
			if err := b.tails(ctx, b.shards[at].names, rooms, chunk, tails); err != nil {
				return nil, fmt.Errorf("tails of %d rooms: %w", len(rooms), err)
			}
		}
	}
	var doubts []doubt
	for i := range tails {
		if beliefs[i].rewound(tails[i]) {
			doubts = append(doubts, doubt{rooms[i], tails[i].Epoch})
		}
	}
	b.fencing.renew(doubts...)
	return tails, nil
}

// tails reads the tails of the rooms whose indexes are in chunk.
func (b *Broker) tails(ctx context.Context, n names, rooms []string, chunk []int, tails []broker.Tail) error {
	keys := make([]string, 0, 2*len(chunk))
	life := stateLife
	for _, i := range chunk {
		keys = append(keys, n.state(rooms[i]), n.stream(rooms[i]))
		life = max(life, b.life(b.cfg.Bounds(rooms[i])))
	}
	got, err := b.run(ctx, scriptTails, keys, b.newEpoch(), milliseconds(life))
	if err != nil {
		return err
	}
	fields, _ := got.([]any)
	if len(fields) != 3*len(chunk) {
		return unavailable(errJunk)
	}
	for k, i := range chunk {
		epoch, _ := fields[3*k].(string)
		seq, ok := numberOf(fields[3*k+1])
		stamp, _ := fields[3*k+2].(string)
		if !ok || !validEpoch(epoch) {
			return unavailable(errJunk)
		}
		tails[i] = broker.Tail{Position: broker.Position{Epoch: epoch, Seq: seq}, Stamp: parseStamp(stamp)}
	}
	return nil
}

// Renew begins a new epoch of a room's log if it still is of that epoch: the log was
// rewound. What it keeps stays, as the new epoch's. All gateways are told by
// Sink.Reset, with the position before the first message kept, and by
// Sink.Subscribed, since what is kept is not delivered.
func (b *Broker) Renew(ctx context.Context, room, epoch string) error {
	b.cfg.Log.Warn("a room's log was rewound: it begins a new epoch", "room", room)
	return b.renew(ctx, room, epoch)
}

func (b *Broker) renew(ctx context.Context, room, epoch string) error {
	n := b.shards[b.of(room)].names
	bounds := b.cfg.Bounds(room)
	_, err := b.run(ctx, scriptRenew, []string{n.state(room), n.stream(room)}, epoch, b.newEpoch(),
		milliseconds(b.life(bounds)), n.channel(room), b.publish,
		max(0, bounds.Messages), max(0, bounds.Bytes), milliseconds(bounds.Age))
	if err != nil {
		return fmt.Errorf("renew %q: %w", room, err)
	}
	return nil
}

// Forget implements broker.Broker.
func (b *Broker) Forget(ctx context.Context, room string) error {
	n := b.shards[b.of(room)].names
	_, err := b.run(ctx, scriptForget, []string{n.state(room), n.stream(room)}, b.newEpoch(),
		milliseconds(b.life(b.cfg.Bounds(room))), n.channel(room), b.publish)
	if err != nil {
		return fmt.Errorf("forget %q: %w", room, err)
	}
	return nil
}
