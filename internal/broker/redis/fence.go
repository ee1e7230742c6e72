package redis

import (
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/fanfare-ws/fanfare/internal/broker"
)

const (
	// fenceLife is for how long a room is remembered of which nothing was heard.
	fenceLife = 5 * time.Minute
	// fenceRooms bounds the rooms of a shard that are remembered.
	fenceRooms = 1 << 17
	// suspectFor is how long after it was stored a message may still be lost by a
	// failover: longer than a replica that is promoted has lagged.
	suspectFor = 30 * time.Second
)

// place is where a message lies in an epoch. Seq 0: nowhere.
type place struct{ seq, stamp uint64 }

// known is what this gateway knows of a room's log. A log that contradicts it was
// rewound: by a failover to a replica that lagged, or it is that of an old master.
// Guarded by the fence's mu.
type known struct {
	epoch string    // the newest that was heard of
	past  [2]string // those before it
	seen  place     // newest message delivered of the epoch
	from  uint64    // the newest run that was not delivered: from is its first
	to    uint64    // and to its last
	acked place     // newest acknowledged publication of this gateway in the epoch
	again uint64    // newest seq that was acknowledged for another time
	own   uint64    // stamp of the newest publication of this gateway that came back
	used  time.Time // when anything was last heard
	// suspect is the newest of these as it was when a connection ended: it is to be
	// compared.
	suspect place
}

// fence remembers the rooms of one shard. Any goroutine may use it.
type fence struct {
	// base is in the upper half of all stamps that this gateway gives, which count up
	// in the lower half, so that an own publication is known when it comes back.
	base uint64

	mu    sync.Mutex
	rooms map[string]*known
}

func (f *fence) init() {
	f.base = uint64(rand.Uint32()|1) << 32
	f.rooms = make(map[string]*known)
}

func (f *fence) isOwn(stamp uint64) bool { return stamp>>32 == f.base>>32 }

// of returns what is known of a room, which may be nothing yet.
func (f *fence) of(room string, now time.Time) *known {
	k := f.rooms[room]
	if k == nil {
		for other := range f.rooms {
			if len(f.rooms) < fenceRooms {
				break
			}
			delete(f.rooms, other)
		}
		k = new(known)
		f.rooms[strings.Clone(room)] = k
	}
	k.used = now
	return k
}

func (k *known) left(epoch string) bool { return epoch == k.past[0] || epoch == k.past[1] }

// enter begins another epoch. What was acknowledged in the last one ended with it.
func (k *known) enter(epoch string) {
	if k.epoch != "" {
		k.past = [2]string{k.epoch, k.past[0]}
	}
	k.epoch = strings.Clone(epoch) // it may be a part of a message
	k.seen, k.from, k.to, k.acked, k.again, k.suspect = place{}, 0, 0, place{}, 0, place{}
}

// least is what the log must have reached.
func (k *known) least() uint64 { return max(k.acked.seq, k.seen.seq, k.again) }

// isNot says whether the known log has another message at a place.
func (k *known) isNot(seq, stamp uint64) bool {
	return k.acked.isNot(seq, stamp) || k.seen.isNot(seq, stamp) || k.suspect.isNot(seq, stamp)
}

// isNot says whether the place is given to another message.
func (p place) isNot(seq, stamp uint64) bool {
	return p.seq == seq && stamp != 0 && p.stamp != 0 && p.stamp != stamp
}

// sent is a publication under way, and what was known when it was sent.
type sent struct {
	known *known
	stamp uint64
	epoch string
	least uint64
}

// sending notes what is known of the room of a publication.
func (f *fence) sending(room string, stamp uint64, now time.Time) sent {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := f.of(room, now)
	return sent{known: k, stamp: stamp, epoch: k.epoch, least: k.least()}
}

// accept says whether a publication may be acknowledged with a position, and notes
// it then. It may not where others were delivered that place as another message,
// or its epoch was left: a master answered that no longer is one. again is then
// true if the epoch that was left must be renewed, should it hold again.
func (f *fence) accept(s *sent, p broker.Position) (ok, again bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := s.known
	switch cameBack := k.own >= s.stamp; {
	case p.Epoch == k.epoch:
		if p.Seq <= k.seen.seq && !cameBack && (p.Seq < k.from || p.Seq > k.to) {
			return false, false
		}
	case k.left(p.Epoch):
		return cameBack, !cameBack
	default:
		k.enter(p.Epoch)
	}
	if p.Seq > k.acked.seq {
		k.acked = place{p.Seq, s.stamp}
	}
	return true, false
}

// confirm notes a position that was acknowledged for the second time: another
// gateway, which may be gone, has stored it.
func (f *fence) confirm(room string, p broker.Position, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := f.of(room, now)
	if k.epoch == "" {
		k.enter(p.Epoch)
	}
	if k.epoch == p.Epoch {
		k.again = max(k.again, p.Seq)
	}
}

// doubt is a room whose log contradicts what is known of it.
type doubt struct{ room, epoch string }

// delivered notes messages before they are handed over, and appends the rooms where
// one has the place of another that was acknowledged.
func (f *fence) delivered(messages []broker.Message, now time.Time, doubts []doubt) []doubt {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range messages {
		m := &messages[i]
		k := f.of(m.Room, now)
		if f.isOwn(m.Stamp) {
			k.own = max(k.own, m.Stamp)
		}
		if m.Epoch != k.epoch {
			if k.left(m.Epoch) {
				continue // it was under way when another epoch began
			}
			k.enter(m.Epoch)
		}
		if k.isNot(m.Seq, m.Stamp) {
			doubts = append(doubts, doubt{strings.Clone(m.Room), k.epoch})
		}
		if m.Seq > k.seen.seq {
			if m.Seq > k.seen.seq+1 {
				k.from, k.to = k.seen.seq+1, m.Seq-1
			}
			k.seen = place{m.Seq, m.Stamp}
		}
	}
	return doubts
}

// reset notes that a room's log began anew.
func (f *fence) reset(room string, p broker.Position, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if k := f.of(room, now); k.epoch != p.Epoch && !k.left(p.Epoch) {
		k.enter(p.Epoch)
	}
}

// belief is a copy of what was known when a read was sent: what the log has reached
// meanwhile is no fault of the read.
func (f *fence) belief(room string) (k known) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.rooms[room]; p != nil {
		k = *p
	}
	return k
}

// rewound says whether a log that ends so is not the one believed in.
func (k *known) rewound(t broker.Tail) bool {
	if k.epoch == "" {
		return false
	}
	return k.left(t.Epoch) || t.Epoch == k.epoch && (t.Seq < max(k.least(), k.suspect.seq) || k.isNot(t.Seq, t.Stamp))
}

// rewoundAt says the same of a page.
func (k *known) rewoundAt(page *broker.Page) bool {
	if k.rewound(broker.Tail{Position: broker.Position{Epoch: page.Epoch, Seq: page.Last}}) {
		return true
	}
	for i := range page.Messages {
		if m := &page.Messages[i]; m.Epoch == k.epoch && k.isNot(m.Seq, m.Stamp) {
			return true
		}
	}
	return false
}

// read notes the messages of a page.
func (f *fence) read(room string, page *broker.Page) {
	n := len(page.Messages)
	f.mu.Lock()
	defer f.mu.Unlock()
	k := f.rooms[room]
	if k == nil || n == 0 {
		return
	}
	for i := range page.Messages {
		if stamp := page.Messages[i].Stamp; f.isOwn(stamp) {
			k.own = max(k.own, stamp)
		}
	}
	first, last := page.Messages[0].Seq, page.Messages[n-1].Seq
	if k.epoch != page.Epoch || last-first != uint64(n-1) {
		return
	}
	if first <= k.from && last >= k.to {
		k.from, k.to = 0, 0
	}
	if first <= k.seen.seq+1 && last > k.seen.seq {
		k.seen = place{last, page.Messages[n-1].Stamp}
	}
}

// suspect marks what was heard of rooms within a time: with the connection that ended
// the master may have gone. It returns whether there is any.
func (f *fence) suspect(now time.Time, within time.Duration) (any bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range f.rooms {
		if k.suspect.seq == 0 && now.Sub(k.used) < within {
			k.suspect = k.seen
			if k.acked.seq > k.seen.seq {
				k.suspect = k.acked
			}
			if k.again > k.suspect.seq {
				k.suspect = place{seq: k.again}
			}
		}
		any = any || k.suspect.seq > 0
	}
	return any
}

// suspects returns the rooms that are marked.
func (f *fence) suspects() (rooms []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for room, k := range f.rooms {
		if k.suspect.seq > 0 {
			rooms = append(rooms, room)
		}
	}
	return rooms
}

// cleared ends the suspicion of a room, unless there is another.
func (f *fence) cleared(room string, was place) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if k := f.rooms[room]; k != nil && k.suspect == was {
		k.suspect = place{}
	}
}

// sweep forgets the rooms that were not heard of for long.
func (f *fence) sweep(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for room, k := range f.rooms {
		if now.Sub(k.used) > fenceLife {
			delete(f.rooms, room)
		}
	}
}
