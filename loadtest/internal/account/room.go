package account

import (
	"bytes"
	"hash/maphash"

	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// Book is the account of one run, or of one process's part in it.
type Book struct {
	Counts

	run     string
	rooms   map[string]*Room
	seed    maphash.Seed
	scratch []byte
}

// NewBook makes an empty book. The run names it in every message, 1 to 32
// characters of a-z and 0-9, so that others' messages are told apart.
func NewBook(run string) *Book {
	return &Book{run: run, rooms: make(map[string]*Room), seed: maphash.MakeSeed()}
}

// Run is the run's name.
func (b *Book) Run() string { return b.run }

// Room is one room, with each log that it has had.
type Room struct {
	book *Book
	name string
	logs []*log // in the order in which they became known: the last is the present one
	left []place

	members int // ever made: with none here, nobody will see what is acknowledged
}

// place is where a member left a log that began anew.
type place struct {
	log *log
	seq uint64
}

// log is one epoch of a room.
type log struct {
	room  *Room
	epoch string
	top   uint64   // the greatest seq known: delivered to anyone, or acknowledged
	ring  []placed // by seq modulo its length, a power of two
	twice map[Key]uint64
	acked map[uint64]Key // acknowledged, and not delivered to anyone yet
}

// placed is what stands at one place of a log.
type placed struct {
	seq  uint64 // 0: nothing
	due  int64  // of a message of this run, Unix nanoseconds; 0: another's
	key  Key
	sum  uint64 // of the data
	raw  []byte // the whole WebSocket frame; empty: it came in parts
	data int    // bytes of data
}

// The ring follows how far members of one room lie apart. Members further behind
// cost a full decoding, and nothing else.
const (
	leastRing = 8
	mostRing  = 1024
)

// Room returns the room of that name.
func (b *Book) Room(name string) *Room {
	r := b.rooms[name]
	if r == nil {
		r = &Room{book: b, name: name}
		b.rooms[name] = r
	}
	return r
}

// Name is the room's name.
func (r *Room) Name() string { return r.name }

// log returns the log of an epoch, which becomes the present one if it is new.
func (r *Room) log(epoch string) *log {
	for i := len(r.logs) - 1; i >= 0; i-- {
		if r.logs[i].epoch == epoch {
			return r.logs[i]
		}
	}
	l := &log{room: r, epoch: epoch}
	r.logs = append(r.logs, l)
	return l
}

func (l *log) at(seq uint64) *placed {
	if len(l.ring) == 0 {
		return nil
	}
	p := &l.ring[seq&uint64(len(l.ring)-1)]
	if p.seq != seq {
		return nil
	}
	return p
}

// place judges a message that arrived, and returns what stands at its place; raw
// is its whole frame, nil where it came in parts.
func (l *log) place(m *protocol.Message, raw []byte) placed {
	b := l.room.book
	sum := maphash.Bytes(b.seed, m.Data)
	if p := l.at(m.Seq); p != nil {
		if p.sum != sum || p.data != len(m.Data) {
			b.Altered++
		}
		if len(p.raw) == 0 {
			p.raw = append(p.raw, raw...)
		}
		return *p
	}
	l.top = max(l.top, m.Seq)
	p := placed{seq: m.Seq, sum: sum, data: len(m.Data)}
	stamp, ours, intact := parseData(m.Data, b.run, b.scratch)
	if ours {
		if !intact {
			b.Altered++
		}
		p.due, p.key = stamp.Due, stamp.Key
	}
	l.checkPlace(&p)
	return l.keep(p, raw)
}

// checkPlace holds a publication's place against what is known of it.
func (l *log) checkPlace(p *placed) {
	if acked, ok := l.acked[p.seq]; ok {
		delete(l.acked, p.seq)
		if acked != p.key {
			l.room.book.Misplaced++
		}
	}
	if before, ok := l.twice[p.key]; ok && before != p.seq && p.due != 0 {
		l.room.book.StoredTwice++
	}
}

// keep puts p into the ring, unless what is there is newer.
func (l *log) keep(p placed, raw []byte) placed {
	if len(l.ring) == 0 {
		l.ring = make([]placed, leastRing)
		l.twice = make(map[Key]uint64)
	}
	slot := &l.ring[p.seq&uint64(len(l.ring)-1)]
	if slot.seq > p.seq {
		// A member this far behind: have room for it next time.
		l.grow()
		return p
	}
	if slot.due != 0 {
		delete(l.twice, slot.key)
	}
	if p.due != 0 {
		l.twice[p.key] = p.seq
	}
	p.raw = append(slot.raw[:0], raw...)
	*slot = p
	return p
}

func (l *log) grow() {
	if len(l.ring) >= mostRing {
		return
	}
	old := l.ring
	l.ring = make([]placed, 2*len(old))
	for _, p := range old {
		if p.seq > 0 {
			l.ring[p.seq&uint64(len(l.ring)-1)] = p
		}
	}
}

// Acknowledged notes where the gateway says that a publication stands.
func (r *Room) Acknowledged(key Key, at protocol.Position) {
	r.book.Counts.Acknowledged++
	l := r.log(at.Epoch)
	if p := l.at(at.Seq); p != nil {
		if p.key != key {
			r.book.Misplaced++
		}
	} else if before, ok := l.acked[at.Seq]; ok {
		if before != key {
			r.book.Misplaced++ // nobody was delivered it yet, and it cannot be both
		}
	} else if at.Seq > l.top && r.members > 0 {
		if l.acked == nil {
			l.acked = make(map[uint64]Key)
		}
		l.acked[at.Seq] = key
	}
	l.top = max(l.top, at.Seq)
}

// same reports whether in begins with the frame of p.
func (p *placed) same(in []byte) bool {
	n := len(p.raw)
	return n > 0 && len(in) >= n && bytes.Equal(in[:n], p.raw)
}
