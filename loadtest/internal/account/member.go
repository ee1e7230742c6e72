package account

import (
	"github.com/fanfare-ws/fanfare/internal/protocol"
)

// Member is one connection's place in one room. It outlives connections, as that
// of a real client does.
type Member struct {
	room *Room
	log  *log   // nil: never joined, or left
	seq  uint64 // the last one that is settled
	runs []run  // what lies below seq and was not delivered; mostly none
}

// run is consecutive messages that did not come.
type run struct {
	from, to uint64
	told     bool // by a gap
}

// runsKept bounds what a member remembers of what it did not get.
const runsKept = 64

// Arrival is what a message was to a member.
type Arrival struct {
	New bool  // the member had not had it
	Due int64 // when it was to be sent, Unix nanoseconds; 0: it is not of this run
}

// NewMember makes a member of a room that has not been joined yet.
func NewMember(r *Room) Member {
	r.members++
	return Member{room: r}
}

// Room is the room.
func (m *Member) Room() *Room { return m.room }

// Joined reports whether the member stands anywhere.
func (m *Member) Joined() bool { return m.log != nil }

// Position is where to resume after; only a member that has joined has one.
func (m *Member) Position() protocol.Position {
	return protocol.Position{Epoch: m.log.epoch, Seq: m.seq}
}

// Behind is how many messages the member lacks of those known to be in its log.
func (m *Member) Behind() uint64 {
	if m.log == nil || m.log.top <= m.seq {
		return 0
	}
	return m.log.top - m.seq
}

// Next takes the member's next message if in begins with the frame of it, as
// some other member got it before. It returns the frame's length; 0: it is not.
func (m *Member) Next(in []byte) (n int, a Arrival) {
	if m.log == nil {
		return 0, a
	}
	p := m.log.at(m.seq + 1)
	if p == nil || !p.same(in) {
		return 0, a
	}
	m.seq++
	m.room.book.Delivered++
	return len(p.raw), Arrival{New: true, Due: p.due}
}

// Message takes a message; raw is its whole frame, nil where it came in parts.
func (m *Member) Message(msg *protocol.Message, raw []byte) Arrival {
	b := m.room.book
	if m.log == nil {
		b.Stray++
		return Arrival{}
	}
	l := m.room.log(msg.Epoch)
	p := l.place(msg, raw)
	if l != m.log {
		// Nobody told of another log. It goes on there, as a client would.
		b.Stray++
		m.move(l, msg.Seq)
		return Arrival{}
	}
	a := Arrival{New: true, Due: p.due}
	switch {
	case msg.Seq == m.seq+1:
		m.seq++
	case msg.Seq > m.seq:
		m.skip(m.seq+1, msg.Seq-1, false)
		m.seq = msg.Seq
	case m.fill(msg.Seq):
		b.OutOfOrder++
	default:
		b.Duplicate++
		return Arrival{}
	}
	b.Delivered++
	return a
}

// skip notes that from to to did not come.
func (m *Member) skip(from, to uint64, told bool) {
	if told {
		m.room.book.Gapped += to - from + 1
	} else {
		m.room.book.Unexplained += to - from + 1
	}
	if len(m.runs) == runsKept {
		m.runs = append(m.runs[:0], m.runs[1:]...)
	}
	m.runs = append(m.runs, run{from, to, told})
}

// fill takes seq out of the runs, and reports whether it was in one.
func (m *Member) fill(seq uint64) bool {
	for i, r := range m.runs {
		if seq < r.from || seq > r.to {
			continue
		}
		if r.told {
			m.room.book.Gapped--
		} else {
			m.room.book.Unexplained--
		}
		m.runs = append(m.runs[:i], m.runs[i+1:]...)
		if seq > r.from {
			m.runs = append(m.runs, run{r.from, seq - 1, r.told})
		}
		if seq < r.to {
			m.runs = append(m.runs, run{seq + 1, r.to, r.told})
		}
		return true
	}
	return false
}

// Gap takes a gap notice.
func (m *Member) Gap(g *protocol.Gap) {
	b := m.room.book
	b.Gaps++
	if m.log == nil || m.log.epoch != g.Epoch || g.To < g.From {
		b.Stray++
		return
	}
	if g.From > m.seq+1 {
		m.skip(m.seq+1, g.From-1, false)
	}
	if g.From <= m.seq {
		m.late(g.From, min(g.To, m.seq))
	}
	if from := max(g.From, m.seq+1); from <= g.To {
		m.skip(from, g.To, true)
		m.seq = g.To
	}
	m.log.top = max(m.log.top, g.To)
}

// late takes a gap that names what the member has passed already: told at last,
// but not in its place in the order; and named again, or though delivered, it is
// a duplicate.
func (m *Member) late(from, to uint64) {
	b := m.room.book
	b.OutOfOrder++
	for seq := from; seq <= to; seq++ {
		if m.fill(seq) {
			m.skip(seq, seq, true)
		} else {
			b.Duplicate++
		}
	}
}

// Reset takes the notice that the room's log began anew.
func (m *Member) Reset(r *protocol.Reset) {
	b := m.room.book
	if m.log == nil {
		b.Stray++
		return
	}
	b.Resets++
	if r.Previous.Epoch != m.log.epoch || r.Previous.Seq != m.seq {
		// It says that the old log ended for this connection where it did not.
		if r.Previous.Epoch == m.log.epoch && r.Previous.Seq > m.seq {
			m.skip(m.seq+1, r.Previous.Seq, false)
			m.seq = r.Previous.Seq
		} else {
			b.Stray++
		}
	}
	m.move(m.room.log(r.Epoch), r.Seq)
}

// move leaves the log for another.
func (m *Member) move(to *log, seq uint64) {
	if m.log != nil && m.log != to {
		m.room.left = append(m.room.left, place{m.log, m.seq})
	}
	m.log, m.seq, m.runs = to, seq, nil
	to.top = max(to.top, seq)
}

// Stands takes the reply to a join. A member that had joined before has resumed
// after its position.
func (m *Member) Stands(j *protocol.Joined) {
	l := m.room.log(j.Epoch)
	switch {
	case m.log == nil:
		m.move(l, j.Seq)
	case m.log != l:
		m.room.book.Resets++
		m.move(l, j.Seq)
	case j.Seq > m.seq:
		// It asked for what comes after its position, and stands further on.
		m.skip(m.seq+1, j.Seq, false)
		m.seq = j.Seq
	}
}

// Leave ends the membership: from here on nothing is owed.
func (m *Member) Leave() { m.log, m.seq, m.runs = nil, 0, nil }
