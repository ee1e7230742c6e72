package memory

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"hash/maphash"
	"math"
	"sync"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

const (
	shardCount = 64
	slotCount  = 64 // generations of a shard

	// housekeepEvery is the least time between two looks at one room.
	housekeepEvery = int64(time.Second)
	// housekeepRooms bounds the rooms looked at between two chunks.
	housekeepRooms = 256

	never = math.MaxInt64
)

// shard is a part of the rooms. Its maps are written by the goroutine under mu,
// and read by it without and by Range with it.
type shard struct {
	mu    sync.Mutex
	rooms map[string]*room
	peak  int // the most rooms since the map was made
	// generations rise when a room of the slot that had messages is forgotten. They
	// stand in the epoch of the rooms made from then on, so that no epoch returns.
	generations [slotCount]uint64
}

var hashSeed = maphash.MakeSeed()

// place is where a room belongs: its shard, and its slot there.
type place struct{ shard, slot uint8 }

func (b *Broker) shardOf(room string) (*shard, place) {
	h := maphash.String(hashSeed, room)
	at := place{uint8(h % shardCount), uint8(h / shardCount % slotCount)}
	return b.home(at), at
}

func (b *Broker) home(at place) *shard { return &b.shards[at.shard] }

var epochEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// epoch names the log that a room has in a generation: 16 characters, 80 bits that
// no one without the secret can foretell.
func (b *Broker) epoch(room string, generation uint64) string {
	buf := make([]byte, 0, 192)
	buf = append(buf, b.secret[:]...)
	buf = binary.BigEndian.AppendUint64(buf, generation)
	buf = append(buf, room...)
	sum := sha256.Sum256(buf)
	return epochEncoding.EncodeToString(sum[:10])
}

// keeper decides what stays in memory.
type keeper struct {
	bounds map[broker.Bounds]*broker.Bounds // those that rooms have: as many as there are classes of rooms
	kept   int64                            // the cost of all rooms
	ids    ids                              // publish IDs within the window
	recent recent                           // rooms that can give memory back, the longest unused first
	dues   dues                             // rooms by when housekeeping looks at them
}

func (k *keeper) total() int64 { return k.kept + k.ids.cost() }

// boundsOf is the bounds of a room.
func (b *Broker) boundsOf(name string) *broker.Bounds {
	bounds := b.cfg.Bounds(name)
	if shared := b.bounds[bounds]; shared != nil {
		return shared
	}
	shared := new(broker.Bounds)
	*shared = bounds
	b.bounds[bounds] = shared
	return shared
}

func (b *Broker) create(s *shard, at place, name string) *room {
	r := &room{name: name, bounds: b.boundsOf(name), place: at, stock: nothing, used: b.now.at}
	r.epoch = b.epoch(name, s.generations[at.slot])
	s.mu.Lock()
	s.rooms[name] = r
	s.mu.Unlock()
	s.peak = max(s.peak, len(s.rooms))
	b.kept += r.cost()
	return r
}

// forget lets go of a room. Where it has numbered messages its next use is a new
// epoch; where not, nobody can tell.
func (b *Broker) forget(r *room) {
	b.recent.remove(r)
	b.dues.remove(r)
	b.kept -= r.cost()
	s := b.home(r.place)
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.last > 0 {
		s.generations[r.slot]++
	}
	delete(s.rooms, r.name)
	if s.peak > 256 && len(s.rooms) < s.peak/4 {
		rooms := make(map[string]*room, len(s.rooms)) // a map never shrinks
		for name, r := range s.rooms {
			rooms[name] = r
		}
		s.rooms, s.peak = rooms, len(rooms)
	}
}

// admit makes room for p and reports whether there is some. r is nil for a room
// that is not known.
func (b *Broker) admit(r *room, p *broker.Publication) bool {
	var need int64
	if r == nil {
		need += roomCost + int64(len(p.Room))
	}
	if r == nil || r.bounds.Messages > 0 {
		need += entryCost + int64(len(p.Data)+len(p.From)+len(p.Event))
	}
	if p.ID != "" && b.ids.window > 0 {
		cost := idCost(r, p, b.now.at)
		if b.ids.cost()+cost > b.cfg.Bytes/2 {
			return false // what cannot be given back leaves half to what can
		}
		need += cost
	}
	if need == 0 || b.total()+need <= b.cfg.Bytes {
		return true
	}
	return need <= b.cfg.Bytes && b.evict(need, r)
}

// evict gives back memory until need more fits, the rooms that were published to
// longest ago first. keep is not forgotten, but may lose history; it is the caller's
// to settle.
func (b *Broker) evict(need int64, keep *room) bool {
	for b.total()+need > b.cfg.Bytes {
		r := b.recent.first
		if r == nil {
			return false
		}
		if r.log.n > 0 {
			before := r.cost()
			b.home(r.place).mu.Lock()
			r.drop((r.log.n + 1) / 2)
			r.log.fit()
			b.home(r.place).mu.Unlock()
			b.kept += r.cost() - before
		}
		if r.log.n > 0 {
			continue
		}
		switch {
		case r == keep:
			b.recent.remove(r)
		case r.idle(b.now.at):
			b.forget(r)
		default:
			b.settle(r)
		}
	}
	return true
}

// idle reports whether a room has nothing left but its numbers.
func (r *room) idle(now int64) bool {
	return r.log.n == 0 && !r.subscribed && now >= r.idsUntil
}

// settle puts a room that has changed where it belongs: among those that can give
// memory back, into the heap, or away.
func (b *Broker) settle(r *room) {
	idle := r.idle(b.now.at)
	if idle && (r.last == 0 || b.now.at >= r.used+int64(b.cfg.Idle)) {
		b.forget(r)
		return
	}
	if idle || r.log.n > 0 {
		b.open(r)
		b.recent.add(r)
	} else {
		b.recent.remove(r)
	}
	if r.duePlace == 0 {
		if due := b.dueOf(r); due < never {
			b.open(r)
			b.dues.add(r, max(due, b.now.at+housekeepEvery))
		}
	}
	b.tidy(r)
}

// dueOf says when there will be something to do about a room. It may become later
// while the room waits in the heap: then it is looked at once too often. It becomes
// earlier only by what housekeeping may do late.
func (b *Broker) dueOf(r *room) int64 {
	switch {
	case r.log.n > 0 && r.bounds.Age > 0:
		return r.log.at(0).at + int64(r.bounds.Age)
	case r.log.n == 0 && !r.subscribed:
		return max(r.idsUntil, r.used+int64(b.cfg.Idle))
	}
	return never
}

// housekeep ages out messages and publish IDs and forgets rooms.
func (b *Broker) housekeep() {
	b.ids.turn(b.now.at)
	for range housekeepRooms {
		if b.dues.next() > b.now.at {
			return
		}
		r := b.dues.rooms[0]
		b.dues.remove(r)
		b.trim(r)
		b.settle(r)
	}
}

// trim takes out what has aged and gives back a log's array once it is far too
// large.
func (b *Broker) trim(r *room) {
	if r.log.n == 0 {
		return
	}
	before := r.cost()
	b.home(r.place).mu.Lock()
	r.dropAged(b.now.at)
	if r.log.n <= len(r.log.array)/4 {
		r.log.fit()
	}
	b.home(r.place).mu.Unlock()
	b.kept += r.cost() - before
}

// rebound gives every room the bounds that it has now: some 300 ns for each that
// has the same.
func (b *Broker) rebound() {
	clear(b.bounds)
	for i := range b.shards {
		for name, r := range b.shards[i].rooms {
			bounds := b.boundsOf(name)
			if *bounds == *r.bounds {
				continue
			}
			before := r.cost()
			b.home(r.place).mu.Lock()
			r.bounds = bounds
			r.fit(b.now.at)
			r.log.fit()
			b.home(r.place).mu.Unlock()
			b.kept += r.cost() - before
			b.dues.remove(r) // it may have become due earlier
			b.settle(r)
		}
	}
}

// nextDue says when housekeeping has something to do.
func (b *Broker) nextDue() int64 { return min(b.dues.next(), b.ids.due()) }
